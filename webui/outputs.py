"""The outputs folder as the page sees it: audio, pictures and peaks beside it, and the bin.

<outputs>/<audio files>            written by `sampling.output.clips`, shared with the command line
<outputs>/history.sqlite3          the queue and the history
<outputs>/.webui/<job id>.png      spectrogram
<outputs>/.webui/<job id>.json     waveform peaks: {"seconds", "peaks"}
<outputs>/.webui/uploads/<id>.flac what visitors brought in, and .json beside it
<outputs>/.bin/                    deleted audio
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dualdiffusion.files import publish


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
        """Of a job's clip, as PNG."""
        return self.extras / f"{job_id}.png"

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
