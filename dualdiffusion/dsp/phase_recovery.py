"""Phase recovery: audio from the magnitudes of frequency bands, without any phase.

Shapes: C channels, T frames, M bands, K STFT bins, L = (T - 1) * hop_length + n_fft samples, T * hop_length in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dualdiffusion.dsp.circular import fold, wrap
from dualdiffusion.dsp.stft import istft, overlap_add, overlap_normalisation, stft
from dualdiffusion.dsp.tiles import HeldAudio

# A band that is nearly empty in one estimate may grow by this factor in the next.
MAX_GAIN = 30.0
EMPTY = 1e-9


@dataclass(frozen=True)
class BandTransform:
    """A short-time Fourier transform and the bands that its magnitudes are summed to."""

    window: Tensor
    """(n_fft,)."""
    hop_length: int
    """In samples; divides n_fft."""
    filters: Tensor
    """(M, K), non-negative."""
    spread: Tensor
    """(M, K): the share of each band in each bin, see `bin_shares`."""
    frames: int
    """T."""

    @property
    def samples(self) -> int:
        """L."""
        return (self.frames - 1) * self.hop_length + len(self.window)

    @cached_property
    def normalisation(self) -> Tensor:
        """(L,)."""
        return overlap_normalisation(self.window, self.hop_length, self.frames)

    def spectra(self, audio: Tensor) -> Tensor:
        """(C, L) -> complex (C, T, K)."""
        return stft(audio, self.window, self.hop_length)

    def audio(self, spectra: Tensor) -> Tensor:
        """Complex (C, T, K) -> (C, L)."""
        return istft(spectra, self.window, self.hop_length, self.normalisation)


class CircularTransform(BandTransform):
    """The same on a circle: frame t is that of samples t * hop_length to t * hop_length + n_fft, modulo L."""

    @cached_property
    def normalisation(self) -> Tensor:
        """(L,), what an overlap-add on the circle is multiplied with."""
        # On the circle every sample has neighbours on both sides; only a window with gaps could leave one uncovered.
        weight = fold(overlap_add(self.window.expand(self.frames, -1), self.hop_length, self.window), self.samples)
        return 1 / weight.clamp(min=1e-6 * float(weight.max()))

    @property
    def samples(self) -> int:
        """L."""
        return self.frames * self.hop_length

    def spectra(self, audio: Tensor) -> Tensor:
        """(C, L) -> complex (C, T, K)."""
        return stft(wrap(audio, 0, len(self.window) - self.hop_length), self.window, self.hop_length)

    def audio(self, spectra: Tensor) -> Tensor:
        """Complex (C, T, K) -> (C, L)."""
        frames = torch.fft.irfft(spectra, n=len(self.window))
        return fold(overlap_add(frames, self.hop_length, self.window), self.samples).mul_(self.normalisation)


def bin_shares(filters: Tensor) -> Tensor:
    """Filters (M, K) scaled so that the shares of all bands in a bin sum to 1, or to 0 in a bin outside all bands."""
    return filters / filters.sum(dim=0).clamp(min=1e-4)


def initial_audio(bands: Tensor, transform: BandTransform, phase: Tensor) -> Tensor:
    """A first estimate (C, L): each band's level, spread evenly over its bins, with the given phase.

    Args:
        bands: (C, T, M), non-negative.
        phase: in radians, broadcast to (C, T, K).
    """
    levels = bands / transform.filters.sum(dim=1).clamp(min=EMPTY)
    return transform.audio(torch.polar(levels @ transform.spread, phase.expand(len(bands), -1, -1)))


def impose_bands(spectra: Tensor, bands: Tensor, transform: BandTransform) -> Tensor:
    """Scales complex spectra (C, T, K), in place, so that their band magnitudes come near to `bands` (C, T, M).

    Each bin is multiplied by the mean of wanted / present magnitude of the bands that it lies in, weighted by its
    shares in them: a step of the multiplicative algebraic reconstruction known from tomography. What the bands leave
    open, the distribution of magnitudes inside a band, stays free.
    """
    parts = torch.view_as_real(spectra)
    magnitudes = parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1]).sqrt_()
    present = torch.nn.functional.linear(magnitudes, transform.filters, bands.new_full((bands.shape[-1],), EMPTY))
    # Where next to nothing is present, the ratio would blow up what is only rounding.
    ratios = torch.div(bands, present, out=present).clamp_(max=MAX_GAIN)
    parts.mul_((ratios @ transform.spread)[..., None])
    return spectra


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


def recover_audio(
    bands: Tensor,
    transform: BandTransform,
    *,
    phase: Tensor,
    iterations: int,
    momentum: float,
    merged_share: float,
    held: HeldAudio | None = None,
    callback: Callable[[], None] | None = None,
) -> Tensor:
    """Audio (C, L) whose band magnitudes are close to the given ones.

    The first iterations work on one signal with the mean of the channels' magnitudes, the others on all channels, which
    start from the phase that the one has found. Independent phases would make a wide, hollow image out of every
    centred sound; and one signal takes half the time of two.

    Args:
        bands: (C, T, M), non-negative.
        phase: (1, T, K), the initial phase in radians.
        merged_share: share of the iterations that work on the merged signal, from 0 to 1; where there are any
            iterations, at least the last one works on the channels.
        held: audio that is known already, from the beginning on, and how far it is kept.
    """
    merged_iterations = min(round(merged_share * iterations), max(iterations - 1, 0))
    if merged_iterations == 0 or len(bands) == 1:
        audio = initial_audio(bands, transform, phase)
    else:
        merged = bands.mean(dim=0, keepdim=True)
        merged_held = None if held is None else (held[0].mean(dim=0, keepdim=True), held[1])
        audio = alternate_projections(
            hold(initial_audio(merged, transform, phase), merged_held),
            merged,
            transform,
            iterations=merged_iterations,
            momentum=momentum,
            held=merged_held,
            callback=callback,
        )
        iterations -= merged_iterations
        audio = audio.repeat(len(bands), 1)
    return alternate_projections(
        hold(audio, held),
        bands,
        transform,
        iterations=iterations,
        momentum=momentum,
        held=held,
        callback=callback,
    )


def hold(audio: Tensor, held: HeldAudio | None) -> Tensor:
    """Puts what is held into the beginning of audio (C, L), in place."""
    if held is not None:
        known, weight = held
        audio[:, : len(weight)].lerp_(known, weight)
    return audio
