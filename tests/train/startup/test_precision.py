"""`mixed_precision`: what "auto" becomes, and that training in bfloat16 works, also on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dualdiffusion.config import load_config
from dualdiffusion.files import read_json, write_json
from dualdiffusion.machine.precision import Precision
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train.test_training import assert_equal, digest, fresh_model
from train.memory.preflight import predict
from train.startup.precision import in_half, with_precision
from train.train_config import TrainConfig


@pytest.fixture
def config(model: ModelFolder, dataset: Path, tmp_path: Path) -> TrainConfig:
    path = tiny.write_train_config(tmp_path / "train.json", "unet", tmp_path / "model", dataset, mixed_precision="auto")
    return load_config(TrainConfig, path, [f"module_trainer.autoencoder={model.path}"])


def machine(monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    """A machine on which bfloat16 pays, or not."""
    monkeypatch.setattr("train.startup.precision.choose_precision", lambda device: Precision(half, "because"))
    monkeypatch.setattr("train.startup.precision.may_be_half", lambda device: half)


@pytest.mark.parametrize(("half", "precision"), [(True, "bf16"), (False, "no")])
@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_auto_becomes_what_pays_and_one_line_says_why(
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    half: bool,
    precision: str,
    device_type: str,
) -> None:
    machine(monkeypatch, half)
    assert in_half(config, device_type) is half
    assert with_precision(config, device_type).mixed_precision == precision
    assert capsys.readouterr().out.splitlines() == [f"unet: mixed_precision auto: {precision} (because)"]


def test_what_a_config_says_stays_and_nothing_is_told(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, False)
    told = config.model_copy(update={"mixed_precision": "bf16"})
    assert with_precision(told, "cpu") is told
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("began", "half_here", "device_type", "precision"),
    [
        ("bf16", True, "cpu", "bf16"),
        ("no", True, "cpu", "no"),
        ("bf16", False, "cpu", "no"),
        ("no", True, "cuda", "bf16"),
    ],
    ids=["kept", "kept, though it would pay now", "moved to a CPU without", "moved to a GPU"],
)
def test_a_run_on_a_cpu_goes_on_as_it_began_wherever_that_can_be(
    config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    began: str,
    half_here: bool,
    device_type: str,
    precision: str,
) -> None:
    machine(monkeypatch, half_here)
    stored = ModelFolder(config.model).run_path("unet") / "config.json"
    stored.parent.mkdir(parents=True)
    write_json(stored, {"mixed_precision": began})
    assert with_precision(config, device_type).mixed_precision == precision


def test_predicted_memory_is_that_of_what_auto_will_be(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    need = {name: predict(_with(config, name), device_type="cpu").activations for name in ("no", "bf16")}
    for half, name in ((True, "bf16"), (False, "no")):
        machine(monkeypatch, half)
        assert predict(config, device_type="cpu").activations == need[name]
    assert need["bf16"] < need["no"]


def _with(config: TrainConfig, precision: str) -> TrainConfig:
    return config.model_copy(update={"mixed_precision": precision})


def test_the_command_tells_its_decision_and_stores_it_with_the_run(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    settings = {"mixed_precision": "auto", "total_samples": 8}
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, **settings)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "mixed_precision auto" in line]
    stored = read_json(path / "runs/unet/config.json")["mixed_precision"]
    assert stored in ("no", "bf16")
    assert f"auto: {stored} (" in line
    again = tiny.run("train.py", config, "--set", "total_samples=12")
    assert f"auto: {stored} (as this run began)" in again.stdout
    assert "changed since the last run: mixed_precision" not in again.stdout


@pytest.mark.parametrize("module", ["vae", "unet"])
def test_training_in_bfloat16_on_a_cpu_keeps_weights_and_optimizer_in_float32_and_resumes_to_the_bit(
    module: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    weights = {}
    for name, precision, parts in (("half", "bf16", (12,)), ("again", "bf16", (4, 12)), ("full", "no", (12,))):
        path = fresh_model(model, tmp_path / name, module)
        settings = {"mixed_precision": precision, "checkpoint": {"every_samples": 4}}
        config = tiny.write_train_config(tmp_path / f"{name}.json", module, path, dataset, **settings)
        for samples in parts:  # batches of four: three steps
            result = tiny.run("train.py", config, "--set", f"total_samples={samples}", "schedule.type=constant")
            assert result.returncode == 0, result.stderr
        weights[name] = digest(path, module)
    assert all(tensor.dtype == torch.float32 for tensor in weights["half"].values())
    newest = max((tmp_path / "half/runs" / module / "checkpoints").glob("samples-*"))
    optimizer = torch.load(newest / "optimizer.pt", weights_only=True)["state"]
    averages = [value for state in optimizer.values() for value in state.values() if value.ndim]
    assert averages and all(value.dtype == torch.float32 for value in averages)
    assert load_file(newest / f"{module}.safetensors").keys() == {
        name.removeprefix(f"{module}/") for name in weights["half"] if name.startswith(f"{module}/")
    }
    raw = {key: value for key, value in weights["half"].items() if key.startswith(f"{module}/")}
    assert_equal(raw, {key: weights["again"][key] for key in raw})
    difference = torch.cat([(raw[key] - weights["full"][key]).flatten() for key in raw]).abs()
    assert 0 < float(difference.mean()) < 0.01  # a learning rate of 0.01, three times
