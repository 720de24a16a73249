"""Magnitude-preserving layers: unit variance in, unit variance out, at initialisation and throughout training.

Written from the equations of Karras et al. 2023, "Analyzing and Improving the Training Dynamics of Diffusion Models"
(EDM2), whose numbers are given at each function. Shapes: B batch, C channels, F frequency, T time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dualdiffusion.nn.recomputation import RecomputedConv, UnitMagnitude

# Root mean square of the SiLU of unit normal input.
SILU_MAGNITUDE = 0.596


def unit_magnitude(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    """Scales x to a root mean square of 1 over `axes`. Equations 30 (pixels) and 66 (weights).

    Computed at least in single precision. Its gradient is finite where x is zero.
    """
    return UnitMagnitude.apply(x, (axes,) if isinstance(axes, int) else tuple(axes))[0]


def mp_silu(x: Tensor) -> Tensor:
    """SiLU divided by its root mean square for unit normal input. Equation 81."""
    return F.silu(x) / SILU_MAGNITUDE


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Blend of two uncorrelated unit-variance inputs, t the share of b. Equation 88."""
    # Variances of uncorrelated inputs add up: that of the weighted sum is (1 - t)^2 + t^2.
    length = math.hypot(1 - t, t)
    return torch.add(a * ((1 - t) / length), b, alpha=t / length)


def mp_cat(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Concatenation along channels in which b has weight t whatever the channel counts. Equation 103."""
    return torch.cat([a, b], dim=1) * mp_cat_factors(a, b, t)


def mp_cat_factors(a: Tensor, b: Tensor, t: float) -> Tensor:
    """What `mp_cat` multiplies each channel of the plain concatenation with: (1, C_a + C_b, 1, 1)."""
    widths = (a.shape[1], b.shape[1])
    # An input of C channels adds C times its mean square to the whole, so each is divided by the root of its width.
    length = math.hypot(1 - t, t) / math.sqrt(sum(widths))
    shares = [share / (length * math.sqrt(width)) for share, width in zip((1 - t, t), widths, strict=True)]
    return torch.cat([a.new_full((1, width, 1, 1), share) for share, width in zip(shares, widths, strict=True)], dim=1)


def mp_dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Dropout that keeps the variance: plain dropout divides by 1 - p, which raises it by 1 / (1 - p)."""
    if not training or probability == 0:
        return x
    # What is kept counts 1 / (1 - p) times: a mean square of (1 - p) / (1 - p)^2 = 1 / (1 - p).
    return F.dropout(x, probability) * math.sqrt(1 - probability)


def halve(x: Tensor) -> Tensor:
    """Averages squares of 2 x 2: (B, C, F, T) -> (B, C, F / 2, T / 2)."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Repeats every value as a square of 2 x 2: (B, C, F, T) -> (B, C, 2 F, 2 T)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def edge_gain(x: Tensor, kernel: int) -> Tensor:
    """What brings a zero-padded convolution's output x (B, C, F, T) back to unit variance at its edges: (1, 1, F, T).

    There, only some of the kernel's taps meet input: the variance is their share of all taps, and the gain the inverse
    root of it. On the two rows of a UNet's coarsest level every output is an edge, and would lose a third.
    """
    asked = (*x.shape[-2:], kernel, x.device, torch.promote_types(x.dtype, torch.float32))
    if torch.compiler.is_compiling():  # it becomes a part of what is compiled
        return _edge_gain(*asked)
    gain = _edge_gains.get(asked)
    if gain is None:
        with torch.inference_mode(False):  # else training could not use what sampling has made
            gain = _edge_gain(*asked)
        # Kept where it has values alone: a stand-in belongs to the tracing that made it, and one on the meta device,
        # where the memory of a step is predicted, would make a second prediction differ from the first.
        if type(gain) is Tensor and not gain.is_meta:
            if len(_edge_gains) >= MOST_EDGE_GAINS:
                _edge_gains.clear()
            _edge_gains[asked] = gain
    return gain


def _edge_gain(rows: int, columns: int, kernel: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    def along(size: int) -> Tensor:
        place = torch.arange(size, device=device)
        before, after = place.clamp(max=kernel // 2), (size - 1 - place).clamp(max=kernel // 2)
        return (kernel / (before + after + 1)).sqrt()

    return (along(rows)[:, None] * along(columns))[None, None].to(dtype)


_edge_gains: dict[tuple[Any, ...], Tensor] = {}
"""Those of the sizes used last: to make one takes a dozen small operations, a tenth of a small network's time."""
MOST_EDGE_GAINS = 64


class MPFourier(nn.Module):
    """Features of a number whose inner product is a smooth bell of the difference of two numbers.

    Pairs of cosine and sine of frequencies at the quantiles of a half-normal distribution of the given bandwidth: by
    Bochner's theorem <f(a), f(b)> / C then approximates exp(-(bandwidth (a - b))^2 / 2), and depends on a - b alone.
    Random frequencies and phases, as in equation 75, do so only on average.

    Maps (B,) to (B, channels) of unit magnitude.
    """

    def __init__(self, channels: int, bandwidth: float) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"Fourier features come in pairs, so their number must be even, not {channels}")
        quantiles = (torch.arange(channels // 2, dtype=torch.float64) + 0.5) / (channels // 2)
        half_normal = math.sqrt(2) * torch.erfinv(quantiles)
        self.register_buffer("frequencies", (bandwidth * half_normal).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,) -> (B, channels)."""
        angle = x.float()[:, None] * self.frequencies
        return math.sqrt(2) * torch.cat([angle.cos(), angle.sin()], dim=1).to(x.dtype)


class MPConv(nn.Module):
    """Convolution or linear layer without bias whose weights keep unit variance. Equations 47 and 66.

    The stored weights are brought back to unit variance after each update (`normalize_weights`), not in forward. For
    equal training dynamics the gradient is freed of its radial part before the update (`project_gradients`), as
    normalising in forward would do.

    Args:
        kernel: () for a linear layer, (k, k) for a convolution with zero padding.
        groups: channels are split in so many groups that do not see each other.
        even_edges: outputs whose kernel reaches into the padding are scaled up for what they miss (`edge_gain`).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Sequence[int], groups: int = 1, even_edges: bool = False
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{in_channels} and {out_channels} channels do not divide into {groups} groups")
        self.groups = groups
        self.even_edges = even_edges and len(kernel) == 2 and kernel[0] > 1
        weight = torch.randn(out_channels, in_channels // groups, *kernel)
        self.weight = nn.Parameter(unit_magnitude(weight, tuple(range(1, weight.ndim))))

    def forward(
        self,
        x: Tensor,
        gain: Tensor | float = 1.0,
        *,
        skip: Tensor | None = None,
        modulation: Tensor | None = None,
        silu: bool = False,
    ) -> Tensor:
        """The layer's output times `gain`.

        Args:
            x: (B, C_in) for a linear layer, else (B, C_in, F, T).
            skip, modulation, silu: what a convolution does with its input first. It appends the channels of `skip` to
                it, multiplies it with `modulation` (B or 1, C_in, 1, 1), and applies `mp_silu`. As one operation with
                the convolution, these need no memory for the backward pass (nn/recomputation.py).
        """
        # Weights have unit variance; the sum over one output's inputs then has as much as there are inputs.
        scale = 1 / math.sqrt(self.weight[0].numel())
        if self.weight.ndim == 2:
            return F.linear(x, self.weight.to(x.dtype)) * (gain * scale)
        device = "cpu" if x.device.type == "meta" else x.device.type  # which has no autocast of its own
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        skip, modulation = (None if other is None else other.to(x.dtype) for other in (skip, modulation))
        scale = scale / SILU_MAGNITUDE if silu else scale
        edges = None
        # What is multiplied with anyway takes the scale along, so that the weights need no scaled copy.
        if self.even_edges:
            # Of x's type: of two types, the CPU would copy the whole image, twice.
            edges, scale = (edge_gain(x, self.weight.shape[-1]) * scale).to(x.dtype), 1.0
        elif modulation is not None and not silu:
            modulation, scale = modulation * scale, 1.0
        y = RecomputedConv.apply(x, skip, modulation, self.weight, edges, scale, self.groups, silu)
        return y * gain if isinstance(gain, Tensor) or gain != 1 else y


@torch.no_grad()
def normalize_weights(module: nn.Module) -> None:
    """Brings every MPConv below `module` back to unit weight variance, frozen ones apart. Call after each update."""
    for layer in module.modules():
        if isinstance(layer, MPConv) and layer.weight.requires_grad:
            layer.weight.copy_(unit_magnitude(layer.weight, tuple(range(1, layer.weight.ndim))))


@torch.no_grad()
def project_gradients(module: nn.Module) -> None:
    """Removes the part of each MPConv's gradient that only changes the length of a filter. Call before each update."""
    for layer in module.modules():
        if isinstance(layer, MPConv) and layer.weight.grad is not None:
            weight, grad, axes = layer.weight, layer.weight.grad, tuple(range(1, layer.weight.ndim))
            # The component of the gradient along the filter itself. (With channels innermost, flatten would copy.)
            length = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
            radial = (weight * grad).sum(axes, keepdim=True) / length.square()
            grad.addcmul_(weight, radial, value=-1)
