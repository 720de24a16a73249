"""A sweep trains every combination in a folder of its own, tells TensorBoard, and prints a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train.test_training import fresh_model
from train.commands.sweep import Run, build_runs, hopeless, split_values, validation_losses

CONFIG = tiny.ROOT / "config" / "train" / "unet_tiny.json"


def test_values_are_separated_by_commas_outside_brackets_and_quotes() -> None:
    assert split_values("0.003,0.01") == ["0.003", "0.01"]
    assert split_values('[0.05,0.1],[],{"a": [1,2]},"x,y"') == ["[0.05,0.1]", "[]", '{"a": [1,2]}', '"x,y"']
    assert split_values("one") == ["one"]


def test_a_sweep_is_the_grid_of_its_values_each_with_a_model_folder_of_its_own() -> None:
    runs = build_runs(
        CONFIG, ["optimizer.learning_rate=0.003,0.01", "ema_stds=[0.05,0.1],[]", "total_samples=64", "model=models/m"]
    )
    assert [(run.config.optimizer.learning_rate, run.config.ema_stds) for run in runs] == [
        (0.003, (0.05, 0.1)),
        (0.003, ()),
        (0.01, (0.05, 0.1)),
        (0.01, ()),
    ]
    assert {run.config.total_samples for run in runs} == {64}
    assert str(runs[0].config.model) == "models/m_sweep_learning_rate=0.003_ema_stds=-0.05-0.1-"
    assert len({run.config.model for run in runs}) == 4


def test_a_sweep_over_files_compares_networks() -> None:
    key, files = "module_trainer.denoiser.backbone", ("unet_tiny", "dit_tiny", "hourglass_tiny")
    values = ",".join(f"@config/models/{name}.json" for name in files)
    runs = build_runs(CONFIG, [f"{key}={values}", "model=models/m"])
    types = [run.config.module_trainer.config.denoiser.backbone.name for run in runs]
    assert types == ["unet_edm2.UNet", "dit.DiT", "hourglass.Hourglass"]
    assert [str(run.config.model) for run in runs] == [f"models/m_sweep_backbone={name}" for name in files]


def test_files_of_one_name_are_refused_as_their_runs_would_share_a_folder(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "o.json").write_text('{"type": "AdamW"}')
    with pytest.raises(UserError, match="would share a model folder"):
        build_runs(CONFIG, [f"optimizer=@{tmp_path}/a/o.json,@{tmp_path}/b/o.json"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optimizer.learning_rate=0.01"], "nothing varies"),
        (["optimizer.learning_rat=0.01,0.02"], "did you mean optimizer.learning_rate"),
        (["optimizer.learning_rate=0.01,-1"], "greater than 0"),
        (["model=a,b"], "cannot vary"),
        (["batch_size"], "must be key.path=value"),
    ],
)
def test_a_combination_that_is_no_valid_config_is_told_before_anything_runs(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_runs(CONFIG, overrides)


def test_a_run_is_hopeless_where_another_was_much_better_after_as_many_samples() -> None:
    good, bad, early = (Run({}, None, losses) for losses in ({10: 0.9, 20: 0.5}, {10: 0.95, 20: 0.8}, {5: 9.0}))
    assert not hopeless(bad, [good], None)
    assert hopeless(bad, [good], 1.5)
    assert not hopeless(bad, [good], 1.7)
    assert not hopeless(early, [good], 1.5)  # nothing to compare with yet
    assert hopeless(Run({}, None, {10: float("nan")}), [good], 1.5)


def test_the_last_line_of_a_growing_file_may_be_half_written(tmp_path: Path) -> None:
    lines = ["step,samples,metric,value", "1,10,validation/raw/loss,0.9", "1,10,validation/ema_0.100/loss,0.8"]
    (tmp_path / "metrics.csv").write_text("\n".join([*lines, "1,10,validation/raw/loss_by_game/x,0.1", "2,20,valid"]))
    assert validation_losses(tmp_path / "metrics.csv") == {10: 0.8}
    assert validation_losses(tmp_path / "none.csv") == {}


@pytest.fixture(scope="module")
def swept(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the runs, and what the command printed."""
    folder = tmp_path_factory.mktemp("sweep")
    path = fresh_model(model, folder / "model", "unet")
    config = tiny.write_train_config(folder / "train.json", "unet", path, dataset, total_samples=24)
    varied = ["optimizer.learning_rate=0.01,1e-9", "validation.every_samples=8"]
    result = tiny.run("-m", "train", "sweep", config, "--set", *varied)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_the_command_trains_one_after_the_other_and_prints_a_table_best_first(swept: tuple[Path, str]) -> None:
    folder, text = swept
    assert "run 1 of 2: optimizer.learning_rate=0.01" in text
    table = text[text.index("sweep\n") if "sweep\n" in text else text.rindex("validation loss") :]
    assert table.index("0.01 ") < table.index("1e-9")
    assert table.count("finished") == 2
    names = sorted(path.name for path in folder.glob("model_sweep_*"))
    assert names == ["model_sweep_learning_rate=0.01", "model_sweep_learning_rate=1e-9"]
    first = ModelFolder(folder / names[0])
    assert "raw" in first.emas("unet")
    assert first.fingerprint("vae") == ModelFolder(folder / "model").fingerprint("vae")
    assert not (folder / "model" / "unet").exists()


def test_tensorboard_gets_the_settings_and_the_result_of_each_run(swept: tuple[Path, str]) -> None:
    for run in swept[0].glob("model_sweep_*/runs/unet"):
        events = EventAccumulator(str(run))
        events.Reload()
        assert "hparam/validation_loss" in events.Tags()["scalars"]
        assert "_hparams_/session_start_info" in events.summary_metadata


HOPELESS = """
import sys
from train.commands.sweep import Run, build_runs, train_run

run = build_runs(sys.argv[1], ["optimizer.learning_rate=0.01,0.02", "validation.every_samples=8"])[0]
better = Run({}, run.config, {samples: 1e-3 for samples in range(8, 100_000, 8)})
train_run(run, [better], 2.0)
print(run.outcome, max(run.losses), run.path, sep="\\n")
"""


def test_a_hopeless_run_is_stopped_long_before_its_end(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, total_samples=1_000_000)
    script = tmp_path / "hopeless.py"
    script.write_text(HOPELESS)
    result = tiny.run(script, config)
    assert result.returncode == 0, result.stderr
    outcome, samples, run = result.stdout.splitlines()[-3:]
    assert outcome == "stopped early"
    assert 8 <= int(samples) < 100_000
    assert list(Path(run).glob("checkpoints/samples-*"))  # it can go on


def test_what_a_user_can_get_wrong_is_one_line(tmp_path: Path) -> None:
    result = tiny.run("-m", "train", "sweep", CONFIG, "--set", "batch_size=8,16", "--stop-above", 0.5)
    tiny.assert_one_line_error(result, "--stop-above 0.5", "above 1")
