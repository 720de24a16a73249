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
from torch.utils._pytree import tree_iter

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
        same = _described((func, args, kwargs)) == key
        in_place = func._schema.is_mutable and same and _is_in_place(func, args, result)
        _known[key] = _IN_PLACE if in_place else _own_layout(func, args, result)
    return result


def _is_in_place(func: Callable[..., object], args: tuple[Any, ...], result: object) -> bool:
    """Whether it changed the contents of its first argument, a meta tensor or several, and gave nothing else."""
    first = args[0] if args else None
    several = isinstance(first, list | tuple)
    tensors = first if several else [first]
    plain = torch.Tag.inplace_view not in func.tags and result is (None if several else first)
    return plain and all(isinstance(tensor, Tensor) and tensor.is_meta for tensor in tensors)


def _own_layout(func: Callable[..., object], args: tuple[Any, ...], result: object) -> object:
    """The layout of a meta tensor that has a storage of its own, and all of it; _UNKNOWN for anything else."""
    if func._schema.is_mutable or not isinstance(result, Tensor) or not result.is_meta:
        return _UNKNOWN
    # Asked of the storages themselves, as not every operation says in its schema that it gives a view.
    given = {part.untyped_storage()._cdata for part in tree_iter(args) if isinstance(part, Tensor)}
    shape, stride, dtype = layout = _layout(result)
    size = torch.empty_strided(shape, stride, dtype=dtype, device="meta").untyped_storage().nbytes()
    storage = result.untyped_storage()
    return layout if storage._cdata not in given and storage.nbytes() == size else _UNKNOWN


def _layout(tensor: Tensor) -> tuple[torch.Size, tuple[int, ...], torch.dtype]:
    return tensor.shape, tensor.stride(), tensor.dtype


def _described(value: object) -> Hashable:
    """All of a value that its operation's result depends on; types, too, as 1, 1.0 and True are equal."""
    if isinstance(value, Tensor):
        return *_layout(value), value.device.type
    if isinstance(value, tuple | list):
        return tuple([_described(part) for part in value])
    if isinstance(value, dict):
        return tuple([(name, _described(part)) for name, part in value.items()])
    return type(value), value
