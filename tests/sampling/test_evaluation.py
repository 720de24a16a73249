"""Distances against their closed forms, intervals against coverage, copies against made ones, and the real command."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dataset_processing.synth.corpus import compose_track
from dualdiffusion import audio
from dualdiffusion.data.dataset_folder import Track
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_jsonl
from dualdiffusion.model.folder import ModelFolder
from sampling.evaluation import command
from sampling.evaluation.classifier import NearestCentroid
from sampling.evaluation.clips import excerpts, spread, through_the_vae
from sampling.evaluation.copies import CopySearch, Match
from sampling.evaluation.distances import (
    KernelMatrices,
    frechet,
    frechet_distance,
    frechet_extrapolated,
    gaussian,
    gaussian_kernel,
    median_distance,
    needs_shrinking,
    polynomial_kernel,
)
from sampling.evaluation.embeddings import build_embedding, embedding_names
from sampling.evaluation.measures import GENERATED, THROUGH_VAE, TRAINING, ClipFeatures, copy_figures, distance_figures
from sampling.evaluation.sound import FIGURES, sound_figures
from sampling.evaluation.statistics import (
    Quartiles,
    Resampler,
    centred_interval,
    corrected_interval,
    median_difference,
    percentile_interval,
    proportion,
)
from sampling.generator import Generator
from tests import tiny

RATE = 16000


def normal(count: int, size: int, seed: int, *, shift: float = 0.0, frames: int = 1) -> Tensor:
    """Frames (count, frames, size) of unit variance around `shift` in the first dimension."""
    x = torch.randn(count, frames, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[..., 0] += shift
    return x


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_covariance(size: int, seed: int) -> Tensor:
    x = torch.randn(size, 2 * size, generator=seeded(seed), dtype=torch.float64)
    return x @ x.T / size


# The Frechet distance


def test_the_frechet_distance_of_diagonal_gaussians_is_that_of_means_and_standard_deviations() -> None:
    a, b = torch.tensor([4.0, 1.0, 0.0]).double(), torch.tensor([1.0, 9.0, 2.0]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    expected = mean.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert frechet(mean, a.diag(), torch.zeros(3).double(), b.diag()) == pytest.approx(float(expected))


def test_the_trace_of_the_root_of_a_product_has_its_closed_form_in_two_dimensions() -> None:
    a, b, zero = random_covariance(2, 0), random_covariance(2, 1), torch.zeros(2).double()
    product = a @ b  # eigenvalues p, q: (sqrt p + sqrt q)^2 = p + q + 2 sqrt(p q)
    cross = (product.trace() + 2 * product.det().sqrt()).sqrt()
    assert not torch.allclose(product, product.T)
    assert frechet(zero, a, zero, b) == pytest.approx(float(a.trace() + b.trace() - 2 * cross))
    assert frechet(zero, a, zero, b) == pytest.approx(frechet(zero, b, zero, a))


def test_equal_sets_are_at_distance_zero_also_with_fewer_frames_than_dimensions() -> None:
    for count in (5, 200):
        x = normal(count, 20, 0)
        assert needs_shrinking(x, x) == (count < 20)
        for shrink in (False, True):
            assert frechet_distance(x, x, shrink=shrink) == pytest.approx(0, abs=1e-8)
            moved = frechet_distance(x, x + 0.5, shrink=shrink)
            assert moved == pytest.approx(20 * 0.25, rel=1e-6)


def test_shrinkage_is_large_for_noise_and_small_for_what_many_frames_show() -> None:
    assert gaussian(normal(30, 20, 0)).shrinkage > 0.8
    stretched = normal(5000, 20, 0) * torch.linspace(0.1, 3, 20).double()
    assert gaussian(stretched).shrinkage < 0.01
    sphere = gaussian(stretched)
    assert sphere.shrunk(1.0).diagonal().std() == pytest.approx(0, abs=1e-12)
    assert float(sphere.shrunk(0.5).trace()) == pytest.approx(float(sphere.covariance.trace()))


def test_extrapolation_takes_away_most_of_the_bias_of_few_clips() -> None:
    groups = [index % 3 for index in range(60)]
    biased, extrapolated = [], []
    for seed in range(6):
        a, b = normal(60, 8, 2 * seed), normal(60, 8, 2 * seed + 1, shift=1.0)
        biased.append(frechet_distance(a, b, shrink=False) - 1)
        extrapolated.append(frechet_extrapolated(a, b, groups, groups, generator=seeded()) - 1)
    bias, rest = sum(biased) / 6, sum(extrapolated) / 6
    assert bias > 0.3
    assert abs(rest) < bias / 2


def test_nothing_is_extrapolated_from_singular_covariances() -> None:
    a = normal(12, 8, 0)
    assert frechet_extrapolated(a, a, [0] * 12, [0] * 12, generator=seeded()) is None


# Kernel distances


def polynomial_mean(a: Tensor, b: Tensor) -> float:
    """E (x y / D + 1)^3 for x around a and y around b, both of unit covariance."""
    size, ab, aa, bb = len(a), float(a @ b), float(a @ a), float(b @ b)
    second = size + aa + bb + ab**2
    third = ab**3 + 3 * ab * aa + 3 * ab * (bb + size + 2)
    return 1 + 3 * ab / size + 3 * second / size**2 + third / size**3


def gaussian_mean(bandwidth: float, a: Tensor, b: Tensor) -> float:
    """E exp(-|x - y|^2 / (2 h^2)) for the same: x - y is normal with covariance 2."""
    h2 = bandwidth**2
    return (h2 / (h2 + 2)) ** (len(a) / 2) * math.exp(-float((a - b).square().sum()) / (2 * (h2 + 2)))


@pytest.mark.parametrize("name", ["polynomial", "gaussian"])
def test_kernel_distances_of_shifted_gaussians_are_those_of_the_closed_forms(name: str) -> None:
    zero, shift = torch.zeros(6).double(), torch.zeros(6).double()
    shift[0] = 1.5
    kernel = polynomial_kernel if name == "polynomial" else gaussian_kernel(3.0)

    def mean(a: Tensor, b: Tensor) -> float:
        return polynomial_mean(a, b) if name == "polynomial" else gaussian_mean(3.0, a, b)

    expected = mean(zero, zero) + mean(shift, shift) - 2 * mean(zero, shift)
    x, y = normal(1500, 6, 0), normal(1500, 6, 1, shift=1.5)
    groups = [0] * 1500
    found = KernelMatrices.of(x, y, kernel, groups, groups).mmd2()
    assert found == pytest.approx(expected, rel=0.15)
    assert KernelMatrices.of(y, x, kernel, groups, groups).mmd2() == pytest.approx(found)


@pytest.mark.parametrize("games", [1, 4])
def test_the_discrepancy_of_equal_distributions_is_zero_on_average(games: int) -> None:
    kernel, values = gaussian_kernel(3.0), []
    groups = [index % games for index in range(12)]
    centres = torch.tensor(groups).double()[:, None, None] * 2  # fixed numbers of clips from different games
    for seed in range(150):
        x, y = normal(12, 4, 2 * seed, frames=2) + centres, normal(12, 4, 2 * seed + 1, frames=2) + centres
        values.append(KernelMatrices.of(x, y, kernel, groups, groups).mmd2())
    values = torch.tensor(values)
    assert float(values.min()) < 0 < float(values.max())
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(150)


def test_weights_count_clips_and_copies_of_a_clip_are_not_compared() -> None:
    x, y = normal(6, 3, 0, frames=2), normal(5, 3, 1, frames=2)
    kernel = gaussian_kernel(1.0)
    weights = torch.tensor([1.0, 0, 1, 1, 0, 1])
    weighted = KernelMatrices.of(x, y, kernel, [0] * 6, [0] * 5).mmd2(weights_a=weights)
    chosen = KernelMatrices.of(x[weights > 0], y, kernel, [0] * 4, [0] * 5).mmd2()
    assert weighted == pytest.approx(chosen)
    twice = KernelMatrices.of(x, y, kernel, [0] * 6, [0] * 5).mmd2(weights_a=2 * torch.ones(6), weights_b=None)
    assert twice == pytest.approx(KernelMatrices.of(x, y, kernel, [0] * 6, [0] * 5).mmd2())
    assert frechet_distance(x, y, shrink=False, weights_a=weights) == pytest.approx(
        frechet_distance(x[weights > 0], y, shrink=False)
    )


def test_the_bandwidth_is_the_median_distance() -> None:
    frames = torch.tensor([0.0, 1.0, 3.0]).double()[:, None, None]
    assert median_distance(frames) == 2
    many = normal(500, 50, 0, frames=10)
    assert median_distance(many) == pytest.approx(10, rel=0.05)  # |x - y|^2 is about 2 * 50


# Intervals


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = proportion(8, 10)
    assert (found.low, found.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert proportion(0, 20).low == 0
    assert proportion(0, 20).high == pytest.approx(0.1611, abs=1e-4)
    assert proportion(20, 20).high == 1
    assert proportion(0, 0).to_json() == {"value": None, "low": None, "high": None}


def test_resampling_keeps_the_number_of_clips_of_each_game() -> None:
    groups = ["a"] * 4 + ["b"] * 6
    draws = torch.stack([Resampler(groups).draw(seeded(seed)) for seed in range(50)])
    assert bool((draws[:, :4].sum(dim=1) == 4).all())
    assert bool((draws[:, 4:].sum(dim=1) == 6).all())
    assert float(draws.std(dim=0).min()) > 0.5
    lonely = torch.stack([Resampler(["a", "b", "b"]).draw(seeded(seed)) for seed in range(50)])
    assert float(lonely[:, 0].std()) > 0.5


def test_intervals_of_means_and_medians_cover_the_truth_as_often_as_they_say() -> None:
    covered, covered_medians, trials, resampler = 0, 0, 150, Resampler([0] * 40)
    for seed in range(trials):
        generator = seeded(seed)
        x = torch.randn(40, generator=generator, dtype=torch.float64) + 3
        weights = torch.stack([resampler.draw(generator) for _ in range(100)])
        covered += 3.0 in percentile_interval(float(x.mean()), weights @ x / 40)
        y = torch.randn(40, generator=generator, dtype=torch.float64)
        covered_medians += 3.0 in median_difference(x, y, draws=200, generator=generator)
    assert 0.88 < covered / trials < 0.99
    assert 0.88 < covered_medians / trials <= 1


def test_corrected_intervals_cover_the_truth_below_a_biased_estimate() -> None:
    covered, estimates, corrected, resampler = 0, [], [], Resampler([0] * 40)
    for seed in range(20):
        a, b = normal(40, 6, 2 * seed), normal(40, 6, 2 * seed + 1, shift=1.5)
        value = frechet_distance(a, b, shrink=False)
        generator = seeded(seed)

        def draw(a: Tensor = a, b: Tensor = b, generator: torch.Generator = generator) -> float:
            w, v = (resampler.draw(generator) for _ in range(2))
            return frechet_distance(a, b, shrink=False, weights_a=w, weights_b=v)

        draws = torch.tensor([draw() for _ in range(60)], dtype=torch.float64)
        found = corrected_interval(value, draws, 0.0)
        covered += 2.25 in found
        corrected.append(found.value)
        estimates.append(value)
    assert sum(estimates) / 20 > 2.5  # biased upwards by more than a tenth
    assert abs(sum(corrected) / 20 - 2.25) < 0.2
    assert covered >= 16


def test_a_centred_interval_has_the_spread_of_the_draws_and_lies_around_the_estimate() -> None:
    draws = torch.linspace(10, 20, 1001).double()
    found = centred_interval(3.0, draws)
    assert (found.low, found.high) == pytest.approx((3 - 4.75, 3 + 4.75))


def test_quartiles_leave_out_what_is_not_finite_and_say_so() -> None:
    found = Quartiles.of(torch.tensor([1.0, 2.0, 3.0, math.inf, math.nan]))
    assert (found.lower, found.median, found.upper, found.count, found.finite) == (1.5, 2, 2.5, 5, 3)
    assert Quartiles.of(torch.tensor([math.nan])).median is None


# Sets of clips


def heard(frames: Tensor, games: int = 3, name: str = "clip") -> list[ClipFeatures]:
    none = torch.zeros(1)
    return [
        ClipFeatures(f"{name} {index}", f"game {index % games}", {"e": x}, none, none, None)
        for index, x in enumerate(frames)
    ]


def test_a_set_of_the_same_distribution_is_not_told_from_training_and_a_shifted_one_is() -> None:
    reference, training = heard(normal(24, 4, 0, frames=2)), heard(normal(24, 4, 1, frames=2))
    for shift, differs in ((0.0, False), (1.0, True)):
        made = heard(normal(24, 4, 2, frames=2, shift=shift))
        sets = {GENERATED: made, TRAINING: training, THROUGH_VAE: made}
        figures = distance_figures(reference, sets, "e", draws=60, seed=0)
        assert figures == distance_figures(reference, sets, "e", draws=60, seed=0)
        row = figures["sets"][GENERATED]
        for key in ("frechet", "kad", "kid"):
            above = row["above_training"][key]
            assert (above["low"] > 0) == differs, key
            assert above["low"] < above["value"] < above["high"]
        assert (row["kad"]["low"] > 0) == differs
        assert not figures["shrunk"]
        assert row["frechet_extrapolated"] < row["frechet_biased"]


def test_the_classifier_tells_clusters_apart_whatever_the_scale_of_a_feature() -> None:
    centres = torch.tensor([[0.0, 0.0], [1.0, 1000.0], [2.0, 0.0]])
    classes = torch.arange(60) % 3
    noise = torch.randn(60, 2, generator=seeded()) * torch.tensor([0.1, 300.0])
    classifier = NearestCentroid(centres[classes] + noise, classes, 3)
    assert classifier(centres).tolist() == [0, 1, 2]


def test_excerpts_lie_side_by_side_and_are_spread_over_the_tracks() -> None:
    def track(name: str, seconds: float) -> Track:
        return Track(Path(name), name, "Castle", 0, seconds, 100, 2)

    found = excerpts([track("a", 5.5), track("b", 1.5), track("c", 4.0)], 2.0, 10)
    assert [(e.track.file_name, e.start, e.frames) for e in found["Castle"]] == [
        ("a", 0, 200),
        ("a", 200, 200),
        ("c", 0, 200),
        ("c", 200, 200),
    ]
    assert excerpts([track("b", 1.5)], 2.0, 10) == {}
    assert [e.track.file_name for e in excerpts([track("a", 5.5), track("c", 4.0)], 2.0, 2)["Castle"]] == ["a", "c"]
    assert spread(list(range(100)), 4) == [12, 37, 62, 87]


# Embeddings and sound


@pytest.fixture(scope="module")
def generator(model: ModelFolder) -> Generator:
    return Generator.load(model)


@pytest.mark.parametrize("name", embedding_names())
def test_every_embedding_gives_finite_frames_of_its_dimension_that_tell_sounds_apart(
    name: str, generator: Generator
) -> None:
    embedding = build_embedding(name, generator)
    assert embedding.name == name
    time = torch.arange(3 * tiny.SAMPLE_RATE) / tiny.SAMPLE_RATE
    noise = 0.1 * torch.randn(2, len(time), generator=seeded())
    low, high = (0.3 * torch.sin(2 * torch.pi * f * time).expand(2, -1) + noise for f in (200, 2000))
    with torch.inference_mode():
        frames = [embedding(clip, tiny.SAMPLE_RATE) for clip in (low, high, low + 0.001 * noise, 0 * low)]
    frames = [x[None] if x.ndim == 1 else x for x in frames]
    assert {x.shape for x in frames} == {(3, embedding.dim)}
    assert all(bool(x.isfinite().all()) for x in frames)
    assert float((frames[0] - frames[1]).norm()) > 3 * float((frames[0] - frames[2]).norm())


def test_a_clip_through_the_vae_keeps_its_length_and_is_no_longer_itself(generator: Generator) -> None:
    clip = 0.1 * torch.randn(2, 8001, generator=seeded())
    decoded = through_the_vae(generator, clip, "Cave", 1)
    assert decoded.shape == clip.shape
    assert bool(decoded.isfinite().all())
    assert not torch.allclose(decoded, clip, atol=1e-2)


def test_the_figures_of_a_sine_are_what_they_must_be() -> None:
    time = torch.arange(2 * RATE) / RATE
    sine = 0.5 * torch.sin(2 * torch.pi * 1000 * time)
    found = dict(zip(FIGURES, sound_figures(torch.stack([sine, sine / 2]), RATE).tolist(), strict=True))
    assert found["peak"] == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert found["side_to_mid"] == pytest.approx(20 * math.log10(0.25 / 0.75), abs=0.01)
    assert found["correlation"] == pytest.approx(1)
    assert found["silence"] == 0
    assert found["centroid"] == pytest.approx(1000, abs=2)
    assert found["bandwidth"] < 20
    assert found["loudness"] == pytest.approx(audio.loudness_lufs(torch.stack([sine, sine / 2]), RATE))
    half = torch.cat([sine, 0 * sine]).expand(1, -1)
    mono = dict(zip(FIGURES, sound_figures(half, RATE).tolist(), strict=True))
    assert mono["silence"] == pytest.approx(0.5, abs=0.02)
    assert math.isnan(mono["side_to_mid"])
    assert math.isnan(mono["correlation"])
    silent = sound_figures(torch.zeros(2, RATE), RATE)
    assert silent[list(FIGURES).index("silence")] == 1
    assert not bool(silent[[0, 1, 2, 3, 5, 6]].isfinite().any())


# Copies


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
        clips = heard(torch.zeros(len(scores), 1, 1), name=name)
        return list(zip(clips, [Match(score, tracks[0], 1.0, 0.0) for score in scores], strict=True))

    known = pairs([0.9, 0.9, 0.2], tracks[0].file_name) + pairs([0.9], "another track")
    figures = copy_figures(pairs([0.2, 0.7, 0.3]), pairs([0.5, 0.4, 0.1, 0.1, 0.1]), known, pairs([0.8]))
    assert figures["threshold"] == 0.5
    assert figures["flagged"] == 1
    assert [clip["flagged"] for clip in figures["clips"]] == [True, False, False]
    assert figures["clips"][0]["track"] == tracks[0].file_name
    assert figures["flagged_by_chance"] == pytest.approx(3 / 6)
    assert figures["known_copies_found"]["value"] == pytest.approx(2 / 4)


# The command


FAST = ["--clips", "2", "--seconds", "1", "--steps", "2", "--set", "phase_iterations=1", "--resamples", "20"]


def arguments(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(list(map(str, given)))


def test_the_command_measures_prints_and_writes(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    base = ("-m", "sampling.evaluation", "--model", model.path, "--dataset", dataset, *FAST)
    result = tiny.run(*base, "--json", tmp_path / "out.json", "--clips-dir", tmp_path / "clips")
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["fingerprint"] == f"{model.fingerprint('vae')}-{model.fingerprint('unet')}"
    assert set(figures["distances"]) == set(embedding_names())
    assert figures["class_control"]["validation"]["accuracy"]["value"] == 1  # one pitch per game
    assert figures["class_control"]["generated"]["clips"] == 2 * len(tiny.GAMES)
    assert len(figures["copies"]["clips"]) == 2 * len(tiny.GAMES)
    for rows in figures["distances"].values():
        sets = rows["sets"]
        assert sets[GENERATED]["kad"]["value"] > sets[TRAINING]["kad"]["high"]  # random weights make no music
    assert figures["settings"]["request"]["steps"] == 2
    assert len(list((tmp_path / "clips").glob("*.flac"))) == 2 * len(tiny.GAMES)
    seeds = {clip["clip"] for clip in figures["nearest"]["vae_latents"]["clips"]}
    assert {"Castle, seed 0", "Cave, seed 1", "Circuit, seed 2", "Castle, seed 3"} <= seeds
    assert "too few" in result.stdout
    for word in ("KAD", "Frechet", "chance 33%", "correlation", "loudness", "3 tracks only"):
        assert word in result.stdout, word


def test_a_model_that_gives_back_its_training_music_is_caught(
    model: ModelFolder, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memorised(generator: Generator, request: object, **settings: object) -> object:
        game = next(iter(request.games))  # type: ignore[attr-defined]
        samples, _ = audio.read(dataset / "audio" / game / "0.flac", start=6500, frames=tiny.SAMPLE_RATE)
        return argparse.Namespace(audio=0.5 * samples)

    # Other music than tones, which are all alike: noise that swells differently in every track.
    for index, path in enumerate(sorted((dataset / "audio").rglob("*.flac"))):
        samples, rate = audio.read(path)
        envelope = torch.rand(1, 40, generator=seeded(index)).repeat_interleave(samples.shape[1] // 40, dim=1)
        copy = tmp_path / "dataset" / path.relative_to(dataset)
        copy.parent.mkdir(parents=True, exist_ok=True)
        noise = 0.3 * torch.randn(2, envelope.shape[1], generator=seeded(100 + index))
        audio.write_flac(copy, noise * envelope, rate)
    for name in ("train.jsonl", "validation.jsonl", "dataset_info.json"):
        (tmp_path / "dataset" / name).write_text((dataset / name).read_text())
    dataset = tmp_path / "dataset"
    monkeypatch.setattr(Generator, "generate", memorised)
    given = arguments("--model", model.path, "--dataset", dataset, *FAST, "--embedding", "mel_statistics")
    given.json = tmp_path / "out.json"
    assert command.run(given) == 0
    copies = json.loads(given.json.read_text())["copies"]
    assert copies["flagged"] == 2 * len(tiny.GAMES)
    for clip in copies["clips"]:
        assert clip["track"] == f"audio/{clip['clip'].split(',')[0]}/0.flac"
        assert clip["track_seconds"] == pytest.approx(6500 / tiny.SAMPLE_RATE, abs=0.05)


def test_too_little_memory_for_a_clip_is_told_with_the_remedy(
    model: ModelFolder, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    monkeypatch.setattr("sampling.batch.Batch.results", full)
    given = ["--model", model.path, "--dataset", dataset, *FAST, "--embedding", "mel_statistics"]
    with pytest.raises(UserError, match=r"out of memory at 1 s .*; ask for a shorter clip"):
        command.run(arguments(*given))


def test_one_game_and_two_clips_are_enough_to_run_and_too_few_to_conclude(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    given = ["--model", model.path, "--dataset", dataset, *FAST, "--games", "Cave", "--seconds", "2"]
    out = tmp_path / "out.json"
    assert command.run(arguments(*given, "--embedding", "mel_statistics", "--json", out)) == 0
    notes = " ".join(json.loads(out.read_text())["notes"])
    for words in ("2 generated clips are too few", "one game", "regularised", "1 track only"):
        assert words in notes
    with pytest.raises(UserError, match="validation split gives only one clip of 4 s"):
        command.run(arguments(*given, "--seconds", "4"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nowhere"], ["nowhere: no such model folder"]),
        (["--dataset", "nowhere"], ["nowhere", "not a finished dataset"]),
        (["--clips", "1"], ["--clips", "2 or more"]),
        (["--seconds", "0.5"], ["--seconds", "1 or more"]),
        (["--seconds", "100"], ["no track of 100 s", "--seconds"]),
        (["--seconds", "nan"], ["--seconds"]),
        (["--embedding", "mel_statistic"], ["no such embedding", "nearest: mel_statistics"]),
        (["--games", "Castel"], ["unknown game 'Castel'", "Castle"]),
        (["--ema", "ema_9"], ["no EMA 'ema_9'"]),
        (["--set", "stps=3"], ["stps", "did you mean steps?"]),
        (["--set", "seed=3"], ["--set seed", "--seed"]),
        (["--set", "source.path=a.flac"], ["--set source", "made from nothing", "leave it out"]),
        (["--set", "inpaint=[[0,1]]"], ["--set inpaint", "leave it out"]),
        (["--set", "extend_after=1"], ["--set extend_after", "leave it out"]),
        (["--steps", "0"], ["steps", "greater than or equal to 1"]),
        (["--json", "tests"], ["tests", "is a folder"]),
        (["--clips-dir", "README.md"], ["README.md", "is a file"]),
        (["--device", "nonsense"], ["--device nonsense"]),
    ],
)
def test_what_a_user_gets_wrong_is_told(
    options: list[str], words: list[str], model: ModelFolder, dataset: Path
) -> None:
    given = ["--model", model.path, "--dataset", dataset, *FAST, *options]
    with pytest.raises(UserError) as error:
        command.run(arguments(*given))
    for word in words:
        assert word in str(error.value)


def test_datasets_that_do_not_fit_are_refused_in_one_line(model: ModelFolder, dataset: Path, tmp_path: Path) -> None:
    tiny.assert_one_line_error(
        tiny.run("-m", "sampling.evaluation", "--model", model.path), "config.json", "name it with --dataset"
    )
    records = [json.loads(line) for line in (dataset / "train.jsonl").read_text().splitlines()]
    (tmp_path / "dataset_info.json").write_text((dataset / "dataset_info.json").read_text())
    write_jsonl(tmp_path / "train.jsonl", records)
    write_jsonl(tmp_path / "validation.jsonl", [])
    given = arguments("--model", model.path, "--dataset", tmp_path, *FAST)
    with pytest.raises(UserError, match="no validation split"):
        command.run(given)
    write_jsonl(tmp_path / "validation.jsonl", [{**record, "sample_rate": 44100} for record in records])
    with pytest.raises(UserError, match="44100 Hz, but the model makes 8000 Hz"):
        command.run(given)


def test_help_needs_no_torch() -> None:
    assert "mel_statistics, vae_latents" in " ".join(tiny.help_without_torch("sampling.evaluation").split())
