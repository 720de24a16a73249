"""What the benchmark of telling hears: a model that does what it is told, and one that does always the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from dualdiffusion.audio import write_flac
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.dsp.curves import interpolated
from dualdiffusion.dsp.key import MAJOR, MINOR, TONICS
from sampling.request import Request
from tests.benchmarks.telling import Listener, PlaceEar, key_of_corpus, rank_correlation
from tests.dualdiffusion.dsp.test_beat import clicks, regular

RATE, SECONDS = 8000, 8.0
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
START, END = 300.0, 1500.0  # Hz


def tone(hertz: float, loudness: float = 1.0) -> Tensor:
    return loudness * torch.sin(2 * torch.pi * hertz * torch.arange(round(SECONDS * RATE)) / RATE)


def noise(seed: int = 0) -> Tensor:
    return torch.randn(round(SECONDS * RATE), generator=torch.Generator().manual_seed(seed))


def scale(key: str) -> Tensor:
    """The notes of a key, each as loud as it fits, and the tonic louder."""
    tonic, mode = key.split()
    fits = MAJOR if mode == "major" else MINOR
    levels = [fits[step] ** (3 if step == 0 else 2) for step in SCALES[mode]]
    pitches = [523.25 * 2 ** ((TONICS.index(tonic) + step) / 12) for step in SCALES[mode]]
    return sum(map(tone, pitches, levels))


class Model:
    """Answers every request with the sound that was asked for, or with what it always makes."""

    labels = SimpleNamespace(names=["Castle", "Cave"])
    sample_rate = RATE

    def __init__(self, always: dict[str, object] | None = None) -> None:
        self.always = always

    def generate(self, request: Request) -> SimpleNamespace:
        controls = request.controls if self.always is None else self.always
        latents = torch.full((1, 2, 4), 1.0 if "known" in controls else 0.5)
        if request.source and request.strength == 0:
            latents = torch.zeros(1, 2, 4)
        return SimpleNamespace(audio=self.sound(controls)[None].expand(2, -1), latents=latents)

    def sound(self, controls: dict[str, object]) -> Tensor:
        if "tempo" in controls:
            return clicks(regular(controls["tempo"], 0.2, SECONDS), SECONDS, RATE)[0]
        if "key" in controls:
            return scale(controls["key"])
        if "place" in controls:
            return tone(END if controls["place"] else START) + noise()
        if "loudness" in controls:
            points = torch.tensor(controls["loudness"], dtype=torch.float64)
            place = torch.linspace(0, len(points) - 1, round(SECONDS * RATE), dtype=torch.float64)
            return noise() * 10 ** (interpolated(points, place).float() / 20)
        return noise()


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> list[Track]:
    """Begin low and end high."""
    folder, found = tmp_path_factory.mktemp("tracks"), []
    for number in range(2):
        sound = 0.1 * torch.cat([tone(START) + noise(2 * number + 1), tone(END) + noise(2 * number + 2)])
        write_flac(folder / f"{number}.flac", sound[None].expand(2, -1), RATE)
        found.append(SimpleNamespace(path=folder / f"{number}.flac", seconds=2 * SECONDS, game="Castle"))
    return found


def test_of_a_model_that_does_what_it_is_told_every_figure_is_as_good_as_can_be(tracks: list[Track]) -> None:
    listener = Listener(Model(), 6)
    assert listener.tempo() > 0.9
    ear = PlaceEar(tracks, SECONDS, RATE)
    assert listener.place(ear) == ear.of_corpus(tracks) == 1
    assert listener.loudness() > 0.95
    assert listener.key() == 1
    assert listener.gaps(tracks) == pytest.approx(0.25), "half the error, squared"


def test_of_a_model_that_is_told_in_vain_every_figure_is_as_bad_as_chance(tracks: list[Track]) -> None:
    assert Listener(Model({"tempo": 120.0}), 6).tempo() == 0
    assert Listener(Model({}), 6).tempo() == 0, "no beat at all"
    assert Listener(Model({"place": 1.0}), 6).place(PlaceEar(tracks, SECONDS, RATE)) == 0, "all alike"
    assert abs(Listener(Model({}), 6).loudness()) < 0.5
    assert Listener(Model({"key": "C major"}), 24).key() == pytest.approx(2 / 24), "C major, and A minor"
    assert Listener(Model({}), 2).gaps(tracks, {"known": 2.5}) == 1


def test_excerpts_of_the_corpus_are_heard_in_the_key_of_their_track_or_not(tmp_path: Path) -> None:
    found = []
    for name, key in (("right", "D major"), ("wrong", "E minor"), ("unknown", None)):
        write_flac(tmp_path / f"{name}.flac", 0.01 * scale("D major").repeat(2)[None].expand(2, -1), RATE)
        facts = {} if key is None else {"key": {"name": key}}
        found.append(SimpleNamespace(path=tmp_path / f"{name}.flac", seconds=2 * SECONDS, all_facts=facts))
    assert key_of_corpus(found, SECONDS, RATE) == 0.5


def test_rank_correlation_is_spearmans_and_equal_values_share_a_rank() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 30, 20, 40]) == pytest.approx(0.8)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [5, 5, 5]) == 0
    assert rank_correlation([1, 2, 3, 4], [0, 0, 7, 7]) == pytest.approx(2 / 5**0.5)
