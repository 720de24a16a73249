"""Files that are fine though their headers are odd: they come whole, to the sample where the format has no loss."""

from __future__ import annotations

import errno
import os
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
from mutagen.asf import ASF
from mutagen.id3 import COMM, ID3, TIT2

from dataset_processing.step import Paths, Record
from dataset_processing.steps.convert import Convert
from dataset_processing.steps.scan import Scan
from dualdiffusion.audio.decode import AudioError, flac, open_audio
from dualdiffusion.audio.decode.parts import Part, common, joined
from dualdiffusion.audio.tags import MOST_BYTES, read_tags, without_huge
from tests.dataset_processing.sounds import RATE, tune
from tests.dataset_processing.test_decode import (
    APE_TAG,
    aac,
    adts,
    by_ffmpeg,
    encoded,
    flac_header,
    id3,
    mp3,
    ogg,
    plain_mp3,
)

SOUND = tune()
PCM = (SOUND * 32767).astype("<i2").tobytes()
FORMAT = struct.pack("<HHIIHH", 1, 2, RATE, RATE * 4, 4, 16)
UNKNOWN = 0xFFFFFFFF


def chunk(name: bytes, body: bytes, stated: int | None = None, *, padded: bool = True) -> bytes:
    return name + struct.pack("<I", len(body) if stated is None else stated) + body + bytes(len(body) % 2 * padded)


FMT, LIST = chunk(b"fmt ", FORMAT), chunk(b"LIST", b"INFO" + chunk(b"INAM", b"Title\0"))


def wave(*chunks: bytes, riff: int | None = None, magic: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body) if riff is None else riff) + body


def wide(length: int, magic: bytes) -> bytes:
    """RF64 and BW64 state lengths in 64 bits, in a chunk of their own."""
    return wave(
        chunk(b"ds64", struct.pack("<QQQI", length, length, 0, 0)),
        *(FMT, chunk(b"data", PCM, UNKNOWN)),
        riff=UNKNOWN,
        magic=magic,
    )


def big(name: bytes, body: bytes, stated: int | None = None, *, padded: bool = True) -> bytes:
    return name + struct.pack(">I", len(body) if stated is None else stated) + body + bytes(len(body) % 2 * padded)


def aiff(stated: int | None = None, frames: int | None = None, before: bytes = b"", form: int | None = None) -> bytes:
    """AIFF; its rate stands there as an 80-bit float (22050 = 0x400D AC44 << 48)."""
    common = struct.pack(">hIhHQ", 2, len(SOUND) if frames is None else frames, 16, 0x400D, 0xAC44 << 48)
    sound = bytes(8) + np.frombuffer(PCM, "<i2").astype(">i2").tobytes()
    body = b"AIFF" + big(b"COMM", common) + before + big(b"SSND", sound, stated)
    return b"FORM" + struct.pack(">I", len(body) if form is None else form) + body


def au(stated: int) -> bytes:
    data = encoded(format="AU")
    return data[:8] + struct.pack(">I", stated) + data[12:]


STREAMED = [0, UNKNOWN, 0xFFFFFF9B, 0xFFFFFFDB, 0xFFFFF000, 0xFFFF0000, 0x7FFFFFFF, 0x7FFFF000, 0x80000000]
WHOLE = {
    **{f"streamed {n:x}.wav": lambda n=n: wave(FMT, chunk(b"data", PCM, n), riff=UNKNOWN) for n in STREAMED},
    **{f"list {n:x}.wav": lambda n=n: wave(LIST, FMT, LIST, chunk(b"data", PCM, n), riff=n) for n in STREAMED},
    **{f"streamed {n:x}.aif": lambda n=n: aiff(n, frames=n >> 2, form=n) for n in STREAMED},
    **{f"streamed {n:x}.au": lambda n=n: au(n) for n in STREAMED},
    **{f"rf64 {n:x}.wav": lambda n=n: wide(n, b"RF64") for n in (len(PCM), 0, 2**63 - 1, 2**64 - 1)},
    **{f"bw64 {n:x}.wav": lambda n=n: wide(n, b"BW64") for n in (len(PCM), 0, 2**63 - 1, 2**64 - 1)},
    "rf64 without ds64.wav": lambda: wave(FMT, chunk(b"data", PCM, UNKNOWN), riff=UNKNOWN, magic=b"RF64"),
    "counts its header.wav": lambda: wave(FMT, chunk(b"data", PCM, len(PCM) + 44)),
    "states too much in a file that knows its size.wav": lambda: wave(FMT, chunk(b"data", PCM, 2 * len(PCM))),
    "no padding.wav": lambda: wave(chunk(b"junk", b"abc", padded=False), FMT, chunk(b"data", PCM)),
    "no padding within.wav": lambda: wave(FMT, chunk(b"junk", b"abc", padded=False), chunk(b"data", PCM)),
    "zeros between.wav": lambda: wave(FMT, bytes(6), chunk(b"data", PCM)),
    "large padding.wav": lambda: wave(FMT, chunk(b"PAD ", bytes(5_000_000)), chunk(b"data", PCM)),
    "list first.wav": lambda: wave(LIST, FMT, chunk(b"data", PCM)),
    "tag before.wav": lambda: id3(17_000_000) + wave(FMT, chunk(b"data", PCM)),
    "tags and zeros before.wav": lambda: id3(300_000) + id3() + bytes(1000) + wave(FMT, chunk(b"data", PCM)),
    "tag after.wav": lambda: wave(FMT, chunk(b"data", PCM)) + APE_TAG + b"TAG" + bytes(125),
    "tag after streamed.wav": lambda: wave(FMT, chunk(b"data", PCM, UNKNOWN)) + APE_TAG + b"TAG" + bytes(125),
    "frames 0.aif": lambda: aiff(frames=0),
    "no padding.aif": lambda: aiff(before=big(b"NAME", b"abc", padded=False)),
    "counts its header.aif": lambda: aiff(len(PCM) + 16),
    "tag before.aif": lambda: id3() + aiff(),
    "tags before.flac": lambda: id3(300_000) + id3() + encoded(format="FLAC"),
    "zeros before.flac": lambda: bytes(300_000) + encoded(format="FLAC"),
    "tags after.flac": lambda: encoded(format="FLAC") + APE_TAG + b"TAG" + bytes(125),
    "huge picture.flac": lambda: with_picture(20_000_000, 20_000_000 & 0xFFFFFF),
    "wrong picture.flac": lambda: with_picture(5000, 900),
    "padding.flac": lambda: with_block(1, bytes(9_000_000)),
    "states half.flac": lambda: flac_header(frames=len(SOUND) // 2, sound=SOUND),
    "states one sample less.flac": lambda: flac_header(frames=len(SOUND) - 1, sound=SOUND, checksum=False),
    "states half, tagged.flac": lambda: id3() + flac_header(frames=9, sound=SOUND) + APE_TAG + b"TAG" + bytes(125),
    "streamed 0 before a list.wav": lambda: wave(FMT, chunk(b"data", PCM, 0), LIST, riff=UNKNOWN),
    "streamed before two.wav": lambda: wave(FMT, chunk(b"data", PCM, UNKNOWN), LIST, chunk(b"id3 ", id3())),
}  # fmt: skip


def with_block(kind: int, body: bytes, stated: int | None = None) -> bytes:
    """A FLAC file with one more block of metadata."""
    data = encoded(SOUND, format="FLAC")
    size = (len(body) if stated is None else stated).to_bytes(3, "big")
    return data[:42] + bytes([kind]) + size + body + data[42:]


def with_picture(size: int, stated: int) -> bytes:
    picture = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 0, 0, 0, 0, size)
    return with_block(6, picture + b"\x89PNG" + b"\x11" * (size - 4), stated)


def decoded(path: Path) -> tuple[np.ndarray, int, str]:
    with open_audio(path) as audio:
        return np.concatenate(list(audio.blocks)), audio.sample_rate, "; ".join(audio.notes)


@pytest.mark.parametrize("name", WHOLE)
def test_every_sample_comes(tmp_path, name):
    (tmp_path / name).write_bytes(WHOLE[name]())
    sound, rate, notes = decoded(tmp_path / name)
    assert rate == RATE
    assert len(sound) == len(SOUND)
    assert np.abs(sound - SOUND).max() < 1e-4
    if name.startswith(("streamed", "counts", "states", "no padding", "wrong")):
        assert notes


CUT = {
    "cut.wav": lambda: wave(FMT, chunk(b"data", PCM[:60000], len(PCM)), riff=len(PCM) + 36),
    "cut within 3 GB.wav": lambda: wave(FMT, chunk(b"data", PCM, 3_000_000_000), riff=3_000_000_036),
    "cut behind a large header.wav": lambda: wave(
        *(FMT, chunk(b"PAD ", bytes(200_000)), chunk(b"data", PCM[:60000], len(PCM))), riff=len(PCM) + 200_044
    ),
    "cut rf64.wav": lambda: wide(2 * len(PCM), b"RF64"),
    "cut.aif": lambda: aiff(2 * len(PCM), form=2 * len(PCM) + 46),
    "cut.au": lambda: au(2 * len(PCM)),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_what_was_cut_off_is_still_refused(tmp_path, name):
    (tmp_path / name).write_bytes(CUT[name]())
    with pytest.raises(AudioError, match="truncated"):
        decoded(tmp_path / name)


BEFORE = {
    "ogg": ogg, "m4a": aac, "mka": lambda: by_ffmpeg("flac", "matroska"), "wv": lambda: by_ffmpeg("wavpack", "wv"),
    "caf": lambda: encoded(format="CAF"), "w64": lambda: encoded(format="W64"), "mp3": plain_mp3, "aac": adts,
    "wma": lambda: by_ffmpeg("wmav2", "asf"), "tta": lambda: by_ffmpeg("tta", "tta"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BEFORE)
def test_tags_and_padding_before_any_format_change_nothing(tmp_path, kind):
    data = BEFORE[kind]()
    (tmp_path / f"plain.{kind}").write_bytes(data)
    wanted = decoded(tmp_path / f"plain.{kind}")[0]
    for before in (id3(), id3(300_000) + id3(), id3() + bytes(999), bytes(300_000)):
        (tmp_path / f"x.{kind}").write_bytes(before + data)
        assert np.abs(decoded(tmp_path / f"x.{kind}")[0] - wanted).max() < 1e-6


BEHIND_JUNK = {
    "server.ogg": lambda: b"HTTP/1.0 200 OK\r\n\r\n" + ogg(),
    "junk.aac": lambda: b"junk" * 10 + adts(),
    "within a frame.aac": lambda: adts()[100:],
    "between.ogg": lambda: ogg(1) + b"junk" * 10 + ogg(2),
}


@pytest.mark.parametrize("name", BEHIND_JUNK)
def test_what_a_recorder_of_streams_left_is_left_out(tmp_path, name):
    (tmp_path / name).write_bytes(BEHIND_JUNK[name]())
    sound, rate, notes = decoded(tmp_path / name)
    assert len(sound) / rate == pytest.approx({"between.ogg": 3, "server.ogg": 1.5}.get(name, 2.03), abs=0.03)
    assert "left out" in notes


def test_junk_within_a_part_is_still_damage(tmp_path):
    data = ogg(1)
    at = data.find(b"OggS", len(data) // 2)
    (tmp_path / "x.ogg").write_bytes(data[:at] + b"junk" * 10 + data[at:])
    with pytest.raises(AudioError, match="no Ogg page where one must start"):
        decoded(tmp_path / "x.ogg")


def test_flac_is_read_where_no_file_can_be_mapped(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(flac.mmap, "mmap", refuse)
    (tmp_path / "x.flac").write_bytes(flac_header(frames=5, sound=SOUND))
    assert len(decoded(tmp_path / "x.flac")[0]) == len(SOUND)


def test_segments_of_a_stream_with_a_tag_each_are_one_track(tmp_path):
    (tmp_path / "x.aac").write_bytes(id3() + adts() + id3() + adts())
    sound, rate, _ = decoded(tmp_path / "x.aac")
    assert len(sound) / rate == pytest.approx(4.09, abs=0.03)


def opus(channels: int = 2, seconds: float = 0.1, seed: int = 0) -> bytes:
    return encoded(tune(seconds, rate=48000, channels=channels, seed=seed), 48000, format="OGG", subtype="OPUS")


def test_a_recording_of_hundreds_of_parts_needs_few_open_files(tmp_path):
    links = [opus(channels, seed=channels) for channels in (2, 1)]
    (tmp_path / "x.opus").write_bytes((links[0] + links[0] + links[1]) * 100)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, limits[1]))
    try:
        sound, rate, notes = decoded(tmp_path / "x.opus")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (len(sound) / rate, sound.shape[1]) == (pytest.approx(30, abs=0.1), 2)
    assert "300 parts" in notes and "channel count (brought to stereo)" in notes


def test_parts_of_other_rates_keep_their_length_and_pitch(tmp_path):
    pieces = [np.sin(2 * np.pi * 440 * np.arange(rate) / rate)[:, None] * 0.5 for rate in (44100, 22050, 44100)]
    data = [encoded(piece, len(piece), format="OGG", subtype="VORBIS") for piece in pieces]
    (tmp_path / "x.ogg").write_bytes(b"".join(data))
    sound, rate, notes = decoded(tmp_path / "x.ogg")
    assert (rate, len(sound)) == (44100, pytest.approx(3 * 44100, abs=3 * 1024))  # within a block of Vorbis
    spectrum = np.abs(np.fft.rfft(sound[44100:88200, 0]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)
    assert "brought to 44100 Hz" in notes


@pytest.mark.parametrize("second", [(44100, 1), (48000, 2), (22050, 2)])
def test_joined_mp3_files_of_other_kinds_come_whole(tmp_path, second):
    rate, channels = second
    other = encoded(tune(2, rate=rate, channels=channels), rate, format="MP3")
    (tmp_path / "x.mp3").write_bytes(mp3() + other)
    sound, rate, notes = decoded(tmp_path / "x.mp3")
    assert len(sound) / rate == pytest.approx(5, abs=0.01)
    assert "its parts differ" in notes


def test_parts_that_are_alike_are_left_as_they_are():
    blocks = [np.ones((5, 6), np.float32), np.zeros((3, 6), np.float32)]
    parts = [Part(48000, 6, iter([block])) for block in blocks]
    assert common(parts) == (48000, 6, ())
    assert [len(block) for block in joined(parts, 48000, 6)] == [5, 3]


def test_a_station_that_does_not_close_its_pieces_is_read_on(tmp_path):
    first = ogg(1)
    (tmp_path / "x.ogg").write_bytes(first[: first.rfind(b"OggS")] + ogg(2))
    sound, _, notes = decoded(tmp_path / "x.ogg")
    assert len(sound) > 1.5 * RATE
    assert "do not state their end" in notes


def test_a_wrong_count_of_frames_takes_nothing_from_the_middle(tmp_path):
    data = by_ffmpeg("libmp3lame", "mp3")
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    half = int.from_bytes(data[at : at + 4], "big") // 2
    (tmp_path / "right.mp3").write_bytes(data)
    (tmp_path / "wrong.mp3").write_bytes(data[:at] + half.to_bytes(4, "big") + data[at + 4 :])
    right, wrong = (decoded(tmp_path / f"{name}.mp3")[0] for name in ("right", "wrong"))
    delay = 1105  # LAME's and the decoder's, which a wrong header cannot be believed about
    assert np.abs(wrong[delay : delay + len(right)] - right).max() < 1e-3


def test_a_tag_that_cannot_be_carried_is_dropped_and_noted_and_the_track_stays(tmp_path):
    path = tmp_path / "game" / "x.mp3"
    path.parent.mkdir()
    path.write_bytes(mp3())
    tags = ID3()
    tags.add(COMM(encoding=0, lang="eng", desc="", text="x" * 17_000_000))
    tags.add(TIT2(encoding=3, text="Lullaby"))
    tags.save(path)
    paths = Paths(tmp_path, tmp_path / "dataset")
    record = Scan(Scan.Config(), paths=paths).run(Record("game/x.mp3", "game", "game", "x"))
    record = Convert(Convert.Config(), paths=paths).run(record)
    assert record.kept
    assert "its tag 'comment' is larger than a tag may be, and is left out" in record.notes
    assert read_tags(tmp_path / "dataset" / "audio" / "game" / "x.flac") == {"title": "Lullaby", "game": "game"}


def test_a_picture_in_windows_media_does_not_make_it_look_cut_off(tmp_path):
    path = tmp_path / "x.wma"
    path.write_bytes(by_ffmpeg("wmav2", "asf"))
    wanted = decoded(path)[0]
    tags = ASF(path)
    tags["Description"] = "x" * 60000
    tags.save()
    assert len(decoded(path)[0]) == len(wanted)


@pytest.mark.parametrize(
    "make", [lambda: wave(FMT, chunk(b"data", PCM)), ogg, aiff, adts], ids=["wav", "ogg", "aif", "aac"]
)
def test_tags_in_front_of_a_format_that_knows_none_are_carried(tmp_path, make):
    tags = ID3()
    tags.add(TIT2(encoding=3, text="Lullaby"))
    (tmp_path / "tag").touch()
    tags.save(tmp_path / "tag")
    (tmp_path / "x").write_bytes((tmp_path / "tag").read_bytes() + make())
    assert read_tags(tmp_path / "x") == {"title": "Lullaby"}


def test_tags_of_any_usual_size_are_carried():
    tags = {"title": "é" * (MOST_BYTES // 2), "comment": "é" * (MOST_BYTES // 2 + 1)}
    assert without_huge(tags) == ({"title": tags["title"]}, ["comment"])
