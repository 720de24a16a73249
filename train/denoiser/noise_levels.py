"""The noise levels that a denoiser is trained at, and those of its validation."""

from __future__ import annotations

from torch import Tensor

from dualdiffusion.contracts import Denoiser
from dualdiffusion.diffusion.sigma_sampling import AdaptiveDensity, SigmaDensity
from dualdiffusion.randomness import StepRandom


class TrainingLevels:
    """Draws noise levels; where their density is adaptive, it follows what the denoiser learns.

    Args:
        density: of training.
        validation: of validation.
    """

    def __init__(self, density: SigmaDensity, validation: SigmaDensity) -> None:
        self.density, self.validation = density, validation
        self.adaptive = AdaptiveDensity(density) if density.distribution == "adaptive" else None

    def drawn(self, random: StepRandom, *, training: bool) -> Tensor:
        """One level for each sample: (B,) float32, on the CPU."""
        if not training:
            return self.validation.sigma(random.quantiles)
        quantiles = random.quantiles if self.density.stratified else random.rand().double()
        return (self.adaptive or self.density).sigma(quantiles)

    def follow(self, denoiser: Denoiser, samples: int) -> bool:
        """Lets an adaptive density follow the log-variance, where that is due; returns whether it moved."""
        if self.adaptive is None or not self.adaptive.due(samples):
            return False
        self.adaptive.update(lambda sigma: denoiser.log_variance(sigma.to(denoiser.device)), samples)
        return True

    def state(self) -> dict[str, Tensor]:
        """Of the adaptive density, if there is one."""
        return {} if self.adaptive is None else self.adaptive.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state."""
        if self.adaptive is not None:
            self.adaptive.load_state(state)
