"""Reading safetensors, also from file systems that map no files into memory, as some shares of other machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file
from torch import Tensor

from dualdiffusion.machine.notices import tell_once


class OpenTensors(Protocol):
    """A file of tensors that are read one by one; see `safetensors.safe_open`."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def keys(self) -> list[str]:
        """Names of the tensors."""
        ...

    def metadata(self) -> dict[str, str]:
        """What was written with them."""
        ...

    def get_tensor(self, name: str) -> Tensor:
        """One of them."""
        ...

    def get_slice(self, name: str) -> Any:
        """One of them, of which `get_shape()` is known and parts can be read."""
        ...


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        FileNotFoundError: no such file.
        OSError, SafetensorError: it cannot be read, or is damaged.
    """
    try:
        return load_file(path, device=str(device))
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError):
        # Where not the map is at fault, but the file, this fails as well.
        tensors = load(path.read_bytes())
    _tell(path)
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def open_tensors(path: Path) -> OpenTensors:
    """A file whose tensors are read one by one.

    Raises:
        FileNotFoundError: no such file.
        OSError, SafetensorError: it cannot be read, or is damaged.
    """
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError):
        whole = _Whole(path.read_bytes())
    _tell(path)
    return whole


def _tell(path: Path) -> None:
    tell_once(f"the file system of {path.parent} maps no files into memory: they are read whole, which takes longer")


class _Shape:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def get_shape(self) -> list[int]:
        """As of a part that is not read yet."""
        return list(self._tensor.shape)


class _Whole:
    """The tensors of a file's bytes, as `safe_open` shows them."""

    def __init__(self, data: bytes) -> None:
        self._tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        self._metadata: dict[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tensors = {}

    def keys(self) -> list[str]:
        """See `OpenTensors`."""
        return list(self._tensors)

    def metadata(self) -> dict[str, str]:
        """See `OpenTensors`."""
        return self._metadata

    def get_tensor(self, name: str) -> Tensor:
        """See `OpenTensors`."""
        return self._tensors[name]

    def get_slice(self, name: str) -> _Shape:
        """See `OpenTensors`."""
        return _Shape(self._tensors[name])
