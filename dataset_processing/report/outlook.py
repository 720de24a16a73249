"""What a dry run can tell of music that no step has read yet: games, lengths and refusals, from the head of each file.

The steps decode every file whole, which takes long; here each is opened as they open it, its length is taken from what
it says itself, and nothing is decoded. What only decoding shows (damage in the middle, silence) comes out later.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import soundfile

from dataset_processing.report.report import summary_of
from dataset_processing.run.result import Result
from dataset_processing.step import JsonData, Record
from dualdiffusion.audio.decode import AudioError, open_audio

PATIENCE = 60.0  # seconds of looking into files; of the others the length is estimated
MOST_FILES = 200  # refused ones that are named


def outlook(plan: Result, source: Path, *, patience: float = PATIENCE) -> dict[str, JsonData]:
    """What a run would come to, as JSON data.

    Args:
        plan: what `runner.plan` gives.
        source: the folder of audio.
        patience: seconds, after which hours are estimated from the sizes of the files not looked into.

    Returns:
        The summary of a report ("games", "hours", "reasons", ...), and "refused_files", the "steps" with their counts,
        what would be "removed", how many tracks were "looked_into", and whether "hours" are "estimated".
    """
    end = time.monotonic() + patience
    records, seen = [], 0
    for record in plan.records:
        in_time = time.monotonic() < end
        seen += record.kept and in_time
        records.append(_looked_into(record, source) if record.kept and in_time else record)
    records, estimated = _with_estimates(records)
    refused = [{"file": r.file, "reason": r.reason} for r in records if not r.kept and r.audio]
    return {
        **summary_of(records),
        "refused_files": refused[:MOST_FILES],
        "steps": [vars(count) for count in plan.steps],
        "removed": [str(loss) for loss in plan.losses],
        "looked_into": seen,
        "estimated": estimated,
    }


def _looked_into(record: Record, source: Path) -> Record:
    """The record with its length in seconds, or refused, as far as the head of its file tells."""
    if "seconds" in record.measured:
        return record
    path = source / record.source_file
    try:
        with open_audio(path):
            pass
    except AudioError as error:
        return record.refused(str(error))
    except OSError as error:
        return record.refused(f"cannot be read: {error.strerror or error}")
    seconds = stated_seconds(path)
    return record if seconds is None else record.adding(measured={"seconds": seconds})


def stated_seconds(path: Path) -> float | None:
    """The length that a file of audio says it has (s); None where it says nothing."""
    try:
        return soundfile.info(path).duration
    except (soundfile.SoundFileError, OSError):
        pass
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            return container.duration / av.time_base if container.duration else None
    except (av.FFmpegError, OSError, ValueError):
        return None


def _with_estimates(records: Sequence[Record]) -> tuple[list[Record], bool]:
    """Lengths for the kept records without one, as long for their bytes as the others; whether there were any."""
    known = [r for r in records if r.kept and "seconds" in r.measured and r.identity]
    size = sum(record.identity[0] for record in known)
    rate = sum(record.measured["seconds"] for record in known) / size if size else 0.0
    lacking = {id(r) for r in records if r.kept and "seconds" not in r.measured and r.identity}
    measured = [
        replace(r, measured={**r.measured, "seconds": rate * r.identity[0]}) if id(r) in lacking else r for r in records
    ]
    return measured, bool(lacking)
