"""Training a model without games: a denoiser of label_dim 0."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import dualdiffusion
from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train.test_training import fresh_model


def test_a_training_without_games_has_one_demo_and_its_model_plays(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    plain = ModelFolder(fresh_model(model, tmp_path / "plain", "unet"))
    path = tiny.write_train_config(tmp_path / "c.json", "unet", plain.path, dataset)
    told = ("module_trainer.denoiser.backbone.label_dim=0", "total_samples=8", "module_trainer.demo_games=3")
    done = tiny.run("train.py", path, *(word for text in told for word in ("--set", text)))
    assert done.returncode == 0, done.stderr
    assert not plain.asks_for_games()
    clip = dualdiffusion.load(plain.path).generate(seconds=0.5, steps=2, cfg_scale=3)
    assert clip.audio.isfinite().all() and clip.result.passes.passes == clip.result.passes.evaluations
    events = EventAccumulator(str(plain.run_path("unet"))).Reload()
    assert [tag.rpartition("/")[2] for tag in events.Tags()["audio"]] == ["clip"]
