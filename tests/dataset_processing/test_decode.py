"""Every odd input ends with the right verdict, and with a reason that a person understands."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from dataset_processing.step import Paths, Record
from dataset_processing.steps.scan import Scan
from dualdiffusion.audio.decode import AudioError, open_audio, speakers
from tests.dataset_processing.sounds import RATE, riff, tune, write


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


SAMPLE_FORMATS = {"alac": "s16p", "flac": "s16", "tta": "s16", "wavpack": "s16p"}


def by_ffmpeg(
    codec: str, container_format: str, sound: np.ndarray | None = None, rate: int = 44100, **options: str
) -> bytes:
    """A sound (default: two seconds of stereo) as FFmpeg's encoder `codec` writes it."""
    sound = tune(2, rate=rate) if sound is None else sound
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[sound.shape[1]]
    file = io.BytesIO()
    with av.open(file, "w", format=container_format, options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.format = SAMPLE_FORMATS.get(codec, stream.format)
        stream.bit_rate = 160_000
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 4096
        plain = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound).reshape(1, -1), format="flt", layout=layout)
        plain.sample_rate, plain.pts = rate, 0
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate, size)
        for frame in [*resampler.resample(plain), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def aac() -> bytes:
    return by_ffmpeg("aac", "mp4")


def adts() -> bytes:
    return by_ffmpeg("aac", "adts")


def ac3() -> bytes:
    return by_ffmpeg("ac3", "ac3")


def plain_mp3() -> bytes:
    """An MP3 file without tags and without a header that states its length."""
    return by_ffmpeg("libmp3lame", "mp3", write_xing="0", id3v2_version="0")


def flipped(data: bytes, at: float = 0.5) -> bytes:
    """With some bytes changed in the middle."""
    place = int(len(data) * at)
    return data[:place] + bytes(byte ^ 0x55 for byte in data[place : place + 40]) + data[place + 40 :]


def restated(data: bytes, change: int, bytes_change: int = 0) -> bytes:
    """An MP3 file whose header states more or fewer frames, and bytes, than there are."""
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    stated = [int.from_bytes(data[at + place : at + place + 4], "big") for place in (0, 4)]
    return data[:at] + struct.pack(">II", stated[0] + change, stated[1] + bytes_change) + data[at + 8 :]


def flac_header(*, frames: int | None = None, checksum: bool = True, sound: np.ndarray | None = None) -> bytes:
    """A FLAC file that states another length, or no checksum."""
    data = bytearray(encoded(sound, format="FLAC"))
    if frames is not None:
        data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36 | frames).to_bytes(8, "big")
    if not checksum:
        data[26:42] = bytes(16)
    return bytes(data)


def id3(count: int = 20) -> bytes:
    return b"ID3\3\0\0" + bytes(count >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(count)


APE_TAG = b"key and value" + b"APETAGEX" + struct.pack("<IIII8x", 2000, 45, 1, 0)


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
    ("truncated.m4a", lambda: cut(aac()), "refused", "truncated"),
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
    ("notes.mid", lambda: b"MThd" + bytes(100), "refused", "a MIDI file without tracks"),
    ("tracker.mod", lambda: b"song".ljust(1080, b"\0") + b"M.K." + bytes(30), "refused", "1114 of the 2108 bytes"),
    ("dsd.dsf", lambda: b"DSD " + bytes(100), "refused", "DSD"),
    ("web page.ogg", lambda: b"<!DOCTYPE html><html>\xe9</html>", "refused", "a web page"),
    ("stream.ts", lambda: by_ffmpeg("aac", "mpegts"), "refused", "transport stream"),
    ("other order.wav", lambda: b"RIFX" + bytes(4) + b"WAVE", "refused", "RIFX"),
    ("film.mkv", video_only, "refused", "video but no audio"),
    ("truncated.w64", lambda: cut(encoded(format="W64")), "refused", "truncated: the header states"),
    ("truncated.caf", lambda: cut(encoded(format="CAF")), "refused", "truncated: the header states"),
    ("truncated end.caf", lambda: cut(encoded(format="CAF", subtype="ALAC_16"), 0.95), "refused", "truncated"),
    ("truncated.aac", lambda: cut(adts()), "refused", "truncated: the file ends in the middle of a frame"),
    ("truncated.ac3", lambda: cut(ac3(), 0.613), "refused", "truncated: the file ends in the middle of a frame"),
    ("truncated.wv", lambda: cut(by_ffmpeg("wavpack", "wv")), "refused", "truncated"),
    ("truncated.tta", lambda: cut(by_ffmpeg("tta", "tta")), "refused", "truncated or damaged"),
    ("truncated.mka", lambda: cut(by_ffmpeg("flac", "matroska"), 0.95), "refused", "truncated: its header states"),
    ("truncated.wma", lambda: cut(by_ffmpeg("wmav2", "asf")), "refused", "truncated"),
    ("truncated end.mp3", lambda: plain_mp3()[:-10], "refused", "truncated: the file ends in the middle of a frame"),
    ("index cut.m4a", lambda: aac()[:-10], "refused", "truncated"),
    ("flipped.wv", lambda: flipped(by_ffmpeg("wavpack", "wv")), "refused", "cannot be decoded beyond"),
    ("flipped.tta", lambda: flipped(by_ffmpeg("tta", "tta")), "refused", "damaged"),
    ("flipped.ac3", lambda: flipped(ac3()), "refused", "damaged"),
    ("flipped alac.m4a", lambda: flipped(by_ffmpeg("alac", "ipod")), "refused", "cannot be decoded beyond"),
    ("flipped alac.caf", lambda: flipped(encoded(format="CAF", subtype="ALAC_16")), "refused", "cannot be decoded"),
    ("flipped.mka", lambda: flipped(by_ffmpeg("flac", "matroska")), "refused", "damaged"),
    ("hole.mp3", lambda: plain_mp3()[:9000] + plain_mp3()[9100:], "refused", "damaged after"),
    ("hole.aac", lambda: adts()[:9000] + adts()[9100:], "refused", "damaged after"),
    ("more stated.mp3", lambda: restated(mp3(), 50, 20_000), "refused", "truncated: it holds"),
    ("more frames stated.mp3", lambda: restated(mp3(), 50), "kept", "all of it is used"),
    ("fewer stated.mp3", lambda: restated(mp3(), -50), "kept", "all of it is used"),
    ("joined.mp3", lambda: mp3() + mp3(), "kept", "2 MP3 files joined"),
    ("joined with tag.mp3", lambda: plain_mp3() + id3() + plain_mp3(), "kept", "2 MP3 files joined"),
    ("ape tag.mp3", lambda: plain_mp3() + APE_TAG, "kept", ""),
    ("large tag.mp3", lambda: id3(400_000) + plain_mp3(), "kept", ""),
    ("tag.aac", lambda: id3() + adts(), "kept", ""),
    ("large tag.flac", lambda: id3(400_000) + encoded(format="FLAC"), "kept", ""),
    ("tag.wav", lambda: id3() + wav(), "kept", "30 bytes of tags or padding before its WAV data are left out"),
    ("tail.m4a", lambda: aac() + b"junk" * 10, "kept", "40 bytes after its end are left out"),
    ("tail.wav", lambda: wav() + b"\x01" * 100, "kept", "100 bytes after its end are left out"),
    ("tail.wv", lambda: by_ffmpeg("wavpack", "wv") + b"TAG" + bytes(125), "kept", ""),
    ("two.flac", lambda: encoded(format="FLAC") * 2, "kept", "another FLAC file follows"),
    ("no length.flac", lambda: flac_header(frames=0), "kept", "does not state a length"),
    ("no length cut.flac", lambda: cut(flac_header(frames=0)), "refused", "damaged"),
    ("no checksum flipped.flac", lambda: flipped(flac_header(checksum=False)), "refused", "damaged"),
    ("huge length.flac", lambda: flac_header(frames=(1 << 36) - 1), "refused", "truncated or damaged"),
    ("length 0.wav", lambda: riff(stated=0), "kept", "does not state a length"),
    ("no channels.wav", lambda: riff(channels=0), "refused", "states no channels"),
    ("rate.wav", lambda: riff(rate=4_000_000_000), "refused", "a sample rate of 4000000000 Hz"),
    ("ten channels.wav", lambda: riff(channels=10), "refused", "at most 8"),
    ("layout.wav", lambda: riff(channels=4, mask=0x107), "kept", "4 channels (FL FR FC BC), read as 5"),
    ("infinite.wav", lambda: wav(tune() / np.float32(0), subtype="FLOAT"), "refused", "infinite"),
    ("absurd.wav", lambda: wav(tune() * np.float32(1e20), subtype="FLOAT"), "refused", "times full scale: damaged"),
    ("constant.wav", lambda: wav(np.full((RATE, 2), 0.5)), "refused", "nothing but a constant value of 0.500"),
    ("minus zero.wav", lambda: wav(np.full((RATE, 2), -0.0), subtype="FLOAT"), "refused", "every sample is zero"),
    ("tiny.wav", lambda: wav(tune() * np.float32(1e-42), subtype="FLOAT"), "refused", "silent"),
    ("chained rates.ogg", lambda: ogg() + encoded(tune(), 44100, format="OGG"), "kept", "differ in sample rate"),
]


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
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


LOSSLESS = [
    ("alac", "ipod", 2), ("alac", "caf", 2), ("wavpack", "wv", 8), ("tta", "tta", 2), ("flac", "ogg", 6),
    ("flac", "matroska", 2), ("pcm_s24le", "wav", 2), ("pcm_s16le", "w64", 2), ("pcm_f64le", "wav", 1),
    ("pcm_s16be", "aiff", 2),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "container_format", "channels"), LOSSLESS)
def test_lossless_formats_come_back_sample_by_sample(tmp_path, codec, container_format, channels):
    sound = np.round(tune(1, rate=44100, channels=channels) * 32768) / np.float32(32768)
    (tmp_path / "x").write_bytes(by_ffmpeg(codec, container_format, sound))
    with open_audio(tmp_path / "x") as audio:
        assert np.concatenate(list(audio.blocks)) == pytest.approx(sound, abs=1e-6)


@pytest.mark.parametrize(
    ("codec", "container_format"),
    [("aac", "mp4"), ("aac", "adts"), ("libmp3lame", "mp3"), ("mp2", "mp2"), ("ac3", "ac3"), ("wmav2", "asf")],
)
def test_lossy_formats_come_complete_within_the_delay_of_their_codec(tmp_path, codec, container_format):
    (tmp_path / "x").write_bytes(by_ffmpeg(codec, container_format))
    assert delivered(tmp_path / "x") == pytest.approx(2, abs=2304 / 44100)


def test_joined_mp3_files_come_without_the_gap_between_them(tmp_path):
    (tmp_path / "x.mp3").write_bytes(by_ffmpeg("libmp3lame", "mp3") * 2)
    assert delivered(tmp_path / "x.mp3") == pytest.approx(4, abs=1e-6)


def test_the_channel_mask_says_which_channel_is_which(tmp_path):
    sound = (tune(channels=3) * 32767).astype("<i2") / 32768
    (tmp_path / "x.wav").write_bytes(riff(channels=3, mask=0xB))  # front left, front right, LFE
    with open_audio(tmp_path / "x.wav") as audio:
        assert audio.channels == 2
        assert np.concatenate(list(audio.blocks)) == pytest.approx(sound[:, :2], abs=1e-6)


def test_a_back_centre_reaches_both_sides_and_usual_layouts_stay_as_they_are():
    folded = speakers.fold(("FL", "FR", "FC", "BC"))
    assert folded[3] == pytest.approx([0, 0, 0, 0.5**0.5, 0.5**0.5])
    assert all(speakers.fold(names) is None for names in (("FC",), ("FL", "FR", "SL", "SR"), ("FL", "FR", "?")))


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path, make):
    make(tmp_path / "x.wav")
    with pytest.raises(AudioError, match="not a regular file"), open_audio(tmp_path / "x.wav"):
        pass
