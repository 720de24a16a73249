"""The benchmark of what grows with what, at sizes of a few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests import tiny
from tests.benchmarks import growth


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_cost_that_is_a_power_of_the_size_has_that_exponent(power: float) -> None:
    costs = {size: 3.0 * size**power for size in growth.sizes(800)}
    assert growth.exponent(costs, 0.01) == pytest.approx(power, abs=1e-3)


def test_what_is_lost_in_noise_does_not_grow() -> None:
    assert growth.exponent({1: 0.001, 2: 0.002, 4: 0.004, 8: 0.008}, 0.01) == 0


@pytest.mark.parametrize("part", growth.PARTS)
def test_each_part_has_costs_at_any_size(part: str, tmp_path: Path) -> None:
    growth.PARTS[part].prepare(3, tmp_path)
    costs = growth.measure_here(growth.PARTS[part], 3, tmp_path)
    memory = costs.pop("memory_mib")
    assert costs and all(seconds > 0 for seconds in costs.values()) and memory >= 0


@pytest.mark.benchmarks
def test_the_command_writes_exponents_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["growth", *("--part", "tracks"), *("--json", str(tmp_path / "g.json"))])
    monkeypatch.setattr(growth.sys, "argv", [*growth.sys.argv, "--picture", str(tmp_path / "g.png")])
    monkeypatch.setattr(growth.PARTS["tracks"], "largest", 32)
    # A fork of a warmed process instead of a python for each size.
    monkeypatch.setattr(growth.subprocess, "run", lambda words, cwd: tiny.run(*words[1:]))
    assert growth.main() == 0
    written = json.loads((tmp_path / "g.json").read_text())
    assert set(written["exponents"]) == {"tracks.load_seconds", "tracks.memory_mib"} == set(written["costs"])
    assert list(written["costs"]["tracks.load_seconds"]) == ["4", "8", "16", "32"]
    assert Image.open(tmp_path / "g.png").size == (900, 360)


def test_a_size_alone_needs_its_folder() -> None:
    run = tiny.run("-m", "tests.benchmarks.growth", "--measure", 3)
    tiny.assert_one_line_error(run, "--measure", "--folder")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["growth", "page"])
def test_without_the_packages_of_tests_one_line_says_how_to_get_them(name: str) -> None:
    hide = "import sys, runpy; sys.modules['httpx'] = None\n"
    run = tiny.run("-c", f"{hide}runpy.run_module('tests.benchmarks.{name}', run_name='__main__')")
    tiny.assert_one_line_error(run, "pip install -r tests/requirements.txt")
