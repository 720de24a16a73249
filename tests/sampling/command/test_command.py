"""`python -m sampling` as people use it: grids, repeats, interruption, and what it says when something is wrong."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy
import pytest
import soundfile
import torch
from PIL import Image

from dualdiffusion import audio
from dualdiffusion.command_line import _outcome
from dualdiffusion.model.folder import ModelFolder
from sampling.output.clips import read_settings
from tests import commands, tiny
from tests.sampling.conftest import Command
from tests.tiny import assert_one_line_error, run

SHORT = ("--seconds", 0.5, "--steps", 1)


def test_guidance_of_an_interval_says_what_it_saved(model: ModelFolder, command: Command, tmp_path: Path) -> None:
    base = ["--model", model.path, "--game", "Castle", "--seconds", 0.5, "--steps", 4, "--sampler", "euler"]
    made = command(*base, "--out", tmp_path, "--set", "guidance.interval=[0.1,10]")
    assert made.returncode == 0, made.stderr
    # The levels are 80, 13.4, 1.1 and 0.01: one of four evaluations takes two passes.
    assert "guided 1 of 4 evaluations, 38% of the network's work saved" in made.stdout
    request, _ = read_settings(Path(made.stdout.strip().splitlines()[-1]))
    assert request.guidance.interval == (0.1, 10)
    assert "saved" not in command(*base, "--out", tmp_path).stdout


def clips_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".flac", ".wav", ".mp3", ".ogg"))


def test_a_grid_makes_every_clip_once_and_a_sheet_of_them(model: ModelFolder, command: Command, tmp_path: Path) -> None:
    grid = ["--model", model.path, "--game", "Castle", *SHORT, "--grid", "cfg_scale=1,2", "--seeds", "3-4"]
    level = ["--format", "ogg", "--loudness", -20]
    first = command(*grid, *level, "--out", tmp_path)
    assert first.returncode == 0, first.stderr
    names = [f"Castle-seed{seed}-cfg_scale={scale}.ogg" for seed in (3, 4) for scale in (1, 2)]
    assert clips_in(tmp_path) == names
    (sheet,) = tmp_path.glob("sheet-cfg_scale+seed-*.html")
    assert sheet.read_text().count("<audio") == 4
    (tmp_path / names[1]).unlink()
    untouched = (tmp_path / names[0]).stat().st_mtime_ns
    again = command(*grid, *level, "--out", tmp_path)
    assert "3 of 4 clips already" in again.stdout
    assert [line for line in again.stdout.splitlines() if line.endswith(".ogg")] == [str(tmp_path / names[1])]
    assert (tmp_path / names[0]).stat().st_mtime_ns == untouched
    assert sheet.read_text().count("<audio") == 4
    assert "all of these clips already" in command(*grid, *level, "--out", tmp_path).stdout
    # Other output settings make other clips.
    assert len(clips_in(tmp_path)) == 4
    assert command(*grid, "--out", tmp_path).returncode == 0
    assert len(clips_in(tmp_path)) == 8
    assert len(list(tmp_path.glob("sheet-*.html"))) == 2


@pytest.mark.parametrize(
    "output",
    [
        ["--format", "flac", "--bits", 24, "--loudness", -30],
        ["--format", "wav", "--bits", 32, "--true-peak", -12],
        ["--format", "wav", "--raw"],
        ["--format", "mp3", "--loudness", -20],
        ["--format", "ogg"],
    ],
)
def test_from_repeats_a_clip_in_its_format_and_at_its_level(
    model: ModelFolder, command: Command, tmp_path: Path, output: list[object]
) -> None:
    made = command("--model", model.path, "--game", "Cave=0.5", *SHORT, "--out", tmp_path, "--settings", *output)
    path = Path(made.stdout.strip())
    for source in (path, path.with_suffix(".json")):
        again = command("--from", source, "--out", tmp_path / "again")
        assert again.stdout.strip().endswith(f"identical to {path}"), again.stdout + again.stderr
        assert "note" not in again.stdout
    for copy in (tmp_path / "again").iterdir():
        assert torch.equal(audio.read(copy)[0], audio.read(path)[0])
        assert read_settings(copy) == read_settings(path)
    samples, sample_rate = soundfile.read(path)
    samples[100] += 0.1
    soundfile.write(path, samples, sample_rate)  # and no tags any more
    assert f"differs from {path}" in command("--from", path, "--out", tmp_path / "again").stdout
    path.unlink()
    assert "no clip to compare" in command("--from", path.with_suffix(".json"), "--out", tmp_path / "again").stdout


def test_from_says_what_is_not_as_it_was(
    model: ModelFolder, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = command("--model", model.path, "--game", "Cave", *SHORT, "--out", tmp_path)
    monkeypatch.setattr("sampling.command.repeat.__version__", "9.9")
    monkeypatch.setattr(torch, "__version__", "2.11.0+other")
    monkeypatch.setattr("sampling.command.repeat.machine", lambda device: {"device": "abacus", "threads": 77})
    other = tiny.make_model(tmp_path / "other", seed=1)
    again = command("--from", made.stdout.strip(), "--model", other.path, "--out", tmp_path)
    for words in (
        "not the model that made",
        "this is 9.9",
        "this is 2.11.0+other",
        "this is abacus",
        "threads: ",
        "differs from",
    ):
        assert words in again.stdout


def test_an_interrupted_batch_leaves_whole_clips_and_goes_on(model: ModelFolder, tmp_path: Path) -> None:
    words = ["--model", model.path, "--game", "Castle", "--seconds", 1, "--grid", "steps=1,1000", "--out", tmp_path]
    streams = (tmp_path.with_name(f"{tmp_path.name}.out"), tmp_path.with_name(f"{tmp_path.name}.err"))
    process = commands.Running("-m", "sampling", *words, streams=streams)
    deadline = time.monotonic() + 60
    while not (streams[0].exists() and streams[0].read_text().endswith("\n")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    first = streams[0].read_text().strip()
    time.sleep(0.2)  # into the second clip; its thousand steps take a minute
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(60) == 130
    assert time.monotonic() - began < 20
    errors = streams[1].read_text()
    assert errors.splitlines() == [
        f"interrupted: 1 of 2 clips are ready in {tmp_path}; the same command goes on from here"
    ]
    assert clips_in(tmp_path) == [Path(first).name]
    assert read_settings(Path(first))[0].steps == 1
    assert not list(tmp_path.glob(".tmp-*"))
    assert "1 of 2 clips are ready" in next(tmp_path.glob("*.html")).read_text()


def test_evaluate_is_a_command_of_its_own(model: ModelFolder, command: Command) -> None:
    shown = command("evaluate", "--help")
    assert shown.returncode == 0
    assert "--embedding" in shown.stdout
    assert_one_line_error(command("evaluate", "--model", model.path, "--clips", "0"), "clips")


def test_a_schedule_is_drawn_with_and_without_a_model(model: ModelFolder, command: Command, tmp_path: Path) -> None:
    bare, learned = tmp_path / "bare.png", tmp_path / "learned.png"
    assert command("--plot-schedule", bare, "--steps", 10).returncode == 0
    assert command("--plot-schedule", learned, "--steps", 10, "--model", model.path).returncode == 0
    sizes = [Image.open(path).size for path in (bare, learned)]
    assert sizes[1][0] > sizes[0][0]  # the model's error beside it
    one = command("--plot-schedule", bare, "--schedule", "learned")
    assert_one_line_error(one, "learned depends on a model", "--model")
    assert_one_line_error(command("--plot-schedule", tmp_path / "a.svg"), "must end in .png")
    assert_one_line_error(command("--plot-schedule", bare, "--grid", "steps=1,2"), "leave out --grid")


def test_of_an_option_and_the_same_key_of_set_the_one_that_counts_is_told(
    model: ModelFolder, command: Command, tmp_path: Path
) -> None:
    words = ("--model", model.path, "--game", "Castle", "--seconds", 1, "--out", tmp_path)
    result = command(*words, "--steps", 3, "--set", "steps=1", "phase_iterations=1")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("note: --set steps counts, and not --steps") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--grid", "cfg_scal=1,2"], ["--grid cfg_scal: unknown key", "did you mean cfg_scale?"]),
        (["--grid", "games.Castel=1,2"], ["unknown game 'Castel'", "nearest: Castle"]),
        (["--grid", 'games={"Castle":1},{"Cav":1}'], ["--grid games: says all values, so --game would not count"]),
        (["--grid", "game=Castle,Cave"], ["--grid game: ", "so --game would not count", "leave out one of the two"]),
        (["--grid", "steps=1,2"], ["--grid steps: ", "so --steps would not count", "leave out one of the two"]),
        (["--seed", "5", "--grid", "seed=1,2"], ["--grid seed: ", "so --seed would not count"]),
        (["--set", "seed=5", "--seeds", "1-2"], ["--seeds: ", "so --set seed would not count"]),
        (["--set", "cfg_scale=5", "--grid", "cfg_scale=1,2"], ["--grid cfg_scale: ", "so --set cfg_scale would not"]),
        (["--set", "guidance.interval=[1,2]", "--grid", "guidance=null"], ["so --set guidance.interval would not"]),
        (["--grid", "cfg_scale=1,nan"], ["cfg_scale=nan", "cfg_scale"]),
        (["--grid", "seconds=1,1e9"], ["seconds", "600"]),
        (["--grid", "games.Castle=1,0"], ["at least one game needs a weight"]),
        (["--grid", "ema=null,ema_9"], ["has no EMA 'ema_9'"]),
        (["--grid", "seed=1,2", "--seeds", "1-2"], ["--grid seed", "leave out one"]),
        (["--seeds", "9-1"], ["--seeds 9-1", "falls"]),
        (["--seeds", "1-nan"], ["--seeds 1-nan", "whole numbers"]),
        (["--seeds", "1-100000"], ["more than 1,000"]),
        (["--seeds", "9007199254740992"], ["seed", "9007199254740992"]),
        (["--seeds", "1-2", "--count", "2"], ["--seeds", "leave out --count"]),
        (["--count", "100000000"], ["more than 1,000"]),
        (["--format", "flacc"], ["format", "'flac'", "flacc"]),
        (["--format", "mp3", "--bits", "16"], ["bits: mp3 has no bits", "leave it out"]),
        (["--bits", "32"], ["bits: flac has 16 or 24 bits"]),
        (["--loudness", "nan"], ["loudness", "finite"]),
        (["--loudness", "5"], ["loudness", "less than or equal to 0"]),
        (["--true-peak", "1"], ["true_peak", "less than or equal to 0"]),
        (["--raw", "--loudness", "-16"], ["--raw", "leave out --loudness"]),
        (["--seconds", "1e-9"], ["seconds", "too short for this model"]),
        (["--from", "README.md"], ["README.md: is not a flac, wav, mp3, ogg or json file"]),
        (["--from", "config/sampling/demo.json"], ["has no settings of this program"]),
        (["--from", "x.flac", "--loudness", "-16"], ["--from repeats a clip as it was"]),
        (["--seconds", "3", "--set", "source.path=x.flac"], ["--seconds: a clip is as long as its source"]),
        (["--set", "source.path=x.flac", "seconds=3"], ["--seconds: a clip is as long", "source.seconds"]),
        (["--grid", "seconds=1,2", "--set", "source.path=x.flac"], ["--seconds: a clip is as long as its source"]),
        (["--out", "README.md"], ["README.md", "is a file, not a folder"]),
        (["--out", "README.md/inside"], ["README.md/inside", "Not a directory"]),
        (["--out", "/proc/nowhere"], ["/proc/nowhere"]),
    ],
)
def test_what_cannot_be_done_is_one_line_with_exit_code_2(
    model: ModelFolder, command: Command, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    game = [] if options[0] == "--from" else ["--game", "Castle", "--steps", "1"]
    out = [] if "--out" in options else ["--out", tmp_path / "out"]
    assert_one_line_error(command("--model", model.path, *game, *options, *out), *words)
    assert not list((tmp_path / "out").glob("*.*"))  # nothing was generated before the error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--grid", "game=Castle,Cav"], ["unknown game 'Cav'", "nearest: Cave"]),
        (["--game", "Castle", "--grid", "steps=1,0"], ["steps=0", "greater than or equal to 1"]),
        (["--each-game", "--set", "games.Cave=1"], ["--each-game: ", "so --set games.Cave would not count"]),
    ],
)
def test_what_is_wrong_with_what_only_a_grid_says_is_told(
    model: ModelFolder, command: Command, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    assert_one_line_error(command("--model", model.path, "--out", tmp_path, *options), *words)


def test_a_value_may_stand_beside_a_grid_of_a_part_of_it(model: ModelFolder, command: Command, tmp_path: Path) -> None:
    mix = ["--game", "Castle=0.5", "--game", "Cave=0.5", "--grid", "games.Cave=0.1,0.2", "--seed", 3]
    assert command("--model", model.path, *mix, *SHORT, "--out", tmp_path).returncode == 0
    weights = {tuple(read_settings(path)[0].games.values()) for path in tmp_path.glob("*.flac")}
    assert weights == {(0.5, 0.1), (0.5, 0.2)}


def test_the_same_errors_come_from_a_process_of_its_own(model: ModelFolder, tmp_path: Path) -> None:
    result = run("-m", "sampling", "--model", model.path, "--game", "Castle", "--grid", "stps=1,2", "--out", tmp_path)
    assert_one_line_error(result, "--grid stps: unknown key; did you mean steps?")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 GB"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_line_with_the_remedy(
    model: ModelFolder,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("sampling.batch.Batch.results", fail)
    result = command("--model", model.path, "--game", "Castle", "--out", tmp_path)
    assert_one_line_error(result, "out of memory at", "shorter clip")


NO_ROOM = {
    errno.ENOSPC: "the disk is full; free some space and",
    errno.EDQUOT: "this account's share of the disk is full; free some space and",
    errno.EFBIG: "a file would be larger than it may be here; take another disk than FAT, or raise ulimit -f and",
    errno.EIO: f"the disk or share fails ({os.strerror(errno.EIO)}); see whether it is there and",
}


@pytest.mark.parametrize("reason", NO_ROOM)
def test_a_disk_that_takes_nothing_is_one_line_and_leaves_no_part_of_a_clip(
    reason: int, model: ModelFolder, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(Path, "write_bytes", full)
    result = command("--model", model.path, "--game", "Castle", *SHORT, "--out", tmp_path / "out", "--spectrogram")
    assert result.returncode == 3
    assert result.stderr.splitlines() == [f"error: {NO_ROOM[reason]} run the same command again"]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("reason", "doing"), [(errno.EIO, "at"), (errno.ENOSPC, "while writing")])
def test_only_a_full_disk_is_said_to_have_been_written_to(reason: int, doing: str) -> None:
    text, code = _outcome(OSError(reason, os.strerror(reason), "a.flac"))
    assert code == 3
    assert f" {doing} a.flac; " in text


def test_loud_clips_of_the_command_have_the_peak_that_is_asked_for(
    model: ModelFolder, command: Command, tmp_path: Path
) -> None:
    words = ["--model", model.path, "--game", "Castle", *SHORT, "--loudness", -1, "--true-peak", -2, "--out", tmp_path]
    path = Path(command(*words).stdout.strip())
    samples, sample_rate = audio.read(path)
    assert 20 * numpy.log10(audio.true_peak(samples, sample_rate)) == pytest.approx(-2, abs=0.01)
