"""How clips are written: container, bits, level. No part of the request, because any clip can be written in any way.

Imports no torch, so that `--help` and wrong options are answered at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualdiffusion.config import Config

SUBTYPES: dict[str, dict[int | None, str]] = {
    "flac": {16: "PCM_16", 24: "PCM_24"},
    "wav": {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"},
    "mp3": {None: "MPEG_LAYER_III"},
    "ogg": {None: "VORBIS"},
}
"""libsndfile's name of what each format holds, by bits per sample; the first is the default."""
DEFAULT_CEILING = -1.0


class OutputSettings(Config):
    """How a clip is written. The defaults change nothing: 16-bit FLAC, as loud as the clip was made.

    A clip is made with peaks of 0.99 of full scale at most (`sampling.batch.PEAK_LIMIT`), whatever stands here.
    """

    format: Literal["flac", "wav", "mp3", "ogg"] = "flac"
    """Container, and suffix of the file; ogg holds Vorbis."""
    bits: Literal[16, 24, 32] | None = None
    """Of a sample: flac 16 or 24, wav 16, 24 or 32 (floating point); null for 16, and for mp3 and ogg."""
    loudness: Annotated[float, Field(ge=-70, le=0)] | None = None
    """Integrated loudness to bring clips to, in LUFS (ITU-R BS.1770-4); null leaves them as loud as they are."""
    true_peak: Annotated[float, Field(ge=-60, le=0)] | None = None
    """Ceiling of the true peak in dBTP, which louder clips are made quieter for; null is -1 with a loudness, else none.
    What mp3 and ogg make of a clip may lie a little above."""

    @model_validator(mode="after")
    def _bits_fit(self) -> OutputSettings:
        known = [bits for bits in SUBTYPES[self.format] if bits is not None]
        if self.bits is not None and self.bits not in known:
            has = f"has {' or '.join(map(str, known))} bits" if known else "has no bits to choose; leave it out"
            raise ValueError(f"bits: {self.format} {has}, not {self.bits}")
        return self

    @property
    def depth(self) -> int | None:
        """Bits per sample; None for lossy formats."""
        return self.bits or next(iter(SUBTYPES[self.format]))

    @property
    def subtype(self) -> str:
        """libsndfile's name of what is in the container."""
        return SUBTYPES[self.format][self.depth]

    @property
    def ceiling(self) -> float | None:
        """Of the true peak, in dBTP; None where there is none."""
        return DEFAULT_CEILING if self.true_peak is None and self.loudness is not None else self.true_peak

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for settings that write equal files."""
        return self.format, self.subtype, self.loudness, self.ceiling
