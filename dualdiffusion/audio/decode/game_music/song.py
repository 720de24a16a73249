"""A song of a file of game music: what the file says of it, and how it is played to an end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

import numpy as np

CHIP_SECONDS = 150.0
LOOPS = 2
FADE_SECONDS = 8.0
MAX_SECONDS = 3600.0
"""No song is rendered beyond this (s): a module can be made to play for days."""
_SILENT = 16 / 32768  # a chip at rest still moves by a few steps of 16 bits, peak to peak
_SILENT_BEFORE, _SILENT_AFTER = 10.0, 6.0  # s
TakeData = dict[str, int | float | bool | dict[str, str]]
"""A `Take` as JSON data."""
_YEAR = re.compile(r"(?<!\d)(19[789]\d|20\d\d)(?!\d)")


@dataclass(frozen=True)
class Take:
    """One song, and how it is to be played.

    Attributes:
        number: which one of its file, from 1.
        of: how many the file holds.
        seconds: from its beginning to where its fade begins.
        fade: length (s) of the fade that follows; 0 for none.
        open_ended: its file states no length: it also ends where nothing is heard any more.
        tags: what the file says of it, under `dualdiffusion.audio.TAG_NAMES`.
    """

    number: int = 1
    of: int = 1
    seconds: float = CHIP_SECONDS
    fade: float = 0.0
    open_ended: bool = False
    tags: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def from_json(data: TakeData) -> Take | None:
        """The take that `to_json` gave; None for {}, which stands for a recording."""
        return Take(**data) if data else None

    def to_json(self) -> TakeData:
        """JSON data."""
        return asdict(self)

    def notes(self) -> tuple[str, ...]:
        """What is unusual about it, for the report."""
        notes = [] if self.of == 1 else [f"song {self.number} of {self.of}"]
        if self.open_ended:
            notes.append(f"its file states no length: played for {self.seconds:g} s at most, and faded out")
        if self.seconds >= MAX_SECONDS:
            notes.append(f"longer than {MAX_SECONDS:g} s: the rest is left out")
        return tuple(notes)

    def finish(self, blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
        """The take out of endless blocks: float32 (frames, channels), faded at its end.

        Args:
            blocks: float32 (frames, channels), of any lengths.
            rate: their sample rate (Hz).
        """
        total, faded = round((self.seconds + self.fade) * rate), round(self.fade * rate)
        blocks = _cut(blocks, total, faded)
        return _until_silence(blocks, rate) if self.open_ended else blocks


@dataclass(frozen=True)
class Song:
    """What a file says of one of its songs; times in s, None where it says nothing.

    Attributes:
        seconds: to its end, or to where its fade begins.
        fade: of the fade after that; 0 where it really ends.
        intro, loop: to where its loop begins, and the length of the loop; a loop of 0 is none.
        tags: see `Take.tags`.
    """

    seconds: float | None = None
    fade: float | None = None
    intro: float = 0.0
    loop: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)

    def take(
        self,
        number: int = 1,
        of: int = 1,
        *,
        chip_seconds: float = CHIP_SECONDS,
        loops: int = LOOPS,
        fade_seconds: float = FADE_SECONDS,
    ) -> Take:
        """How it is played: to its stated end, else by its loop, else for `chip_seconds`.

        Args:
            number, of: see `Take`.
            chip_seconds: length (s) where the file states none.
            loops: how often the loop is played, where the file states one.
            fade_seconds: length (s) of the fade, where the file states none.
        """
        fade = fade_seconds if self.fade is None else self.fade
        seconds = self.seconds
        if seconds is None:
            seconds = self.intro + loops * self.loop if self.loop else chip_seconds
        if seconds >= MAX_SECONDS:
            seconds, fade = MAX_SECONDS, 0.0
        open_ended = self.seconds is None and not self.loop
        return Take(number, of, round(seconds, 3), round(fade, 3), open_ended, self.tags)


def _cut(blocks: Iterable[np.ndarray], total: int, faded: int) -> Iterator[np.ndarray]:
    """The first `total` frames, the last `faded` of them falling to nothing in a straight line."""
    start = 0
    for block in blocks:
        block = block[: total - start]
        if faded and start + len(block) > total - faded:
            left = total - np.arange(start, start + len(block), dtype=np.float32)
            block = block * np.minimum(left / np.float32(faded), 1)[:, None].astype(np.float32)
        start += len(block)
        yield block
        if start >= total:
            return


def _until_silence(blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Blocks up to where 6 s of silence begin; of a song that is silent from its beginning, the first 10 s."""
    held: list[np.ndarray] = []
    silent, heard = 0, False
    for block in blocks:
        if np.ptp(block, axis=0).max(initial=0) > _SILENT:
            yield from held
            held, silent, heard = [], 0, True
            yield block
            continue
        held.append(block)
        silent += len(block)
        if silent > (_SILENT_AFTER if heard else _SILENT_BEFORE) * rate:
            break
    if not heard:
        yield from held


def tags_of(**texts: str) -> dict[str, str]:
    """Tags that are not empty; the year is taken from the copyright where there is no date."""
    tags = {name: text for name, text in texts.items() if text}
    year = _YEAR.search(tags.get("copyright", ""))
    if year and "date" not in tags:
        tags["date"] = year[0]
    return tags
