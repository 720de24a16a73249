"""Loops and held audio in phase recovery: circles have no seam, and what is known stays exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dualdiffusion.dsp.band_transform import BandTransform, CircularTransform
from dualdiffusion.dsp.circular import fold, resample_circular, wrap
from dualdiffusion.dsp.stft import hann_power_window
from dualdiffusion.dsp.tiles import both_held
from dualdiffusion.formats.waveform import Waveform
from tests.dualdiffusion.formats.test_formats import chord
from tests.dualdiffusion.formats.test_phase_recovery import make


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_wrapping_goes_round_as_often_as_needed_and_folding_adds_up_what_meets() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    assert wrap(x, 4, 2).tolist() == [3, 1, 2, 3, 1, 2, 3, 1, 2]
    assert fold(torch.ones(7), 3).tolist() == [3, 2, 2]
    assert torch.equal(fold(wrap(x, 0, 3), 3), 2 * x)


@pytest.mark.parametrize(("old", "new"), [(100, 103), (103, 100), (64, 64), (64, 31), (63, 200)])
def test_resampling_a_circle_is_exact_for_what_fits_into_both_lengths(old: int, new: int) -> None:
    def tones(length: int) -> Tensor:
        time = torch.arange(length) / length
        return 1 + sum(torch.sin(2 * math.pi * k * time + k) for k in (1, 5, 12))

    assert torch.allclose(resample_circular(tones(old), new), tones(new), atol=1e-4)


@pytest.mark.parametrize("frames", [3, 8, 40])
def test_the_circular_transform_turns_with_the_circle_and_is_inverted_exactly(frames: int) -> None:
    hop = 16
    window = hann_power_window(800, 32.0, hop, negligible=2e-3)
    transform = CircularTransform(window, hop, torch.ones(1, 1), torch.ones(1, 1), frames)
    audio = unit(2, frames * hop)
    spectra = transform.spectra(audio)
    assert spectra.shape == (2, frames, len(window) // 2 + 1)
    assert torch.allclose(transform.audio(spectra), audio, atol=1e-5)
    turned = transform.spectra(audio.roll(hop * 2, -1))
    assert torch.allclose(turned, spectra.roll(2, 1), atol=1e-5)


def test_inside_the_circular_transform_is_the_plain_one() -> None:
    hop, frames = 16, 40
    window = hann_power_window(800, 32.0, hop, negligible=2e-3)
    audio, parts = unit(1, frames * hop), (torch.ones(1, 1), torch.ones(1, 1))
    inner = (frames * hop - len(window)) // hop + 1
    plain = BandTransform(window, hop, *parts, inner).spectra(audio)
    assert torch.equal(CircularTransform(window, hop, *parts, frames).spectra(audio)[:, :inner], plain)


def flux(audio: Tensor, size: int = 256, hop: int = 64) -> Tensor:
    """Spectral flux of audio (C, N) joined to itself: (N / hop,)."""
    frames = wrap(audio.mean(dim=0), size // 2, size // 2).unfold(-1, size, hop) * torch.hann_window(size)
    magnitudes = torch.fft.rfft(frames).abs().sqrt()
    return (magnitudes - magnitudes.roll(1, 0)).abs().sum(dim=-1)


def looping_chord(format: object, frames: int) -> Tensor:
    """Tones that fit a whole number of times into `frames` frames, (1, 2, N)."""
    count = format.num_samples(frames)
    time = torch.arange(count) / count
    swell = 1 + 0.5 * torch.sin(2 * math.pi * 3 * time)
    tones = [torch.sin(2 * math.pi * round(f * count / format.config.sample_rate) * time) for f in (220, 331, 447)]
    return (0.1 * swell * sum(tones)).expand(1, 2, -1)


@pytest.mark.parametrize("tile_seconds", [0, 1.0], ids=["whole", "in tiles"])
def test_a_recovered_loop_has_no_seam_where_a_clip_has_one(tile_seconds: float) -> None:
    format = make(tile_seconds=tile_seconds)
    x = format._compress(format.mel(looping_chord(format, 500), circular=True))  # mean 0 and std 1 are not fitted
    loop, clip = (format.decode(x, iterations=24, circular=circular)[0] for circular in (True, False))
    assert loop.shape == clip.shape == (2, format.num_samples(500))
    ratios = []
    for audio in (loop, clip):
        values = flux(audio)
        ratios.append(float(torch.cat([values[-2:], values[:3]]).max() / values.median()))
    jumps = [float((audio[:, 0] - audio[:, -1]).abs().max() / audio.diff().abs().max()) for audio in (loop, clip)]
    assert ratios[0] < 1.5 < ratios[1]
    assert jumps[0] <= 1


def test_held_audio_comes_back_exactly_and_the_rest_fits_to_it() -> None:
    format = make(tile_seconds=1.0)
    audio = chord(format, 4.0)[0]
    x = format.encode(audio[None])
    samples = format.num_samples(x.shape[-1])
    known = audio[:, :samples]
    weight = torch.ones(samples)
    start, end, fade = 20000, 30000, 256
    weight[start:end] = 0
    weight[start - fade : start] = torch.linspace(1, 0, fade)
    weight[end : end + fade] = torch.linspace(0, 1, fade)
    output = format.decode(x, held=(known, weight))[0]
    kept = weight == 1
    assert torch.equal(output[:, kept], known[:, kept])
    made = output[:, start:end]
    assert float(made.square().mean()) == pytest.approx(float(known[:, start:end].square().mean()), rel=0.25)
    # No click: samples differ from their neighbours no more beside the region than the known audio does anywhere.
    steps, ours = known.diff().abs().max(), output.diff().abs()
    for border in (start, end):
        assert float(ours[:, border - fade : border + fade].max()) < 1.5 * float(steps)
    # The phases fit: made in ignorance of its neighbours and cross-faded, the region would meet them at random.
    blind = torch.lerp(format.decode(x)[0], known, weight)
    inside = slice(end - 512, end)
    errors = [float((o[:, inside] - known[:, inside]).norm() / known[:, inside].norm()) for o in (output, blind)]
    assert errors[0] < 0.6 * errors[1]


def test_what_is_held_wholly_needs_no_recovery() -> None:
    format = make(tile_seconds=1.0)
    audio = chord(format, 3.0)[0]
    x = format.encode(audio[None])
    known = audio[:, : format.num_samples(x.shape[-1])]
    calls: list[int] = []
    output = format.decode(
        x * 0, iterations=5, held=(known, torch.ones(known.shape[-1])), callback=lambda done, total: calls.append(done)
    )
    assert torch.equal(output[0], known)
    assert calls == list(range(1, len(calls) + 1)) and len(calls) % 5 == 0


def test_two_reasons_to_hold_give_the_second_the_last_word() -> None:
    first = (torch.ones(1, 4), torch.tensor([1.0, 1.0, 0.5, 0.0]))
    second = (torch.full((1, 3), 3.0), torch.tensor([1.0, 0.0, 0.5]))
    audio, weight = both_held(first, second)
    assert weight.tolist() == [1, 1, 0.75, 0]
    assert torch.allclose(audio[0, :3], torch.tensor([3.0, 1.0, (0.25 * 1 + 0.5 * 3) / 0.75]))
    assert both_held(first, None) is first and both_held(None, second) is second


def test_the_waveform_format_keeps_what_is_held_too() -> None:
    x, known = unit(1, 2, 50), unit(2, 50, seed=1)
    output = Waveform(Waveform.Config()).decode(x, held=(known, (torch.arange(50) < 20).float()))[0]
    assert torch.equal(output[:, :20], known[:, :20]) and torch.equal(output[:, 20:], x[0, :, 20:])
