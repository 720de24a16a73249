"""Short MP3s of refused files, so that a person can hear in the report what was turned away."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from dataset_processing.report.report import is_fault_of_ours, reason_class
from dataset_processing.step import Paths, Record
from dualdiffusion.audio.decode import Take, open_audio
from dualdiffusion.files import atomic_path, sweep

SECONDS = 8
SAMPLE_RATE = 22050
PLAYERS = 12
_MOST_TRIES = 60
_LEAST_PEAK, _WANTED_PEAK = 0.01, 0.7
_VERSION = 1


def previews(records: Iterable[Record], paths: Paths) -> dict[str, bytes]:
    """File -> the MP3 of its first seconds, for up to `PLAYERS` refused files that can be decoded.

    Different reasons are represented. Previews are kept in `<dataset>/.state/previews`, also the finding that a file
    cannot be decoded (an empty file there), so that an unchanged file is opened only once; others are removed.

    Raises:
        OSError: a preview cannot be written.
    """
    folder = paths.state / "previews"
    chosen: dict[str, bytes] = {}
    held: set[str] = set()
    for record in _in_turn(records)[:_MOST_TRIES]:
        if len(chosen) == PLAYERS:
            break
        source = paths.source / record.source_file
        key = _key(source, record.file)
        if key is None:
            continue
        held.add(key)
        data = _cached(folder / key, source, Take.from_json(record.song))
        if data:
            chosen[record.file] = data
    _keep_only(folder, held)
    return chosen


def _in_turn(records: Iterable[Record]) -> list[Record]:
    """Refused audio files, one of every reason, then a second one of every reason, and so on; frequent reasons first.

    A file on which a decoder crashed is left out: here it would take the whole run with it.
    """
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.file):
        if not record.kept and record.audio and not is_fault_of_ours(record.reason):
            kinds[reason_class(record.reason)].append(record)
    ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    turns = [(turn, place, record) for place, (_, kind) in enumerate(ordered) for turn, record in enumerate(kind)]
    return [record for _, _, record in sorted(turns, key=lambda item: item[:2])]


def _key(source: Path, file: str) -> str | None:
    """The name of a file's preview, which follows from its path, size and time; None where there is no file to read."""
    try:
        status = os.stat(source)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    identity = [_VERSION, os.fsencode(file), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:32] + ".mp3"


def _cached(path: Path, source: Path, take: Take | None) -> bytes:
    """The preview at `path`, made first if it is not there; empty where the source cannot be decoded."""
    if path.is_file():
        return path.read_bytes()
    excerpt = read_excerpt(source, take)
    data = b"" if excerpt is None else encode_mp3(excerpt)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return data


def _keep_only(folder: Path, names: set[str]) -> None:
    if not folder.is_dir():
        return
    sweep(folder)
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    if not names:
        folder.rmdir()


def read_excerpt(path: Path, take: Take | None = None) -> np.ndarray | None:
    """The first `SECONDS` of a file at `SAMPLE_RATE`: float32 (frames,), mono; None where nothing can be decoded.

    `take` is the song of a file of game music.

    The excerpt is brought to a comfortable level, but what is as good as silent stays so: that is why it was refused.
    """
    blocks: list[np.ndarray] = []
    try:
        with open_audio(path, take) as audio:
            rate = audio.sample_rate
            missing = SECONDS * rate
            for block in audio.blocks:
                blocks.append(block[:missing].mean(1))
                missing -= len(blocks[-1])
                if missing <= 0:
                    break
    except Exception:  # a refused file may fail in any way; what came before the damage can still be heard
        if not blocks:
            return None
    sound = np.nan_to_num(np.concatenate(blocks or [np.zeros(0)]).astype(np.float32), posinf=0, neginf=0)
    if not len(sound):
        return None
    sound = np.asarray(soxr.resample(sound, rate, SAMPLE_RATE), np.float32)
    peak = float(np.abs(sound).max(initial=0))
    return sound * np.float32(_WANTED_PEAK / peak) if peak > _LEAST_PEAK else sound


def encode_mp3(sound: np.ndarray) -> bytes:
    """An MP3 of float32 (frames,) at `SAMPLE_RATE`, about 48 kbit/s; equal samples give equal bytes."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer, sound, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III", compression_level=0.75,
        bitrate_mode="CONSTANT",
    )  # fmt: skip
    return buffer.getvalue()
