"""The built-in corpus on disk: `<out>/<Game>/<NN> <Title>.flac`, `corpus.json` and `LICENSE.txt`; scores on demand.

A track depends on its game, number, length and seed alone, so any number of processes and any interruption give the
same bytes. Files appear whole or not at all; finished ones are kept when the corpus is written again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import mutagen
import numpy as np
from mutagen.flac import FLAC

from dataset_processing.synth.composition import compose
from dataset_processing.synth.games import GAMES, find_game
from dataset_processing.synth.records import Game
from dataset_processing.synth.render import render
from dataset_processing.synth.score_files import MARK, remove_score, write_score, write_text_if_new
from dataset_processing.synth.titles import track_title
from dataset_processing.workers import worker_context
from dualdiffusion.audio import flac_writer
from dualdiffusion.files import atomic_path, sweep
from dualdiffusion.machine.helping import start_helping
from dualdiffusion.machine.limits import can_share
from dualdiffusion.machine.threads import usable_cpus

# Raise when the sound of any track changes: files of another version are written again.
SYNTH_VERSION = 3
SAMPLE_RATE = 44100
ARTIST = MARK
# A fixed date: the bytes must not depend on the day the corpus is written.
DATE = "2025"
LICENCE = "CC0-1.0"
LICENCE_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
# The tag by which a later run recognises its own files and their settings.
KEY_TAG = "synth_settings"
FULL_SCALE = 32767
MAX_TRACKS = 99
MAX_SECONDS = 1800.0
MAX_SEED = 2**63 - 1
SAMPLE_RATES = (8000, 192000)

NOTICE = f"{ARTIST}, {LICENCE} {LICENCE_URL}"
LICENCE_TEXT = f"""The music in this folder was composed and rendered by a program from a random seed.

To the extent that any rights in it exist, they are given up: the recordings, the compositions behind them, their
titles and their tags are dedicated to the public domain under Creative Commons Zero 1.0 ({LICENCE}). Copy, change,
perform, sell them or train models on them, for any purpose, without asking and without naming anyone. They come
without any warranty.

{LICENCE_URL}
"""


@dataclass(frozen=True)
class Piece:
    """A finished piece: its title and its sound, float32 of shape (2, samples), |x| <= 0.9."""

    title: str
    audio: np.ndarray


@dataclass(frozen=True)
class CorpusSummary:
    """What a run left on disk: folder, names of the games, tracks a game, files written / kept / removed, seconds."""

    out: Path
    games: tuple[str, ...]
    tracks: int
    written: int
    kept: int
    removed: int
    seconds_of_audio: float


@dataclass(frozen=True)
class _Job:
    path: Path
    game: str
    track: int
    seconds: float
    seed: int

    @property
    def key(self) -> str:
        """What the piece follows from; where it is equal, so is the audio, byte for byte."""
        piece = f"game={self.game} track={self.track + 1}"
        return f"version={SYNTH_VERSION} seed={self.seed} seconds={self.seconds!r} {piece}"


def _check_whole(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _check_seconds(seconds: float) -> None:
    if not (math.isfinite(seconds) and 0.0 < seconds <= MAX_SECONDS):
        raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS:g}, got {seconds!r}")


def compose_track(game: str, track: int, *, seconds: float, seed: int, sample_rate: int = SAMPLE_RATE) -> Piece:
    """Compose and render one piece.

    game: name of a built-in game; track: number from 0; seconds: wanted length (the piece stays within 20 % of it);
    seed: >= 0; sample_rate: hertz, 8000..192000. Raises ValueError, naming the argument, when one is out of range.
    """
    record = find_game(game)
    _check_whole("track", track, 0, MAX_TRACKS - 1)
    _check_seconds(seconds)
    _check_whole("seed", seed, 0, MAX_SEED)
    _check_whole("sample_rate", sample_rate, *SAMPLE_RATES)
    score = compose(record, track, seconds=seconds, seed=seed)
    return Piece(track_title(record, track, seed), render(score, record, sample_rate, seconds=seconds))


def _file_name(game: Game, track: int, seed: int) -> str:
    return f"{track + 1:02d} {track_title(game, track, seed)}.flac"


def _write_job(job: _Job) -> None:
    piece = compose_track(job.game, job.track, seconds=job.seconds, seed=job.seed)
    with atomic_path(job.path) as partial:
        with flac_writer(partial, SAMPLE_RATE, len(piece.audio), 16) as file:
            file.write(np.rint(piece.audio.T * FULL_SCALE).astype(np.int16))
        tags = FLAC(partial)
        tags["title"], tags["artist"], tags["album"] = piece.title, ARTIST, job.game
        tags["tracknumber"], tags["date"], tags["genre"] = str(job.track + 1), DATE, "Game"
        tags["license"] = f"{LICENCE} {LICENCE_URL}"
        tags["comment"] = f"Composed by rule from seed {job.seed}; dedicated to the public domain ({LICENCE})."
        tags[KEY_TAG] = job.key
        tags.save()


def _settings_of(path: Path) -> str | None:
    """The settings tag of a file of ours, None for anything else."""
    try:
        return (FLAC(path).get(KEY_TAG) or [None])[0]
    except (mutagen.MutagenError, OSError):
        return None


def _run_jobs(jobs: list[_Job], processes: int, done: Callable[[], None]) -> None:
    if processes == 1 or len(jobs) < 2 or not can_share(processes):
        for job in jobs:
            _write_job(job)
            done()
        return
    context = worker_context(_write_job)
    with ProcessPoolExecutor(min(processes, len(jobs)), context, initializer=start_helping) as pool:
        futures = [pool.submit(_write_job, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
                done()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _remove_strays(folders: list[Path], wanted: set[Path]) -> int:
    """Delete half-written files and pieces of ours that this corpus has no place for; other files are not touched."""
    removed = 0
    for folder in folders:
        sweep(folder)
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.suffix == ".flac" and path not in wanted and _settings_of(path) is not None:
                path.unlink()
                remove_score(path)
                removed += 1
    return removed


def _write_scores(jobs: list[_Job]) -> None:
    for job in jobs:
        game = find_game(job.game)
        composed = compose(game, job.track, seconds=job.seconds, seed=job.seed)
        write_score(job.path, composed, f"{job.game}: {track_title(game, job.track, job.seed)}", NOTICE)


def _check_corpus(games: int, tracks: int, seconds: float, seed: int, processes: int | None) -> None:
    _check_whole("games", games, 1, len(GAMES))
    _check_whole("tracks", tracks, 1, MAX_TRACKS)
    _check_seconds(seconds)
    _check_whole("seed", seed, 0, MAX_SEED)
    if processes is not None:
        _check_whole("processes", processes, 1, 256)


def _make_room(out: Path, games: tuple[str, ...], pending: list[_Job]) -> None:
    """Folders for the games, and nothing that speaks of pieces that are still to be written."""
    for name in games:
        (out / name).mkdir(parents=True, exist_ok=True)
    if pending:
        # The summary stands for a whole corpus: none while pieces are missing.
        (out / "corpus.json").unlink(missing_ok=True)
        for job in pending:
            remove_score(job.path)


def write_corpus(
    out: Path,
    *,
    games: int = len(GAMES),
    tracks: int = 8,
    seconds: float = 60.0,
    seed: int = 0,
    processes: int | None = None,
    score: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CorpusSummary:
    """Write the corpus into `out` (made when missing); the same arguments always give the same bytes.

    games: how many of the built-in games; tracks: pieces a game, 1..99; seconds: wanted length of a piece;
    processes: worker processes, by default one a core; score: write also what was composed, as MIDI and text beside
    each piece; progress: called with (pieces finished, pieces in all).
    Pieces that an earlier run finished with the same settings are kept; its pieces with other settings are replaced.
    Raises ValueError, naming the argument and its range, for a wrong argument, and OSError when writing fails.
    """
    _check_corpus(games, tracks, seconds, seed, processes)
    out, seconds, chosen = Path(out), float(seconds), GAMES[:games]
    jobs = [
        _Job(out / game.name / _file_name(game, track, seed), game.name, track, seconds, seed)
        for track in range(tracks)
        for game in chosen
    ]
    removed = _remove_strays([out, *(out / game.name for game in GAMES)], {job.path for job in jobs})
    pending = [job for job in jobs if _settings_of(job.path) != job.key]
    names = tuple(game.name for game in chosen)
    finished = len(jobs) - len(pending)
    _make_room(out, names, pending)

    def done() -> None:
        nonlocal finished
        finished += 1
        if progress is not None:
            progress(finished, len(jobs))

    if progress is not None:
        progress(finished, len(jobs))
    _run_jobs(pending, processes or usable_cpus(), done)
    if score:
        _write_scores(jobs)
    write_text_if_new(out / "LICENSE.txt", LICENCE_TEXT)
    settings = {"version": SYNTH_VERSION, "seed": seed, "seconds": seconds, "games": list(names), "tracks": tracks}
    write_text_if_new(out / "corpus.json", json.dumps({**settings, "licence": LICENCE}, indent=2) + "\n")
    total = sum(FLAC(job.path).info.length for job in jobs)
    return CorpusSummary(out, names, tracks, len(pending), len(jobs) - len(pending), removed, total)
