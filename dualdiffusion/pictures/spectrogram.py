"""Pictures of spectrograms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# From black over violet and orange to pale yellow, of evenly rising lightness, so that louder always looks brighter.
_COLORS = np.array(
    [[8, 8, 20], [48, 18, 92], [116, 30, 116], [190, 52, 96], [240, 104, 60], [253, 174, 80], [252, 246, 190]], float
)


def spectrogram_pixels(x: Tensor, *, low: float | None = None, high: float | None = None) -> np.ndarray:
    """A compressed spectrogram (C, F, T) as colours, the channels averaged, low frequencies below.

    Args:
        low, high: values shown darkest and brightest; None for the 2nd and 99.8th percentile of x.

    Returns:
        (F, T, 3) uint8.
    """
    values = torch.nan_to_num(x.detach().float().mean(dim=0)).cpu().numpy()[::-1]
    low = float(np.percentile(values, 2)) if low is None else low
    high = float(np.percentile(values, 99.8)) if high is None else high
    level = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * (len(_COLORS) - 1)
    index = np.minimum(level.astype(int), len(_COLORS) - 2)
    share = (level - index)[..., None]
    return (_COLORS[index] * (1 - share) + _COLORS[index + 1] * share).round().astype(np.uint8)
