"""Phase recovery: from bands to sound, whole and in tiles."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.config import read_config
from dualdiffusion.dsp.band_transform import BandTransform
from dualdiffusion.dsp.phase_recovery import levels_of
from dualdiffusion.dsp.tiles import CONTEXT, LOOKAHEAD, tile_starts
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from tests.dualdiffusion.formats.test_formats import chord
from tests.tiny import ROOT

TILE_SECONDS = 1.0


def make(**changes: object) -> MelSpectrogram:
    config = read_config(ROOT / "config" / "formats" / "mel_16khz.json")
    return component_from_json("dualdiffusion.formats", {**config, **changes}).build()


@pytest.mark.parametrize("frames", [1, 96, 125, 126, 250, 777, 4000])
def test_tiles_cover_the_clip_and_overlap(frames: int) -> None:
    starts = tile_starts(frames, 125)
    length = frames - starts[-1]
    assert starts[0] == 0
    assert length <= 125
    assert all(b - a <= length - CONTEXT - LOOKAHEAD for a, b in itertools.pairwise(starts))


def test_tiled_decoding_has_no_clicks_and_no_drift_at_the_seams() -> None:
    tiled = make(tile_seconds=TILE_SECONDS)
    audio = chord(tiled, 4.0)
    x = tiled.encode(audio)
    output = tiled.decode(x)
    frames = x.shape[-1]
    starts = tile_starts(frames, round(TILE_SECONDS * tiled.frames_per_second))
    assert len(starts) > 4
    assert output.shape == make(tile_seconds=0).decode(x, iterations=1).shape
    # The relative error of each frame in the format's own domain; a click is an error of many dB in a frame.
    error = ((tiled.encode(output) - x).square().sum(dim=(0, 1, 2)) / x.square().sum(dim=(0, 1, 2))).sqrt()
    seams = [start + CONTEXT for start in starts[1:]]
    near = torch.zeros(frames, dtype=torch.bool)
    for seam in seams:
        near[seam - 8 : seam + 12] = True
    assert float(error[near].mean()) < 1.25 * float(error[~near].mean())
    assert float(error[near].max()) < 1.1 * float(error[~near].max())
    powers = [tiled.mel(sound).square().sum(dim=(0, 1, 2))[near].sum() for sound in (audio, output)]
    assert abs(10 * math.log10(float(powers[1] / powers[0]))) < 0.2


def test_a_short_clip_is_not_tiled() -> None:
    x = make().encode(chord(make(), 1.0))
    assert torch.equal(make(tile_seconds=2).decode(x, iterations=3), make(tile_seconds=0).decode(x, iterations=3))


def test_progress_counts_all_clips_and_tiles() -> None:
    format = make(tile_seconds=TILE_SECONDS)
    x = format.encode(chord(format, 2.0)).repeat(2, 1, 1, 1)
    tiles = len(tile_starts(x.shape[-1], round(TILE_SECONDS * format.frames_per_second)))
    seen: list[tuple[int, int]] = []
    format.decode(x, iterations=3, callback=lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    assert seen == [(i + 1, total) for i in range(total)] and total % (2 * tiles) == 0


def error(format: MelSpectrogram, audio: torch.Tensor, output: torch.Tensor) -> float:
    wanted, given = format.encode(audio), format.encode(output)
    return float((wanted - given).norm() / wanted.norm())


def test_a_coarser_transform_has_the_lowest_bins_of_the_whole_one() -> None:
    format = make()
    transform = format._transform(40)
    generator = torch.Generator().manual_seed(0)
    low = transform.coarser(4)
    quarter = torch.randn(1, low.samples, generator=generator)
    # The same sound at the full rate: its spectra, with nothing above, at four times as many samples.
    bins = torch.fft.rfft(quarter, norm="forward")
    edge = int(0.8 * bins.shape[-1])
    bins[..., edge:] = 0
    whole = torch.fft.irfft(bins, n=transform.samples, norm="forward")
    quarter = torch.fft.irfft(bins, n=low.samples, norm="forward")
    full, part = transform.spectra(whole), low.spectra(quarter)
    kept = int(0.7 * part.shape[-1])
    assert torch.allclose(part[..., :kept], full[..., :kept], atol=2e-3 * float(full.abs().max()))
    assert low.bins < part.shape[-1] and torch.equal(low.filters.sum(1) > 0, (low.filters > 0).any(1))
    assert transform.coarser(3) is None, "whose frames would begin between samples"


def test_most_work_at_a_part_of_the_sample_rate_comes_nearer_in_less_work(monkeypatch: pytest.MonkeyPatch) -> None:
    format = make()
    audio = chord(format, 2.0)
    x = format.encode(audio)
    coarse = error(format, audio, format.decode(x, iterations=24))
    monkeypatch.setattr(BandTransform, "coarser", lambda self, factor: None)
    assert coarse < 0.85 * error(format, audio, format.decode(x, iterations=24))


@pytest.mark.parametrize("iterations", [1, 9, 72, 260, 1000])
@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_levels_cost_what_was_asked_for_and_end_at_the_full_rate(iterations: int, share: float) -> None:
    levels = levels_of(make()._transform(1), iterations, share)
    assert levels[-1].factor == 1 and levels[-1].separate > 0
    cost = sum((level.merged + 2 * level.separate) / level.factor for level in levels)
    assert cost < 2.1 * iterations + 8
    assert any(level.merged for level in levels) == bool(share)


@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_channels_differ_however_few_iterations(iterations: int) -> None:
    format = make()
    audio = chord(format, 1.0)
    audio[:, 1] *= 0.1
    left, right = format.decode(format.encode(audio), iterations=iterations)[0]
    assert 10 < 20 * math.log10(float(left.norm() / right.norm())) < 30


def test_a_silent_channel_stays_silent() -> None:
    format = make()
    audio = chord(format, 1.0)
    audio[:, 1] = 0
    left, right = format.decode(format.encode(audio))[0]
    assert float(right.abs().max()) < 1e-3 * float(left.abs().max())


def test_one_channel_is_enough() -> None:
    format = make(num_channels=1)
    audio = chord(format, 1.0)[:, :1]
    assert format.decode(format.encode(audio), iterations=4).shape == audio[..., : audio.shape[-1] // 128 * 128].shape
