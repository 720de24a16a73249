"""Conditioners, and the adapter that tells a network what they say."""

from __future__ import annotations

import math

import pytest
import torch

from dualdiffusion.component import Component, component_from_json
from dualdiffusion.conditioners.beats import Beats
from dualdiffusion.conditioning import Conditioning, Span, concatenate
from dualdiffusion.config import InvalidPartError
from dualdiffusion.contracts import Backbone, Conditioner, ConditionerConfig
from dualdiffusion.controls import Control, check_controls, read_controls
from dualdiffusion.errors import UserError
from tests.dualdiffusion.test_contracts import parts
from tests.tiny import UNET

FACTS = {"beat": {"bpm": 120.0, "first": 0.25, "clarity": 0.5, "parts": [None, None]}}
SPAN = Span(start=1.0, columns=8, column_seconds=0.064)
TOLD = {
    "type": "conditioned.Conditioned",
    "backbone": UNET,
    "conditioners": {"tempo": {"type": "beats.Beats"}},
    "input_concat_ids": ["tempo"],
}
ALL = parts("dualdiffusion.conditioners")


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


# Every conditioner


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_a_conditioner_keeps_its_contract(part: Component) -> None:
    conditioner = part.build()
    assert isinstance(conditioner, Conditioner)
    assert isinstance(part.config, ConditionerConfig)
    control = part.config.control({"Castle": [FACTS, {}], "Cave": [{}]})
    assert control.low < control.high
    for values in (part.config.fact(FACTS, SPAN), part.config.asked(control.low, SPAN)):
        assert values.shape == (part.config.columns_told, SPAN.columns)
    assert part.config.fact({}, SPAN) is None
    values = torch.randn(2, part.config.columns_told, 8)
    untold = conditioner(values, torch.zeros(2))
    assert untold.shape == (2, conditioner.channels, 8)
    assert torch.equal(untold, conditioner(torch.zeros_like(values), torch.zeros(2)))
    assert not torch.equal(untold, conditioner(torch.zeros_like(values), torch.ones(2))), "told zeros are not untold"


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_what_is_told_of_a_part_is_that_part_of_what_is_told_of_the_whole(part: Component) -> None:
    whole = Span(0.5, 40, 0.064)
    later = Span(0.5 + 10 * 0.064, 20, 0.064)
    for tell in (lambda span: part.config.fact(FACTS, span), lambda span: part.config.asked(97.0, span)):
        assert torch.allclose(tell(whole)[:, 10:30], tell(later), atol=1e-5)


# The beat


def test_a_column_in_the_middle_of_a_beat_is_told_so_and_one_between_two_the_opposite() -> None:
    config = Beats.Config(multiples=1)
    on, between = (config.fact(FACTS, Span(start - 0.01, 1, 0.02))[:, 0] for start in (0.75, 1.0))
    assert on.tolist() == pytest.approx([math.sqrt(2), 0], abs=1e-5)
    assert between.tolist() == pytest.approx([-math.sqrt(2), 0], abs=1e-5)


def test_a_track_that_is_played_faster_has_its_beats_closer() -> None:
    faster = Beats.Config().fact(FACTS, Span(0.5, 8, 0.064, speed=1.25))
    assert torch.allclose(faster, Beats.Config().fact(FACTS, Span(0.625, 8, 0.08)), atol=1e-5)


def test_whole_numbers_of_beats_go_into_a_loop_and_its_end_goes_on_into_its_beginning() -> None:
    span = Span(0.0, 50, 0.064, circular=True)  # 3.2 s: 6.4 beats at 120
    told = Beats.Config(multiples=1).asked(120.0, span)
    period = 50 / 6
    angles = 2 * math.pi * (torch.arange(50) + 0.5) / period
    assert torch.allclose(told[0], math.sqrt(2) * angles.cos().float(), atol=1e-4)
    assert Beats.Config().asked(55.0, Span(0.0, 3, 0.064, circular=True)).isfinite().all()


def test_usual_tempi_are_those_of_the_games_and_move_smoothly_with_the_mix() -> None:
    def track(bpm: float) -> dict:
        return {"beat": {**FACTS["beat"], "bpm": bpm}}

    tracks = {"Castle": [track(b) for b in (100, 110, 120)], "Cave": [track(180)], "Still": [{}]}
    control = Beats.Config().control(tracks)
    assert control.usual["Castle"] == pytest.approx((100, 105, 110, 115, 120))
    assert "Still" not in control.usual
    assert control.usual_value({"Castle": 1}, 0.5) == pytest.approx(110)
    assert control.usual_value({"Castle": 1}, 1.0) == pytest.approx(120)
    assert control.usual_value({"Castle": 1, "Cave": 1}, 0.5) == pytest.approx(math.sqrt(110 * 180))
    assert control.usual_value({"Castle": 1, "Cave": -3, "Still": 2}, 0.5) == pytest.approx(110)
    assert control.usual_value({"Still": 1}, 0.5) is None
    again = read_controls({"controls": {"tempo": control.to_json()}}, "index")["tempo"]
    assert again == control


def test_a_control_that_is_not_there_or_out_of_range_is_one_line() -> None:
    known = {"tempo": Control("Tempo", "BPM", 55, 205)}
    check_controls({"tempo": 120.0}, known)
    check_controls({"tempo": None}, known)
    with pytest.raises(UserError, match=r"^controls\.tempi: this model has no such control; it has: tempo$"):
        check_controls({"tempi": 120.0}, known)
    with pytest.raises(UserError, match=r"told games alone$"):
        check_controls({"tempo": 120.0}, {})
    with pytest.raises(UserError, match=r"^controls\.tempo: must be from 55 to 205 BPM, not 300$"):
        check_controls({"tempo": 300.0}, known)
    with pytest.raises(UserError, match="damaged controls"):
        read_controls({"controls": {"tempo": {"label": "Tempo"}}}, "index")


# The adapter


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
        Conditioning(values={"tempo": values}).unconditional(),
    ):
        assert torch.equal(adapted(x, c_noise, conditioning=untold), silent)
    half = adapted(x, c_noise, conditioning=Conditioning(values={"tempo": values}, kept={"tempo": torch.eye(2)[0]}))
    assert torch.allclose(half, torch.stack([told[0], silent[1]]), atol=1e-5)


@torch.inference_mode()
def test_two_batches_as_one_are_told_what_each_was_told() -> None:
    adapted, (x, c_noise) = network(TOLD), inputs()
    told = Conditioning(torch.eye(3)[:2], values={"tempo": torch.randn(2, 4, 8)})
    both = adapted(torch.cat([x, x]), c_noise.repeat(2), conditioning=concatenate(told, told.unconditional()))
    apart = [adapted(x, c_noise, conditioning=c) for c in (told, told.unconditional())]
    assert torch.allclose(both, torch.cat(apart), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
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
    with pytest.raises(UserError, match="no such route"):
        component_from_json("dualdiffusion.models", {**TOLD, "backbone": vae}).build()
