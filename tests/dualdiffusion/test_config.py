"""Configs are strict, extend one another, and name what is wrong in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dualdiffusion.command_line import CommandParser, add_set_option
from dualdiffusion.config import Config, apply_overrides, explain, load_config, read_config, split_override, validate
from dualdiffusion.errors import UserError
from sampling.request import Request
from tests.tiny import ROOT
from train.trainer import TrainConfig

TRAIN_CONFIGS = sorted((ROOT / "config" / "train").glob("*.json"))
TINY = ROOT / "config" / "train" / "unet_tiny.json"


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("path", TRAIN_CONFIGS, ids=lambda path: path.stem)
def test_a_resolved_config_is_itself_a_valid_config(path: Path, tmp_path: Path) -> None:
    config = load_config(TrainConfig, path)
    stored = write(tmp_path / "resolved.json", config.to_json())
    assert load_config(TrainConfig, stored) == config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lerning_rate=1", "optimizer.lerning_rate: unknown key; did you mean optimizer.learning_rate?"),
        ('batch_size="many"', "batch_size: input should be a valid integer"),
        ("batch_size=true", "batch_size: input should be a valid integer"),
        ("batch_size=0", "batch_size: input should be greater than 0, not 0"),
        ("optimizer.type=AdamX", "optimizer.type: no such optimizer; nearest: Adam"),
        (
            "module_trainer.denoiser.backbone.backbone.model_chanels=3",
            "backbone.model_chanels: unknown key; did you mean",
        ),
        ('module_trainer.denoiser.backbone.input_concat_ids=["temp"]', "no conditioner 'temp'; there are: tempo"),
        ("module_trainer.denoiser.backbone.type=unet_edm3.UNet", "no file unet_edm3.py in models/; nearest: unet_edm2"),
        ("module_trainer.type=unet.Trainer", "no such class in module_trainers/unet.py; it has: UNetTrainer"),
        ("module_trainer.type=os.path", "must be <file>.<Class>"),
        ("module_trainer.denoiser.backbone.backbone.attn_levels=[9]", "attn_levels: 9 is not a level"),
        ("micro_batch_size=3", "3 does not divide batch_size"),
        ("seed", "must be key.path=value"),
        ("ema_stds.7=1", "must be an index from 0 to 0"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_remedy(override: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(TrainConfig, TINY, [override])
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert override.startswith("seed") or "unet_tiny.json" in str(error.value) or "--set" in str(error.value)


def test_extending_merges_objects_and_replaces_values(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "base.json", {"a": {"x": 1, "y": [1, 2]}, "b": 1})
    write(tmp_path / "sub" / "child.json", {"extends": "../base.json", "a": {"y": [3]}})
    assert read_config(tmp_path / "sub" / "child.json") == {"a": {"x": 1, "y": [3]}, "b": 1}


def test_any_object_may_extend_a_file(tmp_path: Path) -> None:
    write(tmp_path / "part.json", {"type": "a.A", "x": 1})
    write(tmp_path / "whole.json", {"part": {"extends": "part.json", "x": 2}})
    assert read_config(tmp_path / "whole.json") == {"part": {"type": "a.A", "x": 2}}


def test_another_type_of_part_drops_the_settings_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "base.json", {"part": {"type": "a.A", "x": 1}})
    write(tmp_path / "child.json", {"extends": "base.json", "part": {"type": "b.B"}})
    assert read_config(tmp_path / "child.json") == {"part": {"type": "b.B"}}


def test_circles_and_missing_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"extends": "b.json"})
    write(tmp_path / "b.json", {"extends": "a.json"})
    with pytest.raises(UserError, match="extends itself"):
        read_config(tmp_path / "a.json")
    write(tmp_path / "c.json", {"extends": "none.json"})
    with pytest.raises(UserError, match=r"none.json: no such file"):
        read_config(tmp_path / "c.json")
    with pytest.raises(UserError, match="no such file"):
        read_config(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{,}")
    with pytest.raises(UserError, match="not valid JSON"):
        read_config(tmp_path / "broken.json")


def test_overrides_reach_lists_and_keep_text_that_is_not_json() -> None:
    data = {"steps": [{"rate": 1}], "name": ""}
    changed = apply_overrides(data, ["steps.0.rate=2", "name=a b", "new.key=null"])
    assert changed == {"steps": [{"rate": 2}], "name": "a b", "new": {"key": None}}
    assert data == {"steps": [{"rate": 1}], "name": ""}


def test_a_tilde_is_the_home_folder_in_files_overrides_requests_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "base.json", read_config(TINY))
    file = write(tmp_path / "own.json", {"extends": "~/base.json", "dataset": "~/data"})
    config = load_config(TrainConfig, file, ["model=~/models/mine", "module_trainer.autoencoder=~/a"])
    assert (config.model, config.dataset) == (tmp_path / "models/mine", tmp_path / "data")
    assert config.module_trainer.config.autoencoder == tmp_path / "a"
    assert Request(games={"Cave": 1.0}, source={"path": "~/a.flac"}).source.path == str(tmp_path / "a.flac")
    parser = CommandParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    options = parser.parse_args(["--out=~/clips", "~/b", "c/~"])
    assert (options.out, options.files) == (tmp_path / "clips", [tmp_path / "b", Path("c/~")])


def test_a_home_that_is_not_known_is_one_line() -> None:
    with pytest.raises(UserError, match="home folder of ~nobody-has-this-name is not known"):
        load_config(TrainConfig, TINY, ["model=~nobody-has-this-name/m"])


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "a=1", "b=2", "the.json"],
        ["--set", "a=1", "--set", "b=2", "the.json"],
        ["the.json", "--set", "a=1", "b=2"],
        ["--set=a=1", "--set", "b=2", "--", "the.json"],
    ],
)
def test_the_config_may_stand_before_or_behind_what_is_set(words: list[str]) -> None:
    parser = CommandParser()
    parser.add_argument("config", type=Path)
    add_set_option(parser)
    options = parser.parse_args(words)
    assert (options.config, options.overrides) == (Path("the.json"), ["a=1", "b=2"])


def test_a_value_that_was_torn_apart_at_a_space_says_that_it_wants_quotes() -> None:
    parser = CommandParser()
    parser.add_argument("config", type=Path)
    add_set_option(parser)
    with pytest.raises(UserError, match="'model' is no KEY=VALUE; a value with spaces must stand in quotes"):
        parser.parse_args(["the.json", "--set", "model=my", "model", "dataset=d"])
    with pytest.raises(UserError, match="expected at least one argument"):
        parser.parse_args(["the.json", "--set"])


@pytest.mark.parametrize(
    ("override", "keys"),
    [
        ('games."Mr. Do"=1', ["games", "Mr. Do"]),
        ('games."A=B"=1', ["games", "A=B"]),
        ('games.A"B=1', ["games", 'A"B']),
        ("games.Castle=1", ["games", "Castle"]),
    ],
)
def test_a_key_may_hold_what_the_syntax_uses(override: str, keys: list[str]) -> None:
    assert split_override(override) == (keys, "1")
    assert apply_overrides({}, [override]) == {keys[0]: {keys[1]: 1}}


def test_a_name_that_dots_took_apart_is_told_of() -> None:
    with pytest.raises(UserError, match="a name with dots stands in double quotes"):
        validate(Request, apply_overrides({}, ["games.Mr. Do=1"]), "request")


def test_a_key_that_stands_twice_is_not_dropped_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": {"games": 1, "b": 2, "games": 3}}')
    with pytest.raises(UserError, match="'games' stands twice"):
        read_config(tmp_path / "x.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_a_config_is_read_as_any_editor_saves_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.json").write_bytes('{\r\n "title": "Pok\u00e9mon"\r\n}'.encode(encoding))
    assert read_config(tmp_path / "x.json") == {"title": "Pok\u00e9mon"}


def test_extending_from_an_unknown_home_folder_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", {"extends": "~nobody-at-all/base.json"})
    with pytest.raises(UserError, match=r"extends: .*home folder of ~nobody-at-all is not known"):
        read_config(path)


def test_the_value_of_a_key_may_be_what_a_file_holds(tmp_path: Path) -> None:
    write(tmp_path / "base.json", {"type": "dit.DiT", "width": 64, "heads": 2})
    write(tmp_path / "one.json", {"extends": "base.json", "depth": 3})
    data = {"backbone": {"type": "dit.DiT", "heads": 4, "dropout": 0.5}}
    override = f"backbone=@{tmp_path}/one.json"
    taken = {"type": "dit.DiT", "width": 64, "heads": 2, "depth": 3}
    assert apply_overrides(data, [override]) == {"backbone": taken}, "it takes the place of what was there"
    changed = apply_overrides(data, [override, "backbone.depth=5"])
    assert changed == {"backbone": {**taken, "depth": 5}}
    assert apply_overrides({}, ["title=@home", "games.@x.json=1"])["title"] == "@home"
    with pytest.raises(UserError, match=r"nowhere\.json"):
        apply_overrides(data, ["backbone=@nowhere.json"])
    with pytest.raises(UserError, match="nosuchuser"):
        apply_overrides(data, ["backbone=@~nosuchuser/x.json"])


def test_a_key_that_is_set_twice_is_told_with_the_value_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    apply_overrides({}, ["seed=3", "a.b=1", "seed=3", "a.c=2"])
    assert capsys.readouterr().err == ""
    assert apply_overrides({}, ["a.b=1", "seed=3", "a.b=2"]) == {"a": {"b": 2}, "seed": 3}
    assert capsys.readouterr().err == "note: --set a.b: is given twice; 2 counts, not 1\n"


def test_data_that_are_no_json_are_told_with_what_to_write() -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate_json('{"a": 1,}')
    assert re.fullmatch(": not valid JSON: .*line 1 column .*; leave out the comma .*", explain(Config, raised.value))
