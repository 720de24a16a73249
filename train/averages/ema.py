"""Power-function exponential moving averages of the weights (Karras et al. 2023, section 3)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

# The widest profile: that of gamma = 0, which weights all of the past alike, has the std 1 / sqrt(12).
MAX_STD = 0.28


@functools.cache
def exponent_of(std: float) -> float:
    """gamma of the profile t^gamma whose relative standard deviation is `std` (equation 126, solved for gamma).

    Raises:
        ValueError: std is not in (0, 0.28), the widths a power function can have.
    """
    if not 0 < std < MAX_STD:
        raise ValueError(f"an EMA's std must be between 0 and {MAX_STD}, not {std}")
    inverse = std**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def ema_name(std: float) -> str:
    """The name of an EMA's file in the model folder, without suffix."""
    return f"ema_{std:.3f}"


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
        return ema_name(self.std)

    @torch.no_grad()
    def update(self, module: nn.Module, *, samples: int, batch_size: int) -> None:
        """Takes in the weights after a step that ended at `samples` samples (equation 127)."""
        # Nearer to 1 the longer the training has gone, so that the average always spans the same share of it.
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
            normalize(module)
            yield


def normalize(module: nn.Module) -> None:
    """Gives averaged weights the length that the network wants of them.

    An average of filters of unit magnitude is shorter than they are. Normalising in forward, as the paper does, undoes
    that for averages as for all weights; a `Module` that normalises after updates is told to do it here.
    """
    after_update = getattr(module, "after_update", None)
    if after_update is not None:
        after_update()


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
