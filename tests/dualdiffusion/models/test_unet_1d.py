"""The U-Net in one dimension, and raw audio folded into its channels."""

from __future__ import annotations

import math

import pytest
import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import InvalidPartError
from dualdiffusion.formats.waveform import Waveform
from tests.tiny import all_untold

COLUMNS = 16
UNET = {
    "type": "unet_1d.UNet1D",
    "in_channels": 4,
    "label_dim": 3,
    "model_channels": 8,
    "channel_mult": [1, 2],
    "strides": [4],
    "attn_levels": [1],
    "channels_per_head": 8,
    "norm_groups": 4,
    "noise_channels": 8,
}
TOLD = {
    "type": "conditioned.Conditioned",
    "backbone": UNET,
    "conditioners": {
        "place": {"type": "numbers.Number"},
        "who": {"type": "mixes.Mix", "names": ["Ada", "Bo"]},
        "loudness": {"type": "curves.Curve"},
    },
    "input_concat_ids": ["loudness"],
    "global_cond_ids": ["place"],
    "cross_attention_cond_ids": ["who"],
    "token_channels": 8,
}
VALUES = {
    "place": torch.rand(2, 1, 1).expand(-1, -1, COLUMNS),
    "who": torch.eye(2)[..., None].expand(-1, -1, COLUMNS),
    "loudness": torch.linspace(-1, 1, 2 * COLUMNS).view(2, 1, COLUMNS),
}


def network(config: dict, seed: int = 0) -> torch.nn.Module:
    """With none of its weights at 0, where conditions and blocks do nothing yet."""
    torch.manual_seed(seed)
    built = component_from_json("dualdiffusion.models", config).build().eval()
    for parameter in built.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return built


def inputs(rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, rows, COLUMNS, generator=generator), torch.linspace(-1, 1, 2)


@pytest.mark.parametrize(("channels", "patch"), [(1, 32), (2, 4), (2, 1)])
def test_samples_are_folded_in_their_order_and_come_back_bit_for_bit(channels: int, patch: int) -> None:
    format = Waveform(Waveform.Config(num_channels=channels, patch=patch))
    audio = torch.randn(3, channels, 5 * patch + patch - 1)
    x = format.encode(audio)
    assert x.shape == (3, *format.sample_shape(5)) == (3, channels * patch, 1, 5)
    assert torch.equal(x[:, :patch, 0, 2], audio[:, 0, 2 * patch : 3 * patch])
    assert torch.equal(format.decode(x), audio[..., : 5 * patch])


@torch.inference_mode()
def test_a_new_network_predicts_nothing_so_that_its_denoiser_is_the_best_linear_guess() -> None:
    x, c_noise = inputs()
    new = component_from_json("dualdiffusion.models", UNET).build()
    assert not new(x, c_noise, conditioning=Conditioning()).any()


@torch.inference_mode()
def test_noise_level_games_and_every_column_count() -> None:
    unet, (x, c_noise) = network(UNET), inputs()
    games = Conditioning(torch.eye(3)[:2])
    told = unet(x, c_noise, conditioning=games)
    assert not torch.allclose(told, unet(x, c_noise + 0.5, conditioning=games), atol=1e-3)
    silent = unet(x, c_noise, conditioning=Conditioning())
    assert not torch.allclose(told, silent, atol=1e-3)
    assert torch.equal(unet(x, c_noise, conditioning=all_untold(games)), silent)
    changed = x.clone()
    changed[..., 0] += 1
    assert not torch.allclose(unet(changed, c_noise, conditioning=games)[..., -1], told[..., -1], atol=1e-4)


@torch.inference_mode()
def test_rows_are_items_of_their_own_and_treated_alike() -> None:
    adapted, (x, c_noise) = network(TOLD), inputs(rows=3)
    told = Conditioning(torch.eye(3)[:2], values=VALUES)
    whole = adapted(x, c_noise, conditioning=told)
    for row in range(3):
        alone = adapted(x[:, :, row : row + 1], c_noise, conditioning=told)
        assert torch.allclose(whole[:, :, row : row + 1], alone, atol=1e-5)


@pytest.mark.parametrize("told", ["place", "who", "loudness"])
@torch.inference_mode()
def test_by_every_route_what_is_told_counts_and_what_is_untold_does_not(told: str) -> None:
    adapted, (x, c_noise) = network(TOLD), inputs()
    others = {name: value for name, value in VALUES.items() if name != told}
    every = adapted(x, c_noise, conditioning=Conditioning(values=VALUES))
    less = adapted(x, c_noise, conditioning=Conditioning(values=others))
    assert not torch.allclose(every, less, atol=1e-4)
    untold = Conditioning(values={**VALUES, told: VALUES[told] + 5}).without([told])
    assert torch.equal(adapted(x, c_noise, conditioning=untold), less), "bit for bit: masks are honoured"


@torch.inference_mode()
def test_attention_knows_how_far_apart_two_columns_are() -> None:
    """Without, the order of the columns of the level with attention alone would not matter to any one of them."""
    attention = network(UNET).middle[0].attention
    x = torch.randn(1, 16, 8)
    order = torch.tensor([0, 5, 3, 1, 7, 2, 6, 4])
    assert not torch.allclose(attention(x[..., order])[..., 0], attention(x)[..., 0], atol=1e-4)


def test_recomputed_activations_change_nothing_and_everything_is_trained() -> None:
    (x, c_noise), told = inputs(), Conditioning(torch.eye(3)[:2], values=VALUES)
    gradients = []
    for saving in (False, True):
        backbone = {**UNET, "activation_checkpointing": saving}
        adapted = network({**TOLD, "backbone": backbone}).train()
        adapted(x, c_noise, conditioning=told).square().mean().backward()
        gradients.append({name: p.grad for name, p in adapted.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strides": []}, "strides: 2 levels have 1"),
        ({"attn_levels": [2]}, "attn_levels: 2 is not a level; there are 2"),
        ({"norm_groups": 3}, "norm_groups: 8 channels do not divide into 3"),
    ],
)
def test_settings_that_make_no_network_are_one_line(changes: dict, said: str) -> None:
    with pytest.raises(InvalidPartError) as refused:
        component_from_json("dualdiffusion.models", {**UNET, **changes})
    assert said in str(refused.value.error)


def test_its_columns_are_a_multiple_of_all_strides_together() -> None:
    deep = {**UNET, "channel_mult": [1, 1, 1], "strides": [2, 3], "attn_levels": []}
    unet = network(deep)
    assert unet.size_multiple == math.prod(deep["strides"])
    x = torch.randn(1, 4, 1, 6)
    assert unet(x, torch.zeros(1), conditioning=Conditioning()).shape == x.shape
