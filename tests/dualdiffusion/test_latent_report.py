"""The latent gate: `python -m dualdiffusion latent-report MODEL DATASET`."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dualdiffusion.latent_report.picture import row_of
from dualdiffusion.latent_report.report import (
    OCTAVES,
    Clip,
    LatentReportConfig,
    _error_figures,
    _octave_shares,
    find_problems,
)
from dualdiffusion.model.folder import ModelFolder
from tests import tiny

GOOD: dict[str, Any] = {
    "target_snr": 32.0,
    "error": 0.1,
    "error_with_noise": 0.11,
    "bands": [{"from_hz": 20.0, "to_hz": 100.0, "error": 0.2}],
    "channels": [
        {
            "mean": 0.1,
            "std": 0.9,
            "snr": 29.0,
            "normalized_mean": 0.05,
            "normalized_std": 1.1,
            "largest_correlation": 0.2,
        }
    ],
    "spectrum": {"time": {"shares": [[0.6, 0.2, 0.1, 0.1]]}, "frequency": {"shares": [[0.6, 0.2, 0.1, 0.1]]}},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with one value replaced, given by its path."""
    values = copy.deepcopy(GOOD)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    node: Any = values
    for key in parents:
        node = node[key]
    node[last] = value
    return values


@pytest.fixture(scope="module")
def report(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The finished command on a VAE with random weights, and its output folder."""
    out = tmp_path_factory.mktemp("report") / "new"
    result = tiny.run("-m", "dualdiffusion", "latent-report", model.path, dataset, "--out", out, "--set", "seconds=2")
    return result, out


def test_an_untrained_vae_does_not_pass_and_is_told_why_and_what_to_do(report: tuple[Any, Path]) -> None:
    result, _ = report
    assert result.returncode == 1, result.stderr
    assert "wrong: the reconstruction loses" in result.stdout
    assert "train the VAE longer" in result.stdout
    assert "pass" not in result.stdout.splitlines()[-1]


def test_the_report_holds_every_figure_of_every_channel_and_band(report: tuple[Any, Path], dataset: Path) -> None:
    values = json.loads((report[1] / "latent_report.json").read_text())
    assert values["pass"] is False
    assert values["clips"] == len((dataset / "validation.jsonl").read_text().splitlines())
    assert len(values["channels"]) == 4
    noise_std = 1 / math.sqrt(1 + values["target_snr"] ** 2)
    for channel in values["channels"]:
        assert channel["snr"] == pytest.approx(channel["std"] / noise_std)
    assert [band["error"] > 0 for band in values["bands"]] == [True] * 8
    for axis in values["spectrum"].values():
        assert all(sum(shares) == pytest.approx(1) for shares in axis["shares"])
    assert values["spectrum"]["time"]["up_to"][-1] == tiny.SAMPLE_RATE / 64 / 8 / 2  # half the latent columns a second


def test_the_picture_is_large_enough_to_read_and_shows_all_panels(report: tuple[Any, Path]) -> None:
    with Image.open(report[1] / "latent_report.png") as image:
        assert image.width > 800
        assert image.height > 3 * 260 + 4 * 130
        assert len(image.convert("RGB").getcolors(2**24)) > 100


def test_a_good_vae_passes() -> None:
    assert find_problems(GOOD, LatentReportConfig()) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("error", 0.5, ["loses 50%", "train the VAE longer"]),
        ("error", math.nan, ["not finite", "learning_rate"]),
        ("bands.0.error", 0.9, ["20 to 100 Hz loses 90%"]),
        ("channels.0.snr", 3.0, ["channel 0 drowns in its noise (SNR 3.0, target 32)"]),
        ("channels.0.snr", 320.0, ["too strong for its noise"]),
        ("channels.0.normalized_mean", -0.8, ["is not normalised (mean -0.80"]),
        ("channels.0.normalized_std", 2.0, ["is not normalised", "std 2.00"]),
        ("channels.0.largest_correlation", 0.97, ["nearly a copy of another (correlation 0.97)"]),
        ("spectrum.time.shares", [[0.0, 0.0, 0.0, 1.0]], ["as rough as noise (55%", "latent_supersampling"]),
        ("error_with_noise", 0.3, ["noise makes the error 3.0 times"]),
    ],
)
def test_each_fault_is_one_sentence_with_the_measured_number_and_a_remedy(
    path: str, value: object, words: list[str]
) -> None:
    problems = find_problems(changed(path, value), LatentReportConfig())
    assert len(problems) == 1
    assert all(word in problems[0] for word in words)
    assert ": " in problems[0]


def test_the_error_is_0_for_a_perfect_copy_and_1_for_the_mean_of_each_row() -> None:
    x = torch.randn(2, 16, 400, generator=torch.Generator().manual_seed(0)) + torch.arange(16)[None, :, None]
    mean = x.mean(dim=(0, 2), keepdim=True).expand_as(x)
    frequencies = torch.linspace(100, 1600, 16)
    values = _error_figures([Clip("", x, x, mean, torch.zeros(1))], frequencies, 4)
    assert values["error"] == 0
    assert values["error_with_noise"] == pytest.approx(1, rel=1e-3)
    assert [band["from_hz"] for band in values["bands"]] == pytest.approx([100, 500, 900, 1300])


def test_the_spectrum_puts_a_wave_into_its_octave_and_noise_by_half_into_the_highest() -> None:
    time = torch.arange(256)
    for octave, period in enumerate((64, 12, 6, 3)):
        wave = torch.sin(2 * torch.pi * time / period).expand(1, 8, 256)
        assert float(_octave_shares(wave, 2)[0, octave]) > 0.9
        assert float(_octave_shares(wave.mT, 1)[0, octave]) > 0.9
    white = torch.randn(1, 64, 256, generator=torch.Generator().manual_seed(0))
    assert float(_octave_shares(white, 2)[0, OCTAVES - 1]) == pytest.approx(0.5, abs=0.02)


def test_frequencies_stand_at_their_rows() -> None:
    centres = torch.tensor([100.0, 200, 400, 800])
    assert row_of(100, centres) == pytest.approx(0.125)
    assert row_of(300, centres) == pytest.approx(0.5)
    assert row_of(50, centres) < 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "DATASET"], ["nowhere", "no such model folder"]),
        (["MODEL", "nowhere"], ["nowhere", "not a finished dataset"]),
        (["MODEL", "DATASET", "--set", "seconds=500"], ["no track of 49", "--set seconds=2"]),
        (["MODEL", "DATASET", "--set", "second=5"], ["second", "did you mean seconds?"]),
        (["MODEL", "DATASET", "--set", "ema=ema_0.9"], ["no EMA 'ema_0.9'"]),
        (["MODEL", "DATASET", "--out", "README.md"], ["README.md", "is a file"]),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    arguments: list[str], words: list[str], model: ModelFolder, dataset: Path
) -> None:
    given = [{"MODEL": model.path, "DATASET": dataset}.get(argument, argument) for argument in arguments]
    tiny.assert_one_line_error(tiny.run("-m", "dualdiffusion", "latent-report", *given), *words)


def test_help_needs_no_torch() -> None:
    assert "--out" in tiny.help_without_torch("dualdiffusion", "latent-report")
