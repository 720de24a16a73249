"""The adapter that tells a network what conditioners say, by each of its routes."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.component import Component, component_from_json
from dualdiffusion.conditioners.regions import Known
from dualdiffusion.conditioning import Conditioning, Tokens, concatenate
from dualdiffusion.config import Config, InvalidPartError
from dualdiffusion.contracts import Backbone
from dualdiffusion.errors import UserError
from dualdiffusion.models.conditioned import Conditioned
from tests.tiny import UNET, all_untold

TOLD = {
    "type": "conditioned.Conditioned",
    "backbone": UNET,
    "conditioners": {"tempo": {"type": "beats.Beats"}},
    "input_concat_ids": ["tempo"],
}


def network(config: dict, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    built = component_from_json("dualdiffusion.models", config).build().eval()
    for name, parameter in built.named_parameters():
        if name.endswith("gain"):
            torch.nn.init.constant_(parameter, 0.5)
    return built


def inputs(batch: int = 2, columns: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 4, 4, columns, generator=generator), torch.linspace(-1, 1, batch)


@torch.inference_mode()
def test_without_conditioners_the_adapter_is_the_network_bit_for_bit() -> None:
    bare, adapted = network(UNET), network({"type": "conditioned.Conditioned", "backbone": UNET})
    adapted.backbone.load_state_dict(bare.state_dict())
    x, c_noise = inputs()
    told = Conditioning(torch.eye(3)[:2])
    assert torch.equal(adapted(x, c_noise, conditioning=told), bare(x, c_noise, conditioning=told))


@torch.inference_mode()
def test_what_is_told_changes_the_estimate_and_what_is_untold_does_not() -> None:
    adapted, (x, c_noise) = network(TOLD), inputs()
    assert isinstance(adapted, Backbone)
    values = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(2))
    silent = adapted(x, c_noise, conditioning=Conditioning())
    told = adapted(x, c_noise, conditioning=Conditioning(values={"tempo": values}))
    assert not torch.allclose(silent, told, atol=1e-3)
    for untold in (
        Conditioning(values={"tempo": values}, kept={"tempo": torch.zeros(2)}),
        all_untold(Conditioning(values={"tempo": values})),
    ):
        assert torch.equal(adapted(x, c_noise, conditioning=untold), silent)
    half = adapted(x, c_noise, conditioning=Conditioning(values={"tempo": values}, kept={"tempo": torch.eye(2)[0]}))
    assert torch.allclose(half, torch.stack([told[0], silent[1]]), atol=1e-5)


@torch.inference_mode()
def test_two_batches_as_one_are_told_what_each_was_told() -> None:
    adapted, (x, c_noise) = network(TOLD), inputs()
    told = Conditioning(torch.eye(3)[:2], values={"tempo": torch.randn(2, 4, 8)})
    both = adapted(torch.cat([x, x]), c_noise.repeat(2), conditioning=concatenate(told, all_untold(told)))
    apart = [adapted(x, c_noise, conditioning=c) for c in (told, all_untold(told))]
    assert torch.allclose(both, torch.cat(apart), atol=1e-5)


PLACED = {
    "type": "conditioned.Conditioned",
    "backbone": UNET,
    "conditioners": {
        "place": {"type": "numbers.Number"},
        "who": {"type": "mixes.Mix", "names": ["Ada", "Bo"]},
        "loudness": {"type": "curves.Curve"},
    },
    "global_cond_ids": ["place"],
    "cross_attention_cond_ids": ["who", "loudness"],
    "token_channels": 8,
}
VALUES = {"place": torch.rand(2, 1, 1).expand(-1, -1, 8), "who": torch.eye(2)[..., None].expand(-1, -1, 8)}
VALUES["loudness"] = torch.linspace(-1, 1, 16).view(2, 1, 8)


@pytest.mark.parametrize("told", ["place", "who", "loudness"])
@torch.inference_mode()
def test_by_every_route_what_is_told_counts_and_what_is_untold_does_not(told: str) -> None:
    adapted, (x, c_noise) = network(PLACED), inputs()
    others = {name: value for name, value in VALUES.items() if name != told}
    every = adapted(x, c_noise, conditioning=Conditioning(values=VALUES))
    less = adapted(x, c_noise, conditioning=Conditioning(values=others))
    assert not torch.allclose(every, less, atol=1e-4)
    changed = {**VALUES, told: VALUES[told] + 5}
    untold = Conditioning(values=changed).without([told])
    assert torch.equal(adapted(x, c_noise, conditioning=untold), less), "bit for bit: masks are honoured"
    silent = adapted(x, c_noise, conditioning=Conditioning())
    assert torch.equal(silent, adapted(x, c_noise, conditioning=all_untold(Conditioning(values=VALUES))))
    both = adapted(x, c_noise, conditioning=Conditioning(values=VALUES, kept={told: torch.eye(2)[0]}))
    assert torch.allclose(both, torch.stack([every[0], less[1]]), atol=1e-5)


class Sequence(torch.nn.Module):
    """A network that has no other route than what stands before its sequence, and gives that."""

    class Config(Config):
        prepend_channels: int = 0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.channels = config.prepend_channels

    def forward(self, x: torch.Tensor, c_noise: torch.Tensor, *, conditioning: Conditioning, position: None) -> Tokens:
        assert conditioning.prepend.values.shape[2] == self.channels
        return conditioning.prepend


@torch.inference_mode()
def test_before_a_sequence_stands_a_token_for_all_and_then_those_of_each_thing_told() -> None:
    ids, conditioners = ("place", "who", "loudness"), PLACED["conditioners"]
    backbone = Component(Sequence, Sequence.Config())
    config = Conditioned.Config(backbone=backbone, conditioners=conditioners, prepend_cond_ids=ids, token_channels=8)
    adapted, (x, c_noise) = Conditioned(config), inputs()
    tokens = adapted(x, c_noise, conditioning=Conditioning(values=VALUES).without(["who"]))
    assert tokens.values.shape == (2, 1 + 1 + 1 + 8, 8), "one for each column of what changes along time"
    assert tokens.mask[0].tolist() == [True, True, False, *[True] * 8]


def test_what_is_told_by_any_route_has_a_gradient() -> None:
    adapted, (x, c_noise) = network(PLACED), inputs()
    adapted(x, c_noise, conditioning=Conditioning(values=VALUES)).square().mean().backward()
    for name in ("backbone.told_embedding", "tokens.cross_attention_cond_ids.who", "first_tokens"):
        of = [p.grad for key, p in adapted.named_parameters() if key.startswith(name)]
        assert of, name
        assert all(grad is not None and grad.any() for grad in of), name


@torch.inference_mode()
def test_a_new_network_with_routes_begins_as_one_without_tokens() -> None:
    torch.manual_seed(0)
    bare = component_from_json("dualdiffusion.models", UNET).build()
    cross = {**PLACED, "global_cond_ids": [], "cross_attention_cond_ids": ["place", "who", "loudness"]}
    adapted = component_from_json("dualdiffusion.models", cross).build()
    missing = adapted.backbone.load_state_dict(bare.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all("told" in key for key in missing.missing_keys)
    for module in (bare, adapted.backbone):
        torch.nn.init.constant_(module.output_gain, 0.5)
    x, c_noise = inputs()
    told = Conditioning(values=VALUES)
    assert torch.equal(adapted.eval()(x, c_noise, conditioning=told), bare.eval()(x, c_noise, conditioning=told))


@torch.inference_mode()
def test_adapters_stack_and_each_tells_what_is_its_own() -> None:
    inner = {**TOLD, "backbone": UNET}
    outer = {**PLACED, "backbone": inner}
    outer["conditioners"] = {**PLACED["conditioners"], "known": {"type": "regions.Known"}}
    outer["input_concat_ids"] = ["known"]
    stacked, (x, c_noise) = network(outer), inputs()
    assert set(stacked.told) == {"tempo", "place", "who", "loudness", "known"}
    known = Known.Config().told(torch.randn(2, 4, 4, 8), torch.ones(1, 8))
    values = {**VALUES, "tempo": torch.randn(2, 4, 8), "known": known}
    every = stacked(x, c_noise, conditioning=Conditioning(values=values))
    for name in values:
        less = stacked(x, c_noise, conditioning=Conditioning(values=values).without([name]))
        assert not torch.allclose(every, less, atol=1e-5), name
    nothing = {"type": "conditioned.Conditioned", "backbone": outer}
    wrapped = network(nothing)
    wrapped.backbone.load_state_dict(stacked.state_dict())
    assert torch.equal(wrapped(x, c_noise, conditioning=Conditioning(values=values)), every)
    with pytest.raises(InvalidPartError) as refused:
        component_from_json("dualdiffusion.models", {**TOLD, "backbone": inner})
    assert "is told 'tempo' too" in str(refused.value.error)


@torch.inference_mode()
def test_what_is_untold_in_one_pass_of_guidance_stays_told_in_the_other() -> None:
    told = Conditioning(torch.eye(3)[:2], values=VALUES)
    assert set(told.ids) == {"games", *VALUES}
    both = concatenate(told, told.without(["who"]))
    assert both.kept["place"].tolist() == [1, 1, 1, 1]
    assert both.kept["who"].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"global_cond_ids": ["tempi"]}, "global_cond_ids: no conditioner 'tempi'; there are: tempo"),
        (
            {"conditioners": {"tempo": {"type": "regions.Known"}}, "prepend_cond_ids": ["tempo"]},
            "prepend_cond_ids: 'tempo' tells each row its own",
        ),
        ({"input_concat_ids": ["temp"]}, "no conditioner 'temp'; there are: tempo"),
        ({"input_concat_ids": []}, "'tempo' has no route"),
        ({"input_concat_ids": ["tempo", "tempo"]}, "twice"),
    ],
)
def test_routes_that_make_no_sense_are_one_line(changes: dict, said: str) -> None:
    with pytest.raises(InvalidPartError) as refused:
        component_from_json("dualdiffusion.models", {**TOLD, **changes})
    assert said in str(refused.value.error)


def test_a_network_without_the_route_is_told_so() -> None:
    vae = {"type": "vae_edm2.VAE", "model_channels": 4, "channel_mult": [1]}
    with pytest.raises(UserError, match=r"input_concat_ids: vae_edm2\.VAE has no such route; .*unet_edm2\.UNet.* has"):
        component_from_json("dualdiffusion.models", {**TOLD, "backbone": vae}).build()
    prepended = {**TOLD, "prepend_cond_ids": ["tempo"]}
    with pytest.raises(UserError, match=r"prepend_cond_ids: unet_edm2\.UNet has no such route; .* has$"):
        component_from_json("dualdiffusion.models", prepended).build()
