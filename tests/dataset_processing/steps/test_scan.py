"""What a scan measures: where the spectrum ends, flat tops, the stereo image; and what it does not blame."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile
import soxr

from dataset_processing.meters import AudioMeter
from dataset_processing.step import Paths, Record
from dataset_processing.steps.scan import Scan
from dataset_processing.synth import GAMES, compose_track
from tests.dataset_processing.sounds import tune, write

RATE = 44100


def measure(sound: np.ndarray, rate: int = RATE) -> dict:
    """A sound, (frames,) or (frames, channels), rounded to 16 bits and measured in blocks of a second."""
    sound = np.round(sound.reshape(len(sound), -1) * 32768).astype(np.float32) / 32768
    meter = AudioMeter(rate, sound.shape[1], -60.0)
    for start in range(0, len(sound), rate):
        meter.add(sound[start : start + rate])
    return meter.results()


def scan(folder, sound: np.ndarray, rate: int = RATE, name: str = "x.flac") -> Record:
    write(folder / "game" / name, sound, rate)
    return Scan(Scan.Config(), paths=Paths(folder, folder / "dataset")).run(Record(f"game/{name}", "game"))


def band(rate: int = RATE, seconds: float = 6, seed: int = 0) -> np.ndarray:
    """Something like a band: noise that falls by 6 dB per octave, with beats, as wide as the sample rate; (frames,)."""
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft(random.standard_normal(round(seconds * rate)))
    sound = np.fft.irfft(spectrum / (1 + np.arange(len(spectrum)) / seconds / 500))
    beat = np.exp(-6 * (np.arange(len(sound)) / rate % 0.5))
    return sound * (0.2 + beat) / np.abs(sound).max() * 0.4


def coded(sound: np.ndarray, file_format: str, **settings) -> np.ndarray:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format=file_format, **settings) as encoder:
        encoder.write(sound)
    return soundfile.read(io.BytesIO(file.getvalue()))[0]


def resampled(old_rate: int, new_rate: int) -> np.ndarray:
    return soxr.resample(band(old_rate), old_rate, new_rate, "VHQ")


@pytest.mark.parametrize(
    ("make", "rate", "cutoff"),
    [
        (lambda: coded(band(), "MP3", bitrate_mode="CONSTANT", compression_level=0.9), RATE, (14000, 17500)),
        (lambda: coded(band(), "OGG", subtype="VORBIS", compression_level=0.95), RATE, (13000, 17000)),
        (lambda: resampled(22050, RATE), RATE, (10000, 11100)),
        (lambda: resampled(32000, 48000), 48000, (14500, 16100)),
        (lambda: resampled(24000, RATE), RATE, (11000, 12100)),
        (lambda: resampled(8000, RATE), RATE, (3500, 4100)),
    ],
    ids=["MP3", "Vorbis", "22.05 kHz", "32 kHz", "24 kHz", "8 kHz"],
)
def test_the_edge_of_a_coder_or_resampler_is_found(make, rate, cutoff):
    measured = measure(make(), rate)
    assert cutoff[0] < measured["cutoff_hz"] < cutoff[1]
    assert measured["bandwidth_hz"] <= measured["cutoff_hz"]


def notes_of(*partials: tuple[float, float]) -> np.ndarray:
    """Decaying notes over three octaves with the given partials (ratio, level)."""
    time = np.arange(RATE // 2) / RATE
    pitches = 110 * 2 ** (np.array([0, 3, 7, 12, 15, 19, 24, 27, 31, 36, 24, 12]) / 12)
    return np.concatenate(
        [sum(a * np.sin(2 * np.pi * f * r * time) for r, a in partials) * np.exp(-3 * time) * 0.2 for f in pitches]
    )


DULL = {
    "pure tones": lambda: notes_of((1, 1)),
    "a soft piano": lambda: notes_of(*((n, 0.4**n) for n in range(1, 12))),
    "a pulse wave": lambda: np.sign(notes_of((1, 1))) * 0.5,
    "sparse harmonics to 9 kHz": lambda: notes_of(*((n, 1 / n) for n in range(1, 11, 2))),
    "frequency modulation": lambda: np.sin(np.cumsum(notes_of((1, 1))) * 0.1 + 3 * notes_of((3, 1))) * 0.4,
    "a bass drone": lambda: 0.5 * np.sin(2 * np.pi * 55 * np.arange(6 * RATE) / RATE) + 0.001 * band(),
    "wide music": band,
    "quiet wide music": lambda: 0.001 * band(),
}


@pytest.mark.parametrize("make", DULL.values(), ids=DULL.keys())
def test_music_that_is_dull_or_sparse_by_nature_has_no_edge(make):
    assert measure(make())["cutoff_hz"] is None


@pytest.mark.parametrize("game", [game.name for game in GAMES])
def test_the_built_in_corpus_has_no_edges(game):
    assert measure(compose_track(game, 0, seconds=6, seed=3).audio.T)["cutoff_hz"] is None


def test_bandwidth_ends_where_the_music_does_and_dither_does_not_count():
    tones = notes_of((1, 1), (8, 0.3))
    dithered = tones + np.random.default_rng(0).triangular(-1, 0, 1, len(tones)) / 32768
    for sound in (tones, dithered):
        assert 5000 < measure(sound)["bandwidth_hz"] < 7200  # the highest notes are 660 and 880 Hz
    assert measure(band())["bandwidth_hz"] > 21000


def test_an_edge_is_noted_and_says_what_it_may_come_from(tmp_path):
    lossless = scan(tmp_path, resampled(22050, RATE))
    assert "probably made from a lossy file or one of a lower sample rate" in "; ".join(lossless.notes)
    assert "ends sharply at 10." in "; ".join(lossless.notes)
    assert "ends sharply" not in "; ".join(scan(tmp_path, band()).notes)


@pytest.mark.parametrize("gain_db", [3, 6, 12, 24])
def test_flat_tops_of_hard_clipping_are_counted(gain_db):
    sound = np.clip(tune(2, rate=RATE, peak=10 ** (gain_db / 20)), -1, 32767 / 32768)
    assert measure(sound)["clipped_share"] == pytest.approx((np.abs(sound) >= 0.9999).mean(), rel=0.15)


def chip(duty: float, levels: int = 1) -> np.ndarray:
    """A naive pulse wave at full scale, with a volume that falls in steps."""
    time = np.arange(2 * RATE) / RATE
    volume = np.ceil(levels * (1 - time % 0.5 * 2)) / levels if levels > 1 else 1
    return np.where(220 * time % 1 < duty, 0.99, -0.99) * volume


@pytest.mark.parametrize(
    "sound",
    [chip(0.5), chip(0.125), chip(0.25, 15), chip(0.5) * (np.arange(2 * RATE) % RATE < 20000), tune(2, rate=RATE)],
    ids=["square", "pulse", "steps of volume", "with rests", "an unclipped tune"],
)
def test_waves_of_sound_chips_are_not_called_clipped(sound):
    assert measure(sound)["clipped_share"] == 0


MONO = tune(2, rate=RATE, channels=1)
STEREO = tune(2, rate=RATE)


@pytest.mark.parametrize(
    ("sound", "note"),
    [
        (MONO * [1, 1], "both channels are the same: mono stored as stereo"),
        (MONO * [1, 1] + STEREO * 2e-4 * [1, -1], "both channels are nearly the same"),
        (MONO * [1, -1], "its channels are in opposite phase"),
        (STEREO * [1, 0], "channel 2 of 2 is silent"),
        (STEREO * [0.01, 1], "dB quieter than its right"),
    ],
)
def test_unusual_stereo_is_noted(tmp_path, sound, note):
    assert note in "; ".join(scan(tmp_path, sound).notes)


def test_usual_stereo_has_no_note_and_everything_measured_is_json(tmp_path):
    record = scan(tmp_path, STEREO)
    assert record.notes == ()
    assert json.loads(json.dumps(record.measured, allow_nan=False)) == record.measured


def test_opposite_channels_do_not_hide_the_spectrum():
    sound = band()[:, None]
    assert measure(sound * [1, -1])["bandwidth_hz"] > 21000


def test_silence_on_an_offset_is_silence():
    sound = np.concatenate([np.zeros(RATE), tune(1, rate=RATE, channels=1)[:, 0] * 0.5]) + 0.3
    assert measure(sound)["silence_share"] == pytest.approx(0.5, abs=0.05)


def test_a_track_shorter_than_a_window_is_measured(tmp_path):
    assert scan(tmp_path, tune(0.05, rate=RATE)).measured["bandwidth_hz"] > 1000


def test_tags_that_cannot_be_read_cost_the_tags_and_not_the_track(tmp_path, monkeypatch):
    monkeypatch.setattr("dataset_processing.steps.scan.read_tags", lambda path: {}["odd key"])
    record = scan(tmp_path, STEREO)
    assert record.kept
    assert "its tags cannot be read" in record.notes
    assert record.fields["title"] == "x"
