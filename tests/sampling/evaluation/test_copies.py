"""Copies of training tracks are found, and other music is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dataset_processing.synth.corpus import compose_track
from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import Track
from sampling.evaluation.copies import CopySearch, Match
from sampling.evaluation.measures import ClipFeatures, copy_figures
from tests.sampling.evaluation.draws import features_of, seeded

RATE = 16000


def music(game: str, number: int, seconds: float = 20) -> Tensor:
    return torch.from_numpy(compose_track(game, number, seconds=seconds, seed=0, sample_rate=RATE).audio)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> list[Track]:
    """A long track, of more than one block, among short ones of the built-in corpus."""
    folder, made = tmp_path_factory.mktemp("music"), []
    for game, number, seconds in (("Castle", 1, 20), ("Cave", 1, 20), ("Cave", 2, 70)):
        samples = music(game, number, seconds)
        path = folder / f"{game}{number}.flac"
        audio.write_flac(path, samples, RATE)
        made.append(Track(path, path.name, game, 0, samples.shape[1] / RATE, RATE, 2))
    return made


def test_copies_are_found_behind_noise_gain_and_offset_and_other_music_is_not(tracks: list[Track]) -> None:
    search, length = CopySearch(RATE, 6.0), 6 * RATE
    source, _ = audio.read(tracks[2].path)
    noise = 0.02 * torch.randn(2, length, generator=seeded())
    places = (3.137, 30.71, 52.5)
    copies = [0.5 * source[:, int(at * RATE) :][:, :length] + noise for at in places]
    partly = torch.cat([music("Castle", 5)[:, : 2 * RATE], source[:, 40 * RATE : 44 * RATE]], dim=1)
    others = [music(game, 3)[:, at * RATE :][:, :length] for game in ("Castle", "Cave", "Circuit") for at in (1, 8)]
    matches = search.find([search.patches(clip) for clip in [*copies, partly, *others]], tracks)
    highest = max(match.score for match in matches[4:])
    for place, match in zip(places, matches[:3], strict=True):
        assert match.score > highest + 0.2
        assert match.track is tracks[2]
        assert match.track_seconds - match.clip_seconds == pytest.approx(place, abs=0.05)
    assert matches[3].score > highest + 0.2
    assert matches[3].track_seconds - matches[3].clip_seconds == pytest.approx(38, abs=0.05)


def test_a_correlation_is_that_of_its_definition(tracks: list[Track]) -> None:
    search = CopySearch(RATE, 4.0)
    source, _ = audio.read(tracks[1].path)
    clip = music("Cave", 4)[:, : 4 * RATE]
    (match,) = search.find([search.patches(clip)], [tracks[1]])
    bands, patch = search._bands(source).double(), search.patches(clip)[0].double()
    windows = bands.unfold(1, patch.shape[1], 1).transpose(0, 1)
    windows = windows - windows.mean(dim=2, keepdim=True)
    expected = (windows * patch).sum(dim=(1, 2)) / windows.square().sum(dim=(1, 2)).sqrt()
    assert match.score == pytest.approx(float(expected.max()), abs=1e-3)
    assert match.track_seconds == pytest.approx(int(expected.argmax()) * search.hop / RATE, abs=0.07)


def test_silence_is_no_copy_of_anything(tracks: list[Track]) -> None:
    search = CopySearch(RATE, 4.0)
    (match,) = search.find([search.patches(torch.zeros(2, 4 * RATE))], tracks)
    assert match.score == pytest.approx(0, abs=1e-6)


def test_what_is_flagged_is_more_alike_than_all_validation_clips(tracks: list[Track]) -> None:
    def pairs(scores: list[float], name: str = "clip") -> list[tuple[ClipFeatures, Match]]:
        clips = features_of(torch.zeros(len(scores), 1, 1), name=name)
        return list(zip(clips, [Match(score, tracks[0], 1.0, 0.0) for score in scores], strict=True))

    known = pairs([0.9, 0.9, 0.2], tracks[0].file_name) + pairs([0.9], "another track")
    figures = copy_figures(pairs([0.2, 0.7, 0.3]), pairs([0.5, 0.4, 0.1, 0.1, 0.1]), known, pairs([0.8]))
    assert figures["threshold"] == 0.5
    assert figures["flagged"] == 1
    assert [clip["flagged"] for clip in figures["clips"]] == [True, False, False]
    assert figures["clips"][0]["track"] == tracks[0].file_name
    assert figures["flagged_by_chance"] == pytest.approx(3 / 6)
    assert figures["known_copies_found"]["value"] == pytest.approx(2 / 4)
