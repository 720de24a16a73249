"""A short-time Fourier transform whose magnitudes are summed to bands, at the full sample rate or at a part of it.

Shapes: C channels, T frames, M bands, K STFT bins, L = (T - 1) * hop_length + n_fft samples, T * hop_length in a loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from dualdiffusion.dsp.banded import Banded
from dualdiffusion.dsp.circular import fold, wrap
from dualdiffusion.dsp.stft import istft, overlap_add, overlap_normalisation, stft

EDGE = 0.92
"""Share of the bins below the Nyquist frequency of a coarser transform that it is trusted with: above them, what lies
beyond that frequency would be folded in."""


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
    def to_bands(self) -> Banded:
        """Sums up bins (..., K) to bands (..., M)."""
        return Banded(self.filters)

    @cached_property
    def to_bins(self) -> Banded:
        """Spreads bands (..., M) over bins (..., K): means, weighted by each band's share in the bin."""
        return Banded(self.spread.T)

    @cached_property
    def normalisation(self) -> Tensor:
        """(L,)."""
        return overlap_normalisation(self.window, self.hop_length, self.frames)

    @property
    def bins(self) -> int:
        """How many of the K bins lie in a band; those above are empty."""
        used = self.filters.sum(dim=0).nonzero()
        return int(used.max()) + 1 if len(used) else 0

    def coarser(self, factor: int) -> BandTransform | None:
        """The same frames at 1 / factor of the sample rate, with the bands that lie below its Nyquist frequency.

        Its bins are the lowest of this one's: same times, same frequencies, a part of the work.

        Returns:
            None where hop or window are no multiples of the factor, or no band is left.
        """
        if self.hop_length % factor or len(self.window) % (2 * factor):
            return None
        window = self.window[::factor] * factor  # sums to the same, so that magnitudes agree
        kept = len(window) // 2 + 1
        edge = int(EDGE * kept)
        # Only bands that lie wholly in it: of others, a part of what they sum up is missing.
        whole = (self.filters[:, edge:] == 0).all(dim=1, keepdim=True)
        filters = self.filters[:, :kept] * whole
        if not bool(filters.any()):
            return None
        return replace(
            self,
            window=window,
            hop_length=self.hop_length // factor,
            filters=filters,
            spread=bin_shares(filters),
        )

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
