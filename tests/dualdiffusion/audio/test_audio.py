"""Reading, writing, mixing, and loudness against closed forms."""

from __future__ import annotations

import errno
import math
import signal

import pytest
import torch

from dualdiffusion import audio
from dualdiffusion.errors import UserError


def sine(frequency: float, seconds: float, rate: int = 48000, dbfs: float = 0.0) -> torch.Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (10 ** (dbfs / 20) * torch.sin(2 * math.pi * frequency * time)).float()


def both(signal: torch.Tensor) -> torch.Tensor:
    return torch.stack([signal, signal])


@pytest.mark.parametrize("rate", [16000, 32000, 44100, 48000, 96000])
@pytest.mark.parametrize("dbfs", [0, -20, -40])
def test_a_997_hz_sine_reads_as_the_standard_says(rate, dbfs):
    signal = sine(997, 5, rate, dbfs)
    assert audio.loudness_lufs(both(signal), rate) == pytest.approx(dbfs, abs=0.06)
    assert audio.loudness_lufs(signal[None], rate) == pytest.approx(dbfs - 3.01, abs=0.06)


def test_loud_treble_is_not_clamped():
    signal = sine(8000, 3)
    gain = audio.loudness_lufs(both(signal), 48000) - audio.loudness_lufs(both(signal * 0.01), 48000)
    assert gain == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize(
    ("levels", "expected"),  # EBU Tech 3341, cases 3 to 5
    [
        ([(-36, 10), (-23, 60), (-36, 10)], -23),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23),
    ],
)
def test_gates_leave_quiet_passages_out(levels, expected):
    signal = torch.cat([sine(1000, seconds, dbfs=dbfs) for dbfs, seconds in levels])
    assert audio.loudness_lufs(both(signal), 48000) == pytest.approx(expected, abs=0.1)


def test_blocks_of_any_size_measure_the_same():
    signal = torch.randn(2, 100_001, generator=torch.Generator().manual_seed(0)) * 0.1
    meter = audio.LoudnessMeter(16000, 2)
    for block in signal.split(777, dim=1):
        meter.add(block.T.numpy())
    assert meter.integrated() == pytest.approx(audio.loudness_lufs(signal, 16000), abs=1e-4)


@pytest.mark.parametrize("samples", [1, 100, 4800, 19199])
def test_short_clips_have_a_loudness(samples):
    assert math.isfinite(audio.loudness_lufs(torch.full((2, samples), 0.1), 48000))


def test_silence_is_minus_infinity():
    assert audio.loudness_lufs(torch.zeros(2, 48000), 48000) == -math.inf
    assert audio.loudness_lufs(torch.zeros(2, 0), 48000) == -math.inf


@pytest.mark.parametrize("bits", [16, 24])
def test_flac_returns_what_was_written(tmp_path, bits):
    step = 2.0 ** (1 - bits)
    signal = (torch.rand(2, 5000, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9).div(step).round() * step
    tags = {"title": "Größe 🎵", "comment": "a\nb"}
    audio.write_flac(tmp_path / "x.flac", signal, 32000, bits=bits, tags=tags)
    again, rate = audio.read(tmp_path / "x.flac")
    assert rate == 32000
    assert torch.equal(again, signal)
    assert audio.read_tags(tmp_path / "x.flac") == tags
    part, _ = audio.read(tmp_path / "x.flac", start=100, frames=50)
    assert torch.equal(part, signal[:, 100:150])


def test_writing_is_deterministic_and_clips_instead_of_wrapping(tmp_path):
    signal = sine(440, 0.1)[None] * 3
    for name in ("a", "b"):
        audio.write_flac(tmp_path / f"{name}.flac", signal, 48000, tags={"title": "x"})
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    again, _ = audio.read(tmp_path / "a.flac")
    assert torch.allclose(again, signal.clamp(-1, 1), atol=2 / 32768)


def test_nan_is_not_written(tmp_path):
    with pytest.raises(UserError, match="NaN"):
        audio.write_flac(tmp_path / "x.flac", torch.full((1, 10), math.nan), 48000)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files")
@pytest.mark.parametrize("missing", [1, 5000, 20000])
def test_a_disk_that_is_full_anywhere_in_a_flac_file_says_so(missing, tmp_path):
    """Where the last few kilobytes found no room, the file was cut without a word; before, it was "System error"."""
    import resource

    noise = 0.1 * torch.randn(2, 48000, generator=torch.Generator().manual_seed(0))
    audio.write_flac(tmp_path / "whole.flac", noise, 48000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "whole.flac").stat().st_size - missing, before[1]))
    try:
        with pytest.raises(OSError) as raised:
            audio.write_flac(tmp_path / "cut.flac", noise, 48000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno == errno.EFBIG and [path.name for path in tmp_path.iterdir()] == ["whole.flac"]


def test_reading_what_is_not_there_or_no_audio_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        audio.read(tmp_path / "x.flac")
    (tmp_path / "x.flac").write_text("text")
    with pytest.raises(UserError, match="cannot be read as audio"):
        audio.read(tmp_path / "x.flac")


def test_resampling_keeps_a_tone_and_its_length():
    resampled = audio.resample(both(sine(1000, 1)), 48000, 32000)
    assert resampled.shape == (2, 32000)
    assert torch.allclose(resampled[0, 1000:-1000], sine(1000, 1, 32000)[1000:-1000], atol=1e-3)


def test_mixing():
    signal = torch.eye(6)
    c = math.sqrt(0.5)
    assert torch.allclose(audio.to_stereo(signal), torch.tensor([[1, 0, c, 0, c, 0], [0, 1, c, 0, 0, c]]))
    assert torch.equal(audio.to_stereo(signal[:1]), signal[[0, 0]])
    assert audio.to_stereo(signal[:2]) is not signal
    assert torch.equal(audio.mix_channels(signal[:2], 1), signal[:2].mean(0, keepdim=True))
    with pytest.raises(ValueError, match="cannot mix 9"):
        audio.to_stereo(torch.zeros(9, 5))


@pytest.mark.parametrize(
    ("channels", "surround", "lfe"),  # in WAV order (ITU-R BS.1770-4, table 3)
    [(2, [], []), (3, [], []), (4, [2, 3], []), (5, [3, 4], []), (6, [4, 5], [3]), (8, [4, 5, 6, 7], [3])],
)
def test_each_channel_counts_for_where_it_stands(channels, surround, lfe):
    for channel in range(channels):
        signal = torch.zeros(channels, 2 * 48000)
        signal[channel] = sine(997, 2)
        loudness, front = audio.loudness_lufs(signal, 48000), -3.01
        if channel in lfe:
            assert loudness == -math.inf
        else:
            expected = front + 10 * math.log10(1.41) if channel in surround else front
            assert loudness == pytest.approx(expected, abs=0.06)
