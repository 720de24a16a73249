"""Formats: audio there and back, with loudness, dynamics and stereo image."""

from __future__ import annotations

import math

import pytest
import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.config import InvalidPartError, read_config
from dualdiffusion.dsp.frequency_scale import mel_filters, regrid_filters
from dualdiffusion.dsp.stft import hann_power_window, istft, stft
from dualdiffusion.formats.mel_spectrogram import MelSpectrogram
from tests.tiny import ROOT

PRESETS = sorted((ROOT / "config" / "formats").glob("*.json"))


every_format = pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)


def make(path: object = ROOT / "config" / "formats" / "mel_16khz.json") -> MelSpectrogram:
    return component_from_json("dualdiffusion.formats", read_config(path)).build()


def chord(format: MelSpectrogram, seconds: float = 2.0) -> torch.Tensor:
    """Decaying tones, another one in each channel, at -12 dBFS: (1, 2, N)."""
    rate = format.config.sample_rate
    time = torch.arange(int(seconds * rate)) / rate
    envelope = torch.exp(-3 * (time % 0.5))
    left = sum(torch.sin(2 * math.pi * f * time) for f in (220, 330, 440)) / 3
    right = sum(torch.sin(2 * math.pi * f * time) for f in (220, 330, 554)) / 3
    return 0.25 * envelope * torch.stack([left, right])[None]


@every_format
def test_presets_are_critically_sampled_and_shapes_go_both_ways(path: object) -> None:
    format = make(path)
    audio = chord(format)
    x = format.encode(audio)
    frames = format.num_frames(audio.shape[-1])
    assert tuple(x.shape[1:]) == format.sample_shape(frames)
    assert x.numel() == format.num_samples(frames) * 2  # as many numbers as the audio
    assert format.decode(x, iterations=1).shape == (1, 2, format.num_samples(frames))


@every_format
def test_progress_is_told_up_to_the_end(path: object) -> None:
    format, seen = make(path), []
    format.decode(format.encode(chord(format, 0.5)), iterations=4, callback=lambda *progress: seen.append(progress))
    assert seen == [(k + 1, len(seen)) for k in range(len(seen))]
    assert seen


def test_a_waveform_comes_back_as_it_was() -> None:
    format = make(ROOT / "config" / "formats" / "waveform_32khz.json")
    audio = chord(format)
    format.fit([audio[0]])
    assert torch.allclose(format.decode(format.encode(audio)), audio, atol=1e-6)


def test_a_transposition_is_a_shift_on_the_log_scale() -> None:
    format = make(ROOT / "config" / "formats" / "log_32khz.json")
    centers = format.centers()
    assert torch.allclose(centers[1:] / centers[:-1], centers[1] / centers[0], rtol=1e-4)
    time = torch.arange(format.num_samples(60)) / format.config.sample_rate
    tones = [torch.sin(2 * math.pi * float(centers[band]) * time) for band in (120, 160)]
    low, high = (format.encode(tone.expand(1, 2, -1))[0, 0, :, 30] for tone in tones)
    assert (int(low.argmax()), int(high.argmax())) == (120, 160)


def spectral_convergence(format: MelSpectrogram, audio: torch.Tensor, output: torch.Tensor) -> float:
    a, b = format.encode(audio), format.encode(output)
    low = format.encode(torch.zeros_like(audio))
    return float((a - b).norm() / (a - low).norm())


def test_the_round_trip_error_is_small_and_falls_with_iterations() -> None:
    format = make()
    audio = chord(format)[..., : format.num_samples(240)]
    x = format.encode(audio)
    errors = [spectral_convergence(format, audio, format.decode(x, iterations=n)) for n in (0, 10, 60)]
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.05


@every_format
@pytest.mark.parametrize("gain", [1.0, 0.1, 0.03])
def test_loudness_survives(path: object, gain: float) -> None:
    format = make(path)
    audio = chord(format)
    output = format.decode(format.encode(audio * gain), iterations=20)
    level = 20 * math.log10(float(output.norm() / (audio * gain).norm()))
    assert abs(level) < 0.5


@every_format
def test_silence_stays_silent_and_hot_peaks_do_not_explode(path: object) -> None:
    format = make(path)
    silence = torch.zeros(1, 2, format.config.sample_rate)
    assert float(format.decode(format.encode(silence)).abs().max()) < 1e-4
    hot = 4 * chord(format, 1.0)
    assert float(format.decode(format.encode(hot)).abs().max()) < 1.6 * float(hot.abs().max())


@every_format
def test_mono_comes_back_mono(path: object) -> None:
    format = make(path)
    mono = chord(format)[:, :1].expand(-1, 2, -1)
    output = format.decode(format.encode(mono), iterations=10)
    mid, side = output[:, 0] + output[:, 1], output[:, 0] - output[:, 1]
    assert float(side.norm()) < 1e-3 * float(mid.norm())  # 60 dB


def test_decoding_is_deterministic_for_a_seed_and_independent_of_the_batch() -> None:
    format = make()
    x = format.encode(chord(format, 1.0))
    alone = format.decode(x, iterations=3, seeds=[5])
    both = format.decode(torch.cat([x, x]), iterations=3, seeds=[4, 5])
    assert torch.equal(alone, format.decode(x, iterations=3, seeds=[5]))
    assert torch.equal(both[1], alone[0])
    assert not torch.allclose(both[0], alone[0], atol=1e-2)


@every_format
def test_fitting_normalises_to_zero_mean_and_unit_variance(path: object) -> None:
    format = make(path)
    audio = chord(format)
    format.fit([audio[0]])
    x = format.encode(audio)
    assert float(x.mean()) == pytest.approx(0, abs=1e-3)
    assert float(x.std()) == pytest.approx(1, abs=1e-3)


def test_the_inverse_stft_of_an_stft_is_the_signal_where_windows_cover_it() -> None:
    window = hann_power_window(800, 32, 64)
    audio = torch.randn(2, 64 * 60)
    back = istft(stft(audio, window, 64), window, 64)
    inner = slice(len(window), -len(window))
    assert torch.allclose(back[:, inner], audio[:, : back.shape[-1]][:, inner], atol=1e-4)


def test_cutting_the_windows_tails_is_not_heard() -> None:
    window = hann_power_window(6400, 32, 256)
    assert len(window) < 3500
    assert len(window) % 256 == 0
    assert float(window[0]) < 1e-6 * float(window.max())


def test_a_sine_of_amplitude_one_has_magnitude_one() -> None:
    window = hann_power_window(800, 32, 64)
    sine = torch.sin(2 * math.pi * 40 / len(window) * torch.arange(64 * 40))
    assert float(stft(sine, window, 64).abs().amax()) == pytest.approx(1, abs=1e-3)


def test_filters_on_a_coarser_grid_see_the_same_partials() -> None:
    filters = mel_filters(n_bins=1665, n_mels=256, f_min=20, f_max=16000, sample_rate=32000)
    coarse = regrid_filters(filters, 897)
    assert float(coarse.min()) >= 0
    for frequency in (90.0, 440.0, 5000.0):
        fine_levels, coarse_levels = (
            bank @ torch.exp(-(((torch.linspace(0, 16000, bank.shape[1]) - frequency) / 28) ** 2))
            for bank in (filters, coarse)
        )
        assert float((fine_levels - coarse_levels).norm() / fine_levels.norm()) < 0.08  # measured 0.06 at 90 Hz


@pytest.mark.parametrize("key", ["mel_refinements", "stereo_coherence"])
def test_settings_of_the_old_phase_recovery_are_refused_with_the_remedy(key: str) -> None:
    with pytest.raises(InvalidPartError) as caught:
        component_from_json(
            "dualdiffusion.formats", {**read_config(ROOT / "config" / "formats" / "mel_32khz.json"), key: 0.5}
        )
    assert f"{key}: phase recovery no longer works this way; delete the key" in str(caught.value.error)


def test_encoding_is_compressed_mel_magnitudes_of_the_whole_window() -> None:
    format = make()
    audio = torch.randn(1, 2, format.num_samples(30), generator=torch.Generator().manual_seed(0)) * 0.1
    config, n_fft = format.config, len(format.window)
    padded = torch.nn.functional.pad(audio, ((n_fft - config.hop_length) // 2, n_fft))
    start = 11 * config.hop_length
    magnitudes = torch.fft.rfft(padded[..., start : start + n_fft] * format.window).abs()
    expected = (magnitudes @ format.filters.T + config.noise_floor) ** config.abs_exponent
    assert torch.allclose(format.encode(audio)[..., 11], expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{"sample_rate": 16000}, {"f_min": 16000}, {"frequency_scale": "log", "f_min": 0}])
def test_bands_that_cannot_be_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="f_max"):
        MelSpectrogram(MelSpectrogram.Config(**settings))
