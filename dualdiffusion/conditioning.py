"""What a network may be told besides its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Conditioning:
    """Conditions of a batch. A route that is None is not used; later routes are further fields with the default None.

    labels: (B, label_dim) mixes of games; a single game is a one-hot row, a mix is a row of unit length.
    labels_kept: (B,) 1 where the labels hold, 0 where the network shall be unconditional; None is all 1.
    """

    labels: Tensor | None = None
    labels_kept: Tensor | None = None

    def to(self, device: torch.device) -> Conditioning:
        """The same conditions on another device."""
        moved = {name: value if value is None else value.to(device) for name, value in vars(self).items()}
        return Conditioning(**moved)

    def unconditional(self) -> Conditioning:
        """The same shapes with every label dropped."""
        if self.labels is None:
            return self
        return Conditioning(self.labels, torch.zeros(len(self.labels), device=self.labels.device))


class ToldGames(Protocol):
    """A network that may be told games: `label_dim` of them, 0 for none."""

    @property
    def label_dim(self) -> int:
        """Length of its label vectors."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are to be."""
        ...


def settled_label_dim(label_dim: int | None) -> int:
    """A network's number of games; 0 is unconditional.

    Raises:
        ValueError: None. A config says so to leave the number open, which is settled before the network is built;
            taken for 0 it would make a network that ignores every game without a word.
    """
    if label_dim is None:
        raise ValueError("label_dim: null is not a number of games yet; say how many, or 0 for a network without games")
    return label_dim


def one_hot(game_ids: Tensor, label_dim: int) -> Tensor:
    """Labels of single games: (B,) ids -> (B, label_dim) float32."""
    return torch.nn.functional.one_hot(game_ids, label_dim).float()


def game_conditioning(game_id: int | None, module: ToldGames) -> Conditioning:
    """One game as `module` knows it; nothing for a module without labels, and for a game that it never saw."""
    if game_id is None or game_id >= module.label_dim:
        return Conditioning()
    return Conditioning(one_hot(torch.tensor([game_id], device=module.device), module.label_dim))


def concatenate(a: Conditioning, b: Conditioning) -> Conditioning:
    """The conditions of two batches as one, a first."""

    def kept(c: Conditioning) -> Tensor | None:
        if c.labels is None or c.labels_kept is not None:
            return c.labels_kept
        return torch.ones(len(c.labels), device=c.labels.device)

    if a.labels is None or b.labels is None:
        return Conditioning()
    return Conditioning(torch.cat([a.labels, b.labels]), torch.cat([kept(a), kept(b)]))
