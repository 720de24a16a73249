"""The trainer's parts: averages of weights, schedules, data order, losses."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch import nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.data.latent_crops import LatentCrops
from dualdiffusion.data.order import EpochOrder
from dualdiffusion.diffusion.loss import denoising_loss
from dualdiffusion.diffusion.sigma_sampling import SigmaDensity
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import StepRandom
from tests import commands, tiny
from train.averages.ema import PowerEMA, exponent_of
from train.checkpoints.checkpoint import OLD_MARK, Checkpoints, CheckpointState
from train.data.loader import build_loader
from train.losses.multiscale_spectral import MultiscaleSpectral
from train.optimization.schedule import ScheduleConfig
from train.reports import events, metrics
from train.reports.metrics import MetricLog


@pytest.mark.parametrize("std", [0.05, 0.1, 0.2])
def test_the_profile_of_an_ema_has_its_relative_standard_deviation(std: float) -> None:
    """A weight that is 1 at one step and 0 otherwise reads the averaging profile off the EMA."""
    steps = 2000
    profile = torch.zeros(steps, dtype=torch.float64)
    exponent = exponent_of(std)
    for t in range(1, steps + 1):
        beta = (1 - 1 / t) ** (exponent + 1)
        profile *= beta
        profile[t - 1] += 1 - beta
    time = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    mean = (profile * time).sum()
    assert float(profile.sum()) == pytest.approx(1, abs=1e-6)
    assert float((profile * (time - mean) ** 2).sum().sqrt()) == pytest.approx(std, rel=0.01)


def test_an_ema_of_constant_weights_is_these_weights_and_applies_only_inside_the_block() -> None:
    module = nn.Linear(2, 2)
    ema = PowerEMA(module, 0.1)
    for step in range(1, 20):
        ema.update(module, samples=step * 4, batch_size=4)
    assert torch.allclose(ema.state["weight"], module.weight)
    own = module.weight.detach().clone()
    ema.state["weight"].zero_()
    with ema.applied(module):
        assert not module.training
        assert float(module.weight.detach().abs().sum()) == 0
    assert module.training
    assert torch.equal(module.weight, own)


def test_the_edm2_schedule_warms_up_stays_and_falls_with_the_inverse_root() -> None:
    schedule = ScheduleConfig(warmup_samples=100, reference_samples=1000)
    assert schedule.factor(49) == pytest.approx(0.5)
    assert schedule.factor(100) == schedule.factor(999) == 1
    assert schedule.factor(4000) == pytest.approx(0.5)


def test_every_epoch_holds_every_track_once_in_another_order() -> None:
    order = EpochOrder(7, seed=3)
    epochs = [[order.track_of(epoch * 7 + i) for i in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [EpochOrder(7, seed=3).track_of(i) for i in range(7, 14)] == epochs[1]  # from the middle on


@pytest.mark.parametrize("workers", [0, 2])
def test_the_data_does_not_depend_on_workers_processes_or_where_one_starts(
    workers: int, model: ModelFolder, dataset: Path
) -> None:
    folder = DatasetFolder(dataset)
    data = LatentCrops(folder, folder.tracks("train"), 8, vae_fingerprint=model.fingerprint("vae"), seed=0)
    settings = {"batch_size": 4, "micro_batch_size": 2}
    plain = iter(build_loader(data, first=0, rank=0, processes=1, workers=0, **settings))
    batches = [next(plain) for _ in range(6)]
    expected = {int(i): x for batch in batches for i, x in zip(batch.indices, batch.data, strict=True)}
    for rank in (0, 1):
        loader = build_loader(data, first=4, rank=rank, processes=2, workers=workers, **settings)
        if workers:  # forks here, as each would import torch for seconds; other tests train with workers as they are
            commands.start_server()
            loader.multiprocessing_context = "forkserver"
        batches = iter(loader)
        for step in range(2):
            batch = next(batches)
            assert batch.indices.tolist() == [4 + 4 * step + 2 * rank + k for k in range(2)]
            for index, crop in zip(batch.indices.tolist(), batch.data, strict=True):
                assert torch.equal(crop, expected[index])


def test_the_noise_of_a_sample_does_not_depend_on_who_handles_it() -> None:
    whole = StepRandom(7, first=8, batch_size=4, indices=[8, 9, 10, 11])
    part = StepRandom(7, first=8, batch_size=4, indices=[10, 11])
    assert torch.equal(whole.randn((3,))[2:], part.randn((3,)))
    assert torch.equal(whole.quantiles[2:], part.quantiles)
    assert sorted((whole.quantiles * 4).long().tolist()) == [0, 1, 2, 3]


def test_noise_levels_have_the_density_they_say() -> None:
    quantiles = (torch.arange(20000) + 0.5) / 20000
    sigma = SigmaDensity(mean=-0.4, std=1.2).sigma(quantiles)
    assert float(sigma.log().mean()) == pytest.approx(-0.4, abs=0.01)
    assert float(sigma.log().std()) == pytest.approx(1.2, abs=0.02)
    linear = SigmaDensity(distribution="log_linear", sigma_min=0.1, sigma_max=10).sigma(torch.tensor([0.0, 0.5, 1.0]))
    assert linear.tolist() == pytest.approx([0.1, 1.0, 10.0])


def test_the_learned_log_variance_has_its_minimum_at_the_log_of_the_loss() -> None:
    denoiser = tiny.make_denoiser()
    for parameter in denoiser.backbone.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam(denoiser.uncertainty.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(32, 4, 4, 8, generator=generator) for _ in range(2))
    levels = torch.tensor([0.05, 0.5, 2.0, 20.0])
    sigma = levels.repeat(8)
    # An untrained denoiser errs alike at all noise levels; louder latents make it err more.
    latents *= torch.tensor([0.5, 1.0, 1.5, 2.0]).repeat(8)[:, None, None, None]
    remember_output(denoiser.backbone)
    for _ in range(300):
        optimizer.zero_grad()
        loss = denoising_loss(denoiser, latents, noise, sigma, Conditioning())
        loss.learned.mean().backward()
        optimizer.step()
    errors = loss.weighted.detach().reshape(8, 4).mean(dim=0)
    assert float(errors.max() / errors.min()) > 3  # one constant would not do for all levels
    assert denoiser.log_variance(levels).tolist() == pytest.approx(errors.log().tolist(), abs=0.02)


def remember_output(module: nn.Module) -> None:
    """Makes a module that stays as it is, and is given the same each time, compute its output but once."""
    forward, outputs = module.forward, []

    def remembered(*args: object, **kwargs: object) -> torch.Tensor:
        outputs.extend([] if outputs else [forward(*args, **kwargs)])
        return outputs[0]

    module.forward = remembered


def test_an_untrained_denoiser_has_a_weighted_loss_of_about_one_at_every_noise_level() -> None:
    backbone = tiny.component_from_json("dualdiffusion.models", tiny.UNET)
    denoiser = tiny.Denoiser(tiny.Denoiser.Config(backbone=backbone))
    generator = torch.Generator().manual_seed(0)
    latents, noise = (torch.randn(64, 4, 4, 16, generator=generator) for _ in range(2))
    for level in (0.05, 1.0, 20.0):
        loss = denoising_loss(denoiser, latents, noise, torch.full((64,), level), Conditioning())
        assert float(loss.weighted.mean().detach()) == pytest.approx(1, rel=0.05)


def test_the_spectral_loss_is_zero_for_equal_inputs_and_tells_blur_from_a_small_shift() -> None:
    loss = MultiscaleSpectral(MultiscaleSpectral.Config())
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, 64, 64, generator=generator)
    zero = loss(x, x)
    assert all(float(part.abs().max()) < 1e-4 for part in zero.values())
    shifted, blurred = x.roll(1, 3), torch.nn.functional.avg_pool2d(x, 5, 1, 2)
    of_shifted, of_blurred = (loss(y, x)["spectral/real"].mean() for y in (shifted, blurred))
    assert of_shifted < 0.6 * of_blurred  # a point-wise loss says the opposite
    assert (shifted - x).square().mean() > (blurred - x).square().mean()


def test_the_spectral_loss_has_a_finite_gradient_at_silence() -> None:
    loss = MultiscaleSpectral(MultiscaleSpectral.Config())
    x = torch.zeros(1, 2, 64, 64, requires_grad=True)
    sum(part.sum() for part in loss(x, torch.zeros(1, 2, 64, 64)).values()).backward()
    assert bool(x.grad.isfinite().all())


def test_a_logger_that_cannot_write_warns_once_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = MetricLog(tmp_path, samples=0)
    (tmp_path / "metrics.csv").unlink()
    (tmp_path / "metrics.csv").mkdir()
    for step in range(3):
        log.scalars({"loss": 1.0}, step=step, samples=step)
    log.close()
    assert capsys.readouterr().err.count("metrics.csv cannot be written") == 1


def test_a_disk_that_is_full_at_the_start_costs_only_what_comes_before_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = MetricLog(tmp_path, samples=0)
    for step in (1, 2, 3):
        before.scalars({"loss": float(step)}, step=step, samples=step)
    before.close()
    (old_events,) = tmp_path.glob("events*")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        for module, name in ((metrics, "write_text"), (metrics, "append_whole"), (events, "append_whole")):
            patch.setattr(module, name, full)
        log = MetricLog(tmp_path, samples=2)
        for step in (3, 4):
            log.scalars({"loss": 10.0}, step=step, samples=step)
        assert list(tmp_path.glob("events*")) == [old_events]
    for step in (5, 6):
        log.scalars({"loss": 20.0}, step=step, samples=step)
    log.close()
    lines = (tmp_path / "metrics.csv").read_text().split()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2", "5", "6"]
    (new_events,) = set(tmp_path.glob("events*")) - {old_events}
    found = [event for event in EventFileLoader(str(new_events)).Load() if event.HasField("summary")]
    assert [event.step for event in found] == [5, 6]
    told = capsys.readouterr().err
    assert [told.count(f"{what} cannot be written") for what in ("metrics.csv", "TensorBoard")] == [1, 1]


def test_lines_of_an_interrupted_run_are_dropped_when_it_goes_on(tmp_path: Path) -> None:
    log = MetricLog(tmp_path, samples=0)
    for step in (1, 2, 3):
        log.scalars({"loss": float(step)}, step=step, samples=step)
    log.close()
    MetricLog(tmp_path, samples=2).close()
    assert [line.split(",")[0] for line in (tmp_path / "metrics.csv").read_text().split()] == ["step", "1", "2"]


def checkpoint_state(samples: int, value: float) -> CheckpointState:
    weights = {"unet": {"w": torch.full((2,), value)}}
    return CheckpointState(weights, {"state": {}}, {"samples": samples, "value": value})


def test_checkpoints_are_pruned_after_the_new_one_and_the_newest_whole_one_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for samples in (4, 8, 12):
        checkpoints.save(checkpoint_state(samples, samples))
    assert [path.name[-2:] for path in checkpoints.list()] == ["12", "08"]
    (checkpoints.list()[0] / "progress.json").write_text("{}")
    assert checkpoints.load().loop["samples"] == 8


def test_replacing_a_checkpoint_of_the_same_samples_loses_nothing_at_any_moment(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=2).save(checkpoint_state(4, 1.0))
    Checkpoints(tmp_path, keep=2).save(checkpoint_state(4, 2.0))
    path = Checkpoints(tmp_path, keep=2).list()[0]
    assert float(Checkpoints(tmp_path, keep=2).load().weights["unet"]["w"][0]) == 2
    path.rename(tmp_path / f"{OLD_MARK}{path.name}")  # killed after the old one made room
    assert Checkpoints(tmp_path, keep=2).load().loop["value"] == 2


def test_a_failed_write_leaves_the_older_checkpoints_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(checkpoint_state(4, 1.0))

    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(checkpoint_state(8, 2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["samples-000000000004"]
    assert checkpoints.load().loop["samples"] == 4
