"""Power-function exponential moving averages of the weights (Karras et al. 2023, section 3)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn


def exponent_of(std: float) -> float:
    """gamma of the profile t^gamma whose relative standard deviation is `std` (equation 126, solved for gamma).

    Raises:
        ValueError: std is not in (0, 0.28), the widths a power function can have.
    """
    if not 0 < std < 0.28:
        raise ValueError(f"an EMA's std must be between 0 and 0.28, not {std}")
    inverse = std**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


class PowerEMA:
    """One average; its memory is a fixed share of the training so far, so that it needs no warm-up.

    Args:
        std: width of the averaging profile relative to the length of the training.
    """

    def __init__(self, module: nn.Module, std: float) -> None:
        self.std, self.exponent = std, exponent_of(std)
        self.state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @property
    def name(self) -> str:
        """The name of its file in the model folder, without suffix."""
        return f"ema_{self.std:.3f}"

    @torch.no_grad()
    def update(self, module: nn.Module, *, samples: int, batch_size: int) -> None:
        """Takes in the weights after a step that ended at `samples` samples (equation 127)."""
        beta = (1 - batch_size / samples) ** (self.exponent + 1)
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor.detach(), 1 - beta)
            else:
                self.state[name].copy_(tensor)

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside the block the module has the averaged weights, and is in evaluation mode."""
        with restored(module):
            module.load_state_dict(self.state)
            yield


@contextlib.contextmanager
def restored(module: nn.Module) -> Iterator[None]:
    """Inside the block the module is in evaluation mode; afterwards it is as it was, weights and buffers included."""
    own = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.load_state_dict(own)
        module.train(training)
