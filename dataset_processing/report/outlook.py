"""What a dry run can tell of music that no step has read yet: games, lengths and refusals, from the head of each file.

The steps decode every file whole, which takes long; here each is opened as they open it, its length is taken from what
it says itself, and nothing is decoded. What only decoding shows (damage in the middle, silence) comes out later.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import av
import soundfile

from dataset_processing.report.report import summary_of
from dataset_processing.run.result import Result
from dataset_processing.run.run_config import RunConfig
from dataset_processing.step import JsonData, Paths, Record
from dataset_processing.steps.scan import Scan
from dualdiffusion.audio.decode import AudioError, open_audio
from dualdiffusion.audio.decode.sniff import CHIP_EXTENSIONS, extension_of

PATIENCE = 60.0  # seconds of looking into files; of the others the length is estimated
MOST_FILES = 200  # refused ones that are named


def outlook(plan: Result, config: RunConfig, *, patience: float = PATIENCE) -> dict[str, JsonData]:
    """What a run would come to, as JSON data.

    Args:
        plan: what `runner.plan` gives.
        config: of the run.
        patience: seconds, after which hours are estimated from the files that were looked into.

    Returns:
        The summary of a report ("games", "hours", "reasons", ...), and "refused_files", the "steps" with their counts,
        what would be "removed", how many tracks were "looked_into", and whether "hours" are "estimated".
    """
    end = time.monotonic() + patience
    scan = _scan(config)
    records, seen = [], 0
    for record in plan.records:
        in_time = time.monotonic() < end
        seen += record.kept and in_time
        # Songs that a scan has found already are of one file: as records alone, each would count as all of it.
        records += _looked_into(record, scan) if record.kept and (in_time or record.song) else [record]
    records, estimated = _with_estimates(records, scan.config.chip_seconds + scan.config.fade_seconds)
    refused = [{"file": r.file, "reason": r.reason} for r in records if not r.kept and r.audio]
    return {
        **summary_of(records),
        "refused_files": refused[:MOST_FILES],
        "steps": [vars(count) for count in plan.steps],
        "removed": [str(loss) for loss in plan.losses],
        "looked_into": seen,
        "estimated": estimated or any(record.kept and record.song.get("open_ended") for record in records),
    }


def _scan(config: RunConfig) -> Scan:
    """The step that tells how long songs are played which state no length; with its defaults, where there is none."""
    settings = next((part.config for part in config.steps if part.cls is Scan), Scan.Config())
    return Scan(settings, paths=Paths(config.source, config.dataset))


def _looked_into(record: Record, scan: Scan) -> list[Record]:
    """The record with its length in seconds, or refused, as far as the head of its file tells; each song on its own."""
    if "seconds" in record.measured:
        return [record]
    if record.song:
        return [_played(record)]
    path = scan.paths.source / record.source_file
    try:
        with open_audio(path) as audio:
            songs = audio.songs
    except AudioError as error:
        return [record.refused(str(error))]
    except OSError as error:
        return [record.refused(f"cannot be read: {error.strerror or error}")]
    if songs:
        found = replace(record, songs=[asdict(song) for song in songs])
        return [_played(part) for part in scan.parts(record, found)]
    seconds = stated_seconds(path)
    return [record if seconds is None else record.adding(measured={"seconds": seconds})]


def _played(record: Record) -> Record:
    """A song with the length that it is played for, if it does not fall silent before."""
    return record.adding(measured={"seconds": record.song["seconds"] + record.song["fade"]})


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


def _with_estimates(records: Sequence[Record], of_song: float) -> tuple[list[Record], bool]:
    """Lengths for the kept records without one; whether there were any.

    A recording is taken to be as long for its bytes as others of its extension, or else as all; a file of game music to
    play as long as others of its extension, whatever its bytes.

    Args:
        of_song: seconds of a file of game music, where no other of its kind tells.
    """
    known: dict[str, list[Record]] = {}
    for record in records:
        if record.kept and "seconds" in record.measured and record.identity:
            known.setdefault(extension_of(record.source_file), []).append(record)
    per_byte = _seconds(r for kind, of in known.items() if kind not in CHIP_EXTENSIONS for r in of)
    rates = {kind: _seconds(of, by_file=kind in CHIP_EXTENSIONS) for kind, of in known.items()}

    def guessed(record: Record) -> float:
        kind = extension_of(record.source_file)
        if kind in CHIP_EXTENSIONS:
            return rates.get(kind, of_song)
        return rates.get(kind, per_byte) * record.identity[0]

    lacking = {id(r) for r in records if r.kept and "seconds" not in r.measured and r.identity}
    measured = [r.adding(measured={"seconds": guessed(r)}) if id(r) in lacking else r for r in records]
    return measured, bool(lacking)


def _seconds(records: Iterable[Record], *, by_file: bool = False) -> float:
    """Mean seconds of a byte of their files, or of a file; 0 of none."""
    records = list(records)
    sizes = {record.source_file: 1 if by_file else record.identity[0] for record in records}
    return sum(record.measured["seconds"] for record in records) / max(sum(sizes.values()), 1)
