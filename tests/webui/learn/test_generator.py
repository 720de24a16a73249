"""Presets, what is suggested, and the commands that make a generator."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from dualdiffusion.errors import UserError
from tests.commands import ROOT
from webui.learn.generator import NAME, STAGES, Chosen, Generator
from webui.learn.presets import Preset, judged, load_presets

GIB = 2**30
SHIPPED = ROOT / "config" / "generators"
RUN = {"module": "vae", "need": GIB, "fits": True, "micro_batch_size": None}


def forecast(device: str, presets: dict[str, Preset], **changed: dict) -> dict:
    """What the command says where all fits; `changed` by the name of a preset, of its UNet."""
    runs = []
    for name in presets:
        runs += [RUN, {**RUN, "module": "unet", **changed.get(name, {})}]
    return {"device": device, "name": "it", "room": 8 * GIB, "runs": runs}


def suggested(found: list[dict]) -> list[str]:
    return [preset["name"] for preset in found if preset["suggested"]]


def test_every_shipped_preset_names_configs_that_are_there() -> None:
    presets = load_presets(SHIPPED)
    assert {"base", "small", "tiny", "chiptune"} == set(presets)
    for preset in presets.values():
        for path in (preset.dataset, preset.vae, preset.unet):
            assert (ROOT / path).is_file()
        steps = [step["type"] for step in steps_of(preset.dataset)]
        assert steps[4] == "encode.Encode"


def steps_of(path: str) -> list[dict]:
    from dualdiffusion.config import read_config

    return read_config(ROOT / path)["steps"]


def test_the_largest_preset_that_suits_the_machine_is_suggested() -> None:
    presets = load_presets(SHIPPED)
    assert suggested(judged(presets, forecast("cuda", presets))) == ["base"]
    assert suggested(judged(presets, forecast("cuda", presets, base={"fits": False}))) == ["small"]
    on_cpu = judged(presets, forecast("cpu", presets))
    assert suggested(on_cpu) == ["chiptune"]
    assert {preset["name"]: preset["problem"] for preset in on_cpu}["base"] == "needs a GPU"


def test_what_does_not_fit_says_how_much_it_would_need() -> None:
    presets = load_presets(SHIPPED)
    found = judged(presets, forecast("cuda", presets, base={"fits": False, "need": 20 * GIB}))
    assert found[0]["problem"] == "is predicted to need 20.0 GiB, and 8.0 GiB are free"
    broken = judged(presets, forecast("cpu", presets, chiptune={"error": "init: no such model"}))
    assert suggested(broken) == ["tiny"]


def test_a_folder_without_presets_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no presets"):
        load_presets(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({"title": "A", "vea": "x"}))
    with pytest.raises(UserError, match="dataset: is missing"):
        load_presets(tmp_path)


@pytest.fixture
def generator(tmp_path: Path) -> Generator:
    preset = load_presets(SHIPPED)["chiptune"]
    source = tmp_path / "my music"
    chosen = Chosen(
        name="mine", source=source, model=tmp_path / "models" / "mine", preset_name="chiptune", preset=preset
    )
    return Generator(chosen, tmp_path / "work")


def test_the_commands_are_those_of_the_guide(generator: Generator) -> None:
    words = {stage: generator.command(stage)[1:] for stage in STAGES}
    places = [f"model={generator.model}", f"dataset={generator.dataset}"]
    assert words["vae"] == ["train.py", "config/train/vae_from_chiptune.json", "--set", *places]
    assert words["unet"] == ["train.py", "config/train/unet_from_chiptune.json", "--set", *places]
    assert words["prepare"][:4] == ["-m", "dataset_processing", "run", "config/dataset/chiptune.json"]
    assert f"source={generator.chosen.source}" in words["prepare"]
    assert words["encode"][words["encode"].index("--steps") + 1] == "encode"
    assert shlex.join(words["prepare"]).count("'source=") == 1  # a name with a space is one word
    assert words["check"][:3] == ["-m", "train", "preflight"]


def test_a_training_that_was_begun_goes_on_by_its_own_settings_whatever_the_preset_says_now(
    generator: Generator,
) -> None:
    begun = generator.model / "runs" / "unet" / "config.json"
    begun.parent.mkdir(parents=True)
    begun.write_text("{}")
    assert generator.command("unet")[1:3] == ["train.py", str(begun)]
    assert generator.command("vae")[2] == "config/train/vae_from_chiptune.json"


def test_a_micro_batch_that_fits_goes_into_the_command(generator: Generator) -> None:
    assert generator.command("unet", {"unet": 2})[-1] == "micro_batch_size=2"
    assert "micro_batch_size=" not in shlex.join(generator.command("vae", {"unet": 2}))


def test_what_was_chosen_survives_changed_presets(generator: Generator) -> None:
    generator.save()
    assert Generator.load(generator.work, "mine") == generator
    (generator.folder / "generator.json").write_text('{"name": "mine"}')
    with pytest.raises(UserError, match="is damaged"):
        Generator.load(generator.work, "mine")


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "-a", "a-", "CON.", "a b", "é", "a" * 41, "a\n", "a\0"])
def test_a_name_cannot_lead_anywhere(name: str) -> None:
    assert not NAME.fullmatch(name)


def test_ordinary_names_are_taken() -> None:
    assert all(NAME.fullmatch(name) for name in ("mine", "SNES-90s_b", "7", "a" * 40))


def test_a_damaged_run_state_is_none(generator: Generator) -> None:
    assert generator.run_state() == {}
    for text in ("", "[]", "nonsense", '{"stages": 3}'):
        generator.folder.mkdir(parents=True, exist_ok=True)
        generator.run_path.write_text(text)
        assert generator.run_state() == {}
