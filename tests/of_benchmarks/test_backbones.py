"""The benchmark of backbones, on the tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dualdiffusion.config import load_config
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.benchmarks.backbones import BACKBONES, PEER, length_ratio, read_options, time_to_peer_loss
from tests.benchmarks.learning import EMA, curves
from tests.train.test_backbones import BACKBONES as NETWORKS
from tests.train.test_backbones import OPTIMIZER
from train.train_config import TrainConfig

FAST = ("--seconds", 1, "--clips", 2, "--set", "phase_iterations=1", "steps=2")


def test_every_backbone_has_presets_that_differ_from_one_another_in_the_network_and_its_rates_alone() -> None:
    presets = tiny.ROOT / "config" / "train"
    plain = load_config(TrainConfig, presets / "unet_tiny.json").to_json()
    for name in BACKBONES.values():
        config = load_config(TrainConfig, presets / f"{name}_tiny.json").to_json()
        adapter = config["module_trainer"]["denoiser"]["backbone"]
        assert adapter["type"] == "conditioned.Conditioned"
        for key in ("optimizer", "description", "model"):
            config[key] = plain[key]
        config["module_trainer"]["autoencoder"] = None
        adapter["backbone"] = plain["module_trainer"]["denoiser"]["backbone"]["backbone"]
        assert config == plain, name


def test_an_hourglass_on_twice_the_length_costs_twice_as_much_below_its_top() -> None:
    assert 1.9 < length_ratio() <= 2.2


def test_the_time_to_the_peers_last_loss_is_read_off_the_curves() -> None:
    peer = {"backbone": PEER, "curve": {100: 2.0, 200: 1.0}, "validation": 1.0, "seconds_per_sample": 0.5}
    ours = {"backbone": "UNet", "curve": {100: 1.5, 200: 0.5}, "validation": 0.5, "seconds_per_sample": 0.25}
    worse = {**ours, "backbone": "DiT", "curve": {100: 2.0, 200: 1.1}}
    at_once = {**ours, "backbone": "hourglass", "curve": {100: 0.9}}
    found = time_to_peer_loss([ours, worse, at_once, peer])
    # Half way between 100 and 200 samples, at a quarter of a second each; the peer takes 100 s.
    assert found == {"UNet": 150 * 0.25 / 100, "DiT": None, "hourglass": 100 * 0.25 / 100}
    assert time_to_peer_loss([ours]) == {}


@pytest.mark.benchmarks
def test_the_command_trains_times_measures_and_draws_each_backbone_and_nothing_twice(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "presets").mkdir()
    for name in ("unet", "dit"):
        path = tmp_path / "presets" / f"{name}_tiny.json"
        config = json.loads(tiny.write_train_config(path, "unet", tmp_path / "unused", dataset).read_text())
        if name == "dit":
            config["module_trainer"]["denoiser"]["backbone"] = NETWORKS["dit"]
            config["optimizer"] = OPTIMIZER
        path.write_text(json.dumps(config))
    base = ["-m", "tests.benchmarks.backbones", "--model", model.path, "--dataset", dataset, *FAST]
    small = ["--samples", 16, "--points", 2, "--validation-samples", 8, "--seeds", 1, "--timing-steps", 1]
    work = ["--work", tmp_path / "work", "--presets", tmp_path / "presets", "--only", "UNet", "--only", "DiT"]
    result = tiny.run(*base, *small, *work, "--json", tmp_path / "figures.json")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [row["backbone"] for row in figures["rows"]] == ["UNet", "DiT"]
    assert figures["hourglass_length_ratio"] <= 2.2
    for row in figures["rows"]:
        folder = ModelFolder(tmp_path / "work" / f"{BACKBONES[row['backbone']]}-16-seed0")
        assert row["validation"] == curves(folder.run_path("unet") / "metrics.csv")[EMA][16]
        assert row["seconds_per_sample"] > 0 and row["peak_gib"] > 0 and row["gflop_per_sample"] > 0
        assert 0 <= row["class_control"] <= 1
    assert figures["rows"][0]["parameters"] != figures["rows"][1]["parameters"]
    assert (tmp_path / "work" / "backbones.png").exists()
    again = tiny.run(*base, *small, *work)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert "generating clips" not in again.stdout and "timing" not in again.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--clips", 1), "--clips"), (("--presets", "nowhere"), "nowhere"), (("--only", "DIT"), "DIT")],
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(
    words: tuple, named: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        read_options(["--model", model.path, "--dataset", dataset, *FAST[:4], "--work", tmp_path / "work", *words])
    assert named in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "work").exists()
