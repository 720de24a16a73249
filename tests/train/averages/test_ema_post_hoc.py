"""EMAs of any length after training, from snapshots of two, against ones that were followed directly."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import ModelFolder
from sampling.output.clips import read_settings
from tests import tiny
from tests.train.test_training import fresh_model
from train.averages.ema import PowerEMA, exponent_of, normalize
from train.averages.post_hoc import Profile, Snapshots, inner_product, reconstruct, redundant, solve

STEPS, BATCH = 1600, 4


def density(profile: Profile, time: np.ndarray) -> np.ndarray:
    gamma = exponent_of(profile.std)
    return np.where(time <= profile.end, (gamma + 1) * time**gamma / profile.end ** (gamma + 1), 0.0)


@pytest.mark.parametrize("other", [Profile(0.05, 0.4), Profile(0.2, 1.0), Profile(0.1, 1.0)])
def test_the_closed_form_of_an_inner_product_is_its_integral(other: Profile) -> None:
    profile, time = Profile(0.1, 1.0), (np.arange(200_000) + 0.5) / 200_000
    integral = float((density(profile, time) * density(other, time)).mean())
    assert inner_product(profile, other) == pytest.approx(integral, rel=1e-3)
    assert inner_product(other, profile) == inner_product(profile, other)


@pytest.mark.parametrize("std", [0.03, 0.07, 0.15, 0.2])
def test_the_solution_sums_to_one_and_says_how_far_it_is_from_the_wanted_profile(std: float) -> None:
    known = [Profile(width, (i + 1) / 32) for i in range(32) for width in (0.05, 0.1)]
    coefficients, error = solve(Profile(std, 1.0), known)
    assert coefficients.sum() == pytest.approx(1, abs=1e-6)
    time = (np.arange(100_000) + 0.5) / 100_000
    made = sum(c * density(profile, time) for c, profile in zip(coefficients, known, strict=True))
    wanted = density(Profile(std, 1.0), time)
    assert math.sqrt(((made - wanted) ** 2).mean() / (wanted**2).mean()) == pytest.approx(error, abs=1e-3)
    assert error < 0.02


def test_a_width_that_was_followed_is_its_own_newest_snapshot() -> None:
    known = [Profile(width, (i + 1) / 8) for i in range(8) for width in (0.05, 0.1)]
    coefficients, error = solve(Profile(0.1, 1.0), known)
    assert coefficients == pytest.approx([0.0] * 15 + [1.0], abs=1e-6)
    assert error < 1e-4


class Walk(nn.Module):
    """Weights that move as in training: towards a place, fast at first, and with noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(500))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self._generator = torch.Generator().manual_seed(0)
        self._goal = torch.randn(500, generator=self._generator)

    @torch.no_grad()
    def move(self) -> None:
        noise = torch.randn(500, generator=self._generator)
        self.weight.add_(0.004 * (self._goal - self.weight) + 0.02 * noise)
        self.count.add_(1)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Walk, Snapshots, dict[float, PowerEMA]]:
    """A walk with 32 snapshots of two averages, and averages of other widths that were followed directly."""
    walk, snapshots = Walk(), Snapshots(tmp_path_factory.mktemp("walk") / "ema_snapshots", keep=64)
    stored = [PowerEMA(walk, std) for std in (0.05, 0.1)]
    direct = {std: PowerEMA(walk, std) for std in (0.03, 0.05, 0.075, 0.1, 0.15, 0.2)}
    for step in range(1, STEPS + 1):
        walk.move()
        for ema in (*stored, *direct.values()):
            ema.update(walk, samples=step * BATCH, batch_size=BATCH)
        if step % (STEPS // 32) == 0:
            snapshots.save(stored, step * BATCH)
    return walk, snapshots, direct


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("std", [0.03, 0.05, 0.075, 0.1, 0.15, 0.2])
def test_a_reconstructed_ema_is_within_a_percent_of_one_that_was_followed(
    std: float, walked: tuple[Walk, Snapshots, dict[float, PowerEMA]]
) -> None:
    walk, snapshots, direct = walked
    made = reconstruct(snapshots, std, walk, seed=0)
    assert difference(made["weight"], direct[std].state["weight"]) < 0.01
    assert int(made["count"]) == STEPS
    # Not merely because all averages are alike.
    others = [ema.state["weight"] for width, ema in direct.items() if abs(math.log(width / std)) > 0.6]
    assert min(difference(other, direct[std].state["weight"]) for other in others) > 0.01


@pytest.mark.parametrize("step", [STEPS // 8, STEPS // 2])
@pytest.mark.parametrize("std", [0.075, 0.1])
def test_an_ema_can_end_where_training_could_have_been_stopped(
    std: float, step: int, walked: tuple[Walk, Snapshots, dict[float, PowerEMA]]
) -> None:
    snapshots = walked[1]
    again = Walk()
    followed = PowerEMA(again, std)
    for count in range(1, step + 1):
        again.move()
        followed.update(again, samples=count * BATCH, batch_size=BATCH)
    made = reconstruct(snapshots, std, again, seed=0, at=step * BATCH)
    newest = reconstruct(snapshots, std, again, seed=0)
    wanted = followed.state["weight"]
    assert difference(made["weight"], wanted) < min(0.03, difference(newest["weight"], wanted) / 5)


def test_thinning_out_keeps_the_ends_and_what_a_reconstruction_needs() -> None:
    left: list[tuple[int, Path]] = []
    for samples in range(100, 30_001, 100):
        left.append((samples, Path(str(samples))))
        gone = redundant(left, keep=16)
        left = [item for item in left if item[1] not in gone]
        assert left[-1][0] == samples
        assert len(left) <= 16
    assert left[0][0] == 100
    known = [Profile(width, samples) for samples, _ in left for width in (0.05, 0.1)]
    assert max(solve(Profile(std, 30_000), known)[1] for std in (0.05, 0.07, 0.1, 0.15, 0.2)) < 0.05


def test_a_snapshot_is_stored_whole_or_not_at_all_and_takes_half_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots, ema = Snapshots(tmp_path / "snapshots", keep=16), PowerEMA(Walk(), 0.1)
    snapshots.save([ema], 100)
    assert load_file(snapshots.list()[0][1])["ema_0.100/weight"].dtype == torch.float16

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("dualdiffusion.files.sync_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        snapshots.save([ema], 200)
    assert [samples for samples, _ in snapshots.list()] == [100]
    assert len(list(snapshots.folder.iterdir())) == 1


@pytest.fixture(scope="module")
def trained(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UNet trained with snapshots, and with an EMA of 0.15 that was followed directly."""
    folder = tmp_path_factory.mktemp("ema")
    path = fresh_model(model, folder / "model", "unet")
    config = tiny.write_train_config(
        folder / "train.json",
        "unet",
        path,
        dataset,
        total_samples=128,
        ema_stds=[0.15],
        checkpoint={"every_samples": 64},
    )
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    return path


def ema_command(model: Path, *arguments: object) -> object:
    return tiny.run("-m", "train", "ema", "--model", model, *arguments)


@pytest.mark.slow
def test_the_command_writes_an_ema_like_the_followed_one_that_sampling_takes(trained: Path, tmp_path: Path) -> None:
    result = ema_command(trained, "--module", "unet", "--std", 0.15)
    assert result.returncode == 0, result.stderr
    folder = ModelFolder(trained)
    assert folder.emas("unet") == ["ema_0.150", "ema_0.150_posthoc", "raw"]
    followed, made = (load_file(folder.weights_path("unet", name)) for name in folder.emas("unet")[:2])
    assert followed.keys() == made.keys()
    for name, tensor in followed.items():
        assert difference(made[name], tensor) < 0.01, name
    filters = made["backbone.output.weight"].flatten(1).square().mean(dim=1).sqrt()
    assert torch.allclose(filters, torch.ones_like(filters), atol=1e-3)
    options = ["--seconds", 1, "--steps", 2, "--out", tmp_path / "out", "--ema", "ema_0.150_posthoc"]
    result = tiny.run("-m", "sampling", "--model", trained, "--game", "Castle=1", *options)
    assert result.returncode == 0, result.stderr
    assert list((tmp_path / "out").glob("*.flac"))


def test_an_ema_can_be_given_a_name_and_needs_no_dataset(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "moved")
    config_path = tmp_path / "moved" / "runs" / "unet" / "config.json"
    config_path.write_text(json.dumps({**json.loads(config_path.read_text()), "dataset": str(tmp_path / "gone")}))
    result = ema_command(tmp_path / "moved", "--std", 0.1, "--name", "calm")
    assert result.returncode == 0, result.stderr
    assert "ema_calm" in ModelFolder(tmp_path / "moved").emas("unet")


def test_an_early_ema_is_named_by_where_it_ends_and_can_guide(trained: Path, tmp_path: Path) -> None:
    model = tmp_path / "guided"
    shutil.copytree(trained, model)
    write_json(model / "request.json", {"steps": 7, "cfg_scale": 3.0, "guidance": {"rescale": 0.5}})
    result = ema_command(model, "--std", 0.1, "--at", 63, "--guide", 2)
    assert result.returncode == 0 and "ema_0.100_at_64" in ModelFolder(model).emas("unet"), result.stderr
    wanted = {"rescale": 0.5, "weak_ema": "ema_0.100_at_64", "weak_scale": 2.0}
    assert read_json(model / "request.json") == {"steps": 7, "cfg_scale": 1.0, "guidance": wanted}
    said = ["--seconds", 1, "--steps", 2, "--out", tmp_path / "out"]
    result = tiny.run("-m", "sampling", "--model", model, "--game", "Castle=1", *said)
    assert result.returncode == 0, result.stderr
    (clip,) = (tmp_path / "out").glob("*.flac")
    assert read_settings(clip)[0].guidance.weak_ema == "ema_0.100_at_64"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--std", 0.4], ["--std 0.4", "below 0.28"]),
        (["--std", -1], ["--std -1", "above 0"]),
        (["--std", 0.005], ["--std 0.005", "they cover 0.0"]),
        (["--std", 0.1, "--module", "decoder"], ["has no module 'decoder'"]),
        (["--std", 0.1, "--module", "vae"], ["no snapshots"]),
        (["--std", 0.1, "--at", 64, "--guide", 1], ["--guide 1", "1 is off"]),
        (["--std", 0.1, "--module", "vae", "--guide", 2], ["--guide", "not vae"]),
        (["--std", 0.1, "--name", "../x"], ["--name '../x'"]),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(trained: Path, arguments: list[object], words: list[str]) -> None:
    tiny.assert_one_line_error(ema_command(trained, *arguments), *words)


def test_snapshots_of_a_future_that_training_goes_back_from_are_dropped(tmp_path: Path) -> None:
    snapshots, ema = Snapshots(tmp_path, keep=16), PowerEMA(Walk(), 0.1)
    for samples in (100, 200, 300):
        snapshots.save([ema], samples)
    snapshots.drop_after(200)
    assert [samples for samples, _ in snapshots.list()] == [100, 200]


def test_snapshots_that_know_fewer_games_get_room_for_the_others(tmp_path: Path) -> None:
    """And what the network says of the games that they knew stays what it was."""
    small = component_from_json("dualdiffusion.models", {**tiny.UNET, "label_dim": 2}).build()
    large = component_from_json("dualdiffusion.models", {**tiny.UNET, "label_dim": 3}).build()
    snapshots = Snapshots(tmp_path, keep=16)
    for samples in (100, 200):
        snapshots.save([PowerEMA(small, 0.1)], samples)
    large.load_state_dict(reconstruct(snapshots, 0.1, large, seed=0))
    normalize(large)
    for game in range(2):
        of_small, of_large = (
            net.label_embedding(Conditioning(torch.eye(net.label_dim)[[game]]), torch.zeros(1))
            for net in (small, large)
        )
        cosine = torch.nn.functional.cosine_similarity(of_small, of_large)
        assert float(cosine.detach()) == pytest.approx(1, abs=1e-4)


def test_averaged_weights_are_applied_with_the_length_that_the_network_wants() -> None:
    torch.manual_seed(0)
    net = component_from_json("dualdiffusion.models", tiny.UNET).build()
    ema = PowerEMA(net, 0.1)
    for step in range(1, 20):
        torch.nn.init.normal_(net.output.weight)
        net.after_update()
        ema.update(net, samples=step * 4, batch_size=4)
    assert float(ema.state["output.weight"].square().mean().sqrt()) < 0.9
    with ema.applied(net):
        assert float(net.output.weight.detach().square().mean().sqrt()) == pytest.approx(1, abs=1e-3)


def test_a_run_that_began_without_an_average_goes_on_without_snapshots_of_it(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    for total, stds in ((8, [0.1]), (16, [0.05, 0.1])):
        changes = {"total_samples": total, "ema_snapshots": {"stds": stds}}
        config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, **changes)
        result = tiny.run("train.py", config)
        assert result.returncode == 0, result.stderr
    assert "no snapshots of ema_0.050: training began without them" in result.stdout
    snapshots = Snapshots(path / "runs" / "unet" / "ema_snapshots", keep=16)
    assert snapshots.list()[-1][0] == 16
    assert snapshots.stds(snapshots.list()[-1][1]) == {"ema_0.100": 0.1}
