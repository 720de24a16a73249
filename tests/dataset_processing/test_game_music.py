"""Game music that is not a recording: every song at its pitch, of its length, with its tags; or refused in one line."""

from __future__ import annotations

import gzip
import struct
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dataset_processing.run.names import stem_of
from dataset_processing.run.pool import run_one, time_limit
from dataset_processing.run.result import Ranks
from dataset_processing.run.stage import Stage
from dataset_processing.step import Paths, Record
from dataset_processing.steps.scan import Scan
from dualdiffusion.audio.decode import AudioError, Song, Take, open_audio
from dualdiffusion.audio.decode.game_music import playing
from dualdiffusion.audio.decode.game_music.fades import fades
from dualdiffusion.audio.decode.game_music.playing import LIBRARIES, RATE, Library, MissingLibraryError
from tests.dataset_processing import modules

GME, OPENMPT, FLUIDSYNTH = (LIBRARIES[name] for name in ("gme", "openmpt", "fluidsynth"))


@cache
def lacks(library: Library) -> str:
    """What to install for a library; empty where it is there."""
    try:
        playing.songs(library, b"")
    except MissingLibraryError as error:
        return str(error)
    except AudioError:
        return ""
    raise AssertionError("nothing was played")


def needs(*libraries: Library) -> None:
    """Skips a test where a library is missing, and says what to install."""
    for library in libraries:
        if lacks(library):
            pytest.skip(lacks(library))


def library_of(name: str) -> Library:
    if name.endswith((".mid", ".rmi")):
        return FLUIDSYNTH
    return OPENMPT if name.endswith((".mod", ".s3m", ".xm")) else GME


def rendered(path: Path, take: Take | None = None) -> np.ndarray:
    """All of a song, (frames, 2), at 48 kHz."""
    with open_audio(path, take) as audio:
        assert (audio.sample_rate, audio.channels) == (RATE, 2)
        return np.concatenate(list(audio.blocks))


def songs_of(path: Path) -> tuple[Song, ...]:
    with open_audio(path) as audio:
        return audio.songs


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency (Hz) of the first second."""
    mono = samples.mean(1)[:RATE]
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono))))
    return float(np.argmax(spectrum[20:]) + 20) * RATE / len(mono)


def level(samples: np.ndarray, second: float) -> float:
    """The RMS of the tenth of a second around a place."""
    middle = round(second * RATE)
    return float(np.sqrt(np.mean(samples[middle - 2400 : middle + 2400] ** 2)))


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def scan(path: Path, **settings: float) -> list[Record]:
    """What a scan makes of a file: of each of its songs, if it holds some; faults of the machine become refusals."""
    step = Scan(Scan.Config(**settings), paths=Paths(path.parent.parent, path.parent.parent / "dataset"))
    record = Record(f"{path.parent.name}/{path.name}", path.parent.name, track=stem_of(path.name))
    result = run_one(step.run, record).after
    return [run_one(step.run, part).after for part in step.parts(record, result)] if result.songs else [result]


LEFT, RIGHT, BOTH = (1, 0), (0, 1), (1, 1)
VOICES = [
    ("a.mod", lambda: modules.mod(), 8287 / 32, None),
    ("a.s3m", lambda: modules.s3m(orders=(0, 255)), 8363 / 32, None),
    ("a.xm", lambda: modules.xm(), 8363 / 32, None),
    ("a.vgm", lambda: modules.vgm(), 440.4, BOTH),
    ("a.vgz", lambda: gzip.compress(modules.vgm()), 440.4, BOTH),
    ("a.nsf", lambda: modules.nsf((330,)), 330, BOTH),
    ("a.nsfe", lambda: modules.nsfe((392,), seconds=(2,)), 392, BOTH),
    ("a.spc", lambda: modules.spc(), 500, LEFT),
    ("a.gbs", lambda: modules.gbs(523), 523, RIGHT),
    ("a.kss", lambda: modules.kss(262), 262, BOTH),
    ("a.sap", lambda: modules.sap(), 440, BOTH),
    ("a.hes", lambda: modules.hes(), 440.4, LEFT),
    ("a.mid", lambda: modules.midi(), 440, None),
    ("a.rmi", lambda: b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + modules.midi(((81, 1.0),)), 880, None),
]


@pytest.mark.parametrize(("name", "make", "hertz", "sides"), VOICES, ids=[row[0] for row in VOICES])
def test_a_song_is_heard_at_its_pitch_on_its_side_and_the_same_twice(tmp_path, name, make, hertz, sides):
    needs(library_of(name))
    take = Take(seconds=1.5)
    samples = rendered(written(tmp_path, name, make()), take)
    assert pitch(samples) == pytest.approx(hertz, abs=2)
    assert len(samples) > 0.9 * RATE
    if sides:
        assert tuple(np.abs(samples).max(0) > 0.1) == tuple(map(bool, sides))
    assert np.array_equal(samples, rendered(tmp_path / name, take))


def test_a_score_sounds_for_as_long_as_its_tempo_says_and_tells_its_title(tmp_path):
    needs(FLUIDSYNTH)
    path = written(tmp_path, "a.mid", modules.midi(((69, 1.0), (81, 2.0)), tempo=90, title="Two notes"))
    (song,) = songs_of(path)
    assert song.seconds == pytest.approx(3, abs=0.01) and song.fade == 0 and song.tags == {"title": "Two notes"}
    samples = rendered(path)
    assert 3 <= len(samples) / RATE <= 4.01, "its last note rings on a little"
    assert pitch(samples[RATE:]) == pytest.approx(880, abs=4) and level(samples, 2.9) > 3 * level(samples, 3.9)


def test_a_score_that_is_cut_or_holds_no_notes_is_refused(tmp_path):
    needs(FLUIDSYNTH)
    whole = modules.midi()
    for data, reason in (
        (whole[:-8], "truncated: "),
        (b"MThd" + bytes(100), "a MIDI file without tracks"),
        (modules.midi(()), "it holds no notes"),
        (whole[:-1] + b"\x81", "its events end in the middle of one"),
        (whole[:12] + b"\xe2\x78" + whole[14:], "its times are in film frames"),
    ):
        (record,) = scan(written(tmp_path, "game/a.mid", data))
        assert not record.kept and reason in record.reason, record.reason


def test_a_tracker_module_is_panned_as_amigas_do_the_first_voice_to_the_left(tmp_path):
    needs(OPENMPT)
    left, right = np.abs(rendered(written(tmp_path, "a.mod", modules.mod()))).max(0)
    assert left > 2 * right


# name, contents, seconds until the fade begins, seconds of the fade; the config says 3 s, 2 loops, fades of 1 s
LENGTHS = [
    ("stated.spc", lambda: modules.spc(seconds=2, fade=1500), 2, 1.5),
    ("stated.nsfe", lambda: modules.nsfe((440,), seconds=(2.5,), fade=0.5), 2.5, 0.5),
    ("no fade.nsfe", lambda: modules.nsfe((440,), seconds=(2,), fade=-0.001), 2, 1),
    ("no length.nsf", lambda: modules.nsf(), 3, 1),
    ("no length.gbs", lambda: modules.gbs(), 3, 1),
    ("ends.vgm", lambda: modules.vgm(seconds=2), 2, 0),
    ("loops.vgm", lambda: modules.vgm(seconds=2, loop=1.5), 0.5 + 2 * 1.5, 1),
]


@pytest.mark.parametrize(("name", "make", "seconds", "fade"), LENGTHS, ids=[row[0] for row in LENGTHS])
def test_a_song_is_as_long_as_its_file_says_else_as_the_config_says(tmp_path, name, make, seconds, fade):
    needs(GME)
    path = written(tmp_path, name, make())
    take = songs_of(path)[0].take(chip_seconds=3, loops=2, fade_seconds=1)
    assert (take.seconds, take.fade) == (pytest.approx(seconds, abs=0.01), pytest.approx(fade))
    samples = rendered(path, take)
    assert len(samples) / RATE == pytest.approx(seconds + fade, abs=0.01)
    full = level(samples, seconds - 0.2)
    if fade:
        assert level(samples, seconds + fade / 2) == pytest.approx(full / 2, rel=0.1)
        assert level(samples, seconds + fade - 0.05) < full / 5
    else:
        assert level(samples, len(samples) / RATE - 0.05) == pytest.approx(full, rel=0.1)


def test_a_song_without_a_stated_length_ends_where_it_falls_silent(tmp_path):
    needs(GME)
    jingle, empty = modules.nsf((440, 440), frames=(120, 0)), modules.nsf((modules.PAUSE,))
    take = songs_of(written(tmp_path, "jingle.nsf", jingle))[0].take(1, 2, chip_seconds=60)
    assert len(rendered(tmp_path / "jingle.nsf", take)) / RATE == pytest.approx(2, abs=0.4)
    samples = rendered(written(tmp_path, "empty.nsf", empty))
    assert not samples.any()
    assert 9 < len(samples) / RATE < 12  # and not the 158 s of a song that sounds


def test_a_module_is_played_once_to_its_end(tmp_path):
    needs(OPENMPT)
    samples = rendered(written(tmp_path, "short.mod", modules.mod(rows=8)))
    assert len(samples) / RATE == pytest.approx(8 * 0.12, abs=0.15)


def test_what_would_play_for_days_ends_after_an_hour():
    take = Song(seconds=1e6, fade=8.0).take()
    assert (take.seconds, take.fade) == (3600, 0)
    assert any("longer than 3600 s" in note for note in take.notes())
    assert 120 < time_limit(Record("g/a.nsf", "g", song=take.to_json())) < 4000


GD3 = ("Hall", "", "Castle", "", "Master System", "", "A. Composer", "", "1990/05/03", "Ripper", "From the hall")
TAGGED = [
    ("a.vgm", lambda: modules.vgm(tags=GD3), {"title": "Hall", "artist": "A. Composer", "album": "Castle"}),
    ("b.vgm", lambda: modules.vgm(tags=GD3), {"date": "1990/05/03", "comment": "From the hall"}),
    ("a.spc", lambda: modules.spc(), {"title": "Hall", "artist": "Composer", "album": "Castle"}),
    ("b.spc", lambda: modules.spc(), {"comment": "From the hall"}),
    ("a.nsf", lambda: modules.nsf(), {"artist": "Composer", "album": "Castle", "copyright": "1990 Maker"}),
    ("b.nsf", lambda: modules.nsf(), {"date": "1990"}),
    ("a.nsfe", lambda: modules.nsfe((440,), titles=("Hall",)), {"title": "Hall", "album": "Castle"}),
    ("a.mod", lambda: modules.mod("the hall"), {"title": "the hall"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make", "tags"), TAGGED, ids=[row[0] for row in TAGGED])
def test_what_a_file_says_of_its_song_becomes_tags(tmp_path, name, make, tags):
    needs(library_of(name))
    (record,) = scan(written(tmp_path, f"Castle/{name}", make()))
    assert record.fields["tags"].items() >= tags.items()
    assert record.fields["artist"] == tags.get("artist", record.fields["artist"])
    assert record.fields["title"] == tags.get("title", record.fields["tags"].get("title", Path(name).stem))


RECOGNISED = [
    ("TUNE.MOD", lambda: modules.mod()),
    ("mod.hall of fame", lambda: modules.mod()),
    ("s3m.hall", lambda: modules.s3m(orders=(0, 255))),
    ("tagged.mod", lambda: b"ID3\3\0\0\0\0\0\x14" + bytes(20) + modules.mod()),
    ("tagged.spc", lambda: b"ID3\3\0\0\0\0\0\x14" + bytes(20) + modules.spc()),
    ("TUNE.VGM", lambda: gzip.compress(modules.vgm(seconds=6))),
    ("eight voices.mod", lambda: modules.mod(mark=b"M!K!")),
]


@pytest.mark.parametrize(("name", "make"), RECOGNISED, ids=[row[0] for row in RECOGNISED])
def test_a_file_is_known_by_its_content_and_its_name_is_no_surprise(tmp_path, name, make):
    needs(GME, OPENMPT)
    (record,) = scan(written(tmp_path, f"Castle/{name}", make()))
    assert record.kept, record.reason
    assert not any("although its name says" in note for note in record.notes)


def cut(data: bytes, share: float) -> bytes:
    return data[: round(len(data) * share)]


def spoilt(data: bytes, start: int, size: int) -> bytes:
    return data[:start] + np.random.default_rng(0).bytes(size) + data[start + size :]


REFUSED = [
    ("empty.mod", lambda: b"", "empty file"),
    ("zeros.mod", lambda: bytes(20_000_000), "nothing but zero bytes"),
    ("no notes.mod", lambda: modules.mod()[:1084] + bytes(1024 + 32), "silent"),
    ("header only.mod", lambda: modules.mod()[:1084], "truncated"),
    ("cut.mod", lambda: cut(modules.mod(), 0.6), "truncated: 1284 of the 2140 bytes"),
    ("cut.xm", lambda: cut(modules.xm(), 0.97), "truncated: 786 of the 810 bytes"),
    ("cut.s3m", lambda: cut(modules.s3m(), 0.9), "truncated"),
    ("cut tables.s3m", lambda: cut(modules.s3m(), 0.2), "truncated"),
    ("cut.vgm", lambda: cut(modules.vgm(tags=GD3), 0.7), "truncated"),
    ("cut.vgz", lambda: cut(gzip.compress(modules.vgm()), 0.7), "truncated"),
    ("cut.spc", lambda: cut(modules.spc(), 0.5), "truncated"),
    ("cut.nsfe", lambda: cut(modules.nsfe(), 0.7), "truncated"),
    ("cut.nsf", lambda: modules.nsf()[:100], "truncated"),
    ("spoilt.vgz", lambda: spoilt(gzip.compress(modules.vgm(tags=GD3)), 30, 40), "damaged"),
    ("spoilt.xm", lambda: b"Extended Module: " + np.random.default_rng(0).bytes(3000), "damaged"),
    ("spoilt.it", lambda: b"IMPM" + np.random.default_rng(0).bytes(3000), "truncated"),
]


@pytest.mark.parametrize(("name", "make", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_damaged_or_holds_nothing_is_refused_in_one_line(tmp_path, name, make, reason):
    needs(GME, OPENMPT)
    (record,) = scan(written(tmp_path, f"Castle/{name}", make()))
    assert not record.kept
    assert reason in record.reason
    assert "\n" not in record.reason
    assert record.audio


def test_a_module_that_lacks_the_last_bytes_of_its_last_sample_is_kept_as_players_do(tmp_path):
    needs(OPENMPT)
    (record,) = scan(written(tmp_path, "Castle/a.mod", modules.mod()[:-4]))
    assert record.kept


WITHOUT = [("a.mod", modules.mod, OPENMPT, "libopenmpt0"), ("a.nsf", modules.nsf, GME, "libgme0")]


@pytest.mark.parametrize(("name", "make", "library", "package"), WITHOUT, ids=[row[0] for row in WITHOUT])
def test_without_its_library_a_file_is_refused_until_the_package_that_is_named_is_installed(
    tmp_path, monkeypatch, name, make, library, package
):
    path = written(tmp_path, f"Castle/{name}", make())
    step = Scan(Scan.Config(), paths=Paths(tmp_path, tmp_path / "dataset"))
    with monkeypatch.context() as without:
        without.setitem(LIBRARIES, library.reader, replace(library, name="none", file="libnone.so.0"))
        with pytest.raises(OSError, match=f"install {package}"):
            rendered(path)
        finished = run_one(step.run, Record(f"Castle/{name}", "Castle"))
    assert not finished.after.kept
    assert finished.after.audio
    assert f"install {package}" in finished.after.reason
    assert "\n" not in finished.after.reason
    assert not finished.final  # it is not remembered: the next run looks again
    needs(library)
    assert run_one(step.run, Record(f"Castle/{name}", "Castle")).after.songs


CRASHES = [("os.kill(os.getpid(), 11)", "crashes on it"), ("time.sleep(60)", "does not come back")]


@pytest.mark.parametrize(("what", "reason"), CRASHES, ids=["crash", "hang"])
def test_a_library_that_crashes_or_hangs_is_a_reason_and_ends_no_process_of_ours(tmp_path, monkeypatch, what, reason):
    program = written(tmp_path, "player/__main__.py", HOSTILE.format(what=what).encode())
    monkeypatch.setattr(playing, "_PLAYER", program.parent)
    blocks = []
    with open_audio(written(tmp_path, "a.nsf", modules.nsf())) as audio, pytest.raises(AudioError, match=reason):
        blocks += audio.blocks
    assert sum(map(len, blocks)) == 1000  # what came before it is heard


HOSTILE = """
import faulthandler, os, sys, time
print('{{"songs": [{{"length": 9, "intro": null, "loop": null}}]}}', flush=True)
os.write(1, bytes(4000))
faulthandler.dump_traceback_later(0.5, exit=True, file=open(os.devnull, "w"))
if len(sys.argv) > 5:
    {what}
"""


def test_opened_without_a_word_on_which_song_the_first_is_played_and_the_others_are_told(tmp_path):
    needs(GME)
    path = written(tmp_path, "a.nsf", modules.nsf((440, 330)))
    with open_audio(path) as audio:
        assert "holds 2 songs; the first is used" in audio.notes
        assert pitch(next(audio.blocks)) == pytest.approx(440, abs=5)
    assert pitch(rendered(path, Take(number=2, of=2, seconds=2))) == pytest.approx(330, abs=2)
    with pytest.raises(AudioError, match="holds no song 3"):
        rendered(path, Take(number=3, of=3))


def test_songs_that_a_file_states_in_another_order_keep_their_own_fades():
    data = modules.nsfe((440, 330), seconds=(2, 3), fade=1)
    order = struct.pack("<I", 2) + b"plst" + bytes((1, 0))
    fade = data.index(b"fade") + 4
    data = data[:fade] + struct.pack("<ii", 500, 1500) + data[fade + 8 :]
    end = data.index(b"NEND") - 4
    assert fades(data, 2) == [0.5, 1.5]
    assert fades(data[:end] + order + data[end:], 2) == [1.5, 0.5]
    numbers = bytearray(modules.spc())  # ID666 with numbers in the place of text
    numbers[0xA9:0xB1] = struct.pack("<HBI", 130, 0, 2500) + b"C"
    assert fades(bytes(numbers), 1) == [2.5]


def test_refusals_of_older_software_are_tried_again_and_what_it_kept_stays(tmp_path):
    paths = Paths(tmp_path, tmp_path / "dataset")
    stage = Stage("scan", Scan(Scan.Config(), paths=paths), paths, Ranks(), None)
    recording, module = (Record(f"g/{name}", "g", identity=(1, 2)) for name in ("a.flac", "a.xm"))
    old = Scan(Scan.Config(), paths=paths)
    old.refusals = 0
    before = Stage("scan", old, paths, Ranks(), None)
    refused = module.refused("a tracker module (XM) is not supported; render it to WAV first")
    for record, result in ((recording, recording.noted("done")), (module, refused)):
        before.remember(run_one(lambda _, result=result: result, record))
    stage.journal.reload()
    known, todo = stage.up_to_date([recording, module])
    assert (list(known), [record.file for record in todo]) == (["g/a.flac"], ["g/a.xm"])
    stage.remember(run_one(lambda record: record.refused("damaged"), module))
    stage.journal.reload()
    assert stage.up_to_date([module])[0]["g/a.xm"].reason == "damaged"


def test_a_record_of_a_recording_is_written_as_before_there_were_songs():
    record = Record("g/a.flac", "g")
    assert not {"song", "songs"} & record.to_json().keys()
    song = replace(record, song=asdict(Take(2, 3)))
    assert Record.from_json(song.to_json()) == song


FFMPEG = """#!{python}
import struct, sys
words = sys.argv[1:]
if "-demuxers" in words:
    print(" D  libgme          Game Music Emu demuxer")
    sys.exit()
data = open("/dev/stdin", "rb").read()
song = int(words[words.index("-track_index") + 1])
text = "Input #0, libgme, from 'file:/dev/stdin':\\n  Metadata:\\n    song            : Song %d\\n"
text += "    tracks          : 2\\n  Duration: 00:00:01.50, start: 0.000000, bitrate: N/A\\n"
sys.stderr.write(text % (song + 1) if data == b"two songs" else "file:/dev/stdin: Invalid data found\\n")
if words[-1] == "pipe:1":
    sys.stdout.buffer.write(struct.pack("<hh", 8192 * (song + 1), 0) * 96000)
"""


def test_an_ffmpeg_that_has_the_library_plays_where_the_system_does_not(tmp_path, monkeypatch):
    absent = replace(GME, name="none-such", file="none-such.so")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingLibraryError, match=r"install libgme0 .* or an ffmpeg that has it"):
        playing.songs(absent, b"two songs")
    (tmp_path / "ffmpeg").write_text(FFMPEG.format(python=sys.executable))
    (tmp_path / "ffmpeg").chmod(0o755)
    songs = playing.songs(absent, b"two songs")
    assert [(song.seconds, song.tags["title"]) for song in songs] == [(1.5, "Song 1"), (1.5, "Song 2")]
    sound = np.concatenate(list(playing.render(absent, b"two songs", songs[1].take(2, 2, fade_seconds=0))))
    assert len(sound) == 1.5 * RATE
    assert sound[-1].tolist() == [0.5, 0]
    with pytest.raises(AudioError, match="Invalid data found"):
        playing.songs(absent, b"noise")
    with pytest.raises(MissingLibraryError):  # it was built without the other
        playing.songs(replace(OPENMPT, name="none-such", file="none-such.so"), b"two songs")
