"""Networks keep magnitudes, listen to their conditions, and have the sizes that the presets promise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning, concatenate
from dualdiffusion.config import read_config
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.model.module import describe
from dualdiffusion.models.unet_edm2 import UNet
from dualdiffusion.models.vae_edm2 import VAE, Posterior
from dualdiffusion.nn.blocks import Block, BlockSettings, DecoderBlock, EncoderBlock
from dualdiffusion.nn.magnitude_preserving import (
    MPConv,
    MPFourier,
    mp_cat,
    mp_dropout,
    mp_silu,
    mp_sum,
    normalize_weights,
    project_gradients,
    unit_magnitude,
)
from dualdiffusion.randomness import SeededNoise
from tests import tiny
from tests.tiny import all_untold


def rms(x: torch.Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def unit(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("normalize", lambda x: unit_magnitude(3 * x, 1)),
        ("silu", mp_silu),
        ("sum", lambda x: mp_sum(x, x.flip(0).roll(1, 2), 0.3)),
        ("cat", lambda x: mp_cat(x, x[:, :8].flip(0), 0.5)),
        ("dropout", lambda x: mp_dropout(x, 0.3, training=True)),
        ("conv", MPConv(64, 32, (3, 3))),
        ("grouped", MPConv(64, 32, (1, 1), groups=8)),
    ],
)
def test_every_primitive_keeps_unit_magnitude(name: str, function: object) -> None:
    torch.manual_seed(0)
    assert rms(function(unit(8, 64, 32, 32))) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("depth", [1, 6])
def test_blocks_keep_unit_magnitude_at_any_depth(kind: type[Block], depth: int) -> None:
    torch.manual_seed(0)
    settings = BlockSettings(emb_channels=16, channels_per_head=32, mlp_multiplier=2, mlp_groups=8)
    x, emb = unit(4, 64, 16, 16), unit(4, 16)
    for _ in range(depth):
        x = kind(64, 64, settings)(x, emb)
    assert rms(x) == pytest.approx(1, abs=0.05)


def test_attention_keeps_unit_magnitude_whether_positions_agree_or_not() -> None:
    torch.manual_seed(0)
    attention = DecoderBlock(64, 64, BlockSettings(emb_channels=0, mlp_groups=1), attention=True).attention
    alike = unit(4, 64, 1, 1).expand(4, 64, 16, 16)
    assert rms(attention(alike, None)) == pytest.approx(1, abs=0.1)
    # The values of 256 unrelated positions average out to a tenth.
    assert rms(attention(unit(4, 64, 16, 16), None)) == pytest.approx(1, abs=0.1)


def test_fourier_features_are_unit_and_their_inner_product_is_a_smooth_bell_of_the_difference() -> None:
    features = MPFourier(64, bandwidth=2.0)
    x = torch.linspace(-3, 3, 41)
    product = features(x) @ features(x).T / 64
    assert rms(features(x)) == pytest.approx(1, abs=1e-3)
    difference = x[:, None] - x[None, :]
    assert torch.allclose(product[1:, 1:], product[:-1, :-1], atol=1e-4)  # depends on the difference only
    near = difference.abs() < 1.2
    assert torch.allclose(product[near], torch.exp(-2 * difference[near] ** 2), atol=0.03)


def test_normalising_at_updates_trains_like_normalising_in_forward() -> None:
    torch.manual_seed(0)
    layer, x, target = MPConv(8, 4, ()), unit(64, 8), unit(64, 4)
    reference = nn.Parameter(layer.weight.detach().clone())
    ours, theirs = torch.optim.Adam([layer.weight], lr=0.02), torch.optim.Adam([reference], lr=0.02)
    for _ in range(20):
        ours.zero_grad()
        (layer(x) - target).square().mean().backward()
        project_gradients(layer)
        ours.step()
        normalize_weights(layer)

        theirs.zero_grad()
        (nn.functional.linear(x, unit_magnitude(reference, 1) / math.sqrt(8)) - target).square().mean().backward()
        theirs.step()
        with torch.no_grad():
            reference.copy_(unit_magnitude(reference, 1))
    assert torch.allclose(layer.weight, reference, atol=2e-3)


@pytest.mark.parametrize(
    ("preset", "millions"), [("unet_base", 316.8), ("unet_small", 30.8), ("unet_tiny", 1.35), ("vae_base", 68.9)]
)
def test_presets_have_the_size_that_they_are_known_by(preset: str, millions: float) -> None:
    data = read_config(tiny.ROOT / "config" / "models" / f"{preset}.json")
    data["label_dim"] = 1600 if data.get("label_dim", None) is None and preset == "vae_base" else 0
    with torch.device("meta"):
        total = describe(component_from_json("dualdiffusion.models", data).build())["total"]
    assert total / 1e6 == pytest.approx(millions, rel=0.003)


def test_the_label_embedding_is_linear_in_the_mix_also_with_negative_weights() -> None:
    embedding, (a, b) = UNet(tiny_unet()).label_embedding, (torch.eye(3)[:1], torch.eye(3)[1:2])

    def embed(labels: torch.Tensor) -> torch.Tensor:
        return embedding(Conditioning(labels), labels)

    assert torch.allclose(embed(2 * a - 3 * b), 2 * embed(a) - 3 * embed(b), atol=1e-5)


def tiny_unet() -> UNet.Config:
    return component_from_json("dualdiffusion.models", tiny.UNET).config


def test_dropped_labels_are_replaced_by_an_embedding_that_is_trained() -> None:
    net = tiny.make_denoiser().backbone
    labels, c_noise = torch.eye(3)[[0, 1]], torch.zeros(2)
    dropped = net.embed(c_noise, Conditioning(labels, torch.zeros(2)))
    assert torch.equal(dropped[0], dropped[1])
    assert torch.allclose(dropped, net.embed(c_noise, Conditioning()))
    assert not torch.allclose(dropped, net.embed(c_noise, Conditioning(labels)))
    mixed = net.embed(c_noise, Conditioning(labels, torch.tensor([1.0, 0.0])))
    mixed.pow(3).sum().backward()
    project_gradients(net)  # what is left is what the optimizer sees
    gradient = net.label_embedding.vectors.weight.grad.abs().sum(dim=0)
    assert bool((gradient[[0, 3]] > 1e-4).all())  # the game that was kept, and "no label"


def test_dropping_labels_keeps_the_expected_magnitude() -> None:
    torch.manual_seed(0)
    config = tiny_unet().model_copy(update={"emb_channels": 1024, "label_dim": 64})
    net = UNet(config)
    labels, c_noise = torch.eye(64), torch.linspace(-1, 1, 64)
    kept = rms(net.embed(c_noise, Conditioning(labels)))
    dropped = rms(net.embed(c_noise, Conditioning(labels, torch.zeros(64))))
    assert dropped == pytest.approx(kept, rel=0.05)


def test_conditions_of_two_batches_join() -> None:
    a = Conditioning(torch.eye(2))
    joined = concatenate(a, all_untold(a))
    assert joined.labels.shape == (4, 2)
    assert joined.labels_kept.tolist() == [1, 1, 0, 0]


def test_the_unet_answers_to_noise_level_label_and_row() -> None:
    net = tiny.make_denoiser().backbone
    x, c_noise, labels = unit(1, 4, 4, 8), torch.zeros(1), torch.eye(3)[:1]
    position = torch.linspace(-1, 1, 4)
    base = net(x, c_noise, conditioning=Conditioning(labels), position=position)
    assert base.shape == x.shape
    others = [
        net(x, c_noise + 0.5, conditioning=Conditioning(labels), position=position),
        net(x, c_noise, conditioning=Conditioning(torch.eye(3)[1:2]), position=position),
        net(x, c_noise, conditioning=Conditioning(labels), position=-position),
    ]
    assert all((base - other).abs().max() > 1e-4 for other in others)


@torch.inference_mode()
def test_the_unet_may_be_told_intervals_and_look_along_both_axes() -> None:
    torch.manual_seed(0)
    plain = tiny.make_denoiser().backbone
    x, position = unit(1, 4, 4, 8), torch.linspace(-1, 1, 4)
    outputs = [plain(x, torch.zeros(1), conditioning=Conditioning(), position=position)]
    for changes in ({"attention_position": "frequency"}, {"attention_axes": "alternate"}):
        other = UNet(tiny_unet().model_copy(update=changes)).eval()
        other.load_state_dict(plain.state_dict())  # neither has weights of its own
        outputs.append(other(x, torch.zeros(1), conditioning=Conditioning(), position=position))
    assert all(not torch.allclose(outputs[0], other, atol=1e-5) for other in outputs[1:])


def test_activation_checkpointing_changes_nothing() -> None:
    torch.manual_seed(0)
    plain = UNet(tiny_unet())
    saving = UNet(tiny_unet().model_copy(update={"activation_checkpointing": True}))
    saving.load_state_dict(plain.state_dict())
    gradients = []
    for net in (plain.train(), saving.train()):
        torch.manual_seed(1)  # of the dropout
        nn.init.constant_(net.output_gain, 1.0)
        net(unit(2, 4, 4, 8), torch.zeros(2), conditioning=Conditioning()).square().mean().backward()
        gradients.append(net.output.weight.grad)
    assert torch.allclose(*gradients, atol=1e-6)


def test_at_initialisation_the_denoiser_is_the_best_linear_guess() -> None:
    backbone = component_from_json("dualdiffusion.models", tiny.UNET)
    denoiser = Denoiser(Denoiser.Config(backbone=backbone))
    x, sigma = unit(3, 4, 4, 8), torch.tensor([0.1, 1.0, 10.0])
    expected = x / (1 + sigma**2)[:, None, None, None]
    assert torch.allclose(denoiser(x, sigma, Conditioning()), expected, atol=1e-6)
    assert torch.allclose(denoiser(x[:1], torch.tensor([1e-4]), Conditioning()), x[:1], atol=1e-3)


@pytest.mark.parametrize("label_dim", [0, 3])
def test_the_vae_shrinks_by_its_factor_and_keeps_its_fixed_noise_level(label_dim: int) -> None:
    torch.manual_seed(0)
    vae = VAE(component_from_json("dualdiffusion.models", {**tiny.VAE, "label_dim": label_dim}).config)
    for name, parameter in vae.named_parameters():
        if name.endswith("modulate.gain"):  # zero at initialisation
            nn.init.constant_(parameter, 0.5)
    x, position = unit(2, 2, 32, 64), torch.linspace(-1.7, 1.7, 32)
    conditioning = Conditioning(torch.eye(3)[:2]) if label_dim else Conditioning()
    posterior = vae.encode(x, position=position, conditioning=conditioning)
    assert posterior.mode.shape == (2, *vae.latent_shape((2, 32, 64))) == (2, 4, 4, 8)
    assert vae.decode(posterior.mode, position=position, conditioning=conditioning).shape == x.shape
    noise = posterior.sample(SeededNoise([0, 1])) - posterior.mode
    assert rms(noise) == pytest.approx(posterior.noise_std, rel=0.1)
    snr = math.sqrt(1 - posterior.noise_std**2) / posterior.noise_std
    assert snr == pytest.approx(32, rel=1e-3)
    if label_dim:
        other = vae.encode(x, position=position, conditioning=Conditioning())  # a game it never saw
        assert not torch.allclose(other.mode, posterior.mode)


def test_normalising_latents_there_and_back_is_the_identity() -> None:
    vae = component_from_json("dualdiffusion.models", tiny.VAE).build()
    vae.latents_mean.copy_(torch.tensor([1.0, 2, 3, 4]))
    vae.latents_std.copy_(torch.tensor([0.5, 1, 2, 3]))
    z = unit(2, 4, 4, 8)
    assert torch.allclose(vae.denormalize_latents(vae.normalize_latents(z)), z, atol=1e-6)


def test_the_channel_divergence_is_zero_for_unit_statistics_and_the_closed_form_otherwise() -> None:
    z = unit(1, 4, 64, 64)
    z = (z - z.mean(dim=(2, 3), keepdim=True)) / z.std(dim=(2, 3), keepdim=True)
    assert float(Posterior(z, 0.0).kl()) == pytest.approx(0, abs=1e-5)
    shifted = Posterior(2 * z + 1, 0.0).kl()
    assert float(shifted) == pytest.approx(0.5 * (1 + 4 - 1 - math.log(4)), abs=1e-4)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_a_vae_on_patches_keeps_shapes_and_magnitudes_and_tells_rows_apart(patch: int) -> None:
    torch.manual_seed(0)
    levels = {1: (1, 1, 2), 2: (1, 2), 4: (1,)}[patch]  # 4 times fewer rows and columns in all of them
    vae = VAE(VAE.Config(label_dim=0, model_channels=16, channel_mult=levels, num_layers_per_block=1, patch=patch))
    x, position = unit(2, 2, 16, 32), torch.linspace(-1.7, 1.7, 16)
    posterior = vae.encode(x, position=position, conditioning=Conditioning())
    assert vae.downsampling == 4
    assert posterior.mode.shape == (2, 4, 4, 8) == (2, *vae.latent_shape((2, 16, 32)))
    assert rms(posterior.mode) == pytest.approx(1, abs=0.3)
    output = vae.decode(posterior.mode, position=position, conditioning=Conditioning())
    assert output.shape == x.shape
    assert rms(output) == pytest.approx(1, abs=0.3)
    flipped = vae.encode(x, position=-position, conditioning=Conditioning())
    assert not torch.allclose(flipped.mode, posterior.mode, atol=1e-2)
