"""The sampling benchmark on the tiny model: its figures exist and are sane; none of them is timed here."""

from __future__ import annotations

import argparse
import math

import pytest
import torch
from rich.console import Console

from dualdiffusion.model.folder import ModelFolder
from sampling.solvers.samplers import SAMPLERS
from tests.benchmarks import sampling, sampling_end, sampling_peer
from tests.tiny import assert_one_line_error, run

SMALL = ["--seconds", "0.5", "--steps", "3", "--repeats", "1", "--threads", "1", "--seeds", "2"]
SMALL += ["--reference-steps", "12", "--steps-tried", "3", "6"]


@pytest.fixture(scope="module")
def case(model: ModelFolder) -> sampling.Case:
    return sampling.load_case(model, 0.5)


def options(model: ModelFolder, *more: str) -> argparse.Namespace:
    return sampling.parser().parse_args(["--model", str(model.path), *SMALL, *more])


def test_overhead_and_guidance_give_shares_and_equal_results(case: sampling.Case, model: ModelFolder) -> None:
    console = Console(quiet=True)
    assert 0 < sampling.overhead(case, options(model), console)["loop_overhead"] < 1
    threads = torch.get_num_threads()
    result = sampling.guidance(case, options(model), console)
    assert torch.get_num_threads() == threads
    assert result["guided_max_difference"] < 1e-4
    assert 0 < result["guided_work_saved_by_interval"] < 0.5
    assert set(result["guided_seconds"]["1"]) == {"two passes", "one batch", "interval"}


def test_steps_that_are_saved_by_stopping_early_are_those_at_equal_distance(
    case: sampling.Case, model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling_end, "SAMPLERS", ("euler",))
    monkeypatch.setattr(sampling_end, "MOST_STEPS", 6)
    result = sampling_end.end(case, options(model, "--distances", "10", "1e-9"), Console(quiet=True))
    near, far = result["end"]["euler"].values()
    assert near == {"to 0": 3, "to the noise": 3, "saved": 0}  # any number of steps is so near
    assert far == {"to 0": None, "to the noise": None, "saved": None}
    assert result["end_noise_of_latents"] == case.generator.noise_of_latents
    assert result["end_distance_of_the_ends"] > 0
    limit = case.until(0.5, "euler", 6)
    assert sampling_end.steps_within(case, "euler", 0.5, limit, [0.0]) == [6]
    assert sampling_end.steps_within(case, "euler", None, limit, [0.0]) == [None], "the other end is another place"


@pytest.mark.benchmarks
def test_each_sampler_is_compared_by_the_measure_that_suits_it(case: sampling.Case, model: ModelFolder) -> None:
    result = sampling.samplers(case, options(model, "--tolerance", "100"), Console(quiet=True))
    rows = result["samplers"]
    assert set(rows) == set(SAMPLERS)
    assert {name: rows[name]["measure"] for name in ("euler", "heun")} == {"euler": "ODE", "heun": "ODE"}
    assert (rows["euler"]["calls"], rows["heun"]["calls"]) == (3, 5)  # any distance is within such a tolerance
    for name, row in rows.items():
        assert row["calls"] >= 1, name
        assert math.isfinite(row["distance"]), name
    strict = sampling.fewest(case, "euler", "ODE", lambda name, steps: 1 / steps, 0.2, (3, 6, 9))
    assert (strict["reached"], strict["steps"], strict["calls"]) == (True, 6, 6)
    never = sampling.fewest(case, "euler", "ODE", lambda name, steps: 1.0, 0.2, (3, 6))
    assert not never["reached"]


def test_what_draws_no_noise_is_deterministic(case: sampling.Case) -> None:
    assert sampling.deterministic(case, "heun")
    assert all(not sampling.deterministic(case, name) for name in SAMPLERS if name.endswith(("_sde", "_ancestral")))


def test_samples_equal_the_peers(case: sampling.Case) -> None:
    pytest.importorskip("diffusers", reason=sampling_peer.MISSING)
    noise = torch.randn(1, *case.shape, generator=torch.Generator().manual_seed(0))
    found = sampling_peer.differences(case.denoise(), noise, steps=5, **sampling.LEVELS)
    assert set(found) == set(sampling_peer.PAIRS)
    assert max(found.values()) < 1e-4


def test_without_the_peer_there_is_a_reason_instead_of_a_figure(
    case: sampling.Case, model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr(sampling_peer, "scheduler_for", missing)
    result = sampling.peer(case, options(model), Console(quiet=True))
    assert result == {"max_difference_to_peer": None, "peer_reason": sampling_peer.MISSING}
    assert "tests/benchmarks/requirements.txt" in sampling_peer.MISSING


def test_a_folder_that_is_no_model_is_one_line() -> None:
    assert_one_line_error(
        run("-m", "tests.benchmarks.sampling", "--model", "nowhere"), "nowhere", "no such model folder"
    )
