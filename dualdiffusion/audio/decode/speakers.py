"""Which channel is which: unusual layouts are brought to one that the mix to stereo knows by its channel count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NAMES = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
)
"""The bits of a WAV channel mask, from the lowest on."""

_USUAL = {
    3: ("FL FR FC",),
    4: ("FL FR BL BR", "FL FR SL SR"),
    5: ("FL FR FC BL BR", "FL FR FC SL SR"),
    6: ("FL FR FC LFE BL BR", "FL FR FC LFE SL SR"),
    7: ("FL FR FC LFE BC SL SR",),
    8: ("FL FR FC LFE BL BR SL SR", "FL FR FC LFE BL BR FLC FRC"),
}
_H = np.sqrt(0.5)
# What each loudspeaker gives to left, right, centre, left surround and right surround; the LFE gives nothing.
_SHARES = {
    "FL": (1, 0, 0, 0, 0), "FR": (0, 1, 0, 0, 0), "FC": (0, 0, 1, 0, 0), "LFE": (0, 0, 0, 0, 0),
    "BL": (0, 0, 0, 1, 0), "BR": (0, 0, 0, 0, 1), "SL": (0, 0, 0, 1, 0), "SR": (0, 0, 0, 0, 1),
    "BC": (0, 0, 0, _H, _H), "FLC": (_H, 0, _H, 0, 0), "FRC": (0, _H, _H, 0, 0), "TC": (0, 0, 1, 0, 0),
    "TFL": (1, 0, 0, 0, 0), "TFC": (0, 0, 1, 0, 0), "TFR": (0, 1, 0, 0, 0),
    "TBL": (0, 0, 0, 1, 0), "TBC": (0, 0, 0, _H, _H), "TBR": (0, 0, 0, 0, 1),
}  # fmt: skip


def of_mask(mask: int, channels: int) -> tuple[str, ...]:
    """The loudspeakers of a WAV channel mask in the order of the channels; () if it does not name them all."""
    names = tuple(name for bit, name in enumerate(NAMES) if mask >> bit & 1)
    return names if len(names) == channels else ()


def fold(names: Sequence[str]) -> np.ndarray | None:
    """The (channels, 2 to 5) float32 matrix that brings an unusual layout to left, right[, centre][, two surrounds].

    None where nothing is to be done: mono, stereo, the usual layout of its channel count, or one that is not known.
    """
    if len(names) < 3 or not {"FL", "FR"} <= set(names) <= set(NAMES) or " ".join(names) in _USUAL.get(len(names), ()):
        return None
    shares = np.array([_SHARES[name] for name in names], np.float32)
    used = shares.any(0)
    used[3:] = used[3:].any()
    return shares[:, used]
