"""What a network may be told besides its input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

GAMES = "games"  # among the ids of what is told: the labels


def marked(values: Tensor, kept: Tensor) -> Tensor:
    """Values (B, n, t), 0 where they are not told, and a last channel that says whether they are: (B, n + 1, t).

    Args:
        kept: (B,) 1 where they are told, 0 where they are not.
    """
    kept = kept.to(values)[:, None, None]
    return torch.cat([values * kept, kept.expand(-1, -1, values.shape[-1])], dim=1)


def check_range(low: float, high: float) -> None:
    """
    Raises:
        ValueError: the range is empty.
    """
    if low >= high:
        raise ValueError(f"low: {low:g} must be below high, which is {high:g}")


@dataclass(frozen=True)
class Span:
    """Where latent columns lie in a track or clip.

    Attributes:
        start: seconds from the beginning of what is played to the first column's beginning; negative is before it.
        columns: how many there are.
        column_seconds: length of each.
        speed: seconds of the track in a second of what is played: 2^(pitch / 12) where it is played `pitch` semitones
            higher and as much faster.
        circular: the last column is followed by the first.
        length: seconds of the clip that begins at time 0; None: it ends with the columns. Others may come after it, as
            networks take a multiple of some number of columns.
    """

    start: float
    columns: int
    column_seconds: float
    speed: float = 1.0
    circular: bool = False
    length: float | None = None

    @property
    def seconds(self) -> float:
        """Length of all columns."""
        return self.columns * self.column_seconds

    def times(self) -> Tensor:
        """The middle of each column, in seconds of the track: (columns,) float64."""
        return (self.start + (torch.arange(self.columns, dtype=torch.float64) + 0.5) * self.column_seconds) * self.speed


@dataclass(frozen=True)
class Tokens:
    """Things that attention may look at: values (B, S, n), and where they hold, mask (B, S) bool."""

    values: Tensor
    mask: Tensor

    def beside(self, others: Tokens | None) -> Tokens:
        """These, with others before them."""
        if others is None:
            return self
        return Tokens(torch.cat([others.values, self.values], 1), torch.cat([others.mask, self.mask], 1))


@dataclass(frozen=True)
class Conditioning:
    """Conditions of a batch. A route that is None is not used.

    Attributes:
        labels: (B, label_dim) mixes of games; a single game is a one-hot row, a mix is a row of unit length.
        labels_kept: (B,) 1 where the labels hold, 0 where the network shall be unconditional; None is all 1.
        values: what conditioners are told, by their id: (B, n, t), one column for each of the latents, or (B, n, f, t).
            An id that is missing is untold.
        kept: by id, (B,) 1 where it is told, 0 where it is not; an id of `values` that is missing here is told.

    Set by `conditioned.Conditioned`, the routes by which a backbone takes in what is told:
        concat: (B, n, t) or (B, n, f, t), beside its input.
        vector: (B, n), beside the noise level.
        cross: what its attention sees beside its own positions.
        prepend: what stands before its sequence.
    """

    labels: Tensor | None = None
    labels_kept: Tensor | None = None
    values: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    concat: Tensor | None = None
    vector: Tensor | None = None
    cross: Tokens | None = None
    prepend: Tokens | None = None

    def to(self, device: torch.device) -> Conditioning:
        """The same conditions on another device."""

        def moved(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device) for name, tensor in values.items()}

        labels, kept = (None if x is None else x.to(device) for x in (self.labels, self.labels_kept))
        return replace(self, labels=labels, labels_kept=kept, values=moved(self.values), kept=moved(self.kept))

    @property
    def ids(self) -> tuple[str, ...]:
        """What guidance may leave untold: `GAMES`, where there are labels, and the ids of the values."""
        return (*((GAMES,) if self.labels is not None else ()), *self.values)

    def without(self, ids: Iterable[str]) -> Conditioning:
        """The same shapes with some of `ids` untold."""
        ids = set(ids)
        untold = {name: value.new_zeros(len(value)) for name, value in self.values.items() if name in ids}
        kept = {**self.kept, **untold}
        if self.labels is None or GAMES not in ids:
            return replace(self, kept=kept)
        return replace(self, labels_kept=torch.zeros(len(self.labels), device=self.labels.device), kept=kept)


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
    """The conditions of two batches as one, a first; what only one of them is told is told to neither."""

    def kept(c: Conditioning) -> Tensor | None:
        if c.labels is None or c.labels_kept is not None:
            return c.labels_kept
        return torch.ones(len(c.labels), device=c.labels.device)

    values = {name: torch.cat([a.values[name], b.values[name]]) for name in a.values if name in b.values}
    told = {name: torch.cat([_told(a, name), _told(b, name)]) for name in values}
    if a.labels is None or b.labels is None:
        return Conditioning(values=values, kept=told)
    labels = torch.cat([a.labels, b.labels])
    return Conditioning(labels, torch.cat([kept(a), kept(b)]), values, told)


def _told(conditioning: Conditioning, name: str) -> Tensor:
    """Where an id's values hold: (B,)."""
    values = conditioning.values[name]
    return conditioning.kept.get(name, values.new_ones(len(values)))
