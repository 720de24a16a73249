"""Audio files and levels: tensors of shape (channels, samples), float32, full scale at +-1.

The functions on tensors import torch when they are called. What stands below them works on NumPy arrays of shape
(samples, channels), block by block, so that a dataset tool's worker processes start fast and stay small.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path

if TYPE_CHECKING:
    import torch

TAG_NAMES = [
    "title",
    "artist",
    "album",
    "albumartist",
    "composer",
    "date",
    "genre",
    "tracknumber",
    "discnumber",
    "comment",
    "description",
    "copyright",
    "license",
    "organization",
    "game",
]
"""The tags that are carried over; others mean nothing after a conversion (loop points in samples, ReplayGain)."""

_ID3 = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "albumartist", "TCOM": "composer", "TDRC": "date",
    "TCON": "genre", "TRCK": "tracknumber", "TPOS": "discnumber", "COMM": "comment", "TCOP": "copyright",
    "WCOP": "license", "TPUB": "organization",
}  # fmt: skip
_MP4 = {
    "\xa9nam": "title", "\xa9ART": "artist", "\xa9alb": "album", "aART": "albumartist", "\xa9wrt": "composer",
    "\xa9day": "date", "\xa9gen": "genre", "\xa9cmt": "comment", "cprt": "copyright",
}  # fmt: skip
_OTHER = {
    "track": "tracknumber", "year": "date", "author": "artist", "wm/albumtitle": "album", "wm/year": "date",
    "wm/genre": "genre", "wm/composer": "composer", "album artist": "albumartist",
}  # fmt: skip


def read(path: Path, *, start: int = 0, frames: int = -1) -> tuple[torch.Tensor, int]:
    """Reads WAV, FLAC, Ogg or AIFF (what libsndfile reads).

    Args:
        start: first sample.
        frames: number of samples, fewer at the end of the file; -1 reads to the end.

    Returns:
        audio (channels, samples) and its sample rate in Hz.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    import soundfile
    import torch

    try:
        data, sample_rate = soundfile.read(os.fsencode(path), frames, start, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, TypeError) as error:
        reason = "no such file" if not path.exists() else str(error)
        raise UserError(f"{path}: cannot be read as audio: {reason}") from None
    return torch.from_numpy(np.ascontiguousarray(data.T)), sample_rate


def write_flac(
    path: Path, audio: torch.Tensor, sample_rate: int, *, bits: int = 16, tags: Mapping[str, str] | None = None
) -> None:
    """Writes a FLAC file atomically. Equal input gives equal bytes: samples are rounded, without dither.

    Args:
        audio: (channels, samples); what lies outside [-1, 1] is clipped.
        bits: 16 or 24.
        tags: Vorbis comments by name, in this order.

    Raises:
        UserError: NaN or infinity in the audio.
    """
    import torch

    if not bool(torch.isfinite(audio).all()):
        raise UserError(f"{path}: the audio to write holds NaN or infinite samples")
    with atomic_path(path) as temporary:
        with flac_writer(temporary, sample_rate, audio.shape[0], bits) as file:
            file.write(audio.detach().float().cpu().clamp(-1, 1).T.numpy())
        write_tags(temporary, tags or {})


def resample(audio: torch.Tensor, old_rate: int, new_rate: int, quality: str = "VHQ") -> torch.Tensor:
    """Resamples (channels, samples) from old_rate to new_rate (Hz) with soxr; the length becomes the rounded ratio."""
    import soxr
    import torch

    if old_rate == new_rate:
        return audio
    data = soxr.resample(np.ascontiguousarray(audio.float().cpu().numpy().T), old_rate, new_rate, quality)
    return torch.from_numpy(np.ascontiguousarray(data.T)).to(audio.device)


def mix_channels(audio: torch.Tensor, channels: int) -> torch.Tensor:
    """Brings (n, samples) to `channels` = 1 or 2, as `mixing_matrix` says; equal counts return the same tensor."""
    import torch

    if audio.shape[0] == channels:
        return audio
    return torch.from_numpy(mixing_matrix(audio.shape[0], channels)).to(audio) @ audio


def to_stereo(audio: torch.Tensor) -> torch.Tensor:
    """(n, samples) to (2, samples)."""
    return mix_channels(audio, 2)


def loudness_lufs(audio: torch.Tensor, sample_rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770-4) of (channels, samples) in LUFS; -inf for silence.

    Not torchaudio.functional.loudness: its filters clamp to [-1, 1], so that it reads loud material too low. Clips
    shorter than one gating block (0.4 s) are measured whole, without gates.
    """
    meter = LoudnessMeter(sample_rate, audio.shape[0])
    data = audio.detach().float().cpu().numpy().T
    for at in range(0, len(data), meter.chunk_frames):
        meter.add(data[at : at + meter.chunk_frames])
    return meter.integrated()


def true_peak(audio: torch.Tensor, sample_rate: int) -> float:
    """Highest value of (channels, samples), between the samples too, as a factor of full scale; see TruePeakMeter."""
    meter = TruePeakMeter(sample_rate, audio.shape[0])
    meter.add(audio.detach().float().cpu().numpy().T)
    return meter.result()


def read_tags(path: Path) -> dict[str, str]:
    """A file's tags under `TAG_NAMES`, whatever its format calls them; several values are joined with "; ".

    Files without tags, and with tags that cannot be read, give {}.
    """
    import mutagen

    try:
        file = mutagen.File(path)
        items = list((file.tags or {}).items()) if file is not None else []
    except Exception:  # mutagen's parsers raise many kinds of errors on damaged files; the audio may still be good.
        return _soundfile_tags(path)
    tags: dict[str, str] = {}
    for key, value in items:
        name = _ID3.get(key[:4]) or _MP4.get(key) or _OTHER.get(key.lower()) or key.lower()
        values = getattr(value, "text", None) or getattr(value, "url", None) or value
        text = "; ".join(str(item) for item in values) if isinstance(values, list | tuple) else str(values)
        if name in TAG_NAMES and text.strip() and name not in tags:
            tags[name] = text.replace("\0", "; ").encode("utf-8", "replace").decode()
    tags = tags or _soundfile_tags(path)
    return {name: tags[name] for name in TAG_NAMES if name in tags}


def _soundfile_tags(path: Path) -> dict[str, str]:
    """The strings of a WAV file's INFO chunk, which mutagen does not read."""
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return {name: text for name, text in file.copy_metadata().items() if name in TAG_NAMES and text.strip()}
    except (soundfile.LibsndfileError, TypeError, UnicodeDecodeError):
        return {}


def write_tags(path: Path, tags: Mapping[str, str]) -> None:
    """Replaces the tags of a FLAC file."""
    if not tags:
        return
    import mutagen.flac

    file = mutagen.flac.FLAC(path)
    file.delete()
    for name, text in tags.items():
        file[name] = str(text)
    # No spare room: a fixed layout keeps equal inputs at equal bytes.
    file.save(padding=lambda info: 0)


def flac_writer(path: Path, sample_rate: int, channels: int, bits: int):
    """An open soundfile.SoundFile that takes float32 blocks (samples, channels) and writes FLAC of 16 or 24 bits."""
    import soundfile

    return soundfile.SoundFile(os.fsencode(path), "w", sample_rate, channels, f"PCM_{bits}", format="FLAC")


def mixing_matrix(source: int, target: int) -> np.ndarray:
    """The (target, source) float32 matrix that mixes channels in WAV order down or up (ITU-R BS.775, without LFE).

    Raises:
        ValueError: target is not 1 or 2, or source is not 1 to 8.
    """
    if target not in (1, 2) or not 1 <= source <= 8:
        raise ValueError(f"cannot mix {source} channels to {target}")
    c, h = math.sqrt(0.5), math.sqrt(0.25)
    # Columns: front left, front right, centre, LFE, back left, back right, side left, side right.
    left_right = {
        1: [[1, 1]],
        2: [[1, 0], [0, 1]],
        3: [[1, 0], [0, 1], [c, c]],
        4: [[1, 0], [0, 1], [c, 0], [0, c]],
        5: [[1, 0], [0, 1], [c, c], [c, 0], [0, c]],
        6: [[1, 0], [0, 1], [c, c], [0, 0], [c, 0], [0, c]],
        7: [[1, 0], [0, 1], [c, c], [0, 0], [h, h], [c, 0], [0, c]],
        8: [[1, 0], [0, 1], [c, c], [0, 0], [c, 0], [0, c], [c, 0], [0, c]],
    }[source]
    stereo = np.array(left_right, np.float32).T
    return stereo if target == 2 else stereo.mean(0, keepdims=True)


class LoudnessMeter:
    """Integrated loudness (ITU-R BS.1770-4) of a signal given in blocks, in constant memory per minute."""

    _HOP = 0.1  # s: gating blocks of 0.4 s that overlap by 75 % are sums of four of these
    _PREROLL = 0.25  # s: the filters' memory has long faded by then

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.hop = max(round(self._HOP * sample_rate), 1)
        self.chunk_frames = 20 * self.hop
        self._weights = np.array([1, 1, 1, 0, 1.41, 1.41, 1.41, 1.41][:channels] if channels > 4 else [1.0] * channels)
        self._held = np.zeros((0, channels), np.float32)
        self._before = np.zeros((round(self._PREROLL * sample_rate), channels), np.float32)
        self._response = k_weighting(self.chunk_frames + len(self._before), sample_rate)
        self._hops: list[np.ndarray] = []
        self._tail = 0.0  # energy of the last, incomplete hop: it only counts for clips shorter than a block
        self._samples = 0

    def add(self, block: np.ndarray) -> None:
        """Takes (samples, channels), float32, of any length."""
        self._samples += len(block)
        self._held = np.concatenate([self._held, block])
        while len(self._held) >= self.chunk_frames:
            self._measure(self._held[: self.chunk_frames])
            self._held = self._held[self.chunk_frames :]

    def integrated(self) -> float:
        """The loudness in LUFS of all that was added; -inf for silence. To be called once, at the end."""
        if len(self._held):
            self._measure(self._held)
            self._held = self._held[:0]
        hops = np.concatenate(self._hops) if self._hops else np.zeros(0)
        if len(hops) < 4:
            return _lufs((hops.sum() + self._tail) / max(self._samples, 1))
        blocks = np.convolve(hops, np.ones(4), "valid") / (4 * self.hop)
        loud = blocks[blocks > _energy(-70.0)]
        if not len(loud):
            return -math.inf
        return _lufs(loud[loud > loud.mean() * 0.1].mean())

    def _measure(self, chunk: np.ndarray) -> None:
        """Filters a chunk together with what came before it, and keeps the energy of each of its hops."""
        signal = np.concatenate([self._before, chunk])
        preroll = len(self._before)
        self._before = signal[-preroll:]
        # The product of spectra is a circular convolution: what wraps around lands in the preroll, which is dropped.
        length = self.chunk_frames + preroll
        spectrum = np.fft.rfft(np.ascontiguousarray(signal.T), length) * self._response
        weighted = np.fft.irfft(spectrum, length)[:, preroll : len(signal)]
        energy = self._weights @ np.square(weighted, dtype=np.float64)
        whole = len(energy) // self.hop * self.hop
        self._hops.append(energy[:whole].reshape(-1, self.hop).sum(1))
        self._tail = float(energy[whole:].sum())


class TruePeakMeter:
    """The highest value of a signal between its samples too (ITU-R BS.1770-4, annex 2: four times oversampled)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(sample_rate, 4 * sample_rate, channels, dtype="float32", quality="HQ")
        self._channels = channels
        self._peak = 0.0

    def add(self, block: np.ndarray) -> None:
        """Takes (frames, channels), float32."""
        for data in (block, self._stream.resample_chunk(np.ascontiguousarray(block))):
            if data.size:
                self._peak = max(self._peak, float(data.max()), -float(data.min()))

    def result(self) -> float:
        """The peak as a factor of full scale; to be called once, at the end."""
        with contextlib.suppress(ValueError):
            data = self._stream.resample_chunk(np.zeros((0, self._channels), np.float32), last=True)
            self._peak = max(self._peak, float(data.max()), -float(data.min()))
        return self._peak


def k_weighting(length: int, sample_rate: int) -> np.ndarray:
    """BS.1770's K-weighting at the rfft bins of `length` samples: its two biquads, transformed to any sample rate."""
    z = np.exp(-2j * np.pi * np.arange(length // 2 + 1) / length)
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = _biquad(z, (high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k), k, q)
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    high_pass = _biquad(z, (1.0, -2.0, 1.0), k, q) * (1 + k / q + k * k)
    return (shelf * high_pass).astype(np.complex64)


def _biquad(z: np.ndarray, numerator: tuple[float, float, float], k: float, q: float) -> np.ndarray:
    """The response of a biquad whose denominator is the bilinear transform of s^2 + s / q + 1."""
    a = (1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)
    b = numerator
    return (b[0] + b[1] * z + b[2] * z * z) / (a[0] + a[1] * z + a[2] * z * z)


def _energy(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def _lufs(energy: float) -> float:
    return 10 * math.log10(energy) - 0.691 if energy > 0 else -math.inf
