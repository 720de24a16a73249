"""`python -m train preflight`: what trainings need, for other programs to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import tiny
from train.commands.preflight import preflight


@pytest.fixture
def configs(tmp_path: Path) -> list[Path]:
    """Of a model that nobody has made yet."""
    return [
        tiny.write_train_config(tmp_path / f"{name}.json", name, tmp_path / "model", tmp_path / "dataset")
        for name in ("vae", "unet")
    ]


def test_it_tells_need_and_room_of_each(configs: list[Path]) -> None:
    told = json.loads(json.dumps(preflight(configs, [])))
    assert [run["module"] for run in told["runs"]] == ["vae", "unet"]
    assert all(run["fits"] and 0 < run["need"] < told["room"] for run in told["runs"])
    assert all(run["micro_batch_size"] is None and run["total_samples"] == 48 for run in told["runs"])


def test_where_the_configs_batch_does_not_fit_a_smaller_one_is_named(configs: list[Path]) -> None:
    unet = configs[1:]
    changes = ["micro_batch_size=4", "validation.batch_size=1"]  # of 4
    need = preflight(unet, changes)["runs"][0]["need"]
    run = preflight(unet, changes, memory_gib=need / 2**30)["runs"][0]
    assert run["fits"] and run["need"] < need and run["micro_batch_size"] in (1, 2)
    nothing = preflight(unet, changes, memory_gib=1e-5)["runs"][0]
    assert not nothing["fits"] and nothing["micro_batch_size"] is None


def test_a_config_that_cannot_be_used_does_not_hide_the_others(configs: list[Path], tmp_path: Path) -> None:
    told = preflight([tmp_path / "nowhere.json", *configs[:1]], [])
    assert "no such file" in told["runs"][0]["error"]
    assert told["runs"][1]["fits"]
