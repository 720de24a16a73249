"""On a GPU: what is compiled, in half precision, out of memory or in batches gives what the plain way gives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning, one_hot
from dualdiffusion.model.folder import ModelFolder
from sampling import generator as generator_module
from sampling.generator import Generator
from sampling.output.clips import read_settings, save
from sampling.request import Request
from tests import tiny
from tests.benchmarks.memory import make_run
from tests.benchmarks.steps import RealSteps
from tests.train.test_training import fresh_model
from train.memory.preflight import predict

DEVICE = torch.device("cuda")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
REQUEST = Request(games={"Castle": 0.7, "Cave": 0.3}, seconds=1, steps=6, seed=3)


@pytest.fixture
def exact() -> Iterator[None]:
    """Float32 products in float32, not TF32, to be compared with a CPU's."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def relative_error(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.detach().double().cpu(), b.detach().double().cpu()
    return float((a - b).norm() / b.norm())


def test_a_compiled_denoiser_in_bfloat16_gives_what_an_eager_one_in_float32_gives(exact: None) -> None:
    x = torch.randn(4, 4, 4, 24, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    sigma = torch.tensor([0.05, 0.5, 2.0, 20.0], device=DEVICE)
    conditioning = Conditioning(one_hot(torch.tensor([0, 1, 2, 0]), len(tiny.GAMES)).to(DEVICE))
    plain, compiled = (tiny.make_denoiser().to(DEVICE, memory_format=torch.channels_last) for _ in range(2))
    compiled.enable_compile()
    position = torch.linspace(-1, 1, 4, device=DEVICE)
    results = []
    for denoiser, half in ((plain, False), (compiled, True)):
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            denoised = denoiser(x, sigma, conditioning, position=position)
        denoised.float().square().mean().backward()
        # The log-variance has no part in this loss: its gradient is missing, or zero.
        gradient = torch.cat([p.grad.flatten().float() for p in denoiser.backbone.parameters()])
        results.append((denoised, gradient))
    (expected, expected_gradient), (found, gradient) = results
    assert relative_error(found, expected) < 0.03
    assert relative_error(gradient, expected_gradient) < 0.1


def test_a_resumed_training_ends_where_an_undisturbed_one_ends(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    ends = []
    for name, stops in (("straight", (32,)), ("resumed", (16, 32))):
        path = fresh_model(model, tmp_path / name, "unet")
        for total in stops:
            file = tmp_path / f"{name}.json"
            config = tiny.write_train_config(file, "unet", path, dataset, total_samples=total)
            command = [sys.executable, "train.py", config]  # not in a fork, which cannot use a GPU
            subprocess.run(command, cwd=tiny.ROOT, check=True, capture_output=True, timeout=100)
        ends.append(load_file(ModelFolder(path).weights_path("unet")))
    straight, resumed = ends
    # Sums of a GPU's convolutions may differ in their last bits from one run to the next.
    assert max(relative_error(resumed[name], straight[name]) for name in straight) < 1e-2


@pytest.mark.parametrize("micro_batch", [2, 8])
def test_memory_is_what_was_predicted(micro_batch: int, tmp_path: Path) -> None:
    changes = ["batch_size=8", f"micro_batch_size={micro_batch}", "compile=false", "mixed_precision=bf16"]
    config = make_run(tmp_path, "unet", "small", [*changes, "module_trainer.crop_seconds=8"])
    predicted = predict(config, device_type="cuda").peak
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    steps = RealSteps(config)
    steps.next()
    torch.cuda.reset_peak_memory_stats()
    steps.next()
    assert predicted == pytest.approx(torch.cuda.max_memory_allocated() - before, rel=0.15)


def test_a_batch_for_which_the_memory_is_too_small_is_halved(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator.load(model, DEVICE)
    requests = [REQUEST.model_copy(update={"seed": seed}) for seed in range(6)]
    alone = [generator.generate(request).latents for request in requests]
    taken: list[int] = []
    denoise = generator.unet(None).forward

    def small(x: torch.Tensor, *arguments: object, **keywords: object) -> torch.Tensor:
        taken.append(len(x))
        if len(x) > 4:  # as if there were no room for more; both passes of guidance are in one batch
            raise torch.OutOfMemoryError("pretended")
        return denoise(x, *arguments, **keywords)

    monkeypatch.setattr(generator.unet(None), "forward", small)
    monkeypatch.setattr(generator_module, "BATCH_COLUMNS", 10**6)
    together = [result.latents for result in generator.generate_many(requests)]
    assert max(taken) > 4 >= taken[-1]
    assert max(relative_error(a, b) for a, b in zip(together, alone, strict=True)) < 1e-2


def test_clips_of_a_gpu_are_those_of_a_cpu(model: ModelFolder, exact: None) -> None:
    on_cpu = Generator.load(model, "cpu").generate(REQUEST)
    on_gpu = Generator.load(model, DEVICE).generate(REQUEST)
    assert relative_error(on_gpu.latents, on_cpu.latents) < 1e-2


def test_phase_recovery_is_that_of_a_cpu(exact: None) -> None:
    format = component_from_json("dualdiffusion.formats", tiny.FORMAT).build()
    time = torch.arange(format.num_samples(64)) / tiny.SAMPLE_RATE
    audio = 0.3 * torch.stack([torch.sin(2 * torch.pi * 440 * time), torch.sin(2 * torch.pi * 660 * time)])[None]
    x = format.encode(audio)
    on_cpu = format.decode(x)
    on_gpu = format.to(DEVICE).decode(x.to(DEVICE))
    again = format.encode(on_gpu).cpu()
    assert relative_error(again, format.to("cpu").encode(on_cpu)) < 0.05


def test_the_stored_request_of_a_clip_tells_the_device(model: ModelFolder, tmp_path: Path) -> None:
    path = save(Generator.load(model, DEVICE).generate(REQUEST), tmp_path, device=DEVICE)
    assert torch.cuda.get_device_name() in json.dumps(read_settings(path))


@pytest.mark.parametrize("name", ["dit", "hourglass"])
def test_a_transformer_in_bfloat16_gives_what_float32_gives_by_the_flash_kernel(exact: None, name: str) -> None:
    part = {
        "dit": {"type": "dit.DiT", "width": 128, "depth": 2, "heads": 2},
        "hourglass": {"type": "hourglass.Hourglass", "depths": [1, 1], "widths": [64, 128]},
    }[name]
    torch.manual_seed(0)
    network = component_from_json("dualdiffusion.models", {**part, "label_dim": 0}).build().to(DEVICE)
    for parameter in network.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.1)
    x, c_noise = torch.randn(2, 4, 16, 32, device=DEVICE), torch.zeros(2, device=DEVICE)
    expected = network(x, c_noise, conditioning=Conditioning())
    # Windows come with a mask, which the flash kernel has no place for.
    kernels = [SDPBackend.FLASH_ATTENTION, *([SDPBackend.EFFICIENT_ATTENTION] if name == "hourglass" else [])]
    with torch.autocast("cuda", torch.bfloat16), sdpa_kernel(kernels):
        half = network(x, c_noise, conditioning=Conditioning())
    assert relative_error(half, expected) < 0.05
