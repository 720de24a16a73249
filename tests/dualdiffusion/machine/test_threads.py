"""Threads wait only shortly and are as many as our cores, in everything that starts torch; the user's word counts."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualdiffusion.config import load_config
from dualdiffusion.errors import UserError
from dualdiffusion.machine.threads import WAITING, prepare_cpu, usable_cores, usable_cpus
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.tiny import ROOT
from train import interruption
from train.optimization.schedule import SCHEDULES, ScheduleConfig
from train.startup import launcher_settings
from train.train_config import TrainConfig

OPENMP = (*WAITING, "OMP_NUM_THREADS", "MKL_NUM_THREADS")
OURS = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0", "OMP_NUM_THREADS": str(usable_cores())}
# Runs a command, and tells what is set at the moment at which it begins to import torch.
UNTIL_TORCH = """
import os, runpy, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.write(2, repr({key: os.environ[key] for key in OPENMP if key in os.environ}).encode())
            os._exit(0)

sys.meta_path.insert(0, Watch())
sys.path.insert(0, "")
sys.argv = sys.argv[1:]
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__")
"""


def environment(**settings: str) -> dict[str, str]:
    """This process's, with these settings of OpenMP and no others."""
    return {**{name: value for name, value in os.environ.items() if name not in OPENMP}, **settings}


def settings_at_torch(*words: object, **settings: str) -> dict[str, str]:
    """What a command, started with these settings of OpenMP, has set when it begins to import torch."""
    said, unsaid = os.pipe()  # nothing stands on standard input, which stays open
    code = f"OPENMP = {OPENMP}\n{UNTIL_TORCH}"
    command = [sys.executable, "-c", code, *map(str, words)]
    result = subprocess.run(
        command, cwd=tiny.ROOT, env=environment(**settings), stdin=said, capture_output=True, text=True, timeout=60
    )
    os.close(said)
    os.close(unsaid)
    assert result.returncode == 0, result.stderr
    return ast.literal_eval(result.stderr)


@pytest.fixture(scope="module")
def commands(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """What starts torch, each by words that lead there."""
    folder = tmp_path_factory.mktemp("commands")
    config = tiny.write_train_config(folder / "train.json", "unet", model.path, dataset)
    encode = {"source": str(folder), "dataset": str(folder / "dataset"), "steps": [{"type": "encode.Encode"}]}
    (folder / "encode.json").write_text(json.dumps(encode))
    return {
        "train.py": ["train.py", config],
        "train.py --dry-run": ["train.py", config, "--dry-run"],
        "overfit": ["train", "overfit", config],
        "ema": ["train", "ema", "--model", model.path, "--std", 0.1],
        "sweep": ["train", "sweep", config, "--set", "seed=1,2"],
        "sampling": ["sampling", "--model", model.path, "--game", "Cave", "--out", folder / "outputs"],
        "evaluate": ["sampling", "evaluate", "--model", model.path, "--dataset", dataset],
        "sampling.evaluation": ["sampling.evaluation", "--model", model.path, "--dataset", dataset],
        "latent-report": ["dualdiffusion", "latent-report", model.path, dataset],
        "encode": ["dataset_processing", "run", folder / "encode.json"],
        "a benchmark": ["tests.benchmarks.memory", "--help"],  # the package prepares for all of them
    }


@pytest.mark.slow
def test_whatever_starts_torch_has_prepared_threads_by_then(commands: dict[str, list[object]]) -> None:
    wrong = {name: found for name, words in commands.items() if (found := settings_at_torch(*words)) != OURS}
    assert wrong == {}


def test_the_pages_model_process_has_prepared_threads_also_when_it_is_started_alone(
    model: ModelFolder, tmp_path: Path
) -> None:
    words = ["webui.models.worker", model.path, tmp_path, "webui.models.worker:SamplingModel"]
    assert settings_at_torch(*words) == OURS


@pytest.mark.parametrize("name", WAITING)
def test_whoever_has_said_how_threads_wait_has_the_only_say(commands: dict[str, list[object]], name: str) -> None:
    found = settings_at_torch(*commands["train.py"], **{name: "7"})
    assert found == {name: "7", "OMP_NUM_THREADS": OURS["OMP_NUM_THREADS"]}


def test_a_number_of_threads_that_is_set_stays(commands: dict[str, list[object]]) -> None:
    assert settings_at_torch(*commands["sampling"], OMP_NUM_THREADS="5") == {**OURS, "OMP_NUM_THREADS": "5"}


def test_the_openmp_library_of_torch_hears_it() -> None:
    prepare = "from dualdiffusion.machine.threads import prepare_cpu; prepare_cpu()"
    code = f"{prepare}\nimport torch; print(torch.get_num_threads())"
    env = environment(OMP_DISPLAY_ENV="VERBOSE")
    result = subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, env=env, capture_output=True, text=True)
    assert result.stdout.strip() == OURS["OMP_NUM_THREADS"]
    if "GOMP_SPINCOUNT" in result.stderr:  # GNU's; Intel's prints other names
        assert "GOMP_SPINCOUNT = '1000'" in result.stderr


def test_preparing_twice_is_preparing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPENMP:
        monkeypatch.delenv(name, raising=False)
    prepare_cpu()
    prepare_cpu()
    assert {name: os.environ[name] for name in OPENMP if name in os.environ} == OURS


def machine(path: Path, monkeypatch: pytest.MonkeyPatch, cpus: int, *, siblings: int = 1, **files: str) -> Path:
    """A made-up system with so many logical processors, of which each `siblings` are one core, and further files."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)))
    for cpu in range(cpus):
        topology = path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"core {cpu // siblings}\n")
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def test_threads_are_counted_by_physical_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = machine(tmp_path, monkeypatch, 16, siblings=2)
    assert (usable_cores(system), usable_cpus(system)) == (8, 16)


def test_a_system_that_tells_no_topology_has_cores_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(tmp_path / "elsewhere", monkeypatch, 6)
    assert usable_cores(tmp_path) == usable_cpus(tmp_path) == 6


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 64),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "400000 100000\n"}, 4),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 64),
        (
            {
                "proc/self/cgroup": "9:cpu,cpuacct:/docker/x\n0::/\n",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "700000",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000",
            },
            7,
        ),
    ],
    ids=["2 of 64", "half", "2.5", "no limit", "more than there are", "group above", "v1", "v1, none", "v1, own"],
)
def test_a_container_with_a_limit_gets_no_more_threads_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    system = machine(tmp_path, monkeypatch, 64, **files)
    assert usable_cores(system) == usable_cpus(system) == cores


@pytest.mark.parametrize(
    ("launcher", "of_launcher", "own", "threads"),
    [
        ("", "", "HOME=/\0OMP_NUM_THREADS=3\0", 3),
        ("", "", "HOME=/\0", None),
        ("accelerate launch train.py", "HOME=/\0", "OMP_NUM_THREADS=1\0", None),
        ("accelerate launch train.py", "A=1\0OMP_NUM_THREADS=1\0B=2\0", "OMP_NUM_THREADS=1\0", 1),
        ("accelerate launch --num_cpu_threads_per_process 6 train.py", "", "OMP_NUM_THREADS=6\0", 6),
        ("torchrun --nproc-per-node 2 train.py", "XOMP_NUM_THREADS=4\0", "OMP_NUM_THREADS=1\0", None),
    ],
)
def test_training_tells_a_users_number_of_threads_from_one_that_a_launcher_sets(
    monkeypatch: pytest.MonkeyPatch, launcher: str, of_launcher: str, own: str, threads: int | None
) -> None:
    told = {
        (os.getppid(), "cmdline"): launcher.replace(" ", "\0"),
        (os.getppid(), "environ"): of_launcher,
        ("self", "environ"): own,
    }
    monkeypatch.setattr(interruption, "read_process", lambda process, file: told[process, file].encode())
    assert interruption.threads_asked() == threads


@pytest.mark.parametrize(
    ("environment", "precision"),
    [
        ("A=1\0ACCELERATE_MIXED_PRECISION=bf16\0B=2\0", "bf16"),
        ("ACCELERATE_MIXED_PRECISION=no\0", None),  # which accelerate sets where nobody asked
        ("XACCELERATE_MIXED_PRECISION=bf16\0", None),
        ("", None),
    ],
)
def test_training_knows_the_precision_that_a_launcher_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, environment: str, precision: str | None
) -> None:
    monkeypatch.setattr(interruption, "read_process", lambda process, file: environment.encode())
    assert interruption.precision_asked() == precision


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ("ACCELERATE_MIXED_PRECISION=bf16\0", "--set mixed_precision=bf16 changes it"),
        ("ACCELERATE_MIXED_PRECISION=fp16\0", "it may be no, bf16 or auto"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4\0", "batch_size is 16 in any case"),
        ("ACCELERATE_DYNAMO_BACKEND=INDUCTOR\0", "--set compile=true"),
        ("ACCELERATE_DYNAMO_BACKEND=no\0ACCELERATE_USE_FSDP=false\0ACCELERATE_MIXED_PRECISION=no\0", ""),
    ],
)
def test_what_a_launcher_was_asked_for_beside_the_config_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: str, told: str
) -> None:
    monkeypatch.setattr(interruption, "read_process", lambda process, file: environment.encode())
    config = load_config(TrainConfig, ROOT / "config" / "train" / "unet_base.json", ["mixed_precision=no"])
    config = config.model_copy(update={"compile": False, "batch_size": 16})
    lines = launcher_settings.not_used(config)
    assert len(lines) == bool(told)
    assert told in "".join(lines)
    launcher_settings.check_launcher()


POINTS = ((0, 1.0), (300, 0.1))


@pytest.mark.parametrize("type", list(SCHEDULES))
def test_what_a_learning_rate_does_not_follow_is_told(type: str) -> None:
    usual = ScheduleConfig(type=type, reference_samples=100, points=POINTS if type == "points" else ())
    for name, value in {"reference_samples": 200, "power": 2.0, "final_factor": 0.3}.items():
        other = usual.model_copy(update={name: value})
        follows = any(other.factor(samples) != usual.factor(samples) for samples in range(0, 400, 20))
        assert (name in other.unused) != follows
    assert not set(ScheduleConfig(type=type, points=usual.points).unused)


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "train").glob("*.json")), ids=lambda path: path.stem)
def test_our_own_configs_say_nothing_in_vain(path: Path) -> None:
    assert not load_config(TrainConfig, path).schedule.unused


@pytest.mark.parametrize("name", ["DEEPSPEED", "FSDP", "MEGATRON_LM"])
def test_a_launcher_that_would_spread_the_network_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    told = f"ACCELERATE_USE_{name}=true\0".encode()
    monkeypatch.setattr(interruption, "read_process", lambda process, file: told)
    with pytest.raises(UserError, match="each device holds the whole network"):
        launcher_settings.check_launcher()
