"""Audio files that clips start from, and what of them is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import soundfile
import torch
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.codec import CONTEXT_COLUMNS, Codec
from dualdiffusion.dsp.tiles import HeldAudio
from dualdiffusion.errors import UserError
from dualdiffusion.files import sha256_of
from sampling.request import MAX_SECONDS, Request, Source
from sampling.tasks.canvas import Canvas
from sampling.tasks.known_regions import FADE_SECONDS, known_frames, known_weight

# Seconds by which decoders of coded audio may differ, at its ends.
TOLERANCE = 0.1


def load_source(source: Source, *, sample_rate: int, channels: int) -> tuple[Tensor, str]:
    """The part of a file that is used, (channels, N) at the model's rate, and the SHA-256 of the file.

    Raises:
        UserError: a file that is missing, is no audio, has changed, or has no such part.
    """
    path = Path(source.path)
    if not path.is_file():
        raise UserError(f"source.path: {path}: no such file")
    digest = sha256_of(path)
    if source.sha256 not in (None, digest):
        raise UserError(f"source.path: {path}: has changed since the clip was made from it; put the old file there")
    start, frames, rate = _part(source, path)
    samples, rate = audio.read(path, start=start, frames=frames)
    if samples.shape[-1] < frames or not bool(samples.isfinite().all()):
        raise UserError(f"source.path: {path}: is damaged: it ends too early, or holds samples that are no numbers")
    return audio.resample(audio.mix_channels(samples, channels), rate, sample_rate), digest


def _is_read_short(path: Path, format: str, frames: int, sample_rate: int) -> bool:
    """Whether libsndfile, which tells nobody, reads less than the file holds or should hold.

    So it is with Ogg streams and MP3 files that follow one another in a file, and with WAV files that were cut off.
    """
    if format in ("OGG", "MP3"):
        try:
            with av.open(os.fspath(path)) as file:
                whole = sum(frame.samples * sample_rate / frame.sample_rate for frame in file.decode(audio=0))
        except (av.FFmpegError, UnicodeError):
            return False  # what libsndfile has read is all that anyone can tell
        return whole > frames + TOLERANCE * sample_rate
    with open(path, "rb") as file:
        header = file.read(8)
    size = int.from_bytes(header[4:8], "little")
    streamed = size in (0, 0xFFFFFFFF)
    return header[:4] == b"RIFF" and not streamed and size + 8 > path.stat().st_size + 1


def _part(source: Source, path: Path) -> tuple[int, int, int]:
    """First frame, number of frames and rate of the part that is used."""
    try:
        info = soundfile.info(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise UserError(f"source.path: {path}: cannot be read as audio: {error.error_string}") from None
    if _is_read_short(path, info.format, info.frames, info.samplerate):
        raise UserError(
            f"source.path: {path}: only {info.frames / info.samplerate:.6g} s of it can be read: it is cut off, or "
            "several files in one; convert it to FLAC with another program"
        )
    start, has = round(source.start * info.samplerate), info.frames / info.samplerate
    if start >= info.frames:
        raise UserError(f"source.start: {source.start:g} s lies behind the end of {path}, which has {has:.6g} s")
    frames = info.frames - start
    if source.seconds is not None:
        wanted = round(source.seconds * info.samplerate)
        if wanted > frames:
            raise UserError(
                f"source.seconds: {path} has {has:.6g} s, not {source.seconds:g} from {source.start:g} s on"
            )
        frames = wanted
    if frames > MAX_SECONDS * info.samplerate:
        raise UserError(f"source: {path} has {has:.6g} s; take at most {MAX_SECONDS:g} with source.seconds")
    return start, frames, info.samplerate


@dataclass(frozen=True)
class PreparedSource:
    """A source on its canvas of T columns, of `column` samples each.

    Attributes:
        audio: (C, T * column), silent around the source.
        latents: (1, Z, F, T), 0 far from the source.
        known: (T,), true where the latents are kept.
        held: the audio and how far it is kept, or None where nothing is.
    """

    audio: Tensor
    latents: Tensor
    known: Tensor
    held: HeldAudio | None

    def put_back(self, x: Tensor, codec: Codec) -> Tensor:
        """A decoded spectrogram (C, F, frames) with the source's own frames where it is kept."""
        if self.held is None:
            return x
        weight = known_frames(self.held[1], codec.format.hop_length)
        return torch.where(weight > 0, torch.lerp(x, codec.spectrogram(self.audio), weight), x)


def prepare_source(samples: Tensor, canvas: Canvas, codec: Codec, sample_rate: int) -> PreparedSource:
    """Puts a source (C, N) onto its canvas.

    To the VAE, what lies before and after the source is its mirror image: beside silence, the latents at its ends
    would tell of an ending.

    Raises:
        UserError: the source is too short.
    """
    column, total = codec.column_samples, canvas.columns * codec.column_samples
    if samples.shape[-1] < column:
        raise UserError(f"source: has {samples.shape[-1] / sample_rate:.3g} s; it must have {column / sample_rate:.3g}")
    samples = samples.to(codec.vae.device)
    around = (canvas.source, total - canvas.source - samples.shape[-1])
    whole = torch.nn.functional.pad(samples, around)
    first = max(0, canvas.source // column - CONTEXT_COLUMNS)
    last = min(canvas.columns, -(-(canvas.source + samples.shape[-1]) // column) + CONTEXT_COLUMNS)
    mirrored = _mirrored(samples, canvas.source - first * column, (last - first) * column)
    latents = codec.encode(codec.spectrogram(mirrored))
    latents = torch.nn.functional.pad(latents, (first, canvas.columns - last))
    known = torch.tensor(canvas.known_columns(column), device=latents.device)
    if canvas.made is None:
        return PreparedSource(whole, latents, known, None)
    outside = ((0, canvas.source), (canvas.source + samples.shape[-1], total))
    made = [region for region in (*canvas.made, *outside) if region[0] < region[1]]
    weight = known_weight(total, canvas.made, round(FADE_SECONDS * sample_rate), whole.device)
    # The rest of the last column is neither made nor known; the audio ends before it.
    for start, end in made:
        weight[start:end] = 0
    return PreparedSource(whole, latents, known, (whole, weight))


def _mirrored(samples: Tensor, before: int, length: int) -> Tensor:
    """(C, N) -> (C, length), of which `before` samples lie before the first; mirror images continue it."""
    count = samples.shape[-1]
    time = torch.arange(-before, length - before, device=samples.device) % (2 * count)
    return samples[:, torch.minimum(time, 2 * count - 1 - time)]


def with_file(request: Request, digest: str, seconds: float) -> Request:
    """The request with what the file says: its SHA-256, and the length of the clip."""
    changes: dict[str, Any] = {"source": request.source.model_copy(update={"sha256": digest}), "seconds": seconds}
    return request.model_copy(update=changes)
