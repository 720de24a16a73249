"""The benchmark of objectives, on the tiny model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from PIL import Image

from dualdiffusion.config import load_config
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import module_component
from tests import tiny
from tests.benchmarks import objectives_peer
from tests.benchmarks.learning import CONFIG, EMA, curves
from tests.benchmarks.objectives import AS_EDM, COSINE, EVEN_TIMES, OBJECTIVES, read_options
from tests.gaussian import PREDICTORS, SIGMA, largest_error
from train.train_config import TrainConfig

FAST = ("--seconds", 1, "--clips", 2, "--set", "phase_iterations=1", "steps=2")
SMALL = ("--samples", 16, "--points", 2, "--validation-samples", 8, *FAST)


def test_every_predictor_is_trained_as_its_paper_does_and_as_edm_is_and_all_settings_arrive() -> None:
    trainers = {
        name: load_config(TrainConfig, tiny.ROOT / CONFIG, of.settings()).module_trainer.config
        for name, of in OBJECTIVES.items()
    }
    assert {of.predictor for of in OBJECTIVES.values()} == {cls.__name__ for cls in PREDICTORS}
    for name, trainer in trainers.items():
        objective = OBJECTIVES[name]
        assert trainer.denoiser.predictor.cls.__name__ == objective.predictor
        assert (trainer.sigma.distribution, trainer.sigma.mean, trainer.sigma.std) == objective.density
        assert (trainer.weighting, trainer.learned_log_variance) == (objective.weighting, objective.learned)
        assert trainer.denoiser.sigma_data == 1.0  # which the densities are for
        if name.endswith(AS_EDM):
            assert trainer.sigma == trainers["EDM"].sigma and trainer.weighting == trainers["EDM"].weighting
    before = load_config(TrainConfig, tiny.ROOT / CONFIG).module_trainer.config
    assert trainers["EDM"] == before  # the first row is the project's own training


def test_quick_is_smaller_in_all_but_in_what_is_given(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    base = ["--model", model.path, "--dataset", dataset]
    given = ["--work", tmp_path, "--seconds", 1]
    quick = read_options([*base, "--quick", *given, "--set", "steps=2"])
    whole = read_options([*base, *given])
    assert (quick.seconds, quick.overrides[-1], quick.work) == (1.0, "steps=2", tmp_path)  # the last one counts
    assert (quick.samples, quick.clips, quick.points) == (4000, 4, 4)
    assert whole.samples > quick.samples and whole.clips > quick.clips and whole.overrides == []
    small, usual = (load_config(TrainConfig, of.config, OBJECTIVES["Flow"].settings()) for of in (quick, whole))
    widths = [c.module_trainer.config.denoiser.backbone.config.backbone.config.model_channels for c in (small, usual)]
    assert 2 * widths[0] == widths[1]
    assert small.module_trainer.config.crop_seconds < usual.module_trainer.config.crop_seconds
    assert small.schedule.reference_samples == quick.samples  # the rate falls to its end within the training
    same = ("sigma", "weighting", "learned_log_variance")
    assert all(getattr(small.module_trainer.config, k) == getattr(usual.module_trainer.config, k) for k in same)


def test_the_densities_are_even_in_the_time_of_their_papers() -> None:
    settings = [load_config(TrainConfig, tiny.ROOT / CONFIG, OBJECTIVES[name].settings()) for name in ("Noise", "Flow")]
    assert [config.module_trainer.config.sigma.distribution for config in settings] == [COSINE[0], EVEN_TIMES[0]]
    quantiles = SIGMA / (SIGMA + 1)  # any in (0, 1)
    cosine, flow = (config.module_trainer.config.sigma.sigma(quantiles).double() for config in settings)
    assert cosine.atan().mul(2 / 3.14159265).sub(quantiles).abs().max() < 1e-5
    assert (flow / (1 + flow)).sub(quantiles).abs().max() < 1e-5


def test_diffusers_and_the_closed_form_agree_with_every_predictor() -> None:
    assert all(largest_error(cls) < 1e-9 for cls in PREDICTORS)
    if importlib.util.find_spec("diffusers") is None:
        assert objectives_peer.largest_difference() is None
    else:
        assert objectives_peer.largest_difference() < 1e-5


@pytest.mark.benchmarks
def test_the_command_trains_measures_and_draws_each_objective_and_nothing_twice(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    config = tiny.write_train_config(tmp_path / "train.json", "unet", tmp_path / "unused", dataset)
    base = ["-m", "tests.benchmarks.objectives", "--model", model.path, "--dataset", dataset, "--config", config]
    command = [*base, *SMALL, "--work", tmp_path / "work", "--only", "EDM", "--only", "Flow"]
    result = tiny.run(*command, "--json", tmp_path / "figures.json", "--picture", tmp_path / "drawn.png")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    edm, flow = figures["rows"]
    assert [(row["predictor"], row["weighting"]) for row in (edm, flow)] == [("EDM", "edm"), ("Flow", "output")]
    assert flow["density"].startswith("log_logistic") and 0 < figures["max_error_closed_form"] < 1e-9
    for row in (edm, flow):
        folder = ModelFolder(tmp_path / "work" / f"{row['predictor']}-16-seed0")
        trained = module_component(folder, "unet").config.predictor
        assert trained.cls.__name__ == row["predictor"]
        logged = curves(folder.run_path("unet") / "metrics.csv")[EMA]
        assert row["validation"] == logged[16] and row["curve"] == {"8": logged[8], "16": logged[16]}
        assert 0 <= row["class_control"] <= 1 and row["kad"] > 0
        assert row["predictor"] in result.stdout and f"{row['validation']:.4f}" in result.stdout
    assert edm["validation"] != flow["validation"] and edm["kad"] != flow["kad"]  # the settings arrived
    assert Image.open(tmp_path / "drawn.png").size[0] > 500
    again = tiny.run(*command)
    assert "nothing to do" in again.stdout and "generating clips" not in again.stdout
    other = tiny.run(*command, "--points", 4)
    tiny.assert_one_line_error(other, "--work", "--points 2", "name another folder")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--samples", 0), "--samples"),
        (("--only", "Velocty"), "Velocty"),
        (("--clips", 1), "--clips"),
        (("--seconds", "nan"), "--seconds"),
        (("--picture", "drawn.txt"), "drawn.txt"),
        (("--set", "stepz=3"), "stepz"),
        (("--config", "nowhere.json"), "nowhere.json"),
        (("--dataset", "nowhere"), "nowhere"),
        (("--model", "nowhere"), "nowhere"),
        (("--seconds", 100), "100 s"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(
    model: ModelFolder, dataset: Path, tmp_path: Path, words: tuple, named: str
) -> None:
    with pytest.raises(UserError) as error:
        read_options(["--model", model.path, "--dataset", dataset, *FAST[:4], "--work", tmp_path / "work", *words])
    assert named in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "work").exists()
