"""Scores on disk: the MIDI file is read back by a reader of its own, the text by its lines."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest

from dataset_processing.__main__ import main
from dataset_processing.synth import GAMES
from dataset_processing.synth.composition import Score, compose
from dataset_processing.synth.games import find_game
from dataset_processing.synth.midi import CHANNELS, encode_midi, key_signature
from dataset_processing.synth.score_text import describe

NAMES = [game.name for game in GAMES]


@dataclass
class MidiTrack:
    """What a track of a MIDI file says; times in ticks."""

    name: str = ""
    notes: list[tuple[int, int, int, int, int]] = field(default_factory=list)  # start, end, pitch, velocity, channel
    meta: list[tuple[int, int, bytes]] = field(default_factory=list)  # tick, kind, payload


def read_number(data: bytes, place: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = 0
    while True:
        value, place = value << 7 | data[place] & 0x7F, place + 1
        if data[place - 1] < 0x80:
            return value, place


def read_track(data: bytes) -> MidiTrack:
    """The events of a track chunk without running status; every note must end."""
    track, place, tick = MidiTrack(), 0, 0
    open_notes: dict[tuple[int, int], tuple[int, int]] = {}
    while place < len(data):
        delta, place = read_number(data, place)
        tick += delta
        status = data[place]
        if status == 0xFF:
            kind = data[place + 1]
            length, place = read_number(data, place + 2)
            track.meta.append((tick, kind, data[place : place + length]))
            place += length
        elif status >> 4 == 0xC:
            place += 2
        else:
            assert status >> 4 in (0x8, 0x9)
            channel, pitch, velocity = status & 0xF, data[place + 1], data[place + 2]
            place += 3
            if status >> 4 == 0x9:
                assert (channel, pitch) not in open_notes, "a note begins before it has ended"
                open_notes[channel, pitch] = (tick, velocity)
            else:
                start, loud = open_notes.pop((channel, pitch))
                track.notes.append((start, tick, pitch, loud, channel))
    assert not open_notes and track.meta[-1][1] == 0x2F
    track.name = next(payload.decode() for _, kind, payload in track.meta if kind == 0x03)
    return track


def read_midi(data: bytes) -> tuple[int, list[MidiTrack]]:
    """Ticks of a quarter and the tracks of a file of format 1."""
    assert data[:4] == b"MThd"
    length, form, count, division = struct.unpack(">IHHH", data[4:14])
    assert (length, form) == (6, 1)
    tracks, place = [], 14
    while place < len(data):
        assert data[place : place + 4] == b"MTrk"
        (size,) = struct.unpack(">I", data[place + 4 : place + 8])
        tracks.append(read_track(data[place + 8 : place + 8 + size]))
        place += 8 + size
    assert len(tracks) == count
    return division, tracks


def meta_of(track: MidiTrack, kind: int) -> list[tuple[int, bytes]]:
    return [(tick, payload) for tick, found, payload in track.meta if found == kind]


@pytest.fixture(scope="module")
def score() -> Score:
    return compose(find_game("Castle"), 2, seconds=60.0, seed=4)


@pytest.mark.parametrize("name", NAMES)
def test_the_midi_file_holds_the_notes_of_the_score(name: str) -> None:
    score = compose(find_game(name), 1, seconds=45.0, seed=2)
    division, (conductor, *parts) = read_midi(encode_midi(score, "Title", "CC0-1.0"))
    numerator, denominator = score.metre
    beat = division * 4 * numerator // denominator // score.beats_per_bar
    assert {part.name for part in parts} == {note.part for note in score.notes}
    for part in parts:
        written = sorted(
            (round(note.start * beat), note.pitch, round(127 * note.velocity))
            for note in score.notes
            if note.part == part.name
        )
        assert sorted((start, pitch, loud) for start, _, pitch, loud, _ in part.notes) == written
        assert {channel for *_, channel in part.notes} == {CHANNELS[part.name]}
        held = {(round(note.start * beat), note.pitch): note.duration for note in score.notes if note.part == part.name}
        for start, end, pitch, _, _ in part.notes:
            assert end - start == pytest.approx(held[start, pitch] * beat, abs=1)
    ((_, tempo),) = meta_of(conductor, 0x51)
    seconds_per_beat = int.from_bytes(tempo, "big") / 1e6 * beat / division
    assert 60 / seconds_per_beat == pytest.approx(score.tempo, rel=1e-4)
    ((_, metre),) = meta_of(conductor, 0x58)
    assert (metre[0], 2 ** metre[1]) == score.metre
    assert metre[2] == 24 * beat // division
    markers = [(tick // beat // score.beats_per_bar, text.decode()) for tick, text in meta_of(conductor, 0x06)]
    assert markers == [(section.first_bar, section.letter) for section in score.sections]
    assert conductor.meta[-1][0] == score.beats * beat


@pytest.mark.parametrize(
    ("tonic", "mode", "expected"),
    [
        (0, "major", (0, False)),
        (7, "major", (1, False)),
        (5, "major", (-1, False)),
        (9, "minor", (0, True)),
        (2, "dorian", (-1, True)),
        (6, "major", (6, False)),
        (1, "minor", (4, True)),
        (3, "phrygian", (6, True)),
    ],
)
def test_key_signatures(tonic: int, mode: str, expected: tuple[int, bool]) -> None:
    assert key_signature(tonic, mode) == expected


def test_the_key_is_written_with_its_sign() -> None:
    for track in range(12):
        score = compose(find_game("Harbor"), track, seconds=8.0, seed=0)
        _, (conductor, *_) = read_midi(encode_midi(score, "Title", "CC0-1.0"))
        ((_, key),) = meta_of(conductor, 0x59)
        sharps, minor = struct.unpack(">bB", key)
        assert 7 * sharps % 12 == score.tonic and minor == 0


def test_the_text_tells_form_chords_cadences_and_motifs(score: Score) -> None:
    text = describe(score, "Castle: Golden Rampart")
    lines = text.splitlines()
    assert lines[0] == "Castle: Golden Rampart" and text.isascii()
    assert "minor" in text and f"{score.tempo:g} beats a minute" in text
    assert f"form    {' '.join(f'{s.letter}({s.bars})' for s in score.sections)}" in lines
    assert sum(line.startswith("motif ") for line in lines) == 3
    bars = [line.split() for line in lines if line.strip()[:1].isdigit()]
    assert [int(bar[0]) for bar in bars] == list(range(1, round(score.beats / 4) + 1))
    chords = [chord.numeral for section in score.sections for chord in section.chords]
    assert [bar[1] for bar in bars] == chords
    for section in score.sections:
        cadence = {"half": "half cadence", "full": "full cadence", "open": "no cadence"}[section.cadence]
        assert f"{section.letter}, bars {section.first_bar + 1}-{section.first_bar + section.bars}: {cadence}" in lines
    assert "a sequence" in text and "cadence half" in text and "cadence full" in text


def test_the_command_writes_scores(tmp_path) -> None:
    out = tmp_path / "music"
    arguments = ["synth", str(out), "--games", "1", "--tracks", "1", "--seconds", "2", "--seed", "3"]
    assert main(arguments) == 0
    assert not list(out.rglob("*.mid"))
    assert main([*arguments, "--score"]) == 0
    (recording,) = out.rglob("*.flac")
    score = compose(find_game("Castle"), 0, seconds=2.0, seed=3)
    _, tracks = read_midi(recording.with_suffix(".mid").read_bytes())
    assert sum(len(track.notes) for track in tracks) == len(score.notes)
    assert recording.stem[3:] in recording.with_suffix(".txt").read_text()
