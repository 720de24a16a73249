"""What makes a clip music, as one record: its rhythm, its notes and its form; and the measures that are taken of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sampling.evaluation.music.pitch import agreement, focus, intervals, pitch_classes, sharpness
from sampling.evaluation.music.rhythm import Rhythm, rhythm
from sampling.evaluation.music.sections import section_contrast

MEASURES = {
    "beat": "beat clarity",
    "stays": "tempo stays",
    "sharpness": "note sharpness",
    "onsets": "onset contrast",
    "focus": "pitch focus",
    "pitch": "pitch agreement",
    "intervals": "interval agreement",
    "sections": "section contrast",
}
"""What is measured of a clip, in this order. All are larger in music than in noise, and none depends on the level.

beat, stays, onsets: see `Rhythm`. sharpness, focus: see pitch.py. pitch: correlation of the pitch classes with those of
the most similar other track of the game, in its own key. intervals: correlation of the intervals between pitch classes,
whatever the key, with their mean over the game's other tracks. sections: see `section_contrast`.
"""


@dataclass(frozen=True)
class Music:
    """What was heard in a clip.

    Attributes:
        sharpness: nepers.
        classes: how much of each pitch class, (12,), from C.
        sections: see `section_contrast`; None for short clips.
    """

    rhythm: Rhythm
    sharpness: float
    classes: Tensor
    sections: float | None

    def measures(self, tracks: Sequence[Tensor]) -> dict[str, float | None]:
        """The `MEASURES`; None for what this clip cannot tell.

        Args:
            tracks: pitch classes (12,) of other tracks of the game.
        """
        own = [intervals(classes) for classes in tracks]
        return {
            "beat": self.rhythm.beat,
            "stays": self.rhythm.stays,
            "sharpness": self.sharpness,
            "onsets": self.rhythm.onsets,
            "focus": focus(self.classes),
            "pitch": agreement(self.classes, tracks) if tracks else None,
            "intervals": agreement(intervals(self.classes), [torch.stack(own).mean(dim=0)]) if tracks else None,
            "sections": self.sections,
        }


def listen(clip: Tensor, sample_rate: int) -> Music:
    """The music in a clip (C, N) of any length, also in silence."""
    return Music(
        rhythm(clip, sample_rate),
        sharpness(clip, sample_rate),
        pitch_classes(clip, sample_rate),
        section_contrast(clip, sample_rate),
    )
