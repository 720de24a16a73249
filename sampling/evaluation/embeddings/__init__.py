"""Embeddings by name: add one as a file here, which is its name.

A file has a function `build(generator) -> Embedding`; nothing else needs to be told of it. Imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from dualdiffusion.component import list_files
from dualdiffusion.config import nearest
from dualdiffusion.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.generator import Generator


class Embedding(Protocol):
    """What is heard of a clip, as numbers in which distances mean something.

    Attributes:
        name: the file's.
        dim: D.
    """

    name: str
    dim: int

    def __call__(self, clip: Tensor, sample_rate: int) -> Tensor:
        """A clip (C, N) in [-1, 1] -> (D,), or (m, D) frames; equally long clips give equally many."""
        ...


def embedding_names() -> list[str]:
    """The embeddings that there are."""
    return list_files(__name__)


def check_name(name: str) -> str:
    """The same name.

    Raises:
        UserError: no such embedding; the message gives the nearest names.
    """
    names = embedding_names()
    if name not in names:
        hint = nearest(name, names) or names
        raise UserError(f"--embedding {name}: there is no such embedding; nearest: {', '.join(hint)}")
    return name


def build_embedding(name: str, generator: Generator) -> Embedding:
    """The embedding of this name, which may use the model that is evaluated.

    Raises:
        UserError: no such embedding.
    """
    return importlib.import_module(f"{__name__}.{check_name(name)}").build(generator)
