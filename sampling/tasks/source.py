"""Audio files that clips start from, and what of them is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.audio.decode import AudioError, AudioFile, open_audio
from dualdiffusion.codec import CONTEXT_COLUMNS, Codec
from dualdiffusion.dsp.tiles import HeldAudio
from dualdiffusion.errors import UserError
from dualdiffusion.files import sha256_of
from sampling.request import MAX_SECONDS, Request, Source
from sampling.tasks.canvas import Canvas
from sampling.tasks.known_regions import FADE_SECONDS, known_frames, known_weight

_ADDRESS = re.compile(r"(https?|ftp|file|smb|s3|hf|data|blob|content):", re.IGNORECASE)


class LoadedSource(NamedTuple):
    """The part of a file that is used, (channels, N) at the model's rate.

    Attributes:
        digest: SHA-256 of the file.
        notes: what is odd about it, as a dataset's report says it.
    """

    samples: Tensor
    digest: str
    notes: tuple[str, ...] = ()


def load_source(source: Source, *, sample_rate: int, channels: int) -> LoadedSource:
    """Reads a source.

    Every audio that a dataset is made from can be a source: the same decoder reads both.

    Raises:
        UserError: a file that is missing, is no audio, has changed, or has no such part.
    """
    path = Path(source.path)
    if problem := _no_file(path):
        raise UserError(f"source.path: {source.path}: {problem}")
    digest = sha256_of(path)
    if source.sha256 not in (None, digest):
        raise UserError(f"source.path: {path}: has changed since the clip was made from it; put the old file there")
    try:
        with open_audio(path) as file:
            rate, data, notes = file.sample_rate, _part(source, path, file), file.notes
    except (AudioError, OSError) as error:
        raise UserError(f"source.path: {path}: cannot be read as audio: {error}") from None
    samples = torch.from_numpy(np.ascontiguousarray(data.T))
    if not bool(samples.isfinite().all()):
        raise UserError(f"source.path: {path}: is damaged: it holds samples that are no numbers")
    return LoadedSource(audio.resample(audio.mix_channels(samples, channels), rate, sample_rate), digest, notes)


def _no_file(path: Path) -> str:
    """Why there is no file of that path that could be read; "" where there is one."""
    if path.is_file():
        return ""
    if path.is_dir():
        return "is a folder; name one audio file in it"
    if path.exists():
        return "is no regular file (a pipe, socket or device); write what it gives into a file first"
    if address := _ADDRESS.match(str(path)):
        return f"is an address ({address[1]}:), not a path; name a file, downloaded where it is not on this machine"
    return "a link that leads nowhere" if path.is_symlink() else "no such file"


def _part(source: Source, path: Path, file: AudioFile) -> np.ndarray:
    """The part that is used, (frames, channels); what follows it is not decoded."""
    rate = file.sample_rate
    start, most = round(source.start * rate), int(MAX_SECONDS * rate)
    wanted = most + 1 if source.seconds is None else round(source.seconds * rate)
    held, at, count = [], 0, 0
    for block in file.blocks:
        part = block[max(start - at, 0) :][: wanted - count]
        held.append(part)
        at, count = at + len(block), count + len(part)
        if count == wanted:
            break
    has = at / rate
    if not at:
        raise UserError(f"source.path: {path}: holds no audio data: truncated, or only a header")
    if start >= at:
        raise UserError(f"source.start: {source.start:g} s lies behind the end of {path}, which has {has:.6g} s")
    if source.seconds is not None and count < wanted:
        raise UserError(f"source.seconds: {path} has {has:.6g} s, not {source.seconds:g} from {source.start:g} s on")
    if count > most:
        raise UserError(f"source: {path} has more than {MAX_SECONDS:g} s; take at most as much with source.seconds")
    return np.concatenate(held)


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
