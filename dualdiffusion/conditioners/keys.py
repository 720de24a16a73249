"""The key as where its notes lie: in which bands of each latent row, so that a network need not find that out."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import field_validator
from torch import Tensor

from dualdiffusion.conditioners.mixes import Key
from dualdiffusion.dsp.frequency_scale import mel_centers
from dualdiffusion.dsp.key import A4, KEYS, MAJOR, MINOR, TONICS

OVERTONES = 6
"""Partials of a note that count, the n-th 1 / n as much as the first."""
LEAST_WIDTH = 0.4
"""Standard deviation in semitones of what a narrow band takes for a note; of a wide one it is half its width."""
REFERENCE = (256, 20.0, 16000.0, 8)
"""Bands, lowest and highest frequency, and bands of a row, where neither format nor autoencoder are known yet."""


class KeyRows(Key):
    """Tells each latent row how far its bands' frequencies are those of a key's notes and of their overtones.

    A network that is told a key by name has to learn where its notes lie from tracks in that key; here what it learns
    of one key holds for all others. A mix of keys is told as the mix of what they are.
    """

    class Config(Key.Config):
        """Settings of KeyRows."""

        row_bands: tuple[tuple[float, ...], ...] | None = None
        """Centre frequencies in Hz of the bands of each latent row, the lowest row first; null: those of the format and
        the autoencoder that it is trained with."""

        along_rows: ClassVar[bool] = True

        @field_validator("row_bands")
        @classmethod
        def _alike(cls, rows: tuple[tuple[float, ...], ...] | None) -> tuple[tuple[float, ...], ...] | None:
            if rows is not None and (not rows or len({len(row) for row in rows}) > 1 or not rows[0]):
                raise ValueError("needs rows with the same number of bands, at least one")
            return rows

        @property
        def centers(self) -> Tensor:
            """Centre frequencies in Hz, (rows, bands of a row) float64."""
            if self.row_bands is not None:
                return torch.tensor(self.row_bands, dtype=torch.float64)
            bands, low, high, of_row = REFERENCE
            return mel_centers(n_mels=bands, f_min=low, f_max=high).double().view(-1, of_row)

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        centers = config.centers
        if config.row_bands is not None and not min(map(min, config.row_bands)) > 0:
            raise ValueError("row_bands: the latents have no frequencies; mixes.Key tells the key to any network")
        self.bands = centers.shape[1]
        fits = profiles() @ shares(centers.flatten()).T
        fits = fits / fits.square().mean().sqrt()  # unit variance, as all inputs of a network have
        chosen = [KEYS.index(name) for name in config.names]
        self.register_buffer("fits", fits[chosen].unflatten(1, centers.shape).float(), persistent=False)

    @property
    def channels(self) -> int:
        """Of what `forward` gives."""
        return self.bands + 1

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """Values (B, n, t) and whether they are told, (B,) -> (B, channels, f, t); the last channel says so."""
        kept = kept.to(values)[:, None, None, None]
        told = torch.einsum("bkt,kfn->bnft", values, self.fits.to(values)) * kept
        return torch.cat([told, kept.expand(-1, 1, *told.shape[2:])], dim=1)


def profiles() -> Tensor:
    """How strong each pitch class, C first, is in each of `KEYS`, overtones too: (24, 12), zero mean, unit variance."""
    of_notes = torch.stack([torch.tensor(p).double().roll(k) for p in (MAJOR, MINOR) for k in range(len(TONICS))])
    # The n-th partial of a note sounds 12 log2(n) semitones above it.
    partials = [of_notes.roll(round(12 * math.log2(n)), dims=1) / n for n in range(1, OVERTONES + 1)]
    sounding = torch.stack(partials).sum(dim=0)
    return (sounding - sounding.mean(dim=1, keepdim=True)) / sounding.std(dim=1, keepdim=True)


def shares(centers: Tensor) -> Tensor:
    """To which pitch classes bands of rising centre frequencies (n,) in Hz belong: (n, 12), each row's sum 1."""
    semitones = 12 * (centers / A4).log2() + TONICS.index("A")
    width = semitones.diff(prepend=semitones[:1] - (semitones[1] - semitones[0]))
    away = (semitones[:, None] - torch.arange(len(TONICS)) + 6) % 12 - 6
    near = (-0.5 * (away / (width / 2).clamp(min=LEAST_WIDTH)[:, None]) ** 2).exp()
    return near / near.sum(dim=1, keepdim=True)
