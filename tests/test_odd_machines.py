"""Every command on odd machines: output that nobody reads, little shared memory, few open files.

What must hold: it works another way, and says so once where there is somebody to hear it; the results are the same.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import torch

from dualdiffusion.model.folder import ModelFolder
from tests import commands, odd_machines, tiny
from tests.dataset_processing.sounds import make_source
from tests.train.checkpoints.test_faults import BATCH, checkpoints, everything, write_config
from tests.train.forked import signal_when, when
from tests.train.test_training import assert_equal, fresh_model
from tests.webui.conftest import REQUEST, free_port, is_alive, until
from tests.webui.serve import make_model
from train.checkpoints.checkpoint import samples_of
from train.position import Position
from train.update import Update

pytestmark = pytest.mark.timeout(900)
LIMIT = 280.0


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of two games, with a file that is no audio."""
    folder = make_source(tmp_path / "music", tracks=2, seconds=8)
    (folder / "game 0" / "broken.flac").write_bytes(b"fLaC and no more")
    return folder


def making(music: Path, dataset: Path) -> list[str]:
    """The words of `dataset_processing` that make a dataset of music in two processes."""
    return ["run", "config/dataset/default.json", "--set", f"source={music}", f"dataset={dataset}", "processes=2"]


@pytest.fixture(scope="module")
def trained(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """What a training of six steps makes on an ordinary machine."""
    folder = tmp_path_factory.mktemp("ordinary")
    path = fresh_model(model, folder / "model", "unet")
    result = commands.run(["train.py", write_config(folder / "train.json", path, dataset)], timeout=LIMIT)
    assert result.returncode == 0, result.stderr
    return everything(path)


@pytest.fixture
def run_model(model: ModelFolder, tmp_path: Path) -> Path:
    return fresh_model(model, tmp_path / "model", "unet")


@pytest.mark.slow
@pytest.mark.parametrize("reader", odd_machines.READERS, ids=lambda reader: reader.__name__)
def test_a_training_whose_output_nobody_reads_ends_with_the_same_weights(
    reader: Callable[[], None], run_model: Path, dataset: Path, tmp_path: Path, trained: dict[str, torch.Tensor]
) -> None:
    config = write_config(tmp_path / "train.json", run_model, dataset)
    assert commands.run(["train.py", config], timeout=LIMIT, prepare=reader).returncode == 0
    assert_equal(trained, everything(run_model))


def hang_up(reader: Callable[[], None], run: Path) -> None:
    """Nobody reads, and then the hangup comes, once there is a checkpoint."""
    reader()
    signal_when(run / "checkpoints" / f"samples-{2 * BATCH:012d}", signal.SIGHUP)


@pytest.mark.parametrize("reader", [odd_machines.lost_terminal, odd_machines.stuck_pipe], ids=lambda r: r.__name__)
def test_a_hangup_beside_it_saves_and_tells_by_its_code(
    reader: Callable[[], None], run_model: Path, dataset: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "train.json", run_model, dataset, total_samples=2000 * BATCH)
    prepare = functools.partial(hang_up, reader, run_model / "runs" / "unet")
    assert commands.run(["train.py", config], timeout=LIMIT, prepare=prepare).returncode == 128 + signal.SIGHUP
    assert samples_of(checkpoints(run_model)[0]) >= 2 * BATCH


@pytest.mark.slow
@pytest.mark.parametrize("reader", [odd_machines.closed_pipe, odd_machines.stuck_terminal], ids=lambda r: r.__name__)
def test_no_other_command_is_ended_or_held_up_either(
    reader: Callable[[], None], model: ModelFolder, dataset: Path, music: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", write_config(tmp_path / "train.json", model.path, dataset)
    clip = ["--model", model.path, "--seconds", "1", "--steps", "1", "--set", "phase_iterations=1"]
    synth = ["dataset_processing", "synth", out / "synth", "--games", 1, "--tracks", 2, "--seconds", 5]
    run = ["dataset_processing", *making(music, out / "dataset")]
    evaluate = ["sampling", "evaluate", *clip, "--dataset", dataset, "--clips", 2, "--resamples", 20]
    report = ["dualdiffusion", "latent-report", model.path, dataset, "--out", out / "report"]
    for words, made in (
        (synth, "synth/corpus.json"),
        (run, "dataset/train.jsonl"),
        (["sampling", *clip, "--each-game", "--out", out / "clips"], "clips/*-seed0.flac"),
        ([*evaluate, "--json", out / "figures.json"], "figures.json"),
        (["train", "overfit", config, "--steps", 20], "clips"),
        ([*report, "--set", "seconds=2"], "report/latent_report.json"),
    ):
        result = commands.run(["-m", *words], timeout=LIMIT, prepare=reader)
        assert result.returncode in (0, 1), words  # the tiny model learns nothing, and says so
        assert list(out.glob(made)), words


needs_mounts = pytest.mark.skipif(not odd_machines.can_mount(), reason="needs root, and mounts of its own")


def train_a_vae(folder: Path, dataset: Path, workers: int, prepare: Callable[[], object] | None) -> tuple[bytes, str]:
    """The weights, and what was printed to standard error."""
    folder.mkdir(exist_ok=True)
    changes = {"total_samples": 16, "micro_batch_size": 4, "validation": {"samples": 4, "batch_size": 4}}
    config = tiny.write_train_config(
        folder / "train.json", "vae", folder / "model", dataset, num_workers=workers, **changes
    )
    config.write_text(config.read_text().replace('"demos": 1', '"demos": 0'))
    result = commands.run(["train.py", config], timeout=LIMIT, prepare=prepare)
    assert result.returncode == 0, result.stderr
    return ModelFolder(folder / "model").weights_path("vae", "raw").read_bytes(), result.stderr


@pytest.fixture(scope="module")
def vae_of_a_plain_machine(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return train_a_vae(tmp_path_factory.mktemp("plain"), dataset, 0, None)[0]


@pytest.mark.slow
@needs_mounts
@pytest.mark.parametrize(
    ("size", "told"),
    [("256k", "batches come through pipes"), ("32k", "all is done in one process")],
    ids=["too little for batches", "too little for anything"],
)
def test_a_training_with_little_shared_memory_reads_another_way_and_makes_the_same_weights(
    size: str, told: str, dataset: Path, tmp_path: Path, vae_of_a_plain_machine: bytes
) -> None:
    little = functools.partial(odd_machines.small_shared_memory, size)
    weights, printed = train_a_vae(tmp_path, dataset, 1, little)
    assert printed.count(told) == 1 and printed.count("\n") == 1
    assert weights == vae_of_a_plain_machine


def end_workers(number: int) -> None:
    """Ends the processes that read data as soon as they are there."""
    when(multiprocessing.active_children, lambda: [os.kill(p.pid, number) for p in multiprocessing.active_children()])


def test_where_the_system_ends_the_processes_that_read_data_the_training_reads_by_itself(
    run_model: Path, dataset: Path, tmp_path: Path, trained: dict[str, torch.Tensor]
) -> None:
    config = write_config(tmp_path / "train.json", run_model, dataset, num_workers=1)
    result = commands.run(["train.py", config], timeout=LIMIT, prepare=functools.partial(end_workers, signal.SIGKILL))
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("was ended by the system (Killed), for want of memory") == 1
    assert_equal(trained, everything(run_model))


def test_a_crash_of_a_process_that_reads_data_is_one_line(run_model: Path, dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "train.json", run_model, dataset, num_workers=1)
    result = commands.run(["train.py", config], timeout=LIMIT, prepare=functools.partial(end_workers, signal.SIGSEGV))
    tiny.assert_one_line_error(result, "exit code -11", "num_workers=0")


def fail_after_a_step() -> None:
    """A fault of ours, while processes that read data wait for more to do."""
    backward = Update.backward

    def broken(self: Update, batches: object, position: Position, first: int) -> object:
        if position.samples:
            raise ValueError("a fault of ours")
        return backward(self, batches, position, first)

    Update.backward = broken


@pytest.mark.slow
def test_a_fault_of_ours_ends_the_processes_that_read_data_too(run_model: Path, dataset: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "train.json", run_model, dataset, num_workers=1)
    result = commands.run(["train.py", config], timeout=LIMIT, prepare=fail_after_a_step)  # which once never ended
    assert result.returncode == 1
    assert "ValueError: a fault of ours" in result.stderr


@needs_mounts
def test_a_dataset_without_shared_memory_is_made_in_one_process(music: Path, tmp_path: Path) -> None:
    made = []
    for name, prepare in (("plain", None), ("small", functools.partial(odd_machines.small_shared_memory, "4k"))):
        result = commands.run(
            ["-m", "dataset_processing", *making(music, tmp_path / name)], timeout=LIMIT, prepare=prepare
        )
        assert result.returncode == 0, result.stderr
        made.append((tmp_path / name / "train.jsonl").read_text())
    assert result.stderr.count("all is done in one process") == 1
    assert made[0] == made[1]


def few_files(soft: int, hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_of_open_files_is_raised_where_it_may_be() -> None:
    code = (
        "import resource\nfrom dualdiffusion.command_line import run_command\n"
        "run_command(lambda: print(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))"
    )
    found = []
    for hard in (2000, 64):
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tiny.ROOT,
            capture_output=True,
            text=True,
            preexec_fn=functools.partial(few_files, 50, hard),
        )
        found.append((result.returncode, result.stdout, result.stderr))
    assert found[0] == (0, "2000\n", "")
    assert found[1][0] == 2 and found[1][1] == ""
    assert found[1][2].startswith("error: this process may have 64 files open at once and needs 128; raise the limit")
    assert found[1][2].count("\n") == 1


def test_the_page_outlives_its_terminal_and_ends_in_order_when_it_is_told_of_that(tmp_path: Path) -> None:
    port, (ours, theirs) = free_port(), os.openpty()
    words = ["-m", "tests.webui.serve", make_model(tmp_path / "model"), tmp_path / "out", port]
    server = subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=tiny.ROOT, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        assert b"Dual Diffusion plays" in os.read(ours, 1000)
        os.close(ours)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            until(lambda: client.get("/api/health").json()["worker_pid"], "the model's process is there", 60)
            job = client.post("/api/jobs", json=REQUEST).json()["id"]
            until(lambda: client.get(f"/api/jobs/{job}").json()["status"] == "done", "the clip is done", 60)
            worker = client.get("/api/health").json()["worker_pid"]
        server.send_signal(signal.SIGHUP)
        assert server.wait(60) == 128 + signal.SIGHUP
        until(lambda: not is_alive(worker), "the model's process has left")
    finally:
        server.kill()
