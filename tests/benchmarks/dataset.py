"""Figures of the dataset tool: speed, memory, near duplicates, 20,000 tracks, and kills at random moments.

    python -m tests.benchmarks.dataset [--music DIR] [--json FILE] [--only convert,duplicates,records,kills]

DIR is a folder of music, one folder per game; without it the built-in corpus is composed and used.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from unittest import mock

import av
import numpy as np
import soundfile
import soxr

from dataset_processing.decode import AudioError, open_audio
from dataset_processing.duplicates.acoustic_fingerprint import fingerprint_path, read_fingerprint
from dataset_processing.duplicates.near import find_pairs
from dataset_processing.run import flow, runner
from dataset_processing.run.pool import Finished
from dataset_processing.run.run_config import RunConfig, select_steps
from dataset_processing.steps.filter import Filter
from dualdiffusion.config import load_config
from dualdiffusion.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config" / "dataset" / "default.json"
RECORDS = 20_000
TRIMMED_SECONDS = 2
PITCH = 1.001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--music", type=Path, help="folder of music, one folder per game")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--only", default="convert,duplicates,records,kills", help="which parts to run")
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    parts = {
        "convert": convert,
        "duplicates": duplicates,
        "records": records,
        "kills": partial(kills, options.kills),
    }
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="dataset-benchmark-") as name:
        folder = Path(name)
        music = options.music or compose(folder / "music")
        for part in options.only.split(","):
            found = parts[part](music, folder / part)
            shutil.rmtree(folder / part, ignore_errors=True)
            for key, value in found.items():
                print(f"{key:32} {value:g}" if isinstance(value, int | float) else f"{key:32} {value}", flush=True)
            figures |= found
    if options.json:
        write_json(options.json, figures)


def compose(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "dataset_processing", "synth", folder, "--seconds", "90"], check=True, cwd=ROOT
    )
    return folder


def make(source: Path, dataset: Path, *arguments: object) -> list[str]:
    """The command that makes a dataset of a source."""
    command = [sys.executable, "-m", "dataset_processing", "run", str(CONFIG), *map(str, arguments)]
    return [*command, "--set", f"source={source}", f"dataset={dataset}"]


def quiet(command: list[str], **settings: object) -> subprocess.Popen:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, **settings)


# --- speed and memory


def convert(music: Path, folder: Path) -> dict[str, float]:
    """Speed of scan and convert, against a plain loop; and memory with an hour-long file among the music."""
    _, ours = timed(lambda: quiet(make(music, folder / "dataset", "--steps", "scan,convert")).wait())
    report = read_json(folder / "dataset" / "report.json")
    music_seconds = sum(file["measured"].get("seconds", 0) for file in report["files"])
    paths = [music / file["file"] for file in report["files"] if file["verdict"] == "kept"]
    _, plain = timed(lambda: plain_loop(paths, folder / "plain"))
    source = folder / "source"
    shutil.copytree(music, source)
    write_hour(paths, source / "Hours" / "an hour.flac")
    process = quiet(make(source, folder / "with the hour"))
    peak = peak_memory(process)
    _, second = timed(lambda: quiet(make(source, folder / "with the hour")).wait())
    return {
        "music_hours": round(music_seconds / 3600, 3),
        "convert_x_realtime": round(music_seconds / ours, 1),
        "plain_loop_x_realtime": round(music_seconds / plain, 1),
        "convert_ratio_to_plain_loop": round(plain / ours, 3),
        "peak_memory_gb": round(peak / 1e9, 3),
        "second_run_of_music_s": round(second, 2),
    }


def timed(work: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def plain_loop(paths: list[Path], folder: Path) -> None:
    """What a short script does, in one process: read, resample, write, and check nothing."""
    folder.mkdir()
    for number, path in enumerate(paths):
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
        soundfile.write(folder / f"{number}.flac", soxr.resample(data, rate, 32000, "VHQ"), 32000)


def write_hour(paths: list[Path], target: Path) -> None:
    target.parent.mkdir(parents=True)
    length, rate = 0, 44100
    with soundfile.SoundFile(target, "w", rate, 2) as file:
        while length < 3600 * rate:
            for path in paths:
                data = read(path, rate)
                file.write(np.repeat(data, 2 // data.shape[1], axis=1)[: 3600 * rate - length])
                length += len(data)


def peak_memory(process: subprocess.Popen) -> int:
    """The highest memory (bytes) of a process with its children while it runs; what they share counts once."""
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(_memory(pid) for pid in _family(process.pid)))
        time.sleep(0.1)
    return highest


def _family(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


# --- near duplicates


def duplicates(music: Path, folder: Path) -> dict[str, float]:
    """Recall over all pairs of five versions of each piece, and pairs found among different pieces."""
    source, dataset = folder / "source", folder / "dataset"
    made = [version for path in sorted(music.rglob("*")) if path.is_file() for version in versions(path, source, music)]
    if quiet(make(source, dataset, "--steps", "scan")).wait():
        raise SystemExit("scan failed")
    measured = {file["file"]: file["measured"] for file in read_json(dataset / "report.json")["files"]}
    files = [file for file, _ in made if "audio_hash" in measured[file]]
    piece = dict(made)
    words = [read_fingerprint(fingerprint_path(dataset / ".state", measured[file]["audio_hash"])) for file in files]
    threshold = Filter.Config().near_duplicate_share
    pairs, seconds = timed(lambda: find_pairs(len(words), words.__getitem__, min_share=threshold))
    found = {(files[pair.first], files[pair.second]) for pair in pairs}
    wanted = {pair for pair in combinations(files, 2) if piece[pair[0]] == piece[pair[1]]}
    false = sorted(found - wanted)
    for first, second in false[:20]:
        print(f"  among different pieces: {first} and {second}")
    return {
        "near_duplicate_pieces": len(set(piece.values())),
        "near_duplicate_versions": len(files),
        "near_duplicate_recall": round(len(found & wanted) / max(len(wanted), 1), 4),
        "near_duplicate_false_pairs": len(false),
        "near_duplicate_seconds": round(seconds, 2),
    }


def versions(path: Path, source: Path, music: Path) -> Iterator[tuple[str, str]]:
    """Writes five versions of a piece; yields (file below the source, piece)."""
    piece = str(path.relative_to(music).with_suffix(""))
    try:
        data = read(path, 44100)
    except AudioError:
        return
    target = source / piece
    target.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{target}{mark}" for mark in (path.suffix, " quieter.flac", " trimmed.flac", " pitched.flac", " 96k.mp3")]
    shutil.copy(path, names[0])
    soundfile.write(names[1], data * 0.5, 44100)
    soundfile.write(names[2], data[TRIMMED_SECONDS * 44100 :], 44100)
    soundfile.write(names[3], soxr.resample(data, 44100 * PITCH, 44100), 44100)
    write_mp3(Path(names[4]), data, 44100, 96_000)
    yield from ((str(Path(name).relative_to(source)), piece) for name in names)


def read(path: Path, rate: int) -> np.ndarray:
    """(frames, channels) at `rate`."""
    with open_audio(path) as audio:
        return soxr.resample(np.concatenate(list(audio.blocks)), audio.sample_rate, rate)


def write_mp3(path: Path, data: np.ndarray, rate: int, bit_rate: int) -> None:
    layout = "stereo" if data.shape[1] == 2 else "mono"
    held = io.BytesIO()
    with av.open(held, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout=layout, format="fltp")
        stream.bit_rate = bit_rate
        for at in range(0, len(data), 1152):
            block = np.ascontiguousarray(data[at : at + 1152, : 2 if layout == "stereo" else 1].T, np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(held.getvalue())


# --- many tracks


def records(music: Path, folder: Path) -> dict[str, float]:
    """A dataset of 20,000 tracks whose measurements are invented: the real command runs over it a second time."""
    source, dataset = folder / "source", folder / "dataset"
    for number in range(RECORDS):
        path = source / f"game {number % 200:03}" / f"track {number:05}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"nothing")
    config = load_config(RunConfig, CONFIG, [f"source={source}", f"dataset={dataset}"])
    with mock.patch.object(flow, "run_pool", invented):
        _, first = timed(lambda: runner.run(config, select_steps(config, None)))
    process = quiet(make(source, dataset))
    start = time.perf_counter()
    peak = peak_memory(process)
    second = time.perf_counter() - start
    assert process.returncode == 0
    loads = [measured_load(dataset) for _ in range(3)]
    tracks, load, memory = sorted(loads, key=lambda found: found[1])[1]
    assert tracks == RECORDS
    return {
        "records": RECORDS,
        "records_first_run_s": round(first, 2),
        "second_run_s": round(second, 2),
        "second_run_memory_gb": round(peak / 1e9, 3),
        "manifest_load_s": round(load, 3),
        "manifest_memory_mb": round(memory / 1e6, 1),
    }


def invented(function: Callable, todo: list, processes: int) -> Iterator[Finished]:
    """In place of the worker processes: records as scan and convert would give them, with random fingerprints."""
    step = function.args[0]
    for record in todo:
        number = int(record.file[-10:-5])
        if step.__class__.__name__ == "Scan":
            measured = {"audio_hash": f"{number:032x}", "seconds": 60.0 + number % 100, "silence_share": 0.0}
            measured |= {"clipped_share": 0.0, "bandwidth_hz": 16000, "cutoff_hz": None, "format": "FLAC"}
            measured |= {"sample_rate": 44100, "channels": 2, "frames": 44100 * 60, "peak_dbfs": -1.0, "dc_offset": 0.0}
            words = np.random.default_rng(number).integers(1, 2**32, 1200, np.uint32)
            path = fingerprint_path(step.paths.state, measured["audio_hash"])
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, words)
            fields = {
                "source_file": record.file,
                "source_sha256": f"{number:064x}",
                "title": record.track,
                "artist": "",
            }
            yield Finished(record, record.adding(measured=measured, fields={**fields, "tags": {}}))
        else:
            output = f"audio/{record.folder}/{record.track}.flac"
            path = step.paths.dataset / output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"nothing")
            fields = {"file_name": output, "seconds": 60.0, "sample_rate": 32000, "channels": 2, "loudness_lufs": -20.0}
            yield Finished(record, record.adding(fields={**fields, "peak": 0.5}, outputs={output: 7}))


def measured_load(dataset: Path) -> tuple[int, float, int]:
    """Loads both manifests in a fresh process: tracks, seconds, bytes of memory that this took."""
    code = (
        "import sys, time; from pathlib import Path; from dualdiffusion.data.dataset_folder import DatasetFolder\n"
        "used = lambda: 4096 * int(Path('/proc/self/statm').read_text().split()[1])\n"
        "before, start = used(), time.perf_counter()\n"
        "folder = DatasetFolder(Path(sys.argv[1]))\n"
        "tracks = folder.tracks('train') + folder.tracks('validation')\n"
        "print(len(tracks), time.perf_counter() - start, used() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, dataset], cwd=ROOT, check=True, capture_output=True, text=True)
    tracks, seconds, memory = done.stdout.split()
    return int(tracks), float(seconds), int(memory)


# --- kills


def kills(count: int, music: Path, folder: Path) -> dict[str, float]:
    """Kills the command at random moments, five times on the way to each dataset, and compares what comes out."""
    source = folder / "source"
    chosen = sorted((path for path in music.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)[:20]
    for path in chosen:
        (source / path.relative_to(music)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / path.relative_to(music))
    _, whole = timed(lambda: quiet(make(source, folder / "undisturbed")).wait())
    expected = contents(folder / "undisturbed")
    moments, done, equal, rounds = random.Random(0), 0, 0, 0
    while done < count:
        dataset = folder / f"killed {rounds}"
        for _ in range(min(5, count - done)):
            process = quiet(make(source, dataset), stderr=subprocess.DEVNULL, start_new_session=True)
            time.sleep(moments.uniform(0.3, 0.5 + 0.5 * whole))
            # The main process alone: its workers must notice by themselves.
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
        time.sleep(1)
        quiet(make(source, dataset)).wait()
        equal += contents(dataset) == expected
        rounds += 1
    return {"kills": done, "datasets_after_kills": rounds, "datasets_equal_byte_for_byte": equal}


def contents(dataset: Path) -> dict[str, bytes]:
    files = (path for path in dataset.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(dataset)): path.read_bytes() for path in files}


if __name__ == "__main__":
    main()
