"""One audio file, opened by its content and delivered whole, in blocks, or refused with a reason."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av
import numpy as np
import soundfile

from dataset_processing.decode import mpeg, ogg, pcm
from dataset_processing.decode.claim import AudioError, Claim
from dataset_processing.decode.sniff import HEAD_BYTES, MPEG, OGG, Kind, extension_of, sniff

_BLOCK_FRAMES = 1 << 16
_MAX_CHANNELS = 8
_MAX_RATE = 768_000


@dataclass(frozen=True)
class AudioFile:
    """An open audio file. `blocks` yields float32 arrays (frames, channels) and may be read once.

    Reading to the end also checks that everything the file says it holds has been delivered; `blocks` raises AudioError
    otherwise. Channels stand in WAV order (front left, front right, centre, LFE, back left, ...).
    """

    kind: str
    sample_rate: int
    channels: int
    notes: tuple[str, ...]
    blocks: Iterator[np.ndarray]


@contextlib.contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """Opens a file by its content, whatever it is called.

    Raises:
        AudioError: not audio, not supported, damaged or truncated; the message is a reason for the report.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    kind = sniff(head)
    name, claim = kind.name, Claim()
    if kind is OGG:
        held = ogg.inspect(path)
        opened, name, claim = _open_ogg(path, held), held.codec, Claim(notes=held.notes)
    elif kind is MPEG:
        claim = mpeg.claim(path)
        opened = _open_av(path, kind, claim)
    else:
        claim = pcm.claim(path, kind.name)
        opened = (_open_soundfile if kind.soundfile else _open_av)(path, kind, claim)
    with opened as (sample_rate, channels, blocks, notes):
        if not 0 < channels <= _MAX_CHANNELS:
            raise AudioError(f"{channels} channels: at most {_MAX_CHANNELS} are supported")
        if not 1000 <= sample_rate <= _MAX_RATE:
            raise AudioError(f"an impossible sample rate of {sample_rate} Hz")
        extension = extension_of(path.name)
        if extension not in kind.extensions:
            notes = (*notes, f"holds {name} although its name says {'.' + extension if extension else 'nothing'}")
        yield AudioFile(name, sample_rate, channels, (*claim.notes, *notes), blocks)


@contextlib.contextmanager
def _open_soundfile(path: Path, kind: Kind, claim: Claim) -> Iterator[tuple]:
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(soundfile.SoundFile(os.fsencode(path)))
        except (soundfile.LibsndfileError, TypeError) as error:
            # Rare codecs inside a known container (MP3 in WAV, ...): FFmpeg knows more of them.
            with contextlib.suppress(AudioError), _open_av(path, kind, claim) as opened:
                yield opened
                return
            raise AudioError(f"a damaged {kind.name} file: {_reason(error)}") from None
        yield file.samplerate, file.channels, _read_soundfile(file, claim), ()


def _read_soundfile(file: soundfile.SoundFile, claim: Claim) -> Iterator[np.ndarray]:
    """Blocks of a file, compared with the length it states and with FLAC's checksum of its samples."""
    stated = claim.frames if claim.frames is not None else (0 if file.frames > 1 << 48 else file.frames)
    digest = hashlib.md5(usedforsecurity=False) if claim.md5 and claim.bits in (8, 16, 24) else None
    delivered = 0
    while True:
        try:
            block = file.read(_BLOCK_FRAMES, dtype="int32" if digest else "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"damaged after {delivered / file.samplerate:.2f} s: {_reason(error)}") from None
        if not len(block):
            break
        delivered += len(block)
        if digest:
            digest.update(_packed(block, claim.bits or 0))
            block = block.astype(np.float32) * np.float32(2.0**-31)
        yield block
    Claim(stated).check(delivered, file.samplerate)
    if digest and digest.digest() != claim.md5:
        raise AudioError("damaged: its samples do not match the checksum that the FLAC file states")


def _packed(block: np.ndarray, bits: int) -> bytes:
    """Samples that fill int32 from the top, as the little-endian bytes over which FLAC takes its checksum."""
    as_bytes = np.ascontiguousarray(block, dtype="<i4").view(np.uint8).reshape(*block.shape, 4)
    return as_bytes[:, :, 4 - bits // 8 :].tobytes()


@contextlib.contextmanager
def _open_ogg(path: Path, held: ogg.OggFile) -> Iterator[tuple]:
    """All parts of a chained file, one after the other; each is a file of its own to the decoder."""
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(_open_av(path, OGG, part.claim, part)) for part in held.parts]
        if len({channels for _, channels, _, _ in parts}) > 1:
            raise AudioError("chained Ogg parts of different channel counts: split the file first")
        sample_rate, channels, _, notes = parts[0]
        yield sample_rate, channels, itertools.chain.from_iterable(blocks for _, _, blocks, _ in parts), notes


@contextlib.contextmanager
def _open_av(path: Path, kind: Kind, claim: Claim, part: ogg.Part | None = None) -> Iterator[tuple]:
    with contextlib.ExitStack() as stack:
        # An open file and a fixed format: FFmpeg sees no name, guesses nothing, and cannot be led to other files.
        file: IO[bytes] = stack.enter_context(open(path, "rb"))
        if part is not None and (part.start, part.end) != (0, path.stat().st_size):
            file.seek(part.start)
            file = io.BytesIO(file.read(part.end - part.start))
        try:
            container = stack.enter_context(av.open(file, format=kind.av_format, metadata_errors="replace"))
        except (av.FFmpegError, ValueError) as error:
            raise AudioError(f"a damaged {kind.name} file: {_reason(error)}") from None
        if not container.streams.audio:
            held = "video but no audio" if container.streams.video else "no audio"
            raise AudioError(f"a {kind.name} file that holds {held}")
        stream = container.streams.audio[0]
        notes = []
        if any(not video.disposition & av.stream.Disposition.attached_pic for video in container.streams.video):
            notes.append("holds video too; only its audio is used")
        if len(container.streams.audio) > 1:
            notes.append(f"holds {len(container.streams.audio)} audio streams; the first is used")
        if not stream.sample_rate or not stream.codec_context:
            raise AudioError(f"a {kind.name} file whose audio cannot be decoded")
        if claim.frames is None and kind.name not in ("AAC", "AC-3"):
            claim = _container_claim(container, stream, claim)
        yield stream.sample_rate, stream.channels, _read_av(container, stream, claim), tuple(notes)


def _container_claim(container: av.container.InputContainer, stream: av.AudioStream, claim: Claim) -> Claim:
    """The length that a container states; raw streams only estimate theirs and are not asked."""
    if stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration:
        seconds = container.duration / av.time_base - max(container.start_time or 0, 0) / av.time_base
    else:
        return claim
    return Claim(round(seconds * stream.sample_rate), stream.sample_rate // 10, claim.notes)


def _read_av(container: av.container.InputContainer, stream: av.AudioStream, claim: Claim) -> Iterator[np.ndarray]:
    """Blocks of a stream. Damaged packets are skipped; the length delivered then decides whether that matters."""
    rate, channels = stream.sample_rate, stream.channels
    delivered, damaged, started_at = 0, 0, 0.0
    resampler = av.AudioResampler(format="fltp")
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                damaged += 1
                continue
            for frame in frames:
                if frame.sample_rate != rate or frame.layout.nb_channels != channels:
                    raise AudioError("its sample rate or channel count changes on the way; split it first")
                if not delivered:
                    started_at = max(frame.time or 0.0, 0.0)
                for plain in resampler.resample(frame):
                    delivered += plain.samples
                    yield plain.to_ndarray().T
    except av.FFmpegError as error:
        raise AudioError(f"damaged after {delivered / rate:.2f} s: {_reason(error)}") from None
    if damaged and not delivered:
        raise AudioError("nothing in it can be decoded: damaged")
    # A stream cut out of a longer one keeps its positions: it holds less than its last position says.
    offset = round(started_at * rate)
    frames_stated = None if claim.frames is None else max(claim.frames - offset, 0)
    Claim(frames_stated, claim.tolerance).check(delivered, rate)
    if claim.frames is None and damaged:
        raise AudioError(f"damaged: {damaged} of its packets cannot be decoded")


def rechunk(blocks: Iterable[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of exactly `frames` rows; the last may be shorter."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        while count + len(block) >= frames:
            head, block = block[: frames - count], block[frames - count :]
            yield np.concatenate([*held, head])
            held, count = [], 0
        if len(block):
            held.append(block)
            count += len(block)
    if held:
        yield np.concatenate(held)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
    return str(text).removeprefix("Error : ").rstrip(".").lower()
