"""Phase recovery: audio from the magnitudes of frequency bands, without any phase.

The fast Griffin-Lim algorithm, from coarse to fine: most of what is hard lies at low frequencies, where waves are long
and frames overlap most, and these are found at a quarter of the sample rate for a quarter of the work.

Shapes: C channels, T frames, M bands, K STFT bins, L = (T - 1) * hop_length + n_fft samples, T * hop_length in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion.dsp.band_transform import BandTransform
from dualdiffusion.dsp.tiles import HeldAudio

# A band that is nearly empty in one estimate may grow by this factor in the next.
MAX_GAIN = 30.0
EMPTY = 1e-9


def initial_audio(bands: Tensor, transform: BandTransform, phase: Tensor, known: Tensor | None = None) -> Tensor:
    """A first estimate (C, L): each band's level, spread evenly over its bins, with the given phase.

    Args:
        bands: (C, T, M), non-negative.
        phase: (1, T, K or more), in radians.
        known: complex (C or 1, T, fewer bins), which the lowest bins are set to.
    """
    levels = bands / transform.filters.sum(dim=1).clamp(min=EMPTY)
    magnitudes = transform.to_bins(levels)
    spectra = torch.polar(magnitudes, phase[..., : magnitudes.shape[-1]].expand(len(bands), -1, -1))
    if known is not None:
        spectra[..., : known.shape[-1]] = known
    return transform.audio(spectra)


def impose_bands(spectra: Tensor, bands: Tensor, transform: BandTransform) -> Tensor:
    """Scales complex spectra (C, T, K), in place, so that their band magnitudes come near to `bands` (C, T, M).

    Each bin is multiplied by the mean of wanted / present magnitude of the bands that it lies in, weighted by its
    shares in them: a step of the multiplicative algebraic reconstruction known from tomography. What the bands leave
    open, the distribution of magnitudes inside a band, stays free.
    """
    parts = torch.view_as_real(spectra)
    magnitudes = parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1]).sqrt_()
    present = transform.to_bands(magnitudes).add_(EMPTY)
    # Where next to nothing is present, the ratio would blow up what is only rounding.
    ratios = torch.div(bands, present, out=present).clamp_(max=MAX_GAIN)
    return spectra.mul_(transform.to_bins(ratios))


def alternate_projections(
    audio: Tensor,
    bands: Tensor,
    transform: BandTransform,
    *,
    iterations: int,
    momentum: float,
    held: HeldAudio | None = None,
    callback: Callable[[], None] | None = None,
) -> Tensor:
    """Brings audio (C, L) nearer to the bands (C, T, M).

    The fast Griffin-Lim algorithm (Perraudin, Balazs and Sondergaard 2013) alternates between spectra that have the
    wanted magnitudes and spectra that belong to real audio, with momentum. Here the wanted magnitudes are those of the
    bands, not of the bins, and the momentum is applied to the audio, which is the same (the transform is linear) and
    takes a fraction of the memory.

    Args:
        momentum: 0 is the plain Griffin-Lim algorithm; above 1 may diverge.
        held: audio that is known already, from the beginning on, and how far it is kept.
        callback: called after every iteration.
    """
    previous = audio
    for _ in range(iterations):
        # Extrapolates beyond the new estimate, by `momentum` times the last change.
        spectra = transform.spectra(torch.lerp(previous, audio, 1 + momentum))
        previous, audio = audio, transform.audio(impose_bands(spectra, bands, transform))
        # Last, so that what is returned holds it exactly, and the next iteration fits the rest to it.
        hold(audio, held)
        if callback:
            callback()
    return audio


@dataclass(frozen=True)
class Level:
    """A part of the work, at a part of the sample rate.

    Attributes:
        factor: of how many samples it works on one.
        merged: iterations on one signal with the mean of the channels' magnitudes.
        separate: iterations on all channels after that.
    """

    factor: int
    merged: int
    separate: int

    @property
    def iterations(self) -> int:
        """All of them."""
        return self.merged + self.separate


# At a quarter of the sample rate, iterations for one that is asked for; and so on. All together they take about as long
# as those asked for would at the full rate, three quarters of them on merged channels. Settled on excerpts of real
# music, see tests/benchmarks/RESULTS.md.
QUARTER, HALF, FULL = 2.7, 0.2, 0.12
# With fewer at the full rate, what lies above its half stays a noise between the notes.
FEWEST_FULL = 4
# With more coarse iterations on separate channels each channel comes nearer, but mid and side suffer.
MOST_SEPARATE = 60


def levels_of(transform: BandTransform, iterations: int, merged_share: float) -> list[Level]:
    """How the work of `iterations` full ones is spent: most at a quarter of the sample rate, the last at all of it.

    Args:
        merged_share: least share of the coarsest iterations that work on the merged channels, from 0 to 1; where it is
            not 0, at most MOST_SEPARATE work on separate ones.
    """
    if transform.coarser(4) is None or iterations == 0:  # whose hop cannot be divided
        merged = min(round(merged_share * iterations), max(iterations - 1, 0))
        return [Level(1, merged, iterations - merged)]
    coarse = round(QUARTER * iterations)
    merged = max(round(merged_share * coarse), coarse - MOST_SEPARATE if merged_share else 0)
    half, full = round(HALF * iterations), max(min(iterations, FEWEST_FULL), round(FULL * iterations))
    levels = [Level(4, merged, coarse - merged), Level(2, 0, half), Level(1, 0, full)]
    return [level for level in levels if level.iterations]


def recover_audio(
    bands: Tensor,
    transform: BandTransform,
    *,
    phase: Tensor,
    levels: list[Level],
    momentum: float,
    held: HeldAudio | None = None,
    callback: Callable[[], None] | None = None,
) -> Tensor:
    """Audio (C, L) whose band magnitudes are close to the given ones.

    Coarse levels find the phases of low frequencies, from which the next ones go on. Their first iterations work on one
    signal with the mean of the channels' magnitudes, the others on all channels, which start from the phase that the
    one has found. Independent phases would make a wide, hollow image out of every centred sound; and one signal takes
    half the time of two.

    Args:
        bands: (C, T, M), non-negative.
        phase: (1, T, K), the initial phase in radians.
        levels: see `levels_of`.
        held: audio that is known already, from the beginning on, and how far it is kept.
        callback: called after every iteration of every level.
    """
    audio, known = bands.new_zeros(()), None
    for level in levels:
        part = transform.coarser(level.factor) if level.factor > 1 else transform
        here = _held_at(held, transform, part)
        signals = bands.mean(dim=0, keepdim=True) if level.merged else bands
        audio = initial_audio(signals, part, phase, known)
        if level.merged:
            mean = None if here is None else (here[0].mean(dim=0, keepdim=True), here[1])
            audio = alternate_projections(
                hold(audio, mean),
                signals,
                part,
                iterations=level.merged,
                momentum=momentum,
                held=mean,
                callback=callback,
            )
            audio = audio.repeat(len(bands), 1)
        audio = alternate_projections(
            hold(audio, here),
            bands,
            part,
            iterations=level.separate,
            momentum=momentum,
            held=here,
            callback=callback,
        )
        known = part.spectra(audio)[..., : part.bins] if level.factor > 1 else None
    return audio


def _held_at(held: HeldAudio | None, transform: BandTransform, part: BandTransform) -> HeldAudio | None:
    """What is held of the audio of `transform`, at the sample rate of its coarser `part`."""
    if held is None or part is transform:
        return held
    audio, weight = held
    whole = torch.nn.functional.pad(audio, (0, transform.samples - audio.shape[-1]))
    low = part.audio(transform.spectra(whole)[..., : len(part.window) // 2 + 1])
    weight = weight[:: transform.hop_length // part.hop_length]
    return low[..., : len(weight)], weight


def hold(audio: Tensor, held: HeldAudio | None) -> Tensor:
    """Puts what is held into the beginning of audio (C, L), in place."""
    if held is not None:
        known, weight = held
        audio[:, : len(weight)].lerp_(known, weight)
    return audio
