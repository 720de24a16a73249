"""Operations on the meta device, worked out once: what such a tensor is follows from what an operation was given.

Most of torch's operations find the shape of their result in Python, which takes a millisecond; a step has thousands,
nearly all of which differ from an earlier one in nothing but the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# By operation and what it is given: the layout of the tensor that it makes, or one of the two below.
_known: dict[Hashable, object] = {}
_IN_PLACE = "changes its first argument, which stays what it is to the meta device"
_UNKNOWN = "must be asked each time"


class KnownOperations(TorchDispatchMode):
    """Inside the block, operations on meta tensors go through `operate`."""

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Collection[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        return operate(func, args, kwargs or {})


def operate(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    """func(*args, **kwargs), of which meta tensors are made without asking torch, where it was asked before.

    Args:
        func: as modes of `__torch_dispatch__` get it, below autograd and autocast.
    """
    key = _described((func, args, kwargs))
    known = _known.get(key, _UNKNOWN)
    if known is _IN_PLACE:
        return args[0] if isinstance(args[0], Tensor) else None
    if known is not _UNKNOWN:
        return torch.empty_strided(*known[:2], dtype=known[2], device="meta")
    result = func(*args, **kwargs)
    if key not in _known:
        _known[key] = _kind(func, args, kwargs, result, key)
    return result


def _kind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: object, before: Hashable) -> object:
    if func._schema.is_mutable:
        changed = args[0] if isinstance(args[0], Tensor) else args[0][0]
        plain = torch.Tag.inplace_view not in func.tags and result is (changed if changed is args[0] else None)
        return _IN_PLACE if plain and changed.is_meta and _described((func, args, kwargs)) == before else _UNKNOWN
    if not isinstance(result, Tensor) or not result.is_meta or any(one.alias_info for one in func._schema.returns):
        return _UNKNOWN
    shape, stride, dtype = layout = _layout(result)
    own = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return layout if own.untyped_storage().nbytes() == result.untyped_storage().nbytes() else _UNKNOWN


def _layout(tensor: Tensor) -> tuple[torch.Size, tuple[int, ...], torch.dtype]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _described(value: Any) -> Hashable:
    """All of a value that its operation's result depends on; types, too, as 1, 1.0 and True are equal."""
    if isinstance(value, Tensor):
        return *_layout(value), value.device.type
    if isinstance(value, tuple | list):
        return tuple([_described(part) for part in value])
    if isinstance(value, dict):
        return tuple([(name, _described(part)) for name, part in value.items()])
    return type(value), value
