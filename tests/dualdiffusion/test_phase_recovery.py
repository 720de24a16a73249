"""Phase recovery: from bands to sound, whole and in tiles."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.config import read_config
from dualdiffusion.dsp.tiles import CONTEXT, LOOKAHEAD, tile_starts
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from tests.dualdiffusion.test_formats import chord
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
    assert seen == [(i + 1, 2 * tiles * 3) for i in range(2 * tiles * 3)]


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
