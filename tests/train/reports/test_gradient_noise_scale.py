"""The gradient noise scale is found where it is known, and logged by the real command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dualdiffusion.model.folder import ModelFolder
from tests import tiny
from tests.train.test_training import fresh_model, scalars
from train.reports.gradient_noise_scale import GradientNoiseScale


@pytest.mark.parametrize(("size", "micro", "spread"), [(16, 4, 1.0), (64, 8, 3.0)])
def test_the_scale_of_gradients_with_known_noise_is_found(size: int, micro: int, spread: float) -> None:
    """The gradient of a sample is a fixed vector plus noise: tr(S) = 300 spread^2, |G|^2 = 300 * 0.25."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Linear(300, 1, bias=False)
    scale = GradientNoiseScale(module, batch_size=size, micro_batch_size=micro)
    for _ in range(200):
        module.zero_grad()
        for _ in range(size // micro):
            x = 0.5 + spread * torch.randn(micro, 300, generator=generator)
            (module(x).sum() / size).backward()
        scale.end_step()
    assert scale.take() == pytest.approx(spread**2 / 0.25, rel=0.05)
    assert scale.take() is None  # nothing since


def test_gradients_that_are_not_finite_are_left_out() -> None:
    module = nn.Linear(3, 1, bias=False)
    scale = GradientNoiseScale(module, batch_size=2, micro_batch_size=1)
    for value in (float("nan"), 1.0):
        module.zero_grad()
        for sign in (1.0, 0.5):
            (module(torch.full((1, 3), value * sign)).sum() / 2).backward()
        scale.end_step()
    assert scale.take() == pytest.approx((1.25 / 2 - 0.75**2) / (1 - 1 / 2) / (2 * 0.75**2 - 1.25 / 2), rel=1e-4)


def test_one_micro_batch_tells_no_noise() -> None:
    with pytest.raises(ValueError, match="no two micro batches"):
        GradientNoiseScale(nn.Linear(1, 1), batch_size=4, micro_batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize(("micro", "logged"), [(1, True), (4, False)])
def test_training_logs_it_where_there_are_micro_batches(
    micro: int, logged: bool, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    path = fresh_model(model, tmp_path / "model", "unet")
    changes = {"micro_batch_size": micro, "total_samples": 64, "log_every_samples": 32}
    config = tiny.write_train_config(tmp_path / "train.json", "unet", path, dataset, **changes)
    result = tiny.run("train.py", config)
    assert result.returncode == 0, result.stderr
    assert ("train/gradient_noise_scale" in scalars(path / "runs" / "unet")) is logged
