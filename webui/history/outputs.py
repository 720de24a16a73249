"""The outputs folder as the page sees it: audio, pictures and peaks beside it, and the bin.

<outputs>/<audio files>            written by `sampling.output.clips`, shared with the command line
<outputs>/history.sqlite3          the queue and the history
<outputs>/.webui/<job id>.webp     spectrogram, of the size of a card; .png where older software has made it
<outputs>/.webui/<job id>.json     waveform peaks: {"seconds", "peaks"}
<outputs>/.webui/uploads/<id>.flac what visitors brought in, and .json beside it
<outputs>/.bin/                    deleted audio
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dualdiffusion.files import TEMPORARY_MARK, publish

if TYPE_CHECKING:
    from webui.history.job import Job

AUDIO_SUFFIXES = {".flac", ".wav", ".mp3", ".ogg"}
PEAKS = 800  # of a waveform


@dataclass(frozen=True)
class OutputFolder:
    """Paths, and the two moves that deleting and undoing are."""

    path: Path

    def create(self) -> None:
        """Makes the folders that are missing."""
        for folder in (self.path, self.extras, self.bin):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def database(self) -> Path:
        """Of the queue and the history."""
        return self.path / "history.sqlite3"

    @property
    def extras(self) -> Path:
        """Where pictures and peaks lie."""
        return self.path / ".webui"

    @property
    def bin(self) -> Path:
        """Where deleted audio lies."""
        return self.path / ".bin"

    def spectrogram(self, job_id: str) -> Path:
        """Where the picture of a job's clip is written, as WebP."""
        return self.extras / f"{job_id}.webp"

    def picture(self, job_id: str) -> Path:
        """The picture of a job's clip that there is; older software has written PNG."""
        png = self.extras / f"{job_id}.png"
        return self.spectrogram(job_id) if self.spectrogram(job_id).is_file() or not png.is_file() else png

    def is_drawn(self, job_id: str) -> bool:
        """Whether a job's clip has its picture and its peaks."""
        return self.picture(job_id).is_file() and self.peaks(job_id).is_file()

    def peaks(self, job_id: str) -> Path:
        """Of a job's clip, as JSON."""
        return self.extras / f"{job_id}.json"

    @property
    def uploads(self) -> Path:
        """Where lies what visitors brought in."""
        return self.extras / "uploads"

    def upload(self, upload_id: str) -> Path | None:
        """The audio that a visitor brought in; None where it is not there."""
        path = self.uploads / f"{upload_id}.flac"
        return path if path.is_file() and path.resolve().parent == self.uploads.resolve() else None

    def audio(self, file: str | None, binned: bool = False) -> Path | None:
        """The audio file, or None where there is none (any more), or where its name leads out of the folder."""
        folder = self.bin if binned else self.path
        if not file or Path(file).name != file:
            return None
        path = folder / file
        return path if path.is_file() and path.resolve().parent == folder.resolve() else None

    def audio_of(self, job: Job) -> Path | None:
        """The audio file of a job, in the bin or not; None where there is none (any more)."""
        return self.audio(job.file, job.binned is not None)

    def clips(self, *, binned: bool = False) -> list[Path]:
        """The audio files beside the database, or in the bin, oldest first; none of other folders, and no links."""
        return [path for path, _ in dated(self.bin if binned else self.path, AUDIO_SUFFIXES)]

    def remove(self, job_id: str, file: str | None) -> None:
        """Removes what lies in the bin for good, with what belongs to it."""
        audio = self.audio(file, binned=True)
        for path in (audio, self.spectrogram(job_id), self.extras / f"{job_id}.png", self.peaks(job_id)):
            if path is not None:
                path.unlink(missing_ok=True)

    def move(self, file: str | None, *, to_bin: bool) -> str | None:
        """Moves audio into the bin or back, never over another file; returns the name it has there.

        A file that has vanished is left out: its name comes back unchanged.
        """
        source = self.audio(file, binned=not to_bin)
        if source is None:
            return file
        folder = self.bin if to_bin else self.path
        folder.mkdir(parents=True, exist_ok=True)
        return publish(source, folder / source.name).name


def seconds_in(about: Path) -> float | None:
    """Length of audio, as the JSON file beside it has it; None where that is gone or damaged."""
    try:
        seconds = json.loads(about.read_bytes())["seconds"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    is_length = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    return float(seconds) if is_length else None


def dated(folder: Path, suffixes: Collection[str]) -> list[tuple[Path, os.stat_result]]:
    """The files in a folder that end in one of `suffixes`, the oldest first.

    Left out are links, files that are yet being written, and those that go while they are looked at.
    """
    found = []
    for entry in os.scandir(folder) if folder.is_dir() else ():
        path = Path(entry.path)
        if path.suffix.lower() not in suffixes or path.name.startswith(TEMPORARY_MARK):
            continue
        with contextlib.suppress(OSError):
            if entry.is_file(follow_symlinks=False):
                found.append((path, entry.stat()))
    return sorted(found, key=lambda each: (each[1].st_mtime, each[0]))
