"""The key of a track, from how much of each pitch class sounds in it: the profiles of Krumhansl and Kessler (1982)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion.dsp.relative_spectrum import bin_frequencies, relative_spectrum

TONICS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
"""All keys: the major ones from C upwards, then the minor ones."""
FRAME_SECONDS, HOP_SECONDS = 0.256, 0.128
LOWEST, HIGHEST = 100.0, 2000.0
"""Frequencies that count, in Hz: below, a semitone is hardly wider than a bin (3.9 Hz); above are mostly overtones."""
A4 = 440.0
LEAST_CONTRAST = 0.1
"""Standard deviation of the pitch classes over their mean; noise has about 0.02, the built-in corpus 0.2 or more."""
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""How well each semitone above the tonic fits, as listeners rated it."""


@dataclass(frozen=True)
class Key:
    """A key, one of `KEYS`, and how far it fits better than the next one: a difference of correlations, 0 to 2."""

    name: str
    clarity: float


def keys_of_mode(key: str) -> tuple[str, ...]:
    """The twelve keys of a key's mode."""
    mode = key.split()[1]
    return tuple(name for name in KEYS if name.endswith(mode))


def transposed(name: str, semitones: int) -> str:
    """The key so many semitones higher."""
    mode, tonic = divmod(KEYS.index(name), len(TONICS))
    return KEYS[mode * len(TONICS) + (tonic + semitones) % len(TONICS)]


def pitch_classes(clip: Tensor, sample_rate: int) -> Tensor:
    """How much of each pitch class sounds in a clip (C, N), C first: (12,) float64, no unit."""
    spectrum = relative_spectrum(clip, sample_rate, frame_seconds=FRAME_SECONDS, hop_seconds=HOP_SECONDS)
    frequencies = bin_frequencies(sample_rate, FRAME_SECONDS)
    inside = (frequencies >= LOWEST) & (frequencies <= HIGHEST)
    # Peaks alone: what lies between two semitones is mostly the flank of a louder partial.
    middle = spectrum[:, 1:-1]
    peaks = torch.zeros_like(spectrum)
    peaks[:, 1:-1] = middle * ((middle > spectrum[:, :-2]) & (middle >= spectrum[:, 2:]))
    # The root: a melody over a loud bass counts too.
    loudness = peaks[:, inside].sqrt().double().sum(dim=0)
    semitones = (12 * (frequencies[inside] / A4).log2() + 9).round().long() % len(TONICS)
    # Divided by how many bins each class has: they do not divide evenly.
    of_class = torch.nn.functional.one_hot(semitones, len(TONICS)).double()
    return loudness @ of_class / of_class.sum(dim=0).clamp(min=1)


def key_of(classes: Tensor, keys: Sequence[str] = KEYS) -> Key | None:
    """The one of several keys, at least two, that pitch classes (12,) fit best.

    None in silence and in noise, where all are nearly alike.
    """
    mean = float(classes.mean())
    if not mean or float(classes.std()) < LEAST_CONTRAST * mean:
        return None
    major, minor = torch.tensor([MAJOR, MINOR])
    profiles = torch.stack([profile.roll(k) for profile in (major, minor) for k in range(len(TONICS))])
    fits = torch.corrcoef(torch.cat([classes[None], profiles.double()]))[0, 1:]
    (best, second), order = fits[[KEYS.index(name) for name in keys]].topk(2)
    return Key(keys[int(order[0])], float(best - second))
