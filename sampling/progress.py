"""What is told while clips are made, and how a callback ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from dualdiffusion.contracts import Format
from dualdiffusion.pictures.audio import visible
from sampling.preview import Preview, picture
from sampling.solvers.samplers import SamplerStep

# Share of the progress that sampling is given; the rest is phase recovery.
SAMPLING_SHARE = 0.8


class Cancelled(Exception):  # noqa: N818 - not an error: raised by a callback to end the generation
    """The generation was cancelled by its callback."""


@dataclass(frozen=True)
class StepReport:
    """Where a generation stands.

    Attributes:
        fraction: from 0 to 1.
        text: what is being done, for people.
        preview: makes a picture of the spectrogram as it is now estimated; costs a pass through the VAE's decoder, of
            a long clip only a part.
    """

    fraction: float
    text: str
    preview: Callable[[], Image.Image]


OnStep = Callable[[StepReport], None]


class Progress:
    """Turns what happens into reports, over all clips that were asked for.

    Args:
        done: clips before this batch.
        count: clips of this batch.
        total: clips of all.
    """

    def __init__(self, on_step: OnStep | None, done: int, count: int, total: int) -> None:
        self._on_step, self._done, self._count, self._total = on_step, done, count, total
        self._fraction, self._steps = done / total, ""
        self._preview: Callable[[], Image.Image] = lambda: Image.new("RGB", (1, 1))

    def begin(self, preview: Preview, latents: Tensor) -> None:
        """Sampling begins; `latents` are what a preview shows until there is an estimate."""
        self._pictures = preview
        self._show(latents)

    def _show(self, latents: Tensor) -> None:
        self._preview = lambda: self._pictures.picture(latents[:1])

    def tell(self, text: str) -> None:
        """Reports that something goes on; a callback may end it here."""
        if self._on_step:
            self._on_step(StepReport(self._fraction, text, self._preview))

    def at_window(self, done: int, windows: int) -> None:
        """Before each window of a long clip: `done` of `windows` are made."""
        if done:  # before the first, nothing has happened since the last report
            self.tell(f"sampling {self._steps or 'the first step'}, window {done + 1}/{windows}")

    def after_step(self, step: SamplerStep) -> None:
        """After each step of sampling."""
        self._show(step.denoised)
        self._steps = f"{step.index + 1}/{step.steps}"
        share = SAMPLING_SHARE * (step.index + 1) / step.steps
        self._fraction = (self._done + self._count * share) / self._total
        self.tell(f"sampling {self._steps}")

    def at_phase(self, number: int, done: int, total: int, x: Tensor, format: Format) -> None:
        """After each iteration of phase recovery of clip `number`, which is x (C, F, T) in its format."""
        self._preview = lambda: picture(visible(format, x))
        share = SAMPLING_SHARE + (1 - SAMPLING_SHARE) * done / total
        rest = (1 - SAMPLING_SHARE) * number + SAMPLING_SHARE * (self._count - 1)
        self._fraction = (self._done + rest + share) / self._total
        self.tell(f"recovering phase {done}/{total}")
