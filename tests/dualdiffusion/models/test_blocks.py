"""What the UNet is built of keeps magnitudes: with and without attention, up and down, deep and to the edges."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
import torch
from torch import nn

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.loss import denoising_loss
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.models.unet_edm2 import UNet
from dualdiffusion.nn.blocks import Block, BlockSettings, DecoderBlock, EncoderBlock, LabelEmbedding
from dualdiffusion.nn.magnitude_preserving import MPConv, double, halve, mp_dropout, mp_silu, unit_magnitude
from tests import tiny
from tests.tiny import all_untold

# Networks per average, where random weights of narrow layers miss unit magnitude by a few percent, now up, now down.
DRAWS = 8


def rms(x: torch.Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def average(values: list[float]) -> float:
    return sum(values) / len(values)


@torch.no_grad()
@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize(("width", "depth", "rows"), [(32, 1, 2), (32, 16, 2), (64, 24, 8), (128, 4, 8)])
def test_blocks_keep_unit_magnitude_at_any_width_and_depth(
    kind: type[Block], attention: bool, width: int, depth: int, rows: int
) -> None:
    settings = BlockSettings(emb_channels=16, channels_per_head=32, pixel_norm=True)
    torch.manual_seed(0)
    x, emb = torch.randn(2, width, rows, 16), torch.randn(2, 16)
    for _ in range(depth):
        x = kind(width, width, settings, attention)(x, emb)
        assert rms(x) == pytest.approx(1, abs=0.01)


@torch.no_grad()
@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize("rows", [2, 8])
def test_the_branches_of_a_block_add_up_to_unit_magnitude_before_it_is_made_sure_of(
    kind: type[Block], attention: bool, rows: int
) -> None:
    settings, reached = BlockSettings(emb_channels=16, channels_per_head=32, pixel_norm=True), []
    blocks = [(torch.manual_seed(seed), kind(64, 64, settings, attention))[1] for seed in range(DRAWS)]
    for block in blocks:
        x, emb = torch.randn(2, 64, rows, 16), torch.randn(2, 16)
        residual = block.residual(x, emb)
        parts = [residual] if block.attention is None else [residual, block.attention(x, emb)]
        reached.append([rms(part) for part in parts])
    for values in zip(*reached, strict=True):
        assert average(list(values)) == pytest.approx(1, abs=0.05)


@torch.no_grad()
@pytest.mark.parametrize("attention", [False, True], ids=["plain", "attention"])
@pytest.mark.parametrize(("kind", "resample"), [(EncoderBlock, halve), (DecoderBlock, double)])
def test_blocks_keep_unit_magnitude_where_resolution_and_width_change(
    kind: type[Block], resample: object, attention: bool
) -> None:
    settings, reached = BlockSettings(emb_channels=16, channels_per_head=32, pixel_norm=True), []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        block = kind(32, 64, settings, attention)
        reached.append(rms(block(resample(torch.randn(4, 32, 8, 16)), torch.randn(4, 16))))
    assert average(reached) == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_every_block_of_a_whole_unet_keeps_unit_magnitude() -> None:
    """Five levels, attention at the coarsest two, one row of latents left at the bottom."""
    config = UNet.Config(
        model_channels=32, channel_mult=(1, 1, 2, 2, 2), attn_levels=(3, 4), channels_per_head=32, label_dim=4
    )
    reached: dict[str, list[float]] = defaultdict(list)
    for seed in range(2):
        torch.manual_seed(seed)
        net = UNet(config)
        for name, part in net.named_modules():
            if isinstance(part, Block):
                part.register_forward_hook(lambda _, inputs, output, name=name: reached[name].append(rms(output)))
        conditioning = Conditioning(torch.eye(4)[:2])
        net(
            torch.randn(2, 4, 16, 32), torch.randn(2), conditioning=conditioning, position=torch.linspace(-1.7, 1.7, 16)
        )
    assert len(reached) == 5 * 2 + 4 + 2 + 5 * 3 + 4
    assert all(value == pytest.approx(1, abs=0.01) for values in reached.values() for value in values)


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_a_convolution_with_even_edges_has_the_same_variance_at_each_place(rows: int) -> None:
    torch.manual_seed(0)
    layer = MPConv(64, 512, (3, 3), even_edges=True)
    variance = layer(torch.randn(64, 64, rows, 6)).square().mean(dim=(0, 1))
    assert torch.allclose(variance, torch.ones_like(variance), atol=0.05)
    plain = MPConv(64, 512, (3, 3))
    plain.load_state_dict(layer.state_dict())
    assert float(plain(torch.randn(64, 64, rows, 6)).square().mean(dim=(0, 1))[0, 0]) < 0.7  # a corner
    x = torch.randn(1, 64, 5, 5)
    assert torch.allclose(plain(x)[..., 2, 2], layer(x)[..., 2, 2], atol=1e-6)  # inside, nothing changes


def test_training_takes_over_the_gains_of_edges_that_sampling_has_made() -> None:
    layer, x = MPConv(4, 4, (3, 3), even_edges=True), torch.randn(2, 4, 3, 37)  # a size that no other test has
    with torch.inference_mode():
        sampled = layer(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = layer(x)
    trained = layer(x)
    trained.square().sum().backward()
    assert torch.equal(trained, sampled) and bool(layer.weight.grad.any())
    assert half.dtype is torch.bfloat16 and rms(half - sampled) < 0.01 * rms(sampled)


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
def test_the_block_keeps_its_magnitude_with_dropout_on_and_off(training: bool) -> None:
    settings, reached = BlockSettings(emb_channels=0, dropout=0.4, mlp_groups=1, pixel_norm=True), []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        reached.append(rms(DecoderBlock(64, 64, settings).train(training)(torch.randn(4, 64, 8, 8))))
    assert average(reached) == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_the_residual_branch_keeps_its_magnitude_under_dropout_which_plain_dropout_would_raise() -> None:
    x = mp_silu(torch.randn(8, 64, 16, 16, generator=torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    assert rms(mp_dropout(x, 0.5, training=True)) == pytest.approx(rms(x), rel=0.02)
    assert rms(nn.functional.dropout(x, 0.5)) == pytest.approx(rms(x) * 2**0.5, rel=0.02)


def test_a_few_steps_with_dropped_labels_change_what_the_network_makes_without_a_label() -> None:
    """And guidance, the difference between label and none, is then no longer what it was."""
    torch.manual_seed(0)
    backbone = tiny.component_from_json("dualdiffusion.models", {**tiny.UNET, "dropout": 0.0})
    denoiser = Denoiser(Denoiser.Config(backbone=backbone))
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(0)
    noise, probe = torch.randn(8, 4, 4, 8, generator=generator), torch.randn(2, 4, 4, 8, generator=generator)
    labels = torch.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]]
    latents = (labels @ torch.tensor([1.0, 0.0, -1.0]))[:, None, None, None] + 0.1 * noise
    dropped = Conditioning(labels, torch.tensor([1.0, 0, 1, 0, 1, 0, 1, 0]))
    two, level = Conditioning(torch.eye(3)[[0, 2]]), torch.ones(2)

    def guided() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            none = denoiser(probe, level, all_untold(two))
            return none, denoiser(probe, level, two) - none

    none, difference = guided()
    assert float(difference.abs().max()) == 0  # the output gain is zero at initialisation
    for _ in range(8):
        optimizer.zero_grad()
        denoising_loss(denoiser, latents, noise.flip(0), torch.ones(8), dropped).learned.mean().backward()
        denoiser.before_update()
        column = denoiser.backbone.label_embedding.vectors.weight.grad[:, -1]
        optimizer.step()
        denoiser.after_update()
    assert float(column.abs().sum()) > 0
    none_after, difference_after = guided()
    assert float((none_after - none).abs().max()) > 0.01
    assert float(difference_after.abs().max()) > 0.01


def test_weights_of_either_sign_move_the_conditioning_vector_in_proportion() -> None:
    net = tiny.make_denoiser().backbone
    base, game = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    moved = [net.label_embedding(Conditioning(base + w * game), base) for w in (-1.5, -0.5, 0.0, 0.5)]
    steps = [after - before for before, after in itertools.pairwise(moved)]
    assert torch.allclose(steps[0], 2 * steps[1], atol=1e-5)
    assert torch.allclose(steps[1], steps[2], atol=1e-5)


def test_a_whole_unet_normalised_at_updates_trains_like_one_normalised_in_forward() -> None:
    """The in-forward variant: every weight is divided by its length as a function of itself, and Adam sees the rest."""
    config = tiny.component_from_json("dualdiffusion.models", {**tiny.UNET, "dropout": 0.0}).config

    class InForward(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            axes = tuple(range(1, weight.ndim))
            return weight / (weight.square().mean(axes, keepdim=True).sqrt() + 1e-4)

    torch.manual_seed(0)
    ours, theirs = UNet(config).double(), UNet(config).double()
    theirs.load_state_dict(ours.state_dict())
    for part in theirs.modules():
        if isinstance(part, MPConv):
            nn.utils.parametrize.register_parametrization(part, "weight", InForward())
    for net in (ours, theirs):
        nn.init.constant_(net.output_gain, 0.5)
    x, target = torch.randn(2, 4, 4, 8).double(), torch.randn(2, 4, 4, 8).double()
    optimizers = [torch.optim.Adam(net.parameters(), lr=0.005) for net in (ours, theirs)]
    losses: list[list[float]] = [[], []]
    for _ in range(6):
        for net, optimizer, trajectory in zip((ours, theirs), optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss = (net(x, torch.zeros(2), conditioning=Conditioning(torch.eye(3)[:2])) - target).square().mean()
            loss.backward()
            trajectory.append(float(loss.detach()))
            if net is ours:
                net.before_update()
            optimizer.step()
            if net is ours:
                net.after_update()
            else:
                with torch.no_grad():
                    for name, parameter in net.named_parameters():
                        if name.endswith("parametrizations.weight.original"):
                            axes = tuple(range(1, parameter.ndim))
                            parameter.div_(parameter.square().mean(axes, keepdim=True).sqrt() + 1e-4)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][-1] < 0.95 * losses[0][0]  # it really trained


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_scaling_to_unit_magnitude_has_a_finite_gradient_also_where_all_is_zero(dtype: torch.dtype) -> None:
    x = torch.stack([torch.zeros(6), torch.arange(6.0)]).to(dtype).requires_grad_()
    y = unit_magnitude(x, 1)
    assert y.dtype == dtype
    assert float(y[1].detach().double().square().mean()) == pytest.approx(1, abs=0.02)
    y.pow(3).sum().backward()
    assert bool(x.grad.isfinite().all())


@pytest.mark.slow
def test_the_denoiser_compiles_to_one_graph_that_is_not_made_again_and_gives_the_same() -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    denoiser = tiny.make_denoiser(channel_mult=[1], attn_levels=[0], num_layers_per_block=1)
    compiled = torch.compile(denoiser, fullgraph=True, backend="aot_eager")
    conditioning = Conditioning(torch.eye(3)[:2])
    for step in range(3):
        x, sigma = torch.randn(2, 4, 4, 8), torch.full((2,), 1.0 + step)
        output = compiled(x, sigma, conditioning)
        output.square().sum().backward()
        assert torch.allclose(output, denoiser(x, sigma, conditioning), atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 1
    torch._dynamo.reset()


def test_a_mix_with_games_that_a_network_does_not_know_keeps_the_magnitude_of_a_game() -> None:
    torch.manual_seed(0)
    embedding, like = LabelEmbedding(2, 64), torch.zeros(1)
    castle, cave, _ = torch.eye(3)

    def embed(mix: torch.Tensor) -> torch.Tensor:
        return embedding(Conditioning(mix[None]), like)[0]

    mix = torch.tensor([0.6, 0.0, 0.8])  # mostly of a game that came after this network
    assert torch.allclose(embed(mix), embed(castle), atol=1e-6)
    two = torch.tensor([0.5, 0.5, 0.5**0.5])
    assert torch.allclose(embed(two), (embed(castle) + embed(cave)) * 0.5**0.5, atol=1e-5)
    nothing = embedding(Conditioning(), like)[0]
    assert torch.equal(embed(torch.tensor([0.0, 0.0, 1.0])), nothing)
