"""Conditioners: each by its contract, and what each tells."""

from __future__ import annotations

import json
import math

import pytest
import torch

from dualdiffusion.component import Component
from dualdiffusion.conditioners.beats import Beats
from dualdiffusion.conditioners.curves import Curve
from dualdiffusion.conditioners.keys import KeyRows
from dualdiffusion.conditioners.mixes import Key, Mix
from dualdiffusion.conditioners.numbers import Number
from dualdiffusion.conditioners.regions import Known
from dualdiffusion.conditioning import Conditioning, Span
from dualdiffusion.contracts import Conditioner, ConditionerConfig
from dualdiffusion.controls import (
    AnyControl,
    Asked,
    Control,
    CurveControl,
    MixControl,
    SourceControl,
    check_controls,
    control_from_json,
    read_controls,
)
from dualdiffusion.dsp.key import A4, KEYS
from dualdiffusion.errors import UserError
from dualdiffusion.nn.blocks import LabelEmbedding
from tests.dualdiffusion.test_contracts import parts

FACTS = {
    "beat": {"bpm": 120.0, "first": 0.25, "clarity": 0.5, "parts": [None, None]},
    "key": {"name": "A minor", "clarity": 0.3},
    "loudness": {"step": 0.5, "values": [0.0, -6.0, -12.0, 3.0]},
    "brightness": {"step": 0.5, "values": [0.0, 1.0]},
    "composer": "Ada; Bo",
    "year": 1991,
    "seconds": 4.0,
    "game": "Castle",
}
SPAN = Span(start=1.0, columns=8, column_seconds=0.064)


def _complete(part: Component) -> Component:
    """With the names that a dataset would give."""
    names = {"names": ("Ada", "Bo", "Cy")} if getattr(part.config, "names", ()) is None else {}
    return Component(part.cls, part.config.model_copy(update=names))


EVERY = [_complete(part) for part in parts("dualdiffusion.conditioners")]
ALL = [part for part in EVERY if not part.config.of_latents]


def example(control: AnyControl, value: float = 0.5) -> Asked:
    """Something that one may ask for."""
    if isinstance(control, MixControl):
        return {control.names[0]: 1.0, control.names[1]: -0.5}
    return min(max(value, control.low), control.high)


# Every conditioner


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_a_conditioner_keeps_its_contract(part: Component) -> None:
    conditioner = part.build()
    assert isinstance(conditioner, Conditioner)
    assert isinstance(part.config, ConditionerConfig)
    control = part.config.control({"Castle": [FACTS, {}], "Cave": [{}]})
    assert control.wrong(example(control)) is None
    assert control_from_json(json.loads(json.dumps(control.to_json()))) == control
    for values in (part.config.fact_at(FACTS, SPAN), part.config.asked(example(control), SPAN)):
        assert values.shape == (part.config.columns_told, SPAN.columns)
    assert part.config.fact_at({}, SPAN) is None
    values = torch.randn(2, part.config.columns_told, 8)
    if not part.config.along_time:
        values = values[..., :1].expand_as(values)
    untold = conditioner(values, torch.zeros(2))
    assert untold.shape[:2] == (2, conditioner.channels)
    assert untold.shape[-1] == 8
    assert (untold.ndim == 4) == part.config.along_rows
    assert torch.equal(untold, conditioner(torch.zeros_like(values), torch.zeros(2)))
    assert not torch.equal(untold, conditioner(torch.zeros_like(values), torch.ones(2))), "told zeros are not untold"


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_what_is_told_of_a_part_is_that_part_of_what_is_told_of_the_whole(part: Component) -> None:
    whole = Span(0.5, 40, 0.064, length=4.0)
    later = Span(0.5 + 10 * 0.064, 20, 0.064, length=4.0)
    value = example(part.config.control({}), 97.0)
    for tell in (lambda span: part.config.fact_at(FACTS, span), lambda span: part.config.asked(value, span)):
        assert torch.allclose(tell(whole)[:, 10:30], tell(later), atol=1e-5)


# The beat


def test_a_column_in_the_middle_of_a_beat_is_told_so_and_one_between_two_the_opposite() -> None:
    config = Beats.Config(multiples=1)
    on, between = (config.fact_at(FACTS, Span(start - 0.01, 1, 0.02))[:, 0] for start in (0.75, 1.0))
    assert on.tolist() == pytest.approx([math.sqrt(2), 0], abs=1e-5)
    assert between.tolist() == pytest.approx([-math.sqrt(2), 0], abs=1e-5)


def test_a_track_that_is_played_faster_has_its_beats_closer() -> None:
    faster = Beats.Config().fact_at(FACTS, Span(0.5, 8, 0.064, speed=1.25))
    assert torch.allclose(faster, Beats.Config().fact_at(FACTS, Span(0.625, 8, 0.08)), atol=1e-5)


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
    with pytest.raises(UserError, match=r"^controls\.tempo: must be from 55 to 205 BPM, not \"fast\"$"):
        check_controls({"tempo": "fast"}, known)
    more = {"who": MixControl("Composer", ("Ada", "Bo")), "how loud": CurveControl("Loudness", "dB", -24, 12)}
    check_controls({"who": "Ada", "how loud": (0.0, -12.0)}, more)
    check_controls({"who": {"Ada": 1.0, "Bo": -1.0}, "how loud": -3.0}, more)
    for asked, said in (
        ({"who": "Adda"}, 'must be among Ada, not "Adda"'),
        ({"who": {"Ada": 0.0}}, "must be a name, or weights of names that are not all 0"),
        ({"how loud": (0.0, 40.0)}, r"must be a number or a list of numbers from -24 to 12 dB, not \[0\.0, 40\.0\]"),
        ({"how loud": ()}, "must be a number or a list"),
    ):
        with pytest.raises(UserError, match=said):
            check_controls(asked, more)
    with pytest.raises(UserError, match="can only be null"):
        check_controls({"known": 1.0}, {"known": SourceControl("Known parts")})
    with pytest.raises(UserError, match="damaged controls"):
        read_controls({"controls": {"tempo": {"label": "Tempo"}}}, "index")


# Numbers, mixes, curves and regions


def test_a_number_is_told_in_its_range_and_a_place_goes_on_from_column_to_column() -> None:
    place = Number.Config()
    assert torch.allclose(place.fact_at(FACTS, Span(1.0, 2, 1.0))[0], torch.tensor([1.5 / 4, 2.5 / 4]))
    assert place.fact_at(FACTS, Span(3.0, 4, 1.0))[0, -1] == 1, "silence after the end is the end"
    assert place.control({"Castle": [FACTS]}).usual == {}, "no place is usual"
    # Played twice as fast, a track is half as long and its tempo is doubled.
    twice = Span(0.0, 1, 0.1, speed=2.0)
    length = Number.Config(fact="seconds_total", low=0.0, high=8.0)
    assert length.fact_at(FACTS, twice).tolist() == [[0.25]]
    tempo = Number.Config(fact="tempo", low=60.0, high=240.0, logarithmic=True)
    assert tempo.fact_at(FACTS, twice).tolist() == [[1.0]]
    assert tempo.asked(120.0, SPAN)[0, 0] == pytest.approx(0.5)
    assert tempo.control({"Castle": [FACTS], "Cave": [{}]}).usual == {"Castle": (120.0,) * 5}
    assert Number.Config(fact="year", low=1980, high=2000).fact_at(FACTS, SPAN)[0, 0] == pytest.approx(0.55)
    assert Number.Config(fact="year", low=1980, high=2000).fact_at({}, SPAN) is None


def test_numbers_that_differ_are_told_differently_and_close_ones_alike() -> None:
    number = Number(Number.Config())
    told = number(torch.linspace(0, 1, 101)[:, None, None], torch.ones(101))[..., 0]
    distances = torch.cdist(told, told)
    assert float((distances + torch.eye(101)).min()) > 0.05
    assert float(distances.diagonal(1).max()) < 1.5
    assert float(told[:, :-1].square().mean()) == pytest.approx(1, abs=0.15), "inputs have unit variance"


def test_a_mix_of_games_is_what_the_label_embedding_makes_of_it_bit_for_bit() -> None:
    games = ("Castle", "Cave", "Circuit")
    embedding = LabelEmbedding(3, 8)
    mix = Mix(Mix.Config(fact="game", names=games))
    for weights in ({"Castle": 1.0}, {"Castle": 3.0, "Cave": 1.0}, {"Cave": 1.0, "Circuit": -2.0}):
        row = mix.config.asked(weights, Span(0.0, 1, 1.0))
        for kept in (torch.ones(1), torch.zeros(1)):
            told = embedding.vectors(mix(row[None], kept)[..., 0])
            assert torch.equal(told, embedding(Conditioning(row.T, kept), torch.zeros(1, 8)))
    assert torch.equal(mix.config.asked("Cave", SPAN), mix.config.asked({"Cave": 5.0}, SPAN))
    assert torch.equal(mix.config.fact_at(FACTS, SPAN), mix.config.asked("Castle", SPAN))


def test_names_come_from_the_dataset_and_what_is_not_among_them_is_untold() -> None:
    config = Mix.Config().settled([FACTS, {"composer": "Cy"}, {}])
    assert config.names == ("Ada", "Bo", "Cy")
    assert config.fact_at(FACTS, SPAN)[:, 0].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0])
    assert config.fact_at({"composer": "Di"}, SPAN) is None
    assert config.settled([]) == config
    with pytest.raises(ValueError, match="null"):
        Mix(Mix.Config())


def test_a_track_that_is_played_higher_is_in_another_key() -> None:
    key = Key.Config()

    def told(semitones: float) -> str | None:
        row = key.fact_at(FACTS, Span(0.0, 1, 0.1, speed=2 ** (semitones / 12)))
        return None if row is None else key.names[int(row.argmax())]

    assert [told(semitones) for semitones in (0, 3, -1, 0.5)] == ["A minor", "C minor", "G# minor", None]
    assert key.fact_at({"key": {"name": "A minor", "clarity": 0.0}}, SPAN) is None


def test_a_curve_tells_each_column_its_moment_and_points_are_joined_by_lines() -> None:
    curve = Curve.Config(low=-12.0, high=12.0)
    scale = 3**0.5 / 12
    # The middles of the steps are at 0.25 s, 0.75 s, ...: -6 dB is told at 0.75 s.
    at = curve.fact_at(FACTS, Span(0.5, 1, 0.5))
    assert float(at) == pytest.approx(-6 * scale)
    assert float(curve.fact_at(FACTS, Span(0.25, 1, 0.5))) == pytest.approx(-3 * scale)
    line = curve.asked((0.0, 12.0), Span(0.0, 4, 1.0))[0] / scale
    assert line.tolist() == pytest.approx([1.5, 4.5, 7.5, 10.5])
    assert curve.asked(3.0, Span(0.0, 4, 1.0)).unique().tolist() == pytest.approx([3 * scale])
    loop = curve.asked((0.0, 12.0), Span(0.0, 4, 1.0, circular=True))[0] / scale
    assert loop.tolist() == pytest.approx([3, 9, 9, 3])
    brighter = Curve.Config(fact="brightness", low=-4.0, high=4.0)
    once, twice = (brighter.fact_at(FACTS, Span(0.2 / speed, 1, 0.1 / speed, speed)) for speed in (1.0, 2.0))
    assert float(twice - once) == pytest.approx(3**0.5 / 4), "an octave higher"


def test_random_regions_leave_out_beginnings_ends_and_middles_and_tell_the_rest_as_it_is() -> None:
    config, latents = Known.Config(), torch.randn(64, 4, 2, 16)
    kind, first, second = torch.rand(3, 64, generator=torch.Generator().manual_seed(0))
    told = config.drawn(latents, kind, first, second)
    mask = told[:, -1, 0]
    assert torch.equal(told[:, :4], latents * mask[:, None, None])
    assert not mask[kind >= 0.8].any()
    unknown = 1 - mask
    middle, end, beginning = kind < 0.4, (kind >= 0.4) & (kind < 0.6), (kind >= 0.6) & (kind < 0.8)
    for of, edges in ((middle, ()), (end, (-1,)), (beginning, (0,))):
        assert of.any()
        assert float(mask[of].sum(1).max()) > 0
        for row in unknown[of]:
            assert int((row[1:] != row[:-1]).sum()) <= 2, "one region"
            assert all(not row.any() or row[edge] for edge in edges)


# Keys along rows


def test_each_row_is_told_which_of_its_bands_hold_the_keys_notes() -> None:
    octaves = tuple(tuple(A4 * 2 ** (octave + step / 12) for step in range(12)) for octave in range(2))
    notes = KeyRows(KeyRows.Config(row_bands=octaves))
    told = notes(notes.config.asked("A major", Span(0.0, 3, 0.064))[None], torch.ones(1))
    assert told.shape == (1, 13, 2, 3)
    assert torch.allclose(told[..., 0, :], told[..., 1, :], atol=1e-5), "all octaves are alike"
    tonic, above, fifth = told[0, [0, 1, 7], 0, 0].tolist()
    assert tonic > fifth > 0 > above, "A and E are in A major, B flat is not"
    assert bool((told[0, 12] == 1).all())


def test_a_key_that_is_so_many_semitones_higher_has_all_its_notes_so_much_higher() -> None:
    bands = tuple(A4 * 2 ** (step / 12) for step in range(13))
    notes = KeyRows(KeyRows.Config(row_bands=(bands,)))
    for mode in ("major", "minor"):
        a, b_flat = (notes(notes.config.asked(f"{tonic} {mode}", SPAN)[None], torch.ones(1)) for tonic in ("A", "A#"))
        assert torch.allclose(a[0, :12, 0], b_flat[0, 1:13, 0], atol=1e-6)


def test_relative_keys_are_told_alike_and_distant_ones_the_opposite_way() -> None:
    notes = KeyRows(KeyRows.Config())
    told = {key: notes.fits[KEYS.index(key)].flatten() for key in ("C major", "A minor", "G major", "F# major")}

    def like(other: str) -> float:
        return float(torch.corrcoef(torch.stack([told["C major"], told[other]]))[0, 1])

    assert like("A minor") > 0.5
    assert like("G major") > 0.4
    assert like("F# major") < -0.3
    assert float(notes.fits.square().mean()) == pytest.approx(1), "inputs have unit variance"


def test_without_frequencies_a_key_cannot_be_told_by_rows() -> None:
    with pytest.raises(ValueError, match=r"row_bands: .*mixes\.Key"):
        KeyRows(KeyRows.Config(row_bands=((0.0,),)))
    with pytest.raises(ValueError, match=r"row_bands"):
        KeyRows.Config(row_bands=((100.0, 200.0), (300.0,)))


def test_names_that_are_no_keys_are_refused_with_the_nearest() -> None:
    for conditioner in (Key, KeyRows):
        with pytest.raises(ValueError, match=r"'B minr' is no key; nearest: B minor"):
            conditioner.Config(names=("A minor", "B minr"))


def test_a_place_is_asked_for_as_a_part_of_a_track_of_usual_length() -> None:
    place = Number.Config(track_seconds=40.0)
    span = Span(0.0, 10, 0.8, length=8.0)
    start, end = (place.asked(value, span)[0] for value in (0.0, 1.0))
    assert start.tolist() == pytest.approx([(k + 0.5) * 0.8 / 40 for k in range(10)])
    assert (end - start).tolist() == pytest.approx([0.8] * 10)
    longer = place.asked(0.5, Span(0.0, 10, 8.0, length=80.0))[0]
    assert longer[[0, -1]].tolist() == pytest.approx([0.05, 0.95]), "a longer clip is the whole track"
    loop = place.asked(0.3, Span(0.0, 10, 0.8, circular=True))
    assert loop.unique().tolist() == pytest.approx([0.3]), "a loop has no beginning"
