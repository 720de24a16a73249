"""The benchmark for a GPU tries itself on a CPU: every part runs, and a part that fails costs itself alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import commands, tiny
from tests.benchmarks.gpu import __main__ as gpu
from tests.benchmarks.gpu.context import Context

# In a fork, in which the part's process is one, too: it need not import torch.
RUN_PART = """
import json, pathlib, sys
from tests.benchmarks.gpu.__main__ import run_part
print(json.dumps(run_part(sys.argv[1], 120, pathlib.Path(sys.argv[2]))))
"""


def test_all_parts_together_take_at_most_nine_minutes_and_the_environment_comes_first() -> None:
    assert sum(part.LIMIT for part in gpu.parts().values()) <= 540
    assert next(iter(gpu.parts())) == "environment"


@pytest.mark.parametrize(
    "name",
    [
        "environment",
        *(
            pytest.param(name, marks=pytest.mark.benchmarks)
            for name in ("unet_step", "vae", "sampling", "phase_recovery")
        ),
    ],
)
def test_each_part_measures_all_that_it_promises(name: str, tmp_path: Path) -> None:
    (tmp_path / "run_part.py").write_text(RUN_PART)
    done = commands.run([tmp_path / "run_part.py", name, tmp_path], timeout=240)
    result = json.loads(done.stdout)
    assert result["ended"] == "whole", result.get("last_words")
    assert set(gpu.parts()[name].GOALS) <= set(result["figures"])


def test_a_part_that_takes_too_long_leaves_what_it_had(tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    result = gpu.run_part("environment", 0.01, tmp_path)
    assert result["ended"] == "stopped after 0.01 s"
    context = Context(gpu.torch.device("cpu"), tmp_path, tmp_path / "figures.json")
    context.note(first=1)
    context.note(second=2.5)
    assert json.loads((tmp_path / "figures.json").read_text()) == {"first": 1, "second": 2.5}


def test_the_table_says_of_each_goal_whether_it_was_reached() -> None:
    figures = {"samples_per_second": 40.0, "share_of_matrix_rate": 0.41, "peak_gib": 23.0}
    text = gpu.to_markdown({"unet_step": {"ended": "exit code 1", "seconds": 1, "figures": figures}})
    assert "| 0.41 | at least 0.4: reached |" in text and "| 23 | at most 22: missed |" in text
    assert "unet_step: exit code 1." in text and "at least 300: not measured" in text


def test_an_unknown_part_is_one_line() -> None:
    result = tiny.run("-m", "tests.benchmarks.gpu", "--out", "nowhere", "--only", "unet")
    tiny.assert_one_line_error(result, "--only unet", "unet_step")
