"""Activation recomputation: operations whose backward pass keeps little and computes the rest again, and whole blocks.

What they give is plain arithmetic.

PyTorch keeps the inputs of each elementary operation. Of a convolution of silu(modulation * x) these are x, the
product, its SiLU and a scaled copy of the weights; here x alone is kept, and the elementwise parts are computed again.
So is a concatenation with a skip connection, both parts of which are kept elsewhere. First derivatives only.

Shapes: B batch, C channels, F frequency, T time.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx
from torch.utils.checkpoint import checkpoint

# Keeps a vector of zeros, such as the features of silence, from being divided by zero.
EPSILON = 1e-4


def run_block(block: nn.Module, *inputs: object, recompute: bool) -> Tensor:
    """What a block gives for its inputs; with `recompute` its activations are not kept, but computed again backward."""
    if recompute:
        # The reentrant variant would need an input with a gradient.
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


class UnitMagnitude(Function):
    """y = x / d with d = rms(x) + EPSILON over `axes`, in at least single precision. Keeps y and d.

    With n numbers per root mean square: dL/dx = (g - y <g, y> d / (n rms)) / d, where g = dL/dy.
    """

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """x -> y, and d, which has no gradient."""
        norm = norm_along(x, axes)
        divisor = norm * math.sqrt(norm.numel() / max(x.numel(), 1)) + EPSILON
        return x / divisor.to(x.dtype), divisor

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor, tuple[int, ...]], output: tuple[Tensor, Tensor]) -> None:
        """Keeps y and d; x is y * d."""
        ctx.axes = inputs[1]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, None]:
        """dL/dy -> dL/dx, as above."""
        y, divisor = ctx.saved_tensors
        count = y.numel() // max(divisor.numel(), 1)
        radial = (gradient * y).sum(ctx.axes, keepdim=True, dtype=divisor.dtype)
        # Where x is zero so is y, and any finite number will do for rms.
        radial = radial * divisor / (count * (divisor - EPSILON).clamp(min=EPSILON**2))
        return torch.addcmul(gradient, y, radial.to(y.dtype), value=-1) / divisor.to(y.dtype), None


def norm_along(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Root of the sum of squares over `axes`, which stay with length 1, in at least single precision."""
    precision = torch.promote_types(x.dtype, torch.float32)
    if x.device.type != "cpu" or any(x.stride(axis) == 1 for axis in axes):
        # In one operation, which needs no copy of x in that precision.
        return torch.linalg.vector_norm(x, dim=axes, keepdim=True, dtype=precision)
    # Along axes that are not innermost in memory, the CPU's norm takes ten times as long as this.
    return x.to(precision).square().sum(axes, keepdim=True).sqrt()


class RecomputedConv(Function):
    """y = edges * conv(a(modulation * [x, skip]), scale * weight), a the SiLU or nothing. Keeps its arguments alone.

    Args of apply:
        x: (B, C_x, F, T).
        skip: (B, C_in - C_x, F, T), further channels, or None.
        modulation: (B or 1, C_in, 1, 1), of x's type, or None for 1.
        weight: (C_out, C_in / groups, k, k); its gradient is of its own type, whatever x's.
        edges: (1, 1, F, T), of x's type, or None for 1. Has no gradient.
        scale: a number.
        groups: of the convolution.
        silu: whether a is the SiLU.
    """

    @staticmethod
    def forward(
        x: Tensor,
        skip: Tensor | None,
        modulation: Tensor | None,
        weight: Tensor,
        edges: Tensor | None,
        scale: float,
        groups: int,
        silu: bool,
    ) -> Tensor:
        """See the class."""
        a = modulated(x, skip, modulation)
        a = F.silu(a) if silu else a
        y = F.conv2d(a, scaled(weight, scale, x.dtype), padding=weight.shape[-1] // 2, groups=groups)
        return y if edges is None else y.mul_(edges)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor | float | None, ...], output: Tensor) -> None:
        """Keeps the arguments alone."""
        *tensors, ctx.scale, ctx.groups, ctx.silu = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Computes the convolution's input again, then goes through it in reverse order."""
        x, skip, modulation, weight, edges = ctx.saved_tensors
        a = modulated(x, skip, modulation)
        d_a, d_weight, _ = torch.ops.aten.convolution_backward(
            gradient if edges is None else gradient * edges,
            F.silu(a) if ctx.silu else a,
            scaled(weight, ctx.scale, x.dtype),
            None,
            [1, 1],
            [weight.shape[-1] // 2] * 2,
            [1, 1],
            False,
            [0, 0],
            ctx.groups,
            [any(ctx.needs_input_grad[:3]), ctx.needs_input_grad[3], False],
        )
        d_x, d_skip, d_modulation = None, None, None
        if d_a is not None:
            d_a = torch.ops.aten.silu_backward(d_a, a) if ctx.silu else d_a
            if ctx.needs_input_grad[2]:
                d_modulation = (d_a * modulated(x, skip, None)).sum((2, 3), keepdim=True)
            d_x = d_a if modulation is None else d_a * modulation
        if skip is not None and d_x is not None:
            d_x, d_skip = d_x.split([x.shape[1], skip.shape[1]], dim=1)
        if d_weight is not None:
            d_weight = scaled(d_weight.to(weight.dtype), ctx.scale, weight.dtype)
        return d_x, d_skip, d_modulation, d_weight, None, None, None, None


def scaled(x: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """scale * x; weights are large, and a factor of 1 needs no copy."""
    return (x if scale == 1 else x * scale).to(dtype)


def modulated(x: Tensor, skip: Tensor | None, modulation: Tensor | None) -> Tensor:
    """modulation * [x, skip]."""
    x = x if skip is None else torch.cat([x, skip], dim=1)
    return x if modulation is None else x * modulation
