"""Operations on the meta device that were worked out before give what they give when they are asked anew."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from train.memory import meta_operations
from train.memory.meta_operations import KnownOperations, operate


def various() -> list[Tensor]:
    """Of a step and beside it: layouts, types, views, gradients, changes in place of one tensor and of several."""
    with torch.device("meta"):
        x = torch.zeros(2, 3, 8, 4).to(memory_format=torch.channels_last).requires_grad_()
        kernel, matrix = torch.zeros(5, 3, 3, 3, requires_grad=True), torch.zeros(6, 4, requires_grad=True)
        y = F.conv2d(x, kernel, padding=1)
        z = (F.silu(y) * 2 + y.sum((2, 3), keepdim=True)) @ matrix.t()
        part = z.view(-1)[3:]
        part.square().mean().backward()
        with torch.no_grad():
            torch._foreach_mul_([kernel, matrix], 0.5)
            kernel.add_(kernel.grad, alpha=-1)
            roots = torch._foreach_sqrt([kernel, matrix])
            norm = torch.linalg.vector_norm(kernel, dim=(1, 2, 3), keepdim=True)
            grown = torch.empty(3)
            torch.add(grown, 1, out=grown)
            grown.resize_(7)
            turned = matrix.detach().t_()
            product = torch.bmm(torch.zeros(2, 3, 4), torch.zeros(2, 4, 5)).view(6, 5)
            whole = torch.zeros(3, dtype=torch.int64)
            sums = [whole + 1, whole + 1.0, torch.cat([x, x], 1), F.dropout(x, 0.5, True), kernel.bfloat16()]
            gradients = [x.grad, kernel.grad, matrix.grad]
            return [y, z, part, *gradients, *roots, norm, grown, turned, product, *sums]


def layouts(tensors: list[Tensor]) -> list[tuple[object, ...]]:
    return [(t.shape, t.stride(), t.dtype, t.storage_offset(), t.untyped_storage().nbytes()) for t in tensors]


def test_what_is_known_is_as_torch_would_make_it() -> None:
    expected = layouts(various())
    for _ in range(3):
        with KnownOperations():
            assert layouts(various()) == expected
    kinds = [known if isinstance(known, str) else "made" for known in meta_operations._known.values()]
    assert {"made", meta_operations._IN_PLACE, meta_operations._UNKNOWN} <= set(kinds)


def test_a_view_stays_one_though_its_operation_does_not_say_so() -> None:
    x = torch.zeros(2, 3, device="meta")
    for _ in range(2):
        view = operate(torch.ops.aten._unsafe_view.default, (x, [6]), {})
        assert view.untyped_storage()._cdata == x.untyped_storage()._cdata
