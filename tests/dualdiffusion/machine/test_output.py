"""What a command prints neither ends nor stops it, whatever becomes of whoever reads it; and signals leave it in order.

Each case is a small command of its own process, run by `run_command` as all commands are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tiny import ROOT

LINES = 3000  # of 100 characters: more than any pipe holds
TALK = f"for number in range({LINES}): print(f'{{number:099}}')"


def start(body: str, *, tail: Sequence[str] = (), **settings: object) -> subprocess.Popen[bytes]:
    """A command whose main function has this body; it leaves the file `done` in its folder at the end of it."""
    lines = ["import os, sys, time, pathlib", *body.splitlines(), "pathlib.Path(sys.argv[1]).touch()", *tail]
    code = "\n".join(
        [
            "from dualdiffusion.command_line import run_command",
            "from dualdiffusion.machine import output",
            "output.GRACE = output.PATIENCE = 0.3",
            "def main():",
            *(f"    {line}" for line in lines),
            "run_command(main)",
        ]
    )
    words = [sys.executable, "-c", code, str(settings.pop("done", os.devnull))]
    return subprocess.Popen(words, cwd=ROOT, **settings)  # type: ignore[call-overload]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_takes_one_line_and_goes_ends_no_command(stream: str, tmp_path: Path) -> None:
    """`command | head -1`, or a program that keeps a log and is killed."""
    body = TALK if stream == "stdout" else TALK.replace("')", "', file=sys.stderr)")
    process = start(body, done=tmp_path / "done", **{stream: subprocess.PIPE})
    reader = getattr(process, stream)
    assert reader.readline() == b"%099d\n" % 0
    reader.close()
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_stops_reading_holds_up_no_command(stream: str, tmp_path: Path) -> None:
    body = TALK if stream == "stdout" else TALK.replace("')", "', file=sys.stderr)")
    process = start(body, done=tmp_path / "done", **{stream: subprocess.PIPE})
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists()


def test_one_stream_that_nobody_reads_keeps_nothing_of_the_other_back(tmp_path: Path) -> None:
    body = f"{TALK}\nprint('heard', file=sys.stderr)"
    process = start(body, done=tmp_path / "done", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr.readline() == b"heard\n"
    assert process.wait(60) == 0


def test_a_slow_reader_gets_everything_in_order(tmp_path: Path) -> None:
    body = "output.GRACE = 20\n" + TALK.replace("range(", "range(2000, ")
    process = start(body, stdout=subprocess.PIPE)
    time.sleep(1)
    got = process.stdout.read().split()
    assert [int(line) for line in got] == list(range(2000, LINES))
    assert process.wait(60) == 0


def test_what_is_dropped_is_the_oldest_and_the_gap_is_told() -> None:
    body = "output.MOST = 50\noutput.GRACE = 20\nsys.stdout.reconfigure(line_buffering=True)\n" + TALK
    process = start(body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(3)
    lines = process.stdout.read().decode().splitlines()
    assert process.wait(60) == 0
    assert int(lines[-1]) == LINES - 1
    (gap,) = [line for line in lines if "left out here: nobody read them" in line]
    numbers = [int(line) for line in lines if line.isdigit()]
    assert len(numbers) + int(gap[1:].split()[0]) == pytest.approx(LINES, abs=2)  # one may be cut in two
    assert numbers == sorted(numbers)


def test_a_terminal_that_goes_away_ends_no_command(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    body = "print('begun', flush=True)\nsys.stdin.readline()\n" + TALK + "\nos.write(2, b'a library')"
    process = start(body, done=tmp_path / "done", stdin=subprocess.PIPE, stdout=theirs, stderr=theirs)
    os.close(theirs)
    assert os.read(ours, 100).startswith(b"begun")
    os.close(ours)
    process.stdin.close()
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists()


def test_a_log_on_a_full_disk_ends_no_command_and_is_told(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(TALK, done=tmp_path / "done", stdout=full, stderr=subprocess.PIPE)
    assert process.stderr.read() == b"warning: some of what was printed could not be written: No space left on device\n"
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists()


def test_a_pipe_that_another_program_has_made_one_that_does_not_wait_gets_everything() -> None:
    process = start("os.set_blocking(1, False)\n" + TALK, stdout=subprocess.PIPE)
    assert [int(line) for line in process.stdout.read().split()] == list(range(LINES))
    assert process.wait(60) == 0


def test_a_command_started_without_standard_streams_prints_into_no_file_of_its_own(tmp_path: Path) -> None:
    body = f"file = open({str(tmp_path / 'data')!r}, 'w')\nprint('lost')\nos.write(1, b'lost too')"
    process = start(body, done=tmp_path / "done", preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)])
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists() and (tmp_path / "data").read_text() == ""


def test_both_streams_keep_their_order_in_one_log(tmp_path: Path) -> None:
    body = "for number in range(50): print(number, file=(sys.stdout, sys.stderr)[number % 2], flush=True)"
    process = start(body, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert [int(line) for line in process.stdout.read().split()] == list(range(50))


def test_a_name_that_the_terminal_cannot_show_ends_no_command() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = start("print('Pok\\u00e9mon')", stdout=subprocess.PIPE, env=env)
    assert process.stdout.read() == b"Pok\\xe9mon\n"
    assert process.wait(60) == 0


def test_a_fault_of_ours_still_shows_where_it_is() -> None:
    process = start("raise ValueError('ours')", stderr=subprocess.PIPE)
    assert process.stderr.read().strip().endswith(b"ValueError: ours")
    assert process.wait(60) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_leaves_in_order_and_with_its_code(number: signal.Signals, tmp_path: Path) -> None:
    body = "try:\n  print('begun', flush=True); time.sleep(60)\nfinally: pathlib.Path(sys.argv[1]).touch()"
    process = start(body, done=tmp_path / "left", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(number)
    if number == signal.SIGHUP:
        process.send_signal(number)  # as the system and then the shell do
    assert process.wait(60) == 128 + number
    assert (tmp_path / "left").exists()
    assert process.stderr.read().count(b"\n") == 1


def test_nohup_shields_from_a_hangup_as_ever(tmp_path: Path) -> None:
    body = "print('begun', flush=True); sys.stdin.readline()"
    process = start(
        body,
        done=tmp_path / "done",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGHUP)
    process.stdin.close()
    assert process.wait(60) == 0
    assert (tmp_path / "done").exists()
