"""What a training asks of a device: few readings, no type that some lack, and the same precision wherever it counts."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from dualdiffusion.data.audio_crops import Batch, Crop
from dualdiffusion.diffusion.loss import DenoisingLoss
from dualdiffusion.diffusion.sigma_sampling import AdaptiveDensity, SigmaDensity
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import StepRandom
from tests import commands, tiny
from tests.train import forked
from tests.train.memory.test_preflight import make_config
from train.averages.tracked import TrackedAverages
from train.denoiser.loss_by_level import by_noise_level
from train.memory.auto_batch import choose_micro_batch, remedies
from train.memory.preflight import predict
from train.module_trainer import Demo, StepOutput
from train.position import Position
from train.reports.demos import DemoWriter
from train.reports.metrics import MetricAverages
from train.reports.transfer import to_cpu
from train.reports.validation import ValidationConfig, validate


class Recorder(TorchDispatchMode):
    """Keeps device and type of everything that operations make, and how often something came to the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[tuple[str, torch.dtype]] = set()
        self.readings = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [tensor for tensor in tree_iter(result) if isinstance(tensor, Tensor)]
        self.made |= {(tensor.device.type, tensor.dtype) for tensor in tensors}
        sources = {tensor.device.type for tensor in tree_iter(args) if isinstance(tensor, Tensor)} - {"cpu"}
        self.readings += bool(sources) and any(tensor.device.type == "cpu" for tensor in tensors)
        return result


def test_metrics_and_adaptive_noise_levels_make_no_float64_on_a_device() -> None:
    """Apple's GPUs know no float64. The device is a fake one: whatever runs on it only has shapes and types."""
    recorder, density = Recorder(), AdaptiveDensity(SigmaDensity(distribution="adaptive", warmup_samples=0))
    with FakeTensorMode(allow_non_fake_inputs=True), recorder:
        values = torch.ones(3, device="mps")
        with contextlib.suppress(DataDependentOutputException):  # where the sum is read at last
            MetricAverages().add("loss", values)
        with contextlib.suppress(DataDependentOutputException):
            density.update(lambda sigma: torch.zeros(len(sigma), device="mps"), 1)
    assert ("mps", torch.float32) in recorder.made
    assert ("cpu", torch.float64) in recorder.made
    assert ("mps", torch.float64) not in recorder.made


def test_all_that_an_update_reports_is_read_off_the_device_at_once() -> None:
    recorder = Recorder()
    with FakeTensorMode(), recorder:
        values = [torch.ones(shape, device="cuda") for shape in [(), (4,), (0,), (2, 3)] * 5]
        recorder.readings = 0
        read = to_cpu(values)
    assert recorder.readings == 1
    assert [value.device.type for value in read] == ["cpu"] * 20
    assert [value.shape for value in read] == [value.shape for value in values]
    plain = [torch.arange(3.0, requires_grad=True), torch.tensor(2)]
    assert [value.tolist() for value in to_cpu(plain)] == [[0, 1, 2], 2]
    assert not any(value.requires_grad for value in to_cpu(plain))


def test_losses_by_noise_level_are_those_of_the_samples_in_each_range_and_wait_for_no_device() -> None:
    count = 8
    generator = torch.Generator().manual_seed(0)
    sigma = (torch.randn(32, generator=generator) * 2).exp()
    loss = DenoisingLoss(*torch.rand(3, 32, generator=generator))
    metrics = by_noise_level(sigma, loss, SigmaDensity(), count)
    edges = SigmaDensity().sigma(torch.linspace(0, 1, count + 1, dtype=torch.float64))
    for i, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
        above, below = sigma > low if i else sigma > 0, sigma <= high if i < count - 1 else sigma > 0
        name = f"{low:.3g}-{high:.3g}"
        assert torch.equal(metrics[f"loss_by_sigma/{name}"], loss.weighted[above & below])
        weight = count * torch.exp(-loss.log_variance) * (above & below)
        assert torch.equal(metrics[f"effective_weight_by_sigma/{name}"], weight)
    # A meta tensor has no contents: whatever wanted to look at them would fail.
    unread = by_noise_level(sigma, DenoisingLoss(*torch.rand(3, 32, device="meta")), SigmaDensity(), count)
    assert {name: value.shape for name, value in unread.items()} == {name: m.shape for name, m in metrics.items()}


def test_the_log_variance_is_computed_in_float32_also_in_bfloat16_training() -> None:
    denoiser, sigma = tiny.make_denoiser(), torch.tensor([0.01, 0.5, 3.0, 80.0])
    expected = denoiser.log_variance(sigma)
    with torch.autocast("cpu", torch.bfloat16):
        found = denoiser.log_variance(sigma)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


class Watched:
    """A module trainer that notes whether half precision was on when it was asked for something."""

    def __init__(self) -> None:
        self.module = torch.nn.Linear(2, 2)
        self.labels = Labels((Game(0, "Castle", 1),))
        self.half: list[bool] = []

    def validation_data(self) -> list[Crop]:
        return [Crop(torch.zeros(2), 0, 0)]

    def step(self, batch: Batch, *, generator: StepRandom) -> StepOutput:
        self.half.append(torch.is_autocast_enabled("cpu"))
        return StepOutput(torch.ones(len(batch.indices)), torch.ones(len(batch.indices)))

    def demos(self) -> list[Demo]:
        self.half.append(torch.is_autocast_enabled("cpu"))
        return []


@pytest.mark.parametrize("half", [False, True])
def test_validation_is_in_the_precision_of_training_and_demos_in_that_of_their_request(half: bool) -> None:
    watched = Watched()
    accelerator = SimpleNamespace(
        autocast=lambda: torch.autocast("cpu", torch.bfloat16, enabled=half), device=torch.device("cpu")
    )
    validate(watched, ValidationConfig(samples=4, batch_size=2), accelerator)
    assert watched.half == [half, half]
    averages = TrackedAverages(watched.module, [0.1], [])
    log, validation = SimpleNamespace(file=object()), SimpleNamespace(best="ema_0.100")
    DemoWriter(log, watched, averages, validation, every=4).run(Position(0, 4, samples=4))
    assert watched.half[2:] == [False]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["unet", "vae"])
def test_memory_of_a_validation_is_predicted_in_the_precision_of_training(
    module: str, model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    def need(name: str, *changes: str) -> int:
        (tmp_path / name).mkdir()
        return predict(make_config(module, model, dataset, tmp_path / name, *changes), device_type="cuda").validation

    one, four = (need(f"{size}", "validation.samples=64", f"validation.batch_size={size}") for size in (1, 4))
    half = need("half", "validation.samples=64", "validation.batch_size=4", "mixed_precision=bf16")
    assert one < four
    # Encoding audio is in float32 at any rate, and may be what a VAE needs most for.
    assert half < four if module == "unet" else half <= four


@pytest.mark.slow
def test_a_validation_that_needs_more_than_training_is_told_with_what_helps(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    changes = ("micro_batch_size=1", "validation.samples=96", "validation.batch_size=96")
    config = make_config("unet", model, dataset, tmp_path, *changes)
    memory = predict(config, device_type="cuda")
    assert memory.peak < memory.need == memory.validation
    assert "validation.batch_size=48" in remedies(config, device_type="cuda")
    with pytest.raises(UserError, match=r"validation\.batch_size=48"):
        choose_micro_batch(config, memory.peak, device_type="cuda")


def test_processes_wait_for_one_another_as_long_as_demos_may_take(tmp_path: Path) -> None:
    """The main process validates and makes demos while the others wait; by itself torch gives up after minutes."""
    script = tmp_path / "join.py"
    script.write_text(
        "import torch, torch.distributed as dist\n"
        "from train.startup.launch import join_processes\n"
        "assert join_processes(cpu=True).num_processes == 2\n"
        "print(dist.group.WORLD._get_backend(torch.device('cpu')).options._timeout.total_seconds())\n"
        # Neither leaves before the other has joined: the first one's end would be an error of the other's.
        "dist.barrier()\n"
        "dist.destroy_process_group()\n"
    )
    results = forked.in_ranks(lambda rank, as_rank: commands.run([script], timeout=240, prepare=as_rank), 2)
    assert [result.returncode for result in results] == [0, 0], [result.stderr for result in results]
    assert [float(result.stdout) >= 24 * 3600 for result in results] == [True, True]
