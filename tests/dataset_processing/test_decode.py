"""Every odd input ends with the right verdict, and with a reason that a person understands."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from dataset_processing.decode import open_audio
from dataset_processing.step import Paths, Record
from dataset_processing.steps.scan import Scan
from tests.dataset_processing.sounds import RATE, tune, write


def encoded(sound: np.ndarray | None = None, rate: int = RATE, **settings: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tune() if sound is None else sound, rate, **settings)
    return file.getvalue()


def wav(sound: np.ndarray | None = None, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    return encoded(sound, rate, format="WAV", subtype=subtype)


def ogg(seed: int = 0, channels: int = 2) -> bytes:
    return encoded(tune(seed=seed, channels=channels), format="OGG", subtype="VORBIS")


def mp3(sound: np.ndarray | None = None) -> bytes:
    return encoded(tune(3, rate=44100) if sound is None else sound, 44100, format="MP3")


def cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def with_nan() -> np.ndarray:
    sound = tune()
    sound[100] = np.nan
    return sound


def one_side() -> np.ndarray:
    return tune() * np.array([1, 0], np.float32)


def flac_with_wrong_checksum() -> bytes:
    data = bytearray(encoded(format="FLAC"))
    data[26] ^= 1  # the first byte of the MD5 in STREAMINFO
    return bytes(data)


def damaged_page() -> bytes:
    data = bytearray(ogg())
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def video_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def aac(seconds: float = 2) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(tune(seconds, rate=44100).T), format="fltp", layout="stereo"
        )
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


# name, contents, "kept" or "refused", a part of the reason or of the notes
ODD_INPUTS = [
    ("plain.wav", lambda: wav(), "kept", ""),
    ("mono.wav", lambda: wav(tune(channels=1)), "kept", "mono"),
    ("u8.wav", lambda: wav(subtype="PCM_U8"), "kept", ""),
    ("24 bit.wav", lambda: wav(tune(rate=96000), 96000, "PCM_24"), "kept", "96000 Hz"),
    ("mu law.au", lambda: encoded(tune(rate=8000, channels=1), 8000, format="AU", subtype="ULAW"), "kept", "8000 Hz"),
    ("six channels.wav", lambda: wav(tune(channels=6)), "kept", "6 channels, mixed down"),
    ("four channels.aif", lambda: encoded(tune(channels=4), format="AIFF"), "kept", "4 channels"),
    ("float peaks.wav", lambda: wav(tune(peak=4), subtype="FLOAT"), "kept", "12.0 dB above full scale"),
    ("clipped.wav", lambda: wav(np.clip(tune(peak=8), -1, 1)), "kept", "clipped"),
    ("offset.wav", lambda: wav(tune(peak=0.3) + np.float32(0.35)), "kept", "DC offset"),
    ("left only.flac", lambda: encoded(one_side(), format="FLAC"), "kept", "channel 2 of 2 is silent"),
    ("same.flac", lambda: encoded(tune(channels=1)[:, [0, 0]], format="FLAC"), "kept", "mono stored as stereo"),
    ("vorbis.ogg", ogg, "kept", ""),
    ("chained.ogg", lambda: ogg(1) + ogg(2), "kept", "2 parts"),
    ("opus.opus", lambda: encoded(tune(rate=48000), 48000, format="OGG", subtype="OPUS"), "kept", ""),
    ("aac.m4a", aac, "kept", ""),
    ("ogg named.mp3", ogg, "kept", "holds Ogg Vorbis although its name says .mp3"),
    ("mp3 named.wav", mp3, "kept", "holds MP3 although its name says .wav"),
    ("wav named.flac", wav, "kept", "holds WAV although its name says .flac"),
    ("no extension", ogg, "kept", "its name says nothing"),
    ("UPPER.OGG", ogg, "kept", ""),
    ("unclosed.wav", lambda: wav().replace(b"data" + struct.pack("<I", 132300), b"data\xff\xff\xff\xff"), "kept", ""),
    ("truncated.wav", lambda: cut(wav()), "refused", "truncated: the header states"),
    ("truncated.aif", lambda: cut(encoded(format="AIFF")), "refused", "truncated"),
    ("truncated.au", lambda: cut(encoded(format="AU")), "refused", "truncated"),
    ("truncated.flac", lambda: cut(encoded(format="FLAC")), "refused", "damaged"),
    ("truncated.ogg", lambda: cut(ogg()), "refused", "truncated"),
    ("no end.ogg", lambda: ogg()[: ogg().rfind(b"OggS")], "refused", "end-of-stream"),
    ("truncated chain.ogg", lambda: ogg(1) + cut(ogg(2)), "refused", "truncated"),
    ("damaged.ogg", damaged_page, "refused", "checksum"),
    ("truncated.mp3", lambda: cut(mp3()), "refused", "truncated"),
    ("truncated.m4a", lambda: cut(aac()), "refused", "damaged"),
    ("start.ogg", lambda: ogg()[:1000], "refused", "truncated"),
    ("wrong checksum.flac", flac_with_wrong_checksum, "refused", "checksum"),
    ("empty.flac", lambda: b"", "refused", "empty file"),
    ("no frames.wav", lambda: wav(np.zeros((0, 2))), "refused", "length is zero"),
    ("silent.flac", lambda: encoded(np.zeros((RATE, 2)), format="FLAC"), "refused", "silent"),
    ("near silent.flac", lambda: encoded(tune(peak=3e-5), format="FLAC"), "refused", "as good as silent"),
    ("nan.wav", lambda: wav(with_nan(), subtype="FLOAT"), "refused", "NaN"),
    ("text.mp3", lambda: b"This is no music.\n" * 50, "refused", "plain text"),
    ("pointer.ogg", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "refused", "Git LFS"),
    ("noise.wav", lambda: np.random.default_rng(0).bytes(100000), "refused", "not recognised"),
    ("zeros.mp3", lambda: bytes(5000), "refused", "zero bytes"),
    ("notes.mid", lambda: b"MThd" + bytes(100), "refused", "MIDI"),
    ("tracker.mod", lambda: b"song".ljust(1080, b"\0") + b"M.K." + bytes(3000), "refused", "tracker"),
    ("dsd.dsf", lambda: b"DSD " + bytes(100), "refused", "DSD"),
    ("film.mkv", video_only, "refused", "video but no audio"),
]


@pytest.mark.parametrize(("name", "make", "verdict", "text"), ODD_INPUTS, ids=[row[0] for row in ODD_INPUTS])
def test_odd_input(tmp_path, name, make, verdict, text):
    (tmp_path / "game").mkdir()
    (tmp_path / "game" / name).write_bytes(make())
    record = Scan(Scan.Config(), paths=Paths(tmp_path, tmp_path / "dataset")).run(Record(f"game/{name}", "game"))
    assert record.verdict == verdict, record.reason
    assert record.audio
    assert text in (record.reason or "; ".join(record.notes))


def delivered(path: Path) -> float:
    with open_audio(path) as audio:
        return sum(len(block) for block in audio.blocks) / audio.sample_rate


def test_a_chained_file_comes_complete(tmp_path):
    (tmp_path / "x.ogg").write_bytes(ogg(1) + ogg(2))
    assert delivered(tmp_path / "x.ogg") == pytest.approx(3, abs=0.001)


def test_a_variable_rate_mp3_without_header_comes_complete(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (44100 * 3, 2)).astype(np.float32)
    sound = np.concatenate([noise, tune(6, rate=44100, peak=0.01)])
    with soundfile.SoundFile(tmp_path / "x.mp3", "w", 44100, 2, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(sound)
    data = (tmp_path / "x.mp3").read_bytes()
    second_frame = data.index(data[:2], 4)
    (tmp_path / "x.mp3").write_bytes(data[second_frame:])
    assert delivered(tmp_path / "x.mp3") == pytest.approx(9, abs=0.1)


def test_six_channel_vorbis_comes_in_wav_order(tmp_path):
    sound = np.stack([np.sin(np.arange(RATE) * 0.05) * 0.1 * (channel + 1) for channel in range(6)], 1)
    write(tmp_path / "x.ogg", sound, format="OGG", subtype="VORBIS")  # stored: FL FC FR BL BR LFE
    with open_audio(tmp_path / "x.ogg") as audio:
        peaks = np.abs(np.concatenate(list(audio.blocks))).max(0)
    assert peaks == pytest.approx([0.1, 0.3, 0.2, 0.6, 0.4, 0.5], abs=0.05)
