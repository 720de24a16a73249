"""What a model recommends holds where nothing is said, everywhere, and only as far as it belongs to what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dualdiffusion.config import load_config, validate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.command.grid import combinations, parse_grid
from sampling.command.options import build_parser, model_and_request, plan_clips
from sampling.evaluation import command as evaluation
from sampling.generator import Generator
from sampling.output.clips import read_settings
from sampling.recommended import Asked, Recommended, check_recommended, read_recommended
from sampling.request import Request
from tests import tiny
from tests.sampling.conftest import Command
from tests.tiny import assert_one_line_error
from train.module_trainers.unet import UNetTrainer

EULER = {
    "sampler": "euler",
    "steps": 3,
    "cfg_scale": 3.0,
    "sampler_options": {"reinjection": 0.8},
    "guidance": {"interval": [0.1, 5], "rescale": 0.5},
}
GAME = {"games": {"Castle": 1.0}}


@pytest.fixture
def advised(model: ModelFolder, tmp_path: Path) -> ModelFolder:
    """The tiny model with a recommendation."""
    folder = ModelFolder(tmp_path / "advised")
    shutil.copytree(model.path, folder.path)
    folder.request_path.write_text(json.dumps(EULER))
    return folder


def resolved(fields: dict[str, Any], *overrides: str, recommended: dict[str, Any] | None = None) -> Request:
    data = Asked({**GAME, **fields}, overrides).over(Recommended(EULER if recommended is None else recommended))
    return validate(Request, data, "request")


def test_what_is_not_said_is_as_recommended_and_the_rest_as_ever() -> None:
    request = resolved({"seed": 4})
    assert (request.sampler, request.steps, request.cfg_scale, request.seed) == ("euler", 3, 3.0, 4)
    assert request.sampler_options == {"reinjection": 0.8} and request.guidance.interval == (0.1, 5)
    assert (request.schedule, request.seconds) == ("edm", 8.0)
    assert resolved({}, recommended={}) == Request(games={"Castle": 1.0})


def test_what_is_said_wins_as_a_whole_field_or_as_a_part_of_it() -> None:
    assert resolved({"steps": 9}).steps == 9
    assert resolved({}, "steps=9").steps == 9
    whole = resolved({"guidance": {"rescale": 0.1}}).guidance
    assert (whole.interval, whole.rescale) == (None, 0.1)
    part = resolved({}, "guidance.rescale=0.1").guidance
    assert (part.interval, part.rescale) == ((0.1, 5), 0.1)
    assert resolved({}, "guidance.interval=null").guidance.interval is None
    assert resolved({"sampler_options": {}}).sampler_options == {}


def test_a_complete_request_is_not_touched() -> None:
    complete = Request(games={"Castle": 1.0}, sampler="euler", seed=3)
    assert resolved(complete.to_json()) == complete


@pytest.mark.parametrize("said", [({"sampler": "dpmpp_2m_sde"}, ()), ({}, ("sampler=dpmpp_2m_sde",))])
def test_options_stay_with_the_sampler_that_they_were_recommended_with(said: tuple[dict, tuple[str, ...]]) -> None:
    fields, overrides = said
    request = resolved(fields, *overrides)
    assert request.sampler_options == {} and (request.steps, request.cfg_scale) == (3, 3.0)
    assert resolved(fields, *overrides, "sampler_options.eta=0.5").sampler_options == {"eta": 0.5}
    same = resolved({"sampler": "euler"}, "sampler_options.reinjection=0.4")
    assert same.sampler_options == {"reinjection": 0.4}
    # Options without a sampler are those of the sampler that a request has by default.
    churn = {"sampler_options": {"s_churn": 5.0}}
    assert resolved({"sampler": "heun"}, recommended=churn).sampler_options == {"s_churn": 5.0}
    assert resolved({"sampler": "euler"}, recommended=churn).sampler_options == {}


def test_an_exponent_stays_with_its_schedule() -> None:
    crowded = {"schedule": "edm", "rho": 5.0}
    assert resolved({}, recommended=crowded).rho == 5
    assert resolved({"schedule": "polyexponential"}, recommended=crowded).rho is None


def test_a_grid_over_samplers_gives_each_only_its_own_options() -> None:
    axes = parse_grid(["sampler=euler,heun", "guidance.rescale=0,0.2"])
    cells = combinations(Asked(GAME), axes, "request", Recommended(EULER))
    assert [cell.request.sampler_options for cell in cells] == [{"reinjection": 0.8}] * 2 + [{}] * 2
    assert [cell.request.guidance.rescale for cell in cells] == [0, 0.2] * 2
    assert all(cell.request.guidance.interval == (0.1, 5) for cell in cells)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stps": 3}, ["request.json: stps: unknown key", "did you mean steps?"]),
        ({"steps": 0}, ["request.json: steps: ", "greater than or equal to 1"]),
        ({"sampler": "eulr"}, ["request.json: sampler: ", "did you mean euler?"]),
        ({"sampler": "euler", "sampler_options": {"eta": 1}}, ["request.json: sampler_options.eta: unknown key"]),
        ({"seed": 3}, ["request.json: seed: ", "each request"]),
        ({"games": {"Castle": 1}}, ["request.json: games: ", "each request"]),
        ({"sigma_min": 3, "sigma_max": 2}, ["request.json: sigma_min: ", "below sigma_max"]),
        ({"guidance": {"weak_model": "x", "weak_scale": 2}}, ["request.json: guidance.weak_model", "weak_ema"]),
        ([1], ["request.json: must hold a JSON object"]),
    ],
)
def test_a_bad_recommendation_is_one_line_with_file_and_key(
    advised: ModelFolder,
    command: Command,
    tmp_path: Path,
    fields: Any,
    words: list[str],
) -> None:
    advised.request_path.write_text(json.dumps(fields))
    for words_of_command in (
        ["--model", advised.path, "--game", "Castle", "--out", tmp_path / "out"],
        ["recommend", advised.path],
    ):
        assert_one_line_error(command(*words_of_command), str(advised.path), *words)
    assert not (tmp_path / "out").exists()


def test_clips_say_all_of_it_and_repeat_after_it_has_changed(
    advised: ModelFolder,
    command: Command,
    tmp_path: Path,
) -> None:
    words = ["--model", advised.path, "--game", "Castle", "--seconds", 0.5, "--out", tmp_path / "out"]
    path = Path(command(*words).stdout.strip().splitlines()[-1])
    request, _ = read_settings(path)
    assert request == resolved({"seconds": 0.5})
    shown = command("recommend", advised.path, "--set", "sampler=heun", "steps=2")
    assert shown.returncode == 0, shown.stderr
    again = command("--from", path, "--out", tmp_path / "again")
    assert again.stdout.strip().endswith(f"identical to {path}"), again.stdout + again.stderr


def test_each_game_and_evaluate_take_it(advised: ModelFolder, dataset: Path) -> None:
    arguments = build_parser(None, "").parse_args(["--model", str(advised.path), "--each-game", "--steps", "2"])
    folder, asked = model_and_request(arguments)
    _, cells = plan_clips(arguments, asked, folder)
    assert {(cell.request.sampler, cell.request.steps, cell.request.cfg_scale) for cell in cells} == {("euler", 2, 3.0)}

    parser = build_parser(None, "").__class__(prog="evaluate")
    evaluation.add_options(parser)
    words = ["--model", str(advised.path), "--dataset", str(dataset), "--cfg-scale", "1.5"]
    _, _, request = evaluation.check(parser.parse_args(words))
    assert (request["sampler"], request["steps"], request["cfg_scale"]) == ("euler", 3, 1.5)
    assert request["sampler_options"] == {"reinjection": 0.8}


def trainer(model: ModelFolder, dataset: Path, path: Path, **changes: Any) -> UNetTrainer:
    config = {"denoiser": {"backbone": {**tiny.UNET, "label_dim": None}}, "demo_games": 1, "demo_seconds": 0.5}
    path.write_text(json.dumps({**config, "crop_seconds": 1.024, **changes}))
    settings = load_config(UNetTrainer.Config, path)
    return UNetTrainer(settings, model=model, dataset=DatasetFolder(dataset), seed=0)


@pytest.mark.parametrize(("config", "asked"), [({}, ("euler", 3, 3.0)), ({"demo_steps": 2}, ("euler", 2, 3.0))])
def test_demos_of_training_take_it(
    advised: ModelFolder,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    asked: tuple[str, int, float],
) -> None:
    made: list[Request] = []
    generate = Generator.generate
    monkeypatch.setattr(Generator, "generate", lambda self, request: made.append(request) or generate(self, request))
    (demo,) = trainer(advised, dataset, tmp_path / "trainer.json", **config).demos()
    assert demo.name.endswith("/cfg3")
    assert [(request.sampler, request.steps, request.cfg_scale) for request in made] == [asked]
    assert made[0].sampler_options == {"reinjection": 0.8}


def test_a_training_stores_what_its_config_recommends_where_the_model_has_nothing_yet(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    folder = ModelFolder(tmp_path / "model")
    shutil.copytree(model.path, folder.path)
    assert trainer(folder, dataset, tmp_path / "a.json", recommended=EULER).recommended.fields == EULER
    assert read_recommended(folder).fields == EULER
    trainer(folder, dataset, tmp_path / "b.json", recommended={"steps": 9})
    assert read_recommended(folder).fields == EULER
    with pytest.raises(UserError, match=r"c.json: recommended: sampler: must be one of .* did you mean euler\?"):
        trainer(folder, dataset, tmp_path / "c.json", recommended={"sampler": "eulr"})


def test_recommend_shows_stores_and_clears(
    model: ModelFolder,
    command: Command,
    tmp_path: Path,
) -> None:
    folder = ModelFolder(tmp_path / "model")
    shutil.copytree(model.path, folder.path)
    assert "recommends nothing" in command("recommend", folder.path).stdout
    stored = command("recommend", folder.path, "--set", "sampler=euler", "sampler_options.reinjection=0.8", "steps=2")
    assert stored.stdout.splitlines() == ['sampler: "euler"', 'sampler_options: {"reinjection": 0.8}', "steps: 2"]
    # What is set is laid over what is there, and a new sampler takes no options of the old one.
    assert command("recommend", folder.path, "--set", "cfg_scale=3").returncode == 0
    assert read_recommended(folder).fields["cfg_scale"] == 3
    command("recommend", folder.path, "--set", "sampler=heun")
    assert read_recommended(folder).fields == {"sampler": "heun", "steps": 2, "cfg_scale": 3}

    words = ["--sampler", "dpmpp_2m_sde", "--set", "sampler_options.eta=0.3", "--steps", 1, "--seconds", 0.5]
    clip = command("--model", folder.path, "--game", "Cave", *words, "--out", tmp_path).stdout.strip()
    assert command("recommend", folder.path, "--from", clip).returncode == 0
    fields = read_recommended(folder).fields
    assert (fields["sampler"], fields["steps"], fields["sampler_options"]) == ("dpmpp_2m_sde", 1, {"eta": 0.3})
    assert "seed" not in fields and "seconds" not in fields

    folder.request_path.write_text("{ damaged")
    assert_one_line_error(command("recommend", folder.path), str(folder.request_path))
    assert command("recommend", folder.path, "--clear").returncode == 0
    assert not folder.request_path.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "steps=0"], ["steps", "greater than or equal to 1"]),
        (["--set", "seed=1"], ["seed: is for each request to say"]),
        (["--set", "guidance.weak_ema=ema_9", "guidance.weak_scale=2"], ["has no EMA 'ema_9'"]),
        (["--from", "README.md"], ["README.md: is not a flac"]),
    ],
)
def test_what_no_model_can_recommend_is_not_stored(
    advised: ModelFolder,
    command: Command,
    options: list[str],
    words: list[str],
) -> None:
    assert_one_line_error(command("recommend", advised.path, *options), *words)
    assert json.loads(advised.request_path.read_text()) == EULER


def test_a_folder_that_is_no_model_gets_no_recommendation(
    command: Command,
    tmp_path: Path,
) -> None:
    assert_one_line_error(command("recommend", tmp_path, "--set", "steps=3"), "not a model folder")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"here: steps"):
        check_recommended({"steps": "many"}, "here")
