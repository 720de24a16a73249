"""A new model starts from another one's weights: what it knew stays, new games are made room for, and wrong is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dualdiffusion.component import Component
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.label_growth import relabelled
from dualdiffusion.model.module import load_module, module_component, save_module
from dualdiffusion.nn.magnitude_preserving import normalize_weights
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.train.checkpoints.test_growing_labels import NEW, denoiser, more_games, snapshot
from tests.train.test_training import assert_equal, digest
from train.module_trainers.unet import UNetTrainer
from train.module_trainers.vae import VAETrainer
from train.startup.initial_weights import init_of, load_train_config
from train.startup.setup import build_module, with_label_dim

LABELS = "backbone.label_embedding.vectors.weight"
DECODER = "output.weight"


def config_file(folder: Path, module: str, dataset: Path, init: object, **changes: object) -> Path:
    """A config that starts from `init`, with the networks that this has."""
    path = tiny.write_train_config(
        folder / f"{module}.json", module, folder / "new", dataset, init=str(init), **changes
    )
    data = read_json(path)
    parts = {"vae": ("format", "vae"), "unet": ("denoiser",)}[module]
    data["module_trainer"].update(dict.fromkeys(parts))
    write_json(path, data)
    return path


def trainer_of(path: Path) -> VAETrainer | UNetTrainer:
    """The module trainer of a config, as it is before any step."""
    config = load_train_config(path)
    part = config.module_trainer
    return part.cls(
        part.config,
        model=ModelFolder(config.model),
        dataset=DatasetFolder(config.dataset),
        seed=config.seed,
        init=init_of(config),
    )


@pytest.fixture(scope="module")
def other_games(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset in which a game is called otherwise, and one of the others has another id: Cave, Harbour, Castle."""
    path = tmp_path_factory.mktemp("other") / "dataset"
    shutil.copytree(dataset, path)
    names, ids = {"Circuit": NEW}, {"Castle": 2, "Cave": 0, "Circuit": 1}
    info = read_json(path / "dataset_info.json")
    for game in info["games"]:
        game["id"], game["name"] = ids[game["name"]], names.get(game["name"], game["name"])
    write_json(path / "dataset_info.json", info)
    for split in ("train", "validation"):
        lines = [json.loads(line) for line in (path / f"{split}.jsonl").read_text().splitlines()]
        for line in lines:  # the files stay where they are
            line["game_id"], line["game"] = ids[line["game"]], names.get(line["game"], line["game"])
        (path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@torch.no_grad()
def answer(module: Denoiser, mix: dict[str, float], labels: Labels) -> torch.Tensor:
    """What a denoiser makes of fixed noise; of no game for an empty mix."""
    module.eval()
    x = torch.randn(1, 4, 4, 8, generator=torch.Generator().manual_seed(5))
    told = Conditioning(torch.tensor([labels.vector(mix)])) if mix else Conditioning()
    return module(x, torch.ones(1), told)


def test_with_the_same_games_nothing_is_different_before_the_first_step(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    for module in ("vae", "unet"):
        trainer = trainer_of(config_file(tmp_path, module, dataset, model.path))
        expected = load_module(model, module).state_dict()
        assert_equal(trainer.module.state_dict(), expected)
    assert_equal(trainer.format.state_dict(), load_module(model, "format").state_dict())
    assert module_component(ModelFolder(tmp_path / "new"), "format") == module_component(model, "format")


def test_the_weights_that_the_model_plays_with_are_those_to_start_from(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "init")
    init = ModelFolder(tmp_path / "init")
    average = tiny.make_denoiser(seed=3)
    save_module(init, "unet", average)
    (init.module_path("unet") / "unet.safetensors").rename(init.weights_path("unet", "ema_0.100"))
    save_module(init, "unet", tiny.make_denoiser(seed=4), ema="ema_0.100")
    trainer = trainer_of(config_file(tmp_path, "unet", dataset, init.path))
    assert_equal(trainer.module.state_dict(), average.state_dict())


def test_games_of_the_same_name_and_no_game_sound_as_they_did_whatever_their_number(
    model: ModelFolder, other_games: Path, tmp_path: Path
) -> None:
    started = trainer_of(config_file(tmp_path, "unet", other_games, model.path))
    before = load_module(model, "unet")
    assert started.labels.names == ["Cave", NEW, "Castle"]
    mixes = ({"Castle": 1.0}, {"Cave": 1.0}, {"Castle": 0.7, "Cave": -0.3}, {})
    for _ in range(2):
        for mix in mixes:
            difference = answer(started.module, mix, started.labels) - answer(before, mix, tiny.labels())
            assert float(difference.abs().max()) < 1e-5, mix
        new = answer(started.module, {NEW: 1.0}, started.labels)
        others = [answer(started.module, mix, started.labels) for mix in mixes]
        assert all(float((new - other).abs().max()) > 1e-3 for other in others)
        for module in (started.module, before):
            module.after_update()  # which normalises, and may do no harm either


@pytest.mark.parametrize("games", [1, 3, 40])
def test_new_games_have_the_magnitude_of_games_and_are_like_no_game_in_particular_yet_unlike_one_another(
    games: int,
) -> None:
    known = torch.randn(512, 7, generator=torch.Generator().manual_seed(1))
    known = known / known.square().mean(dim=1, keepdim=True).sqrt()
    weight = relabelled(known, {0: 2}, games + 1, torch.Generator().manual_seed(0)).double()
    assert torch.equal(weight[:, [0, -1]], known[:, [2, -1]].double())
    new = weight[:, 1:-1]
    assert torch.allclose(new.square().mean(), torch.ones((), dtype=torch.float64), atol=0.35)
    similar = torch.nn.functional.cosine_similarity(new, weight[:, -1:], dim=0)
    assert bool(((similar > 0.2) & (similar < 0.95)).all())
    if games > 1:
        among = torch.corrcoef(new.T)[0, 1:]
        assert float(among.max()) < 0.9


def test_with_fewer_games_a_row_of_their_vectors_is_scaled_as_a_whole_if_at_all_when_it_is_normalised() -> None:
    old, new = denoiser(9, seed=1), denoiser(6, seed=2)
    normalize_weights(old)
    state = {**old.state_dict()}
    state[LABELS] = relabelled(state[LABELS], {1: 4, 3: 0}, 6, torch.Generator().manual_seed(0))
    new.load_state_dict(state)
    normalize_weights(new)
    kept = new.state_dict()[LABELS][:, [1, 3, -1]] / old.state_dict()[LABELS][:, [4, 0, -1]]
    assert torch.allclose(kept, kept[:, :1].expand_as(kept), atol=1e-4)
    assert float(((kept[:, 0] - 1).abs() < 1e-5).float().mean()) > 0.8


def test_a_vae_that_is_told_games_gets_the_new_ones(dataset: Path, other_games: Path, tmp_path: Path) -> None:
    init = tiny.make_model(tmp_path / "init")
    part = module_component(init, "vae")
    told = with_label_dim(Component(part.cls, part.config.model_copy(update={"label_dim": None})), tiny.labels())
    save_module(init, "vae", told.build())
    started = trainer_of(config_file(tmp_path, "vae", other_games, init.path)).module
    key, before = "label_embedding.vectors.weight", load_module(init, "vae")
    assert started.label_dim == 3
    columns = [started.state_dict()[key][:, i] for i in (2, 0, -1)]
    assert torch.equal(torch.stack(columns), before.state_dict()[key][:, [0, 1, -1]].T)
    assert torch.equal(started.latents_std, before.latents_std)


@dataclass(frozen=True)
class Started:
    """A UNet that was trained from another model's, in one go."""

    config: Path
    model: ModelFolder
    output: str


@pytest.fixture(scope="module")
def started(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Started:
    folder = tmp_path_factory.mktemp("started")
    config = config_file(folder, "unet", more_games(dataset, folder / "dataset"), model.path)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    return Started(config, ModelFolder(folder / "new"), result.stdout)


def test_one_line_says_what_training_starts_from_and_which_games_it_knows(started: Started, model: ModelFolder) -> None:
    (line,) = [line for line in started.output.splitlines() if "starts from" in line]
    for words in (str(model.path), "(raw)", "games it knows: Castle, Cave, Circuit", f"new games: {NEW}"):
        assert words in line


def test_a_model_that_was_started_has_all_that_it_needs_and_plays_every_game(
    started: Started, model: ModelFolder
) -> None:
    assert started.model.module_names() == ["format", "vae", "unet"]
    assert started.model.fingerprint("vae") == model.fingerprint("vae")
    for game in ("Castle", NEW):
        request = Request(games={game: 1.0}, seconds=0.5, steps=2, phase_iterations=1)
        assert bool(Generator.load(started.model, "cpu").generate(request).audio.isfinite().all())


def test_stopped_and_resumed_it_equals_one_that_was_not_though_what_it_started_from_is_gone(
    started: Started, tmp_path: Path
) -> None:
    init = Path(read_json(started.config)["init"])
    shutil.copytree(init, tmp_path / "init")
    dataset = Path(read_json(started.config)["dataset"])
    config = config_file(tmp_path, "unet", dataset, tmp_path / "init")
    first = tiny.run("train.py", config, "--set", "total_samples=20")
    assert "starts from" in first.stdout
    shutil.rmtree(tmp_path / "init")
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert "starts from" not in result.stdout
    assert "going on from sample 20 of 48" in result.stdout
    assert_equal(digest(tmp_path / "new", "unet"), digest(started.model.path, "unet"))


def test_another_init_later_changes_nothing_and_is_told_in_one_line(started: Started, tmp_path: Path) -> None:
    shutil.copytree(started.model.path, tmp_path / "new")
    settings = (f"model={tmp_path}/new", "init=elsewhere", "total_samples=52")
    result = tiny.run("train.py", started.config, "--set", *settings)
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "changed since the last run: init:" in line]
    assert 'now "elsewhere"' in line
    assert "going on from sample 48 of 52" in result.stdout


def test_the_config_that_a_run_stores_says_its_networks_and_is_itself_a_config(started: Started) -> None:
    stored = load_train_config(started.model.run_path("unet") / "config.json")
    backbone = stored.module_trainer.config.denoiser.backbone.config
    assert (backbone.model_channels, backbone.label_dim) == (8, None)


def test_vae_and_unet_one_after_the_other_are_a_whole_model(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    vae = config_file(tmp_path, "vae", dataset, model.path, total_samples=8)
    result = tiny.run("train.py", vae)
    assert result.returncode == 0, result.stderr
    new = ModelFolder(tmp_path / "new")
    assert (new.path / "format/format.safetensors").read_bytes() == model.weights_path("format").read_bytes()
    assert new.fingerprint("vae") != model.fingerprint("vae")
    tiny.make_latents(dataset, new)
    result = tiny.run("train.py", config_file(tmp_path, "unet", dataset, model.path, total_samples=8))
    assert result.returncode == 0, result.stderr
    assert Generator.load(new, "cpu").labels.names == list(tiny.GAMES)


def test_a_dry_run_names_the_model_and_writes_nothing(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    config = config_file(tmp_path, "unet", dataset, model.path)
    before = snapshot(tmp_path)
    result = tiny.run("train.py", config, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "starts from" in result.stdout and model.path.name in result.stdout
    assert "4 x 4 x 4 x 16" in result.stdout  # latents of its VAE
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("command", [("train.py",), ("-m", "train", "overfit")])
@pytest.mark.parametrize(
    ("module", "settings", "words"),
    [
        ("unet", ["init=nowhere"], ["init: ", "nowhere"]),
        ("vae", ["init=null"], ["module_trainer.format: is null", "init is null", "--set init="]),
        ("unet", ["init=null"], ["module_trainer.denoiser: is null", "no module 'unet'"]),
        (
            "vae",
            [f"module_trainer.vae={json.dumps({**tiny.VAE, 'latent_channels': 8})}"],
            ["module_trainer.vae.latent_channels: is 8", "has 4", "module_trainer.vae to null"],
        ),
        (
            "vae",
            [f"module_trainer.format={json.dumps({**tiny.FORMAT, 'f_max': 3000})}"],
            ["module_trainer.format.f_max: is 3000", "has 4000", "module_trainer.format to null"],
        ),
        (
            "unet",
            [f"module_trainer.denoiser={json.dumps({'backbone': {**tiny.UNET, 'label_dim': None, 'dropout': 0.2}})}"],
            ["module_trainer.denoiser.backbone.dropout: is 0.2", "has 0.1"],
        ),
    ],
    ids=["no such model", "no networks", "no network", "another VAE", "another format", "another UNet"],
)
def test_a_wrong_start_is_one_line_and_leaves_nothing(
    command: tuple[str, ...],
    module: str,
    settings: list[str],
    words: list[str],
    model: ModelFolder,
    dataset: Path,
    tmp_path: Path,
) -> None:
    config = config_file(tmp_path, module, dataset, model.path)
    before = snapshot(tmp_path)
    tiny.assert_one_line_error(tiny.run(*command, config, "--set", *settings), *words)
    assert snapshot(tmp_path) == before


def test_a_model_without_the_module_is_nothing_to_start_from(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(model.path, tmp_path / "init")
    index = read_json(tmp_path / "init/model_index.json")
    index["modules"].pop("unet")
    write_json(tmp_path / "init/model_index.json", index)
    config = config_file(tmp_path, "unet", dataset, tmp_path / "init")
    with pytest.raises(UserError, match=r"init: .* has no module 'unet' to start from \(it has: format, vae\)"):
        load_train_config(config)


def test_a_decoder_trained_alone_keeps_latents_and_their_statistics_also_on_other_music(
    dataset: Path, tmp_path: Path
) -> None:
    init = tiny.make_model(tmp_path / "init", seed=5)
    vae = load_module(init, "vae")
    vae.latents_mean.copy_(torch.arange(4) / 10)
    vae.latents_std.copy_(torch.tensor([0.5, 0.6, 0.7, 0.8]))
    save_module(init, "vae", vae)
    config = config_file(tmp_path, "vae", dataset, init.path, total_samples=8)
    result = tiny.run("train.py", config, "--set", "module_trainer.trained=decoder")
    assert result.returncode == 0, result.stderr
    for ema in ("raw", "ema_0.100"):
        after = load_module(ModelFolder(tmp_path / "new"), "vae", ema=ema)
        assert torch.equal(after.latents_mean, vae.latents_mean)
        assert torch.equal(after.latents_std, vae.latents_std)
        assert torch.equal(after.to_latents.weight, vae.to_latents.weight)
        assert not torch.equal(after.state_dict()[DECODER], vae.state_dict()[DECODER])


def test_a_new_model_recommends_what_the_one_that_it_started_from_does(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "init")
    recommended = {"steps": 7, "sampler": "euler"}
    guided = {"cfg_scale": 1.3, "guidance": {"weak_ema": "raw", "weak_scale": 2}}
    write_json(tmp_path / "init/request.json", {**recommended, **guided})
    trainer_of(config_file(tmp_path, "unet", dataset, tmp_path / "init"))
    assert read_json(tmp_path / "new/request.json") == recommended  # without weights that it may not have


def test_networks_that_are_spelled_out_and_equal_are_as_good_as_none(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = tiny.write_train_config(
        tmp_path / "unet.json", "unet", tmp_path / "new", dataset, init=str(model.path), seed=3
    )
    assert_equal(trainer_of(path).module.state_dict(), load_module(model, "unet").state_dict())


def test_without_init_a_module_has_weights_of_its_own(model: ModelFolder, tmp_path: Path) -> None:
    part = with_label_dim(module_component(model, "vae"), tiny.labels())
    fresh = build_module(ModelFolder(tmp_path), "vae", part, tiny.labels(), seed=0)
    started = build_module(ModelFolder(tmp_path), "vae", part, tiny.labels(), seed=0, init=model)
    assert not torch.equal(fresh.input.weight, started.input.weight)
