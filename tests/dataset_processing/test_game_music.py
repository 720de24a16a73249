"""Game music that is not a recording: rendered at its pitch, the same each time, or refused with the package's name."""

import gzip
import struct

import numpy as np
import pytest

from dataset_processing.decode import AudioError, open_audio
from dataset_processing.decode.game_music import gme, library, openmpt


def needs(module):
    try:
        module._library()
    except AudioError as error:
        pytest.skip(str(error))


def mod_file() -> bytes:
    """A square wave of 32 samples, played at period 428 (8287 Hz): 259 Hz."""
    sample = struct.pack(">22sHBBHH", b"square", 16, 0, 64, 0, 16)
    head = b"tone".ljust(20, b"\0") + sample + struct.pack(">22sHBBHH", b"", 0, 0, 0, 0, 1) * 30
    pattern = bytearray(1024)
    pattern[0:4] = bytes((0x01, 0xAC, 0x10, 0))
    return head + bytes((1, 127)) + bytes(128) + b"M.K." + bytes(pattern) + b"\x40" * 16 + b"\xc0" * 16


def vgm_file() -> bytes:
    """One second of the SN76489's first voice, divided by 254 from 3579545 Hz: 440.4 Hz."""
    commands = b"\x50\x8e\x50\x0f\x50\x90\x50\xbf\x50\xdf\x50\xff" + b"\x61" + struct.pack("<H", 44100) + b"\x66"
    head = bytearray(64)
    head[0:4], head[8:12] = b"Vgm ", struct.pack("<I", 0x150)
    head[4:8] = struct.pack("<I", 64 + len(commands) - 4)
    head[12:16], head[24:28] = struct.pack("<I", 3579545), struct.pack("<I", 44100)
    head[40:44], head[52:56] = struct.pack("<HBB", 9, 16, 0), struct.pack("<I", 12)
    return bytes(head) + commands


def rendered(path) -> tuple[np.ndarray, int]:
    with open_audio(path) as audio:
        return np.concatenate(list(audio.blocks)), audio.sample_rate


def pitch(samples: np.ndarray, rate: int) -> float:
    mono = samples.mean(1)[:rate]
    return float(np.argmax(np.abs(np.fft.rfft(mono * np.hanning(len(mono)))[20:])) + 20) * rate / len(mono)


@pytest.mark.parametrize(
    "module, name, data, hertz",
    [
        (openmpt, "a.mod", mod_file(), 8287 / 32),
        (gme, "a.vgm", vgm_file(), 440.4),
        (gme, "a.vgz", gzip.compress(vgm_file()), 440.4),
    ],
)
def test_a_song_is_rendered_at_its_pitch_and_the_same_twice(tmp_path, module, name, data, hertz):
    needs(module)
    (tmp_path / name).write_bytes(data)
    samples, rate = rendered(tmp_path / name)
    assert pitch(samples, rate) == pytest.approx(hertz, abs=2)
    assert len(samples) > 0.9 * rate
    assert np.array_equal(samples, rendered(tmp_path / name)[0])


@pytest.mark.parametrize(
    "name, data, package", [("a.mod", mod_file(), "libopenmpt0"), ("a.vgm", vgm_file(), "libgme0")]
)
def test_without_its_library_the_file_is_refused_with_the_package_to_install(
    tmp_path, monkeypatch, name, data, package
):
    def absent(*_):
        raise OSError

    monkeypatch.setattr(library.ctypes, "CDLL", absent)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AudioError, match=f"install {package}"):
        rendered(tmp_path / name)
