"""The benchmark of training compares what is comparable; recomputing operations give what plain ones give."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.models.unet_edm2 import UNet
from dualdiffusion.nn import blocks, magnitude_preserving
from dualdiffusion.nn.magnitude_preserving import MPConv, edge_gain, project_gradients
from dualdiffusion.nn.recomputation import EPSILON, RecomputedConv, UnitMagnitude
from tests import tiny
from tests.benchmarks.learning import EMA, curves, time_to
from tests.benchmarks.training import equal_time, networks, step
from tests.benchmarks.training.equal_time import Race
from tests.benchmarks.training.step import Case
from tests.train.test_backbones import BACKBONES

CONFIG = UNet.Config(
    model_channels=16, channel_mult=(1, 2, 2), attn_levels=(2,), channels_per_head=16, mlp_groups=4, label_dim=3
)


def plain_unit_magnitude(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """Equation 30 and 66 in elementary operations."""
    norm = torch.linalg.vector_norm(x, dim=axes, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return x / (norm * math.sqrt(norm.numel() / x.numel()) + EPSILON).to(x.dtype)


def plain_layer(
    self: MPConv,
    x: Tensor,
    gain: Tensor | float = 1.0,
    *,
    skip: Tensor | None = None,
    modulation: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    """MPConv.forward in elementary operations, with the weights scaled rather than the output."""
    x = x if skip is None else torch.cat([x, skip], dim=1)
    x = x if modulation is None else x * modulation
    x = F.silu(x) / 0.596 if silu else x
    weight = (self.weight * (gain / math.sqrt(self.weight[0].numel()))).to(x.dtype)
    if weight.ndim == 2:
        return F.linear(x, weight)
    y = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=self.groups)
    return (y * edge_gain(y, weight.shape[-1])).to(y.dtype) if self.even_edges else y


def run(net: UNet, dtype: torch.dtype) -> list[Tensor]:
    """Output, gradient of the input, and gradients of all parameters as one vector."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 8, 12, generator=generator, dtype=torch.float64).requires_grad_()
    position = torch.linspace(-1.7, 1.7, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        precise = torch.float32 if dtype == torch.bfloat16 else dtype
        noise = torch.tensor([0.1, -0.4], dtype=precise)
        y = net(x.to(precise), noise, conditioning=Conditioning(torch.eye(3)[:2]), position=position)
    net.zero_grad()
    y.double().pow(3).mean().backward()
    return [y.detach(), x.grad, torch.cat([parameter.grad.flatten() for parameter in net.parameters()])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_unet_gives_the_outputs_and_gradients_of_one_made_of_elementary_operations(
    dropout: float, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = UNet(CONFIG.model_copy(update={"dropout": dropout}))
    for name, parameter in net.named_parameters():
        if name.endswith("gain"):
            nn.init.constant_(parameter, 0.5)
    net = net.double() if dtype == torch.float64 else net
    torch.manual_seed(2)
    recomputed = run(net, dtype)
    monkeypatch.setattr(MPConv, "forward", plain_layer)
    for module in (blocks, magnitude_preserving):
        monkeypatch.setattr(module, "unit_magnitude", plain_unit_magnitude)
    torch.manual_seed(2)
    plain = run(net, dtype)
    for ours, theirs in zip(recomputed, plain, strict=True):
        assert ours.dtype == theirs.dtype
        assert float((ours - theirs).double().norm()) <= tolerance * float(theirs.double().norm())


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_gradients_of_lean_operations_are_those_of_finite_differences(
    groups: int, joined: bool, silu: bool
) -> None:
    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    generator = torch.Generator().manual_seed(0)
    x, weight, edges = random(2, 4, 3, 3), random(4, 6 // groups if joined else 4 // groups, 3, 3), random(1, 1, 3, 3)
    skip, modulation = (random(2, 2, 3, 3), random(2, 6, 1, 1)) if joined else (None, None)
    assert torch.autograd.gradcheck(
        lambda *tensors: RecomputedConv.apply(*tensors, edges.detach(), 0.7, groups, silu),
        (x, skip, modulation, weight),
    )
    assert torch.autograd.gradcheck(lambda x: UnitMagnitude.apply(x, (1,))[0], (x,))


def test_frozen_weights_and_inputs_without_gradient_get_none() -> None:
    layer = MPConv(4, 4, (3, 3))
    x = torch.randn(1, 4, 3, 3)
    layer(x, silu=True).sum().backward()
    assert layer.weight.grad is not None
    layer.requires_grad_(False)
    x.requires_grad_()
    layer.weight.grad = None
    layer(x, silu=True).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


def test_a_projected_gradient_is_orthogonal_to_its_filter_and_otherwise_as_it_was() -> None:
    torch.manual_seed(0)
    layer = MPConv(4, 6, (3, 3))
    gradient = torch.randn_like(layer.weight)
    layer.weight.grad = gradient.clone()
    project_gradients(layer)
    weight, change = layer.weight.detach().flatten(1), (gradient - layer.weight.grad).flatten(1)
    assert float((layer.weight.grad.flatten(1) * weight).sum(1).abs().max()) < 1e-4
    assert torch.allclose(change, weight * (change / weight)[:, :1], atol=1e-4)  # along the filter


def test_a_decoder_block_keeps_less_for_its_backward_pass_than_elementary_operations_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def kept_bytes() -> int:
        storages: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storages[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            y = block(x, emb, skip)
        assert y.requires_grad
        return sum(storages.values())

    block = blocks.DecoderBlock(64, 32, blocks.BlockSettings(emb_channels=16, pixel_norm=True))
    x, skip, emb = (torch.randn(shape, requires_grad=True) for shape in ((1, 32, 32, 32), (1, 32, 32, 32), (1, 16)))
    recomputed = kept_bytes()
    monkeypatch.setattr(MPConv, "forward", plain_layer)
    monkeypatch.setattr(blocks, "unit_magnitude", plain_unit_magnitude)
    assert recomputed < 0.5 * kept_bytes()


def test_flops_and_parameters_are_counted_without_computing_anything() -> None:
    case = Case("tiny", batch=2, columns=16, device="cpu", compile=False)
    double = Case("tiny", batch=4, columns=16, device="cpu", compile=False)
    flops = step.step_flops("ours", case)
    assert step.step_flops("ours", double) == pytest.approx(2 * flops, rel=0.01)
    network = step.build("ours", case, "meta")
    assert networks.parameters(network) == sum(p.numel() for p in networks.build_ours("tiny").parameters())


def test_without_diffusers_the_benchmark_is_one_line_with_the_command_that_installs_it(tmp_path: Path) -> None:
    if networks.importlib.util.find_spec("diffusers") is not None:
        pytest.skip("diffusers is installed here")
    result = tiny.run("-m", "tests.benchmarks.training", "--work", tmp_path / "work")
    assert not (tmp_path / "work").exists()
    tiny.assert_one_line_error(result, "diffusers", "pip install -r tests/benchmarks/requirements.txt")


def test_the_peer_has_as_many_parameters_as_ours_within_two_percent() -> None:
    pytest.importorskip("diffusers")
    ours = networks.build_ours("small")
    width = networks.peer_width(ours.config, networks.parameters(ours))
    peer = networks.build_peer(ours.config, width)
    assert networks.parameters(peer) == pytest.approx(networks.parameters(ours), rel=0.02)


def race(model: ModelFolder, dataset: Path, work: Path) -> Race:
    """A race of a few updates."""
    return Race("tiny", 1.0, 1, model.path, dataset, work, batch=4, crop_seconds=1.0, points=2, validation_samples=4)


@pytest.mark.benchmarks
def test_both_networks_are_trained_for_equal_times_and_nothing_twice(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    wanted = race(model, dataset, tmp_path / "work")
    # In the place of diffusers' network, which need not be installed, one of ours.
    monkeypatch.setattr(equal_time, "networks", lambda race: {"ours": tiny.UNET, "peer": BACKBONES["dit"]})
    monkeypatch.setattr(equal_time, "RATES", {"ours": (0.01, 0.02), "peer": (0.001, 0.002)})
    costs = {"ours": 0.25, "peer": 0.125}
    found = {name: {"seconds_per_sample": cost, "parameters": 1000} for name, cost in costs.items()}
    write_json(wanted.work / "costs.json", found)
    result = equal_time.run(wanted)
    rows = result["learning"]
    assert {name: row["samples"] for name, row in rows.items()} == {"ours": 4, "peer": 8}  # of one second
    for name, row in rows.items():
        assert list(map(float, row["tries"])) == list(equal_time.RATES[name])
        assert row["rate"] == float(min(row["tries"], key=row["tries"].get))
        folder = wanted.work / f"{name}-{row['rate']:g}-{row['samples']}-seed0"
        assert row["curve"] == curves(ModelFolder(folder).run_path("unet") / "metrics.csv")[EMA]
        assert row["validation"] == row["by_seed"][0] == row["curve"][row["samples"]]
    reached = time_to(rows["peer"]["validation"], rows["ours"]["curve"], 0.25)
    assert result["time_to_peer_loss_ratio"] == reached  # of the peer's one second
    equal_time.draw(rows, "tiny", tmp_path / "drawn.png")
    assert Image.open(tmp_path / "drawn.png").size[0] > 500
    capfd.readouterr()
    assert equal_time.run(wanted) == result
    assert capfd.readouterr().out.count("nothing to do") == 2 * (2 + 1)
    with pytest.raises(UserError, match=r"--work .*: its trainings are of --batch 4, not of 8; name another folder"):
        equal_time.run(replace(wanted, batch=8))


def test_updates_of_both_networks_are_timed_in_turns_and_only_once(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = race(model, dataset, tmp_path)
    monkeypatch.setattr(equal_time, "networks", lambda race: {"ours": tiny.UNET, "peer": BACKBONES["dit"]})
    monkeypatch.setattr(equal_time, "TIMED", 1)
    configs = equal_time.write_configs(wanted)
    found = equal_time.costs(wanted, configs)
    assert all(of["seconds_per_sample"] > 0 for of in found.values())
    assert found["ours"]["parameters"] != found["peer"]["parameters"]
    assert equal_time.costs(wanted, {}) == found
