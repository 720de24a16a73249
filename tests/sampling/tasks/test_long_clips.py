"""Loops, long clips, variations and batches end to end on the tiny model."""

from __future__ import annotations

import itertools
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dualdiffusion import codec as codec_module
from dualdiffusion.codec import Codec
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import SeededNoise
from sampling import preview as preview_module
from sampling.batch import Batch
from sampling.generator import Cancelled, Generator, StepReport
from sampling.preview import Preview
from sampling.progress import Progress
from sampling.tasks.variations import VariedNoise
from tests import tiny
from tests.benchmarks.sampling_tasks import level_drift, seam_ratio
from tests.sampling.tasks.test_tasks import COLUMN, RATE, REQUEST, changed, from_source, steps_of, write_music


@pytest.fixture(scope="module")
def generator(model: ModelFolder) -> Generator:
    return Generator.load(model)


# -- loops --------------------------------------------------------------------------------------------------------


def test_loops_have_no_seam_and_clips_that_are_cut_off_have_one(generator: Generator) -> None:
    request = changed(seconds=1.0, window_seconds=0.512, phase_iterations=12)
    loops, clips = (
        [generator.generate(changed(request, loop=loop, seed=seed)).audio for seed in range(8)]
        for loop in (True, False)
    )
    assert seam_ratio(loops) < 1.1
    assert seam_ratio(clips) > 1.4


@pytest.mark.parametrize("seconds", [0.1, 0.9, 1.2345, 2.00012])
def test_a_loop_has_the_exact_length_that_was_asked(generator: Generator, seconds: float) -> None:
    loop = generator.generate(changed(loop=True, seconds=seconds)).audio
    assert loop.shape == (2, round(seconds * RATE))
    assert float((loop[:, 0] - loop[:, -1]).abs().max()) <= float(steps_of(loop).max())


def test_a_loop_turned_by_whole_columns_decodes_to_the_same_turned(generator: Generator) -> None:
    codec = Codec(generator.format, generator.vae, Conditioning())
    latents = torch.randn(1, 4, 4, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        x, turned = codec.decode(latents, circular=True), codec.decode(latents.roll(3, -1), circular=True)
        assert torch.allclose(x.roll(24, -1), turned, atol=1e-4)
        clip = codec.decode(latents)
    assert not torch.allclose(x[..., :8], clip[..., :8], atol=1e-2)


# -- long clips ---------------------------------------------------------------------------------------------------


def test_windows_are_as_long_as_the_crops_of_training_where_the_run_is_known(
    model: ModelFolder, tmp_path: Path
) -> None:
    assert Generator.load(model).window_columns is None
    folder = tiny.make_model(tmp_path / "model")
    write_json(folder.run_path("unet") / "config.json", {"module_trainer": {"crop_seconds": 1.024}})
    assert Generator.load(folder).window_columns == 16
    folder.register("unet", folder.module_entry("unet")["type"], window_columns=8)
    assert Generator.load(folder).window_columns == 8  # the run may be a newer one, which has published nothing yet


def test_a_trained_model_that_is_moved_without_its_runs_makes_the_same_clip(tmp_path: Path) -> None:
    folder, dataset = tiny.make_model(tmp_path / "model"), tiny.make_dataset(tmp_path / "dataset")
    tiny.make_latents(dataset, folder)
    config = tiny.write_train_config(tmp_path / "train.json", "unet", folder.path, dataset, total_samples=8)
    trained = tiny.run("train.py", config)
    assert trained.returncode == 0, trained.stderr
    before = Generator.load(folder, "cpu")
    request = changed(seconds=2.5, steps=2, phase_iterations=1)
    shutil.copytree(folder.path, tmp_path / "moved", ignore=shutil.ignore_patterns("runs"))
    after = Generator.load(ModelFolder(tmp_path / "moved"), "cpu")
    assert after.window_columns == before.window_columns == 16
    assert after.fingerprint == before.fingerprint
    assert torch.equal(after.generate(request).audio, before.generate(request).audio)


def test_a_clip_no_longer_than_the_window_is_what_it_was_without_windows(generator: Generator) -> None:
    whole = generator.generate(REQUEST)
    assert torch.equal(whole.audio, generator.generate(changed(window_seconds=1.024)).audio)
    assert not torch.equal(whole.audio, generator.generate(changed(window_seconds=0.512)).audio)


def test_a_long_clip_is_one_clip_of_even_level(generator: Generator) -> None:
    request = changed(seconds=12.0, window_seconds=1.024, steps=3, phase_iterations=1)
    result = generator.generate(request)
    assert result.audio.shape == (2, 12 * RATE)
    assert level_drift(result.audio, RATE)[0] < 1.0


def test_tiles_of_the_vae_fit_together_as_if_there_were_none(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles: list[None] = []
    codec = Codec(generator.format, generator.vae, Conditioning(), on_tile=lambda: tiles.append(None))
    latents = torch.randn(1, 4, 4, 150, generator=torch.Generator().manual_seed(1))
    samples = 0.1 * torch.randn(2, 150 * COLUMN, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        x, encoded = codec.decode(latents), codec.encode(codec.spectrogram(samples))
        circle = codec.decode(latents, circular=True)
        assert len(tiles) == 1
        monkeypatch.setattr(codec_module, "TILE_COLUMNS", 40)
        assert torch.allclose(codec.decode(latents), x, atol=1e-4)
        assert torch.allclose(codec.decode(latents, circular=True), circle, atol=1e-4)
        assert torch.allclose(codec.encode(codec.spectrogram(samples)), encoded, atol=1e-4)
    assert len(tiles) == 1 + 4 * 3


def test_a_preview_of_a_long_clip_decodes_a_part_of_it_in_turn(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_module, "PREVIEW_COLUMNS", 10)
    widths: list[int] = []
    codec = Codec(generator.format, generator.vae, Conditioning())
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda latents: widths.append(latents.shape[-1]) or decode(latents))
    preview = Preview(codec)
    latents = torch.randn(1, 4, 4, 25, generator=torch.Generator().manual_seed(1))
    sizes = {preview.picture(latents).size for _ in range(4)}
    assert sizes == {(200, 32)}
    assert widths == [10, 10, 5, 10]


def test_a_long_clip_can_be_cancelled_within_a_window(generator: Generator) -> None:
    texts: list[str] = []

    def on_step(report: StepReport) -> None:
        texts.append(report.text)
        assert report.preview().size[1] == 32
        if "window 3/" in report.text:
            raise Cancelled

    with pytest.raises(Cancelled):
        generator.generate(changed(seconds=2.0, window_seconds=0.512), on_step=on_step)
    assert texts == ["sampling the first step, window 2/7", "sampling the first step, window 3/7"]


# -- variations, mixes, batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_noise_between_two_seeds_has_unit_variance_and_is_theirs_at_the_ends(strength: float) -> None:
    shape = (4, 32, 512)
    varied = VariedNoise(SeededNoise([1]), SeededNoise([2]), strength)
    noise, first, second = varied.randn(shape), SeededNoise([1]).randn(shape), SeededNoise([2]).randn(shape)
    assert float(noise.var()) == pytest.approx(1, abs=0.02)
    assert float((noise * first).mean()) == pytest.approx(math.cos(strength * math.pi / 2), abs=0.02)
    assert float((noise * second).mean()) == pytest.approx(math.sin(strength * math.pi / 2), abs=0.02)
    if strength in (0, 1):
        assert torch.equal(noise, second if strength else first)


def test_variations_lead_from_one_clip_to_the_other(generator: Generator) -> None:
    request = changed(sampler="euler_ancestral")
    first, second = (generator.generate(changed(request, seed=seed)) for seed in (7, 8))
    varied = [
        generator.generate(changed(request, variation_seed=8, variation_strength=s)) for s in (0.0, 0.3, 0.7, 1.0)
    ]
    assert torch.equal(varied[0].audio, first.audio) and torch.equal(varied[3].audio, second.audio)
    distances = [float((result.latents - first.latents).square().mean()) for result in varied]
    assert all(a < b for a, b in itertools.pairwise(distances))


def test_a_clip_goes_from_one_mix_to_the_other(generator: Generator) -> None:
    request = changed(games={"Castle": 1.0}, seconds=2.0)
    start = generator.generate(request).latents
    end = generator.generate(changed(request, games={"Circuit": 1.0})).latents
    both = generator.generate(changed(request, games_end={"Circuit": 1.0})).latents
    same = generator.generate(changed(request, games_end={"Castle": 1.0})).latents
    assert torch.allclose(same, start, atol=1e-4)

    def distance(a: Tensor, part: slice) -> float:
        return float((a - both)[..., part].square().mean())

    first, last = slice(0, 6), slice(-6, None)
    assert distance(start, first) < 0.5 * distance(end, first)
    assert distance(end, last) < 0.5 * distance(start, last)


def test_games_at_the_end_go_with_windows_and_loops(generator: Generator) -> None:
    for changes in ({"window_seconds": 0.512}, {"window_seconds": 0.512, "loop": True}):
        request = changed(games={"Castle": 1.0}, seconds=2.0, **changes)
        both = generator.generate(changed(request, games_end={"Circuit": 1.0}))
        assert not torch.allclose(both.latents, generator.generate(request).latents, atol=1e-3)
        assert bool(both.audio.isfinite().all())


def test_a_clip_of_many_is_the_same_clip_alone(generator: Generator, tmp_path: Path) -> None:
    requests = [
        REQUEST,
        changed(seed=8),
        changed(seed=9, games={"Circuit": 1.0}),
        changed(seconds=0.5),
        from_source(write_music(tmp_path / "music.flac")),
    ]
    fractions: list[float] = []
    results = list(generator.generate_many(requests, on_step=lambda report: fractions.append(report.fraction)))
    for request, result in zip(requests, results, strict=True):
        assert torch.equal(result.audio, generator.generate(request).audio)
        assert result.request.seed == request.seed
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)


@pytest.mark.parametrize("changes", [{}, {"games_end": {"Cave": 1.0}}, {"window_seconds": 0.512, "sampler": "heun"}])
def test_a_batch_as_a_gpu_makes_it_is_the_clips_alone(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    requests = [changed(seed=seed, games=games, **changes) for seed, games in ((1, {"Castle": 1}), (2, {"Cave": 1}))]
    alone = [generator.generate(request) for request in requests]
    monkeypatch.setattr(Batch, "_together", lambda batch: 3)
    progress = Progress(None, 0, 2, 2)
    for one, result in zip(alone, Batch(generator, requests, progress).results(), strict=True):
        assert torch.allclose(one.latents, result.latents, atol=1e-3)
        assert result.request == one.request
