"""The files of a score beside its recording: `<NN> <Title>.mid` for a sequencer, `<NN> <Title>.txt` for a reader."""

from __future__ import annotations

from pathlib import Path

from dataset_processing.synth.composition import Score
from dataset_processing.synth.midi import encode_midi
from dataset_processing.synth.score_text import describe
from dualdiffusion.files import atomic_path

SUFFIXES = (".mid", ".txt")
# Files of ours carry this, so that a user's own notes of the same name are never removed.
MARK = "Dual Diffusion synth"


def write_bytes_if_new(path: Path, data: bytes) -> None:
    """Writes a file atomically, unless it holds these bytes already."""
    if not (path.is_file() and path.read_bytes() == data):
        with atomic_path(path) as partial:
            partial.write_bytes(data)


def write_text_if_new(path: Path, text: str) -> None:
    """Writes a text as UTF-8 atomically, unless the file holds it already."""
    write_bytes_if_new(path, text.encode())


def write_score(recording: Path, score: Score, title: str, notice: str) -> None:
    """Writes what was composed beside its recording; the notice, which holds `MARK`, says whose it is."""
    write_bytes_if_new(recording.with_suffix(".mid"), encode_midi(score, title, notice))
    write_text_if_new(recording.with_suffix(".txt"), f"{describe(score, title)}\n{notice}\n")


def remove_score(recording: Path) -> None:
    """Removes the score of a recording that is to be replaced; files that are not ours stay."""
    for suffix in SUFFIXES:
        path = recording.with_suffix(suffix)
        if path.is_file() and MARK.encode() in path.read_bytes():
            path.unlink()
