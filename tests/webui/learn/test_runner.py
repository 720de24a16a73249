"""The process that runs the stages: it goes on where it was, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing import Process
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import is_alive, until
from tests.webui.learn import fake_run
from webui.learn.generator import Chosen, Generator
from webui.learn.presets import Preset
from webui.learn.runner import last_error, stages_until

FITS = {"module": "vae", "need": 2**20, "fits": True, "micro_batch_size": None}
CHECKED = {"device": "cpu", "name": "it", "room": 2**30, "runs": [FITS, {**FITS, "module": "unet"}]}
STAYS = "trap 'echo saved; exit 143' TERM; echo at work; while :; do sleep 0.05; done"


class Running:
    """A generator of shell commands, and the processes that ran them."""

    def __init__(self, work: Path) -> None:
        preset = Preset(title="Fake", dataset="d", vae="v", unet="u")
        chosen = Chosen(name="mine", source=work, model=work / "model", preset_name="fake", preset=preset)
        self.generator = Generator(chosen, work)
        self.generator.save()
        self.began: list[Process] = []
        self.commands = {stage: f"echo {stage} >> order" for stage in ("prepare", "vae", "encode", "unet")}
        self.commands = {stage: f"echo {stage} >> {work}/order" for stage in self.commands}
        self.commands["check"] = f"echo a warning; echo '{json.dumps(CHECKED)}'"
        self.order, self.errors = work / "order", work / "errors"

    def begin(self, last: str = "unet", **commands: str) -> Process:
        self.commands |= commands
        (self.generator.folder / "commands.json").write_text(json.dumps(self.commands))
        process = fake_run.start(self.generator.work, "mine", last, self.errors)
        self.began.append(process)
        return process

    def ends(self, process: Process) -> dict[str, Any]:
        process.join(30)
        return self.generator.run_state()

    def at_work(self, stage: str) -> dict[str, Any]:
        """Waits until a stage's command has begun to work."""
        log = self.generator.log(stage)
        until(
            lambda: log.exists() and "at work" in log.read_text().split("$ ")[-1].splitlines(), f"{stage} at work", 30
        )

        def told() -> dict[str, Any] | None:
            state = self.generator.run_state()
            return state if state["stage"] == stage and state["command"] else None

        return until(told, f"{stage} is told to be at work")

    def close(self) -> None:
        for process in self.began:
            process.kill()
            process.join()
        command = self.generator.run_state().get("command")
        if command and is_alive(command["pid"]):
            os.killpg(command["pid"], signal.SIGKILL)


@pytest.fixture
def running(tmp_path: Path) -> Any:
    running = Running(tmp_path)
    yield running
    running.close()


def statuses(state: dict[str, Any]) -> list[str]:
    return [state["stages"][stage]["status"] for stage in ("prepare", "check", "vae", "encode", "unet")]


def test_preparing_and_training_are_told_apart() -> None:
    assert stages_until("prepare") == ("prepare",)
    assert stages_until("unet") == ("check", "vae", "encode", "unet")


def test_stages_run_in_order_and_what_is_done_is_not_done_again(running: Running) -> None:
    state = running.ends(running.begin("prepare"))
    assert (state["status"], statuses(state)) == ("done", ["done", "waiting", "waiting", "waiting", "waiting"])
    state = running.ends(running.begin())
    assert (state["status"], statuses(state)) == ("done", ["done"] * 5)
    assert running.order.read_text().split() == ["prepare", "vae", "encode", "unet"]
    assert state["forecast"] == CHECKED
    running.ends(running.begin())
    assert running.order.read_text().split() == ["prepare", "vae", "encode", "unet"]
    state = running.ends(running.begin("prepare"))  # new music: all that follows is to do again
    assert statuses(state) == ["done", "waiting", "waiting", "waiting", "waiting"]


def test_a_pause_reaches_the_command_and_resuming_gives_it_again(running: Running) -> None:
    process = running.begin(vae=STAYS)
    state = running.at_work("vae")
    assert state["status"] == "running" and statuses(state)[2] == "running"
    process.terminate()
    state = running.ends(process)
    assert (state["status"], statuses(state)[2]) == ("paused", "paused")
    assert "saved" in running.generator.log("vae").read_text()
    assert not state["command"] and not state["runner"]
    state = running.ends(running.begin(vae="exit 0"))
    assert statuses(state)[1:] == ["done"] * 4


def test_stopping_is_told_apart_from_pausing(running: Running) -> None:
    process = running.begin(vae=STAYS)
    running.at_work("vae")
    os.kill(process.pid, signal.SIGINT)
    assert running.ends(process)["status"] == "stopped"


def test_an_error_is_the_commands_own_line_and_ends_the_chain(running: Running) -> None:
    words = "echo step 3; echo 'error: datasets/mine: no track is long enough; add music' >&2; exit 2"
    state = running.ends(running.begin(vae=words))
    assert state["status"] == "failed"
    assert state["error"] == "datasets/mine: no track is long enough; add music"
    assert statuses(state) == ["waiting", "done", "failed", "waiting", "waiting"]
    assert not running.order.exists()


def test_a_killed_command_is_given_again(running: Running) -> None:
    once = f"test -e {running.generator.work}/again || {{ touch {running.generator.work}/again; kill -9 $$; }}"
    state = running.ends(running.begin(vae=once))
    assert (state["status"], state["stages"]["vae"]["killed"]) == ("done", 1)


def test_a_command_that_is_killed_every_time_fails_with_what_that_may_mean(running: Running) -> None:
    state = running.ends(running.begin(vae=f"echo try >> {running.order}; kill -9 $$"))
    assert state["status"] == "failed"
    assert state["error"] == "was ended by signal 9; the machine may have run out of memory"
    assert running.order.read_text().split() == ["try"] * 3


def test_a_killed_runner_leaves_its_command_to_the_next_one(running: Running) -> None:
    work = running.generator.work
    waits = f"echo at work; while ! test -e {work}/go; do sleep 0.05; done; echo vae >> {work}/order"
    first = running.begin(vae=waits)
    command = running.at_work("vae")["command"]["pid"]
    first.kill()
    first.join()
    assert is_alive(command)
    second = running.begin(vae=f"echo vae again >> {work}/order")
    (work / "go").touch()
    state = running.ends(second)
    assert state["status"] == "done"
    assert running.order.read_text().splitlines() == ["vae", "vae again", "encode", "unet"]


def test_two_runners_of_one_generator_do_not_meet(running: Running) -> None:
    running.begin(vae=STAYS)
    running.at_work("vae")
    second = running.begin()
    second.join(30)
    assert second.exitcode == 2
    assert "is already at work on this folder" in running.errors.read_text()


def test_what_does_not_fit_is_not_begun(running: Running) -> None:
    large = {**CHECKED, "runs": [{**FITS, "fits": False, "need": 3 * 2**30}]}
    state = running.ends(running.begin(check=f"echo '{json.dumps(large)}'"))
    assert state["status"] == "failed"
    assert state["error"].startswith("training the vae is predicted to need 3.0 GiB, and 1.0 GiB are free; close other")
    assert statuses(state)[2] == "waiting"


def test_a_smaller_micro_batch_reaches_the_training(running: Running) -> None:
    small = {**CHECKED, "runs": [FITS, {**FITS, "module": "unet", "micro_batch_size": 3}]}
    words = f"echo MICRO > {running.order}"
    running.ends(running.begin(check=f"echo '{json.dumps(small)}'", unet=words))
    assert running.order.read_text().strip() == "3"


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("epoch\nerror: out of room\n", 2, "out of room"),
        ("Traceback ...\nValueError: a tensor\n", 1, "ended with exit code 1: ValueError: a tensor"),
        ("", 1, "ended with exit code 1"),
        ("at work", -9, "was ended by signal 9; the machine may have run out of memory"),
        ("at work", -11, "was ended by signal 11"),
    ],
)
def test_how_an_end_is_told(text: str, code: int, line: str) -> None:
    assert last_error(text, code) == line
