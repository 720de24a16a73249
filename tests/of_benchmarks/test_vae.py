"""The VAE's benchmark on tiny music: what it compares is comparable."""

from __future__ import annotations

import io
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from tests import tiny
from tests.benchmarks import vae
from train.train_config import TrainConfig


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of seven short noises and a file that is no audio."""
    folder = tmp_path_factory.mktemp("benchmark")
    generator = torch.Generator().manual_seed(0)
    for index in range(7):
        path = folder / "music" / f"{index}.flac"
        path.parent.mkdir(exist_ok=True)
        audio.write_flac(path, 0.1 * torch.randn(2, 5 * 16000, generator=generator), 16000)
    (folder / "music" / "notes.txt").write_text("no music")
    return vae.make_dataset(folder / "music", folder / "dataset", 16000)


def test_held_out_tracks_are_not_trained_on_and_the_choice_is_always_the_same(dataset: Path) -> None:
    folder = DatasetFolder(dataset)
    train, held_out = ({track.file_name for track in folder.tracks(split)} for split in ("train", "validation"))
    assert len(train) == 5
    assert len(held_out) == 2
    assert not train & held_out
    again = vae.make_dataset(dataset.parent / "music", dataset.parent / "again", 16000)
    assert (again / "audio/music/0.flac").read_bytes() == (dataset / "audio/music/0.flac").read_bytes()


def test_the_ways_differ_in_their_loss_alone(dataset: Path) -> None:
    ways = {name: vae.load_way(vae.TRAINED, dataset.parent, changes) for name, changes in vae.LOSSES.items()}
    assert set(ways) == {"full", "l1", "l2"}
    for config in ways.values():
        data = config.to_json()
        data["module_trainer"].pop("loss")
        weights = data["module_trainer"].pop("loss_weights")
        full = ways["full"].to_json()
        full["module_trainer"].pop("loss")
        full["module_trainer"].pop("loss_weights")
        assert data == full
        assert weights["kl"] == 0.1
    assert [ways[name].module_trainer.config.loss_weights["point"] for name in ("full", "l1", "l2")] == [1, 0, 0]


@pytest.mark.benchmarks
def test_training_is_repeatable_and_the_format_alone_is_better_than_an_untrained_vae(dataset: Path) -> None:
    clips = vae.excerpts(dataset)
    assert [tuple(clip.shape) for clip in clips] == [(2, 64000)] * 2
    config = vae.load_way(vae.TRAINED, dataset.parent, {})
    short = [clips[0][:, :16384]]
    first, second = (vae.train(config, 1, lambda trainer: vae.judge_sound(trainer, short)) for _ in range(2))
    assert first["mrstft"] == pytest.approx(second["mrstft"], rel=1e-4)
    with vae.scratch_trainer(config) as trainer:
        alone = vae.judge_sound(trainer, short, through_vae=False)
    assert alone["mrstft"] < first["mrstft"]


def test_too_little_music_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has only 0 tracks"):
        vae.make_dataset(tmp_path, tmp_path / "dataset", 16000)
    tiny.assert_one_line_error(
        tiny.run("-m", "tests.benchmarks.vae", "--music", "nowhere"), "nowhere", "no such folder"
    )


def test_what_has_ended_is_not_trained_again(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def train(config: TrainConfig, steps: int, judge: object) -> vae.Row:
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(config.seed)
        return {"mrstft": float(len(seen))}

    monkeypatch.setattr(vae, "train", train)
    options = Namespace(options=False, steps=7, batch=2, seeds=2)
    arguments = (dataset.parent / "music", tmp_path, options, Console(file=io.StringIO()))
    with pytest.raises(KeyboardInterrupt):
        vae.compare_training(*arguments)
    seen.clear()
    rows = vae.compare_training(*arguments)
    assert seen == [1, 1]
    assert [vae.means(rows[name])["mrstft"] for name in vae.LOSSES] == [2.5, 1.5, 2.5]
    with pytest.raises(UserError, match="results of another --steps than 8"):
        vae.compare_training(*arguments[:2], Namespace(options=False, steps=8, batch=2, seeds=2), arguments[3])
    with pytest.raises(UserError, match=r"results of another --music than .*other; give"):
        vae.compare_training(tmp_path / "other", *arguments[1:])
