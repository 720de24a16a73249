"""What the model's process needs of a model; `webui.worker.SamplingModel` has it, and the tests' fake one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sampling.request import Request

if TYPE_CHECKING:
    from numpy import ndarray
    from PIL.Image import Image


class Report(Protocol):
    """What the model says after each step; see `sampling.generator.StepReport`."""

    fraction: float
    text: str

    def preview(self) -> Image:
        """A picture of the clip as it is now; costs time."""
        ...


class Samples(Protocol):
    """Audio (2, N), full scale at +-1: an array, or a tensor on the CPU."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(2, N)."""
        ...

    def __array__(self) -> ndarray:
        """The samples themselves."""
        ...


class Result(Protocol):
    """A finished clip; see `sampling.generator.Result`."""

    audio: Samples
    sample_rate: int
    fingerprint: str
    """Of the weights that made it."""


class Model(Protocol):
    """What this process needs of a model."""

    fingerprint: str
    sample_rate: int
    least_seconds: float
    """Length of the shortest clip that it can make."""
    cancelled: type[Exception]
    """Raised in `on_step` to stop."""

    def generate(self, request: Request, on_step: Callable[[Report], None]) -> Result:
        """The clip; `on_step` is called after each step."""

    def save(self, result: Result, folder: Path) -> Path:
        """Writes the audio, never over another file; returns its path."""
        ...

    def picture(self, result: Result | Heard) -> Image:
        """The spectrogram of a finished clip."""
        ...

    def recover(self) -> None:
        """Frees what a failed job may have left in memory."""


@dataclass(frozen=True)
class Heard:
    """A clip as it was read from a file; what `Model.picture` needs of a result."""

    audio: Samples
    sample_rate: int
    fingerprint: str = ""
