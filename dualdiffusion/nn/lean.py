"""Two operations whose backward pass keeps little and computes the rest again: what they give is plain arithmetic.

PyTorch keeps the inputs of each elementary operation. Of a convolution of silu(modulation * x) these are x, the product,
its SiLU and a scaled copy of the weights; here x alone is kept, and the elementwise parts, which cost next to nothing
beside the convolution, are computed again. First derivatives only. Shapes: B batch, C channels, F frequency, T time.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

# Keeps a vector of zeros, such as the features of silence, from being divided by zero.
EPSILON = 1e-4


class UnitMagnitude(Function):
    """y = x / d with d = rms(x) + EPSILON over `axes`, in at least single precision. Keeps y and d.

    With n numbers per root mean square: dL/dx = (g - y <g, y> d / (n rms)) / d, where g = dL/dy.
    """

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        # The norm in one operation needs no copy of x in that precision.
        norm = torch.linalg.vector_norm(x, dim=axes, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        divisor = norm * math.sqrt(norm.numel() / max(x.numel(), 1)) + EPSILON
        return x / divisor.to(x.dtype), divisor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: tuple[Tensor, Tensor]) -> None:
        ctx.axes = inputs[1]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, None]:
        y, divisor = ctx.saved_tensors
        count = y.numel() // max(divisor.numel(), 1)
        radial = (gradient * y).sum(ctx.axes, keepdim=True, dtype=divisor.dtype)
        # Where x is zero so is y, and any finite number will do for rms.
        radial = radial * divisor / (count * (divisor - EPSILON).clamp(min=EPSILON**2))
        return torch.addcmul(gradient, y, radial.to(y.dtype), value=-1) / divisor.to(y.dtype), None


class LeanConv(Function):
    """y = edges * conv(a(modulation * x), scale * weight), a the SiLU or nothing. Keeps x, modulation and weight.

    Args of apply:
        x: (B, C_in, F, T).
        modulation: (B, C_in, 1, 1), of x's type, or None for 1.
        weight: (C_out, C_in / groups, k, k); its gradient is of its own type, whatever x's.
        edges: (1, 1, F, T), or None for 1. Has no gradient.
        scale: a number.
        groups: of the convolution.
        silu: whether a is the SiLU.
    """

    @staticmethod
    def forward(
        x: Tensor,
        modulation: Tensor | None,
        weight: Tensor,
        edges: Tensor | None,
        scale: float,
        groups: int,
        silu: bool,
    ) -> Tensor:
        a = x if modulation is None else x * modulation
        a = F.silu(a) if silu else a
        y = F.conv2d(a, (weight * scale).to(x.dtype), padding=weight.shape[-1] // 2, groups=groups)
        return y if edges is None else y.mul_(edges)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.scale, ctx.groups, ctx.silu = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, modulation, weight, edges = ctx.saved_tensors
        gradient = gradient if edges is None else gradient * edges
        modulated = x if modulation is None else x * modulation
        d_a, d_weight, _ = torch.ops.aten.convolution_backward(
            gradient,
            F.silu(modulated) if ctx.silu else modulated,
            (weight * ctx.scale).to(x.dtype),
            None,
            [1, 1],
            [weight.shape[-1] // 2] * 2,
            [1, 1],
            False,
            [0, 0],
            ctx.groups,
            [ctx.needs_input_grad[0] or ctx.needs_input_grad[1], ctx.needs_input_grad[2], False],
        )
        if d_weight is not None:
            d_weight = d_weight.to(weight.dtype).mul_(ctx.scale)
        if d_a is None:
            return None, None, d_weight, None, None, None, None
        d_modulated = torch.ops.aten.silu_backward(d_a, modulated) if ctx.silu else d_a
        if modulation is None:
            return d_modulated, None, d_weight, None, None, None, None
        d_modulation = (d_modulated * x).sum((2, 3), keepdim=True)
        return d_modulated * modulation, d_modulation, d_weight, None, None, None, None
