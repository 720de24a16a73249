"""A trained model goes on when its dataset gets more games: what it knew stays, and the new games are learned."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.files import read_json, read_jsonl, write_json, write_jsonl
from dualdiffusion.model.folder import RAW, ModelFolder
from dualdiffusion.model.label_growth import grown_checkpoint, grown_weights
from dualdiffusion.model.module import load_module
from dualdiffusion.nn.blocks import LabelEmbedding
from dualdiffusion.nn.magnitude_preserving import normalize_weights
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.checkpoints.checkpoint import CheckpointState
from train.optimization.optimizer import OptimizerConfig

NEW = "Harbour"
LABELS = "backbone.label_embedding.vectors.weight"


def more_games(dataset: Path, path: Path, names: tuple[str, ...] = (NEW,), *, first_id: int = 3) -> Path:
    """The dataset with more games, whose tracks are those of Castle."""
    shutil.copytree(dataset, path)
    info = read_json(path / "dataset_info.json")
    for game_id, name in enumerate(names, first_id):
        for folder in (path / "audio", *(path / "latents").glob("*")):
            shutil.copytree(folder / "Castle", folder / name)
        for split in ("train", "validation"):
            records = read_jsonl(path / f"{split}.jsonl")
            castle = [record for record in records if record["game"] == "Castle"]
            new = [
                {**record, "game": name, "game_id": game_id, "file_name": record["file_name"].replace("Castle", name)}
                for record in castle
            ]
            write_jsonl(path / f"{split}.jsonl", records + new)
        info["games"].append({"id": game_id, "name": name, "tracks": 2})
    write_json(path / "dataset_info.json", info)
    return path


def denoiser(label_dim: int, seed: int = 0) -> Denoiser:
    """A denoiser with random weights that answer to the label."""
    part = tiny.make_denoiser(seed).config.backbone
    config = part.config.model_copy(update={"label_dim": label_dim})
    torch.manual_seed(seed)
    module = Denoiser(Denoiser.Config(backbone=type(part)(part.cls, config))).eval()
    for name, parameter in module.named_parameters():
        if name.endswith("gain"):
            torch.nn.init.constant_(parameter, 0.5)
    return module


@torch.no_grad()
def answers(module: Denoiser, games: int) -> torch.Tensor:
    """Outputs for each of the first games, for mixes of them with weights of either sign, and for "no label"."""
    generator = torch.Generator().manual_seed(7)
    mixes = torch.cat([torch.eye(games), torch.randn(5, games, generator=generator)])
    mixes = mixes / mixes.norm(dim=1, keepdim=True)
    x = torch.randn(1, 4, 4, 8, generator=generator).expand(len(mixes), -1, -1, -1)
    padded = torch.cat([mixes, torch.zeros(len(mixes), module.label_dim - games)], dim=1)
    sigma = torch.ones(len(mixes))
    labelled = module(x, sigma, Conditioning(padded))
    return torch.cat([labelled, module(x, sigma, Conditioning())])


@pytest.mark.parametrize("new", [1, 2, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_old_games_their_mixes_and_no_label_sound_as_before_also_once_the_weights_are_normalised(
    new: int, seed: int
) -> None:
    old, grown = denoiser(3, seed), denoiser(3 + new, seed + 100)
    rows = torch.rand(len(old.state_dict()[LABELS]), 1, generator=torch.Generator().manual_seed(seed)) + 0.5
    old.state_dict()[LABELS].mul_(rows)  # as an update leaves them, before they are normalised
    grown.load_state_dict(grown_weights(old.state_dict(), grown, seed))
    assert torch.allclose(answers(grown, 3), answers(old, 3), atol=1e-5, rtol=0)
    for module in (old, grown):
        normalize_weights(module)
    assert torch.allclose(answers(grown, 3), answers(old, 3), atol=1e-5, rtol=0)
    new_labels = torch.eye(3 + new)[3:]
    embedded = grown.backbone.label_embedding(Conditioning(new_labels), new_labels)
    assert torch.allclose(embedded.square().mean(), torch.ones(()), atol=0.01)  # the magnitude that games have


def test_averages_answer_as_before_and_know_the_new_games_as_the_weights_do() -> None:
    old, average, grown = denoiser(3, 0), denoiser(3, 1), denoiser(5, 2)
    state = CheckpointState({"unet": old.state_dict(), "ema_0.100": average.state_dict()}, empty_optimizer(old), {})
    state = grown_checkpoint(state, grown, "unet", seed=0)
    new = {name: tensors[LABELS][:, 3:5] for name, tensors in state.weights.items()}
    assert torch.equal(new["unet"], new["ema_0.100"])
    grown.load_state_dict(state.weights["ema_0.100"])
    assert torch.allclose(answers(grown, 3), answers(average, 3), atol=1e-5, rtol=0)


def empty_optimizer(module: torch.nn.Module) -> dict:
    return OptimizerConfig().build(module.parameters()).state_dict()


@torch.enable_grad()
def optimizer_after_a_step(module: Denoiser, config: OptimizerConfig) -> torch.optim.Optimizer:
    optimizer = config.build(module.parameters())
    take_step(module, optimizer)
    return optimizer


def take_step(module: Denoiser, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    eye = torch.eye(module.label_dim)
    module(torch.ones(len(eye), 4, 4, 8), torch.ones(len(eye)), Conditioning(eye)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", ["AdamW", "SGD", "Adagrad", "RMSprop", "Adafactor", "Rprop"])
def test_any_optimizer_goes_on_with_its_memory_of_old_games_and_none_of_new_ones(kind: str) -> None:
    settings = {"momentum": 0.9} if kind == "SGD" else {}
    config = OptimizerConfig(type=kind, settings=settings)
    old, grown = denoiser(3), denoiser(5)
    state = CheckpointState({"unet": old.state_dict()}, optimizer_after_a_step(old, config).state_dict(), {})
    state = grown_checkpoint(state, grown, "unet", seed=0)
    grown.load_state_dict(state.weights["unet"])
    optimizer = config.build(grown.parameters())
    optimizer.load_state_dict(state.optimizer)
    weight = dict(grown.named_parameters())[LABELS]
    for what, value in optimizer.state[weight].items():
        if torch.is_tensor(value) and value.ndim == 2 and value.shape[1] > 1:
            assert value.shape[1] == 6, what
            assert float(value[:, 3:5].abs().max()) == 0, what
            assert float(value[:, :3].abs().max()) > 0, what
    before = weight.detach().clone()
    take_step(grown, optimizer)
    assert bool((weight != before)[:, 3:5].any(dim=0).all())


def test_a_checkpoint_that_lacks_no_game_is_taken_as_it_is() -> None:
    module = denoiser(3)
    optimizer = optimizer_after_a_step(module, OptimizerConfig()).state_dict()
    state = CheckpointState({"unet": module.state_dict()}, optimizer, {"samples": 4})
    grown = grown_checkpoint(state, module, "unet", seed=0)
    assert_equal(grown.weights["unet"], state.weights["unet"])
    assert grown.optimizer is optimizer


def test_a_network_that_knows_fewer_games_than_it_is_told_takes_a_new_one_for_no_label() -> None:
    torch.manual_seed(0)
    embedding, like = LabelEmbedding(3, 16), torch.zeros(1, 1)
    no_label = embedding(Conditioning(), like)
    assert torch.equal(embedding(Conditioning(torch.eye(4)[3:]), like), no_label)
    known = embedding(Conditioning(torch.eye(3)[1:2]), like)
    assert torch.equal(embedding(Conditioning(torch.eye(4)[1:2]), like), known)
    assert torch.equal(embedding(Conditioning(torch.eye(2)[1:2]), like), known)


def test_a_mix_with_a_game_that_the_unet_does_not_know_is_as_strong_as_any(model: ModelFolder) -> None:
    older = denoiser(2)
    generator = Generator(
        format=load_module(model, "format"),
        vae=load_module(model, "vae"),
        unets={None: older},
        labels=tiny.labels(),
        fingerprint="",
    )
    mix = generator.conditioning([{"Castle": 0.6, "Circuit": 0.8}], older.label_dim)
    castle = generator.conditioning([{"Castle": 1.0}], older.label_dim)
    embedding, like = older.backbone.label_embedding, torch.zeros(1, 1)
    assert torch.allclose(embedding(mix, like), embedding(castle, like), atol=1e-6)


@dataclass(frozen=True)
class Grown:
    """A UNet trained on three games, and the same gone on with four; the config trains with four."""

    before: ModelFolder
    after: ModelFolder
    config: Path
    output: str


@pytest.fixture(scope="module")
def grown(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    before = ModelFolder(fresh_model(model, folder / "before", "unet"))
    config = tiny.write_train_config(folder / "before.json", "unet", before.path, dataset, total_samples=24)
    assert tiny.run("train.py", config).returncode == 0
    after = ModelFolder(folder / "after")
    shutil.copytree(before.path, after.path)
    config = tiny.write_train_config(
        folder / "after.json", "unet", after.path, more_games(dataset, folder / "dataset"), total_samples=48
    )
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    return Grown(before, after, config, result.stdout)


def weights(model: ModelFolder, name: str = "unet") -> torch.Tensor:
    return load_file(model.module_path("unet") / f"{name}.safetensors")[LABELS]


@pytest.mark.slow
def test_the_same_command_makes_room_and_goes_on_where_it_was(grown: Grown) -> None:
    assert "unet: room for 1 new game (Harbour)" in grown.output
    assert "going on from sample 24 of 48" in grown.output
    assert read_json(grown.after.run_path("unet") / "finished.json")["samples"] == 48
    assert [(game.id, game.name) for game in grown.after.labels().games] == [*enumerate([*tiny.GAMES, NEW])]
    assert read_json(grown.after.config_path("unet"))["config"]["backbone"]["label_dim"] == 4
    assert {weights(grown.after, ema).shape[1] for ema in ("unet", "ema_0.100")} == {5}
    newest = max(grown.after.run_path("unet").glob("checkpoints/samples-*"))
    assert load_file(newest / "unet.safetensors")[LABELS].shape[1] == 5


def test_a_few_steps_teach_the_new_game(grown: Grown) -> None:
    checkpoint = grown.before.run_path("unet") / "checkpoints" / "samples-000000000024" / "unet.safetensors"
    start = grown_weights(load_file(checkpoint), denoiser(4), seed=0)[LABELS]
    moved = (weights(grown.after) - start).square().mean(dim=0).sqrt()
    assert float(moved[3]) > 0.3 * float(moved[:3].mean()) > 0
    assert not torch.equal(weights(grown.after, "ema_0.100")[:, 3], start[:, 3])


def test_a_vae_that_is_told_no_game_stays_byte_for_byte(grown: Grown) -> None:
    for path in sorted(grown.before.module_path("vae").iterdir()):
        assert (grown.after.module_path("vae") / path.name).read_bytes() == path.read_bytes()
    assert grown.after.fingerprint("vae") == grown.before.fingerprint("vae")


def test_old_and_new_games_can_be_asked_for(grown: Grown, tmp_path: Path) -> None:
    result = tiny.run(
        *("-m", "sampling", "--model", grown.after.path, "--game", "Castle=0.5", "--game", f"{NEW}=0.5"),
        *("--seconds", 0.5, "--steps", 2, "--out", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("*.flac"))) == 1
    assert not torch.equal(clip(grown.after, NEW), clip(grown.after, "Castle"))


def clip(model: ModelFolder, game: str, ema: str | None = None) -> torch.Tensor:
    request = Request(games={game: 1.0}, seconds=0.5, steps=2, phase_iterations=1, ema=ema)
    return Generator.load(model, "cpu").generate(request).audio


@pytest.mark.kills
def test_a_run_killed_after_it_made_room_and_resumed_equals_one_that_was_not(grown: Grown, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(grown.before.path, path)
    dataset = Path(read_json(grown.config)["dataset"])
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset)
    assert train_until(config, path / "runs" / "unet", 32, signal.SIGKILL) == -9
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert_equal(digest(path, "unet"), digest(grown.after.path, "unet"))


# What is written, in this order, by the first checkpoint after room was made.
PUBLICATION = (
    "runs/unet/checkpoints/samples-000000000048",
    "labels.json",
    "unet/ema_0.100.safetensors",
    "unet/unet.safetensors",
    "unet/unet.json",
)


def killed_while_publishing(grown: Grown, path: Path, written: int) -> ModelFolder:
    """The model folder where a kill leaves it after so many of the files."""
    shutil.copytree(grown.before.path, path)
    for name in PUBLICATION[:written]:
        if (grown.after.path / name).is_dir():
            shutil.copytree(grown.after.path / name, path / name)
        else:
            shutil.copyfile(grown.after.path / name, path / name)
    return ModelFolder(path)


@pytest.mark.slow
@pytest.mark.parametrize("written", range(len(PUBLICATION) + 1))
def test_a_kill_between_any_two_files_leaves_a_model_that_plays_every_game_it_lists(
    grown: Grown, tmp_path: Path, written: int
) -> None:
    model = killed_while_publishing(grown, tmp_path / "model", written)
    assert (NEW in model.labels().names) == (written >= 2)
    generator = Generator.load(model, "cpu")
    for ema in model.emas("unet"):
        done = written > PUBLICATION.index(f"unet/{'unet' if ema == RAW else ema}.safetensors")
        expected = grown.after if done else grown.before
        assert generator.unet(ema).label_dim == (4 if done else 3)
        request = Request(games={"Cave": 1.0}, seconds=0.5, steps=2, phase_iterations=1, ema=ema)
        assert torch.equal(generator.generate(request).audio, clip(expected, "Cave", ema))
        if NEW in model.labels().names:
            request = request.model_copy(update={"games": {NEW: 1.0}})
            assert bool(generator.generate(request).audio.isfinite().all())


@pytest.mark.parametrize("written", [1, 3])
def test_after_a_kill_between_two_files_the_same_command_goes_on(grown: Grown, tmp_path: Path, written: int) -> None:
    model = killed_while_publishing(grown, tmp_path / "model", written)
    dataset = Path(read_json(grown.config)["dataset"])
    config = tiny.write_train_config(tmp_path / "train.json", "unet", model.path, dataset)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert "going on from sample 48" in result.stdout
    assert_equal(digest(model.path, "unet"), digest(grown.after.path, "unet"))
    assert model.labels() == grown.after.labels()


def test_without_a_checkpoint_the_published_weights_make_room(grown: Grown, tmp_path: Path) -> None:
    shutil.copytree(grown.before.path, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "runs")
    dataset = Path(read_json(grown.config)["dataset"])
    config = tiny.write_train_config(tmp_path / "train.json", "unet", tmp_path / "model", dataset, total_samples=4)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert weights(ModelFolder(tmp_path / "model")).shape[1] == 5


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file by its path, without locks, which name the last process that held them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in files}


def test_a_dry_run_says_for_which_games_it_would_make_room_and_writes_nothing(grown: Grown, tmp_path: Path) -> None:
    shutil.copytree(grown.before.path, tmp_path / "model")
    before = snapshot(tmp_path)
    result = tiny.run("train.py", grown.config, "--dry-run", "--set", f"model={tmp_path}/model")
    assert result.returncode == 0, result.stderr
    assert "room is made" in result.stdout
    assert f"1 ({NEW})" in result.stdout
    assert snapshot(tmp_path) == before


def test_a_finished_run_stays_as_it_is_and_says_how_new_games_are_learned(grown: Grown, tmp_path: Path) -> None:
    shutil.copytree(grown.before.path, tmp_path / "model")
    before = snapshot(tmp_path / "model" / "unet")
    result = tiny.run("train.py", grown.config, "--set", f"model={tmp_path}/model", "total_samples=24")
    assert result.returncode == 0, result.stderr
    assert "raise total_samples" in result.stdout
    assert snapshot(tmp_path / "model" / "unet") == before
    assert NEW not in ModelFolder(tmp_path / "model").labels().names


@pytest.mark.parametrize(
    ("games", "first_id", "words"),
    [
        (("Castle",), 3, ["'Castle' has id 3", "knows it as 0"]),
        ((NEW,), 2, ["'Harbour' has id 2", "gives a new game the id 3"]),
        ((NEW,), 4, ["'Harbour' has id 4", "gives a new game the id 3"]),
    ],
    ids=["a known game under another id", "a new game under a known id", "a gap"],
)
def test_games_that_do_not_extend_the_models_are_refused_in_one_line(
    model: ModelFolder, dataset: Path, tmp_path: Path, games: tuple[str, ...], first_id: int, words: list[str]
) -> None:
    shutil.copytree(dataset, tmp_path / "dataset")
    info = read_json(dataset / "dataset_info.json")
    info["games"] = [game for game in info["games"] if game["name"] not in games]
    info["games"] += [{"id": first_id + i, "name": name, "tracks": 1} for i, name in enumerate(games)]
    write_json(tmp_path / "dataset" / "dataset_info.json", info)
    path = fresh_model(model, tmp_path / "model", "unet")
    before = snapshot(path)
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, tmp_path / "dataset")
    tiny.assert_one_line_error(tiny.run("train.py", config), *words)
    assert snapshot(path) == before


def test_a_config_that_fixes_the_number_of_games_is_told_when_it_is_too_small(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    config = tiny.write_train_config(
        tmp_path / "train.json", "unet", path, more_games(dataset, tmp_path / "dataset"), total_samples=4
    )
    setting = "module_trainer.denoiser.backbone.label_dim"
    result = tiny.run("train.py", config, "--set", f"{setting}=3")
    tiny.assert_one_line_error(result, "label_dim: is 3, but the dataset needs 4")
    result = tiny.run("train.py", config, "--set", f"{setting}=9")
    assert result.returncode == 0, result.stderr
    assert bool(clip(ModelFolder(path), NEW).isfinite().all())  # room to spare does no harm


@pytest.mark.slow
@pytest.mark.parametrize("label_dim", [0, None])
def test_a_vae_makes_room_only_when_it_is_told_games_and_trained_on(
    dataset: Path, tmp_path: Path, label_dim: int | None
) -> None:
    model, setting = ModelFolder(tmp_path / "model"), f"module_trainer.vae.label_dim={json.dumps(label_dim)}"
    config = tiny.write_train_config(tmp_path / "train.json", "vae", model.path, dataset, total_samples=4)
    assert tiny.run("train.py", config, "--set", setting).returncode == 0
    larger = more_games(dataset, tmp_path / "dataset")
    result = tiny.run("train.py", config, "--set", setting, f"dataset={larger}", "total_samples=8")
    assert result.returncode == 0, result.stderr
    assert "going on from sample 4 of 8" in result.stdout
    stored = read_json(model.config_path("vae"))["config"]["label_dim"]
    assert (stored, NEW in model.labels().names) == ((0, False) if label_dim == 0 else (4, True))
