"""Noise levels: densities by name, and the adaptive one, which follows what the model can still learn."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.audio_crops import Batch
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.diffusion.loss import denoising_loss
from dualdiffusion.diffusion.sigma_sampling import AdaptiveDensity, SigmaDensity
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.nn.magnitude_preserving import MPConv, MPFourier
from dualdiffusion.randomness import StepRandom, stratified
from tests import tiny
from tests.train import forked
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.module_trainers.unet import UNetTrainer

EVEN = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
ADAPTIVE = {"distribution": "adaptive", "sigma_min": 0.01, "sigma_max": 100.0, "warmup_samples": 0}


def adaptive(**changes: object) -> AdaptiveDensity:
    return AdaptiveDensity(SigmaDensity.from_json({**ADAPTIVE, **changes}))


def valley(sigma: Tensor) -> Tensor:
    """A log-variance that is 0 but around sigma = 1, where half of the error is gone."""
    return (1 - 0.5 * torch.exp(-(sigma.log() ** 2))).log()


def test_a_log_sech_density_has_its_moments_and_longer_tails_than_a_log_normal_one() -> None:
    sech, normal = (
        SigmaDensity(distribution=name, mean=-0.4, std=1.2).sigma(EVEN).log() for name in ("log_sech", "log_normal")
    )
    assert float(sech.mean()) == pytest.approx(-0.4, abs=0.01)
    assert float(sech.std()) == pytest.approx(1.2, abs=0.02)
    height = ((sech > -0.5) & (sech < -0.3)).double().mean() / 0.2
    assert float(height) == pytest.approx(1 / (2 * 1.2), rel=0.02)  # 1 / (2 std), the closed form at the mean
    assert float((sech > 3.2).double().mean()) > 2 * float((normal > 3.2).double().mean())


@pytest.mark.parametrize("name", ["log_normal", "log_sech", "log_linear", "adaptive"])
def test_every_density_rises_with_the_quantile_and_stays_in_its_range(name: str) -> None:
    density = SigmaDensity(distribution=name, sigma_min=0.01, sigma_max=100)
    levels = density.sigma(torch.linspace(0, 1, 2001, dtype=torch.float64))
    assert bool((levels.diff() >= 0).all())
    assert float(levels[0]) == pytest.approx(0.01)
    assert float(levels[-1]) == pytest.approx(100)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 4.0])
def test_the_adaptive_table_rises_strictly_and_covers_the_range(temperature: float) -> None:
    density = adaptive(temperature=temperature)
    density.update(valley, samples=100)
    assert bool((density.state()["cdf"].diff() > 0).all())
    levels = density.sigma(torch.linspace(0, 1, 5001, dtype=torch.float64))
    assert bool((levels.diff() > 0).all())
    assert [float(levels[0]), float(levels[-1])] == pytest.approx([0.01, 100])


def test_the_adaptive_density_is_the_one_of_its_formula() -> None:
    density = adaptive(temperature=2.0, even_share=0.2)
    density.update(valley, samples=100)
    ln_sigma = density.sigma(EVEN).double().log()
    grid = torch.linspace(math.log(0.01), math.log(100), 4001, dtype=torch.float64)
    share = (1 - valley(grid.exp()).exp()) ** 2
    wide = float(grid[-1] - grid[0])
    expected = 0.8 * share / (share.mean() * wide) + 0.2 / wide
    for low, high in [(-3.0, -2.0), (-0.5, 0.5), (1.0, 2.0)]:
        inside = (grid >= low) & (grid < high)
        drawn = float(((ln_sigma >= low) & (ln_sigma < high)).double().mean())
        assert drawn == pytest.approx(float(expected[inside].mean()) * (high - low), rel=0.03)


def test_where_nothing_is_learned_yet_the_adaptive_density_is_even() -> None:
    density = adaptive()
    density.update(lambda sigma: 0.1 + 0 * sigma, samples=100)
    levels = density.sigma(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).log()
    assert levels.tolist() == pytest.approx([math.log(0.01) / 2, 0.0, math.log(100) / 2], abs=1e-4)


def test_until_its_warm_up_the_adaptive_density_is_log_normal_and_then_follows_every_so_many_samples() -> None:
    density = adaptive(warmup_samples=100, update_samples=50)
    assert torch.equal(density.sigma(EVEN), SigmaDensity(sigma_min=0.01, sigma_max=100).sigma(EVEN))
    moments = []
    for samples in range(10, 301, 10):
        if density.due(samples):
            density.update(valley, samples)
            moments.append(samples)
    assert moments == [100, 150, 200, 250, 300]


def test_a_log_variance_that_is_not_finite_changes_no_density() -> None:
    density = adaptive()
    density.update(valley, samples=100)
    before = density.sigma(EVEN)
    density.update(lambda sigma: sigma * math.nan, samples=200)
    assert torch.equal(density.sigma(EVEN), before)


class Toy(nn.Module):
    """Its error has a floor at each noise level, which training reaches the sooner the more samples fall there.

    An error starts at 1. Only from sigma 5 to 50 can it fall, to 0.1: a log-normal density seldom looks there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skill = nn.Parameter(torch.zeros(64))
        self.features, self.head = MPFourier(64, bandwidth=1.0), MPConv(64, 1, ())

    def error(self, sigma: Tensor) -> Tensor:
        place = ((sigma.log() - math.log(0.01)) / math.log(1e4) * 64).long().clamp(0, 63)
        able = ((sigma > 5) & (sigma < 50)).float()
        return 1 - 0.9 * able * torch.sigmoid(6 * self.skill[place] - 3)

    def log_variance(self, sigma: Tensor) -> Tensor:
        return self.head(self.features(sigma.log() / 4))[:, 0]


def test_the_adaptive_density_puts_more_samples_where_the_error_of_a_model_is_reducible() -> None:
    torch.manual_seed(0)
    toy, density = Toy(), adaptive(warmup_samples=64 * 60, update_samples=64 * 30)
    optimizer = torch.optim.Adam(toy.parameters(), lr=0.02)
    share = []
    for step in range(180):
        sigma = density.sigma(stratified(64, seed=step))
        share.append(float(((sigma > 5) & (sigma < 50)).float().mean()))
        error, u = toy.error(sigma), toy.log_variance(sigma)
        optimizer.zero_grad()
        (error * torch.exp(-u) + u).mean().backward()
        optimizer.step()
        if density.due((step + 1) * 64):
            density.update(toy.log_variance, (step + 1) * 64)
    before, after = sum(share[:60]) / 60, sum(share[-30:]) / 30
    even = math.log(10) / math.log(1e4)  # a quarter of the range of ln(sigma)
    assert after > 2 * even
    assert before < 0.1


def test_the_state_of_an_adaptive_density_is_all_that_it_needs_to_go_on() -> None:
    first, second = adaptive(update_samples=50), adaptive(update_samples=50)
    first.update(valley, samples=100)
    second.load_state(first.state())
    assert torch.equal(first.sigma(EVEN), second.sigma(EVEN))
    assert [second.due(samples) for samples in (110, 150)] == [False, True]
    other = adaptive(update_samples=50, sigma_max=50.0)
    other.load_state(first.state())  # of another range
    assert float(other.sigma(EVEN).max()) <= 50
    assert other.due(50)  # as if there had been no table


SETTINGS = {**ADAPTIVE, "warmup_samples": 12, "update_samples": 8}


@pytest.fixture(scope="module")
def adaptive_run(model: ModelFolder, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A UNet trained in one go with an adaptive density, in two micro batches for each update."""
    folder = tmp_path_factory.mktemp("adaptive")
    path = fresh_model(model, folder / "model", "unet")
    result = tiny.run("train.py", write_config(folder / "train.json", path, dataset))
    assert result.returncode == 0, result.stderr
    return path


def write_config(path: Path, model: Path, dataset: Path, **changes: object) -> Path:
    changes = {"micro_batch_size": 2, **changes}
    config = json.loads(tiny.write_train_config(path, "unet", model, dataset, **changes).read_text())
    config["module_trainer"]["sigma"] = SETTINGS
    path.write_text(json.dumps(config))
    return path


def test_the_table_is_part_of_the_checkpoint_and_follows_the_log_variance(adaptive_run: Path) -> None:
    checkpoint = max((adaptive_run / "runs" / "unet" / "checkpoints").glob("samples-*"))
    table = load_file(checkpoint / "module_trainer.safetensors")
    assert int(table["updated"]) == 48
    assert bool((table["cdf"].diff() > 0).all())


def test_tensorboard_shows_the_noise_levels_drawn_and_what_each_range_weighs(adaptive_run: Path) -> None:
    events = EventAccumulator(str(adaptive_run / "runs" / "unet"), size_guidance={"histograms": 0})
    events.Reload()
    drawn = events.Histograms("histogram/ln_sigma")
    assert sum(event.histogram_value.num for event in drawn) == 48
    assert math.log(0.01) - 1e-3 <= min(event.histogram_value.min for event in drawn)
    weights = [tag for tag in events.Tags()["scalars"] if tag.startswith("effective_weight_by_sigma/")]
    assert len(weights) == 8
    assert not any("histogram" in tag for tag in events.Tags()["scalars"])


@pytest.mark.slow
def test_a_stopped_run_with_an_adaptive_density_goes_on_bit_for_bit(
    adaptive_run: Path, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    """With processes that read data: test_resume.py."""
    path = fresh_model(model, tmp_path / "model", "unet")
    config = write_config(tmp_path / "train.json", path, dataset)
    assert train_until(config, path / "runs" / "unet", 16, signal.SIGTERM) == 143
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert "going on from sample" in result.stdout
    assert_equal(digest(adaptive_run, "unet"), digest(path, "unet"))
    newest = [max((folder / "runs" / "unet" / "checkpoints").glob("samples-*")) for folder in (adaptive_run, path)]
    tables = [load_file(folder / "module_trainer.safetensors") for folder in newest]
    assert_equal(*tables)


@pytest.mark.slow
def test_all_processes_share_one_adaptive_density(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    tables = []
    for processes in (1, 2):
        path = fresh_model(model, tmp_path / f"model{processes}", "unet")
        config = write_config(tmp_path / f"{processes}.json", path, dataset, total_samples=24)
        override = "module_trainer.denoiser.backbone.dropout=0"
        results = forked.run_together(config, tmp_path / "log", override, processes=processes)
        assert [result.code for result in results] == [0] * processes, results[0].output
        assert ("2 processes share each batch" in results[0].output) == (processes == 2)
        newest = max((path / "runs" / "unet" / "checkpoints").glob("samples-*"))
        tables.append(load_file(newest / "module_trainer.safetensors"))
    assert int(tables[1]["updated"]) == 24
    assert torch.allclose(tables[0]["cdf"], tables[1]["cdf"], atol=1e-5)


def unet_trainer(model: ModelFolder, dataset: Path, **changes: object) -> UNetTrainer:
    settings = {"denoiser": {"backbone": {**tiny.UNET, "label_dim": None}}, "crop_seconds": 1.024, **changes}
    part = component_from_json("train.module_trainers", {"type": "unet.UNetTrainer", **settings})
    return part.cls(part.config, model=model, dataset=DatasetFolder(dataset), seed=0)


def filled_slices(trainer: UNetTrainer, count: int = 64) -> int:
    """How many of `count` equally likely slices of the density the noise levels of one batch of `count` fall into."""
    batch = Batch(torch.zeros(count, 4, 4, 8), torch.zeros(count, dtype=torch.long), torch.arange(count))
    random = StepRandom(0, first=0, batch_size=count, indices=range(count))
    ln_sigma = trainer.step(batch, generator=random).metrics["histogram/ln_sigma"].double()
    density = trainer.config.sigma
    quantiles = torch.special.ndtr((ln_sigma - density.mean) / density.std)
    return len(set((quantiles * count).long().tolist()))


def test_the_noise_levels_of_a_batch_fill_every_slice_of_the_density_unless_each_is_drawn_on_its_own(
    model: ModelFolder, dataset: Path
) -> None:
    assert filled_slices(unet_trainer(model, dataset)) >= 63  # rounding may move one over an edge
    independent = unet_trainer(model, dataset, sigma={"stratified": False})
    assert 30 < filled_slices(independent) < 52  # 64 (1 - 1 / e) = 40 on average
    independent.module.eval()
    assert filled_slices(independent) >= 63  # validation is always even


def test_a_log_variance_that_weighs_nothing_learns_the_same_and_leaves_the_network_alone() -> None:
    denoiser = tiny.make_denoiser()
    latents, noise = torch.randn(2, 8, 4, 4, 8, generator=torch.Generator().manual_seed(0)).unbind()
    loss = denoising_loss(
        denoiser, latents, noise, torch.linspace(0.1, 5, 8), Conditioning(torch.eye(3)[:1].repeat(8, 1))
    )

    def gradients(part: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        grads = torch.autograd.grad(part.sum(), list(denoiser.parameters()), retain_graph=True, allow_unused=True)
        named = [(name, grad) for (name, _), grad in zip(denoiser.named_parameters(), grads, strict=True)]
        of_variance = [grad for name, grad in named if name.startswith("uncertainty")]
        return of_variance, [grad for name, grad in named if not name.startswith("uncertainty") and grad is not None]

    learned, weighted, detached = (gradients(part) for part in (loss.learned, loss.weighted, loss.variance_detached))
    assert all(torch.allclose(a, b) for a, b in zip(detached[0], learned[0], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(detached[1], weighted[1], strict=True))
    assert not torch.allclose(learned[1][0], weighted[1][0])
