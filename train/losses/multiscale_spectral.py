"""Multi-scale spectral loss on spectrograms: 2-D Fourier transforms of blocks of several sizes.

A point-wise loss blurs: where the fine structure cannot be known, it asks for its average. This loss compares how much
of each 2-D wavelength there is in a block, wherever it sits, and adds a weaker term for where it sits.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from dualdiffusion.config import Config
from dualdiffusion.errors import UserError
from dualdiffusion.randomness import SeededNoise


class MultiscaleSpectral(nn.Module):
    """Distance of two spectrograms (B, C, F, T), as its parts by name, each of shape (B,)."""

    default_weights: ClassVar[dict[str, float]] = {"spectral/real": 1.0, "spectral/imag": 0.5}

    class Config(Config):
        """Settings of the loss."""

        block_widths: tuple[Annotated[int, Field(ge=2)], ...] = (8, 16, 32, 64)
        """Sides of the square blocks, in rows and columns. Prime ones have no common multiples, so that their edges
        and wavelengths coincide less."""
        overlap: Annotated[int, Field(ge=1)] = 2
        """Blocks are this many to a block width."""
        wavelength_exponent: Annotated[float, Field(ge=0)] = 0.5
        """How much less short wavelengths count than long ones: as the wavelength to this power. Smaller values give
        sharper onsets and grainier noise."""
        random_offsets: bool = False
        """Blocks begin elsewhere at every step and for every sample, rather than at fixed rows and columns."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        for width in config.block_widths:
            window = torch.hann_window(width, periodic=True)
            window = window[:, None] * window[None, :]
            self.register_buffer(f"window{width}", window / window.square().sum().sqrt(), persistent=False)
            weight = _wavelength_weight(width, config.wavelength_exponent)
            self.register_buffer(f"weight{width}", weight, persistent=False)

    def forward(self, output: Tensor, target: Tensor, *, random: SeededNoise | None = None) -> dict[str, Tensor]:
        """The parts, not weighted: "spectral/real" (magnitudes) and "spectral/imag" (positions).

        Args:
            random: one stream for each sample, for the offsets of the blocks; without it they stay where they are.

        Raises:
            UserError: no block fits the spectrogram.
        """
        output, target = _mid_side(output.float()), _mid_side(target.float())
        widths = [width for width in self.config.block_widths if width <= min(output.shape[-2:])]
        if not widths:
            raise UserError(f"block_widths: none fits a spectrogram of {output.shape[-2]} x {output.shape[-1]}")
        parts = {name: output.new_zeros(len(output)) for name in self.default_weights}
        for width in widths:
            pair = torch.cat([output, target], dim=1)
            if self.config.random_offsets and random is not None:
                pair = _rolled(pair, width, random)
            X, Y = (self._spectra(x, width) for x in pair.chunk(2, dim=1))
            weight = getattr(self, f"weight{width}")
            abs_x, abs_y = _safe_abs(X), _safe_abs(Y)
            real = (weight * (abs_x - abs_y).abs()).mean(dim=(1, 2, 3, 4))
            # |X||Y| (1 - cos) relative to the target's magnitude: what a wrong phase costs, and nothing where there is
            # nothing in the output to have a phase.
            misplaced = (abs_x * abs_y - (X.real * Y.real + X.imag * Y.imag)) / (abs_y + 0.05)
            parts["spectral/real"] = parts["spectral/real"] + real
            parts["spectral/imag"] = parts["spectral/imag"] + (weight * misplaced).mean(dim=(1, 2, 3, 4))
        return {name: part / len(widths) for name, part in parts.items()}

    def _spectra(self, x: Tensor, width: int) -> Tensor:
        hop = max(1, width // self.config.overlap)
        blocks = x.unfold(2, width, hop).unfold(3, width, hop)  # (B, C, rows, columns, width, width)
        spectra = torch.fft.rfft2(blocks * getattr(self, f"window{width}"))
        return spectra.flatten(2, 3)  # (B, C, blocks, width, width // 2 + 1)


def _wavelength_weight(width: int, exponent: float) -> Tensor:
    """Weight of each 2-D frequency: its wavelength relative to the block, to a power. Natural spectra fall off with
    frequency, and errors at short wavelengths are heard less, as the mel bands overlap."""
    fy = torch.fft.fftfreq(width)[:, None] * width
    fx = torch.fft.rfftfreq(width)[None, :] * width
    return (1 + (fy**2 + fx**2).sqrt()) ** -exponent


def _rolled(x: Tensor, width: int, random: SeededNoise) -> Tensor:
    """Each sample of (B, C, F, T) moved in a circle along both axes, by less than a block.

    The seam stands in output and target alike; so unlike a crop this leaves no row or column out.
    """
    shifts = (random.rand((2,)) * width).int().tolist()
    return torch.stack([item.roll(shift, (1, 2)) for item, shift in zip(x, shifts, strict=True)])


def _mid_side(x: Tensor) -> Tensor:
    if x.shape[1] != 2:
        return x
    return torch.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], dim=1) * 0.5**0.5


def _safe_abs(x: Tensor) -> Tensor:
    # The derivative of a plain |x| has no limit at 0.
    return (x.real.square() + x.imag.square() + 1e-8).sqrt()
