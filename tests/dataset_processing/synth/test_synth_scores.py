"""What the composer writes, judged from the notes alone: form, phrases, motifs, and that nothing is written twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dataset_processing.synth import GAMES
from dataset_processing.synth.composition import Score, Section, compose, plan_letters
from dataset_processing.synth.composition.motifs import augment, diminish, draw_motif, invert, ornament, parse
from dataset_processing.synth.games import find_game
from dataset_processing.synth.theory import build_chord
from dataset_processing.synth.titles import track_title
from tests.dataset_processing.synth.scores import classes, find_sections, notes_of, strokes

NAMES = [game.name for game in GAMES]
TRACKS = 4
SECONDS = 100.0


@pytest.fixture(scope="module")
def scores() -> dict[str, list[Score]]:
    """Tracks long enough for every kind of section."""
    return {game.name: [compose(game, track, seconds=SECONDS, seed=1) for track in range(TRACKS)] for game in GAMES}


@pytest.mark.parametrize("name", NAMES)
def test_notes_keep_to_their_ranges_scales_tempo_and_metre(name: str, scores: dict[str, list[Score]]) -> None:
    game = find_game(name)
    for score in scores[name]:
        lead, counter, bass = (notes_of(score, part) for part in ("lead", "counter", "bass"))
        assert game.tempo[0] <= score.tempo <= game.tempo[1]
        assert (score.metre, score.beats_per_bar) == (game.metre, game.beats_per_bar)
        assert all(0.0 < note.velocity <= 1.0 and 0.0 <= note.start < score.beats for note in score.notes)
        assert all(game.lead_range[0] <= note.pitch <= game.lead_range[1] for note in lead)
        assert all(game.counter_range[0] <= note.pitch <= game.counter_range[1] for note in counter)
        assert all(game.bass_low - 2 <= note.pitch <= game.bass_low + 24 for note in bass)
        # A melody is one voice: no note begins before the last one has ended.
        for voice in (lead, counter, bass):
            assert all(one.start + one.duration <= two.start + 1e-6 for one, two in pairwise(voice))
        chords = [chord for section in score.sections for chord in section.chords]
        for note in lead:
            chord = chords[int(note.start // game.beats_per_bar)]
            on_beat = note.start % 1.0 == 0.0
            assert (note.pitch - score.tonic) % 12 in (chord.tones if on_beat else {*chord.scale, *chord.tones})


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_section_is_there_and_contrasts_with_the_theme(name: str, scores: dict[str, list[Score]]) -> None:
    for score in scores[name]:
        letters = [section.letter for section in score.sections]
        assert {"A", "B", "A''", "build", "outro"} <= set(letters)
        theme, contrast, final = (find_sections(score, letter)[0] for letter in ("A", "B", "A''"))
        lead = {section.letter: notes_of(score, "lead", section) for section in (theme, contrast)}
        density = len(lead["A"]) / len(lead["B"])
        register = np.mean([n.pitch for n in lead["A"]]) - np.mean([n.pitch for n in lead["B"]])
        assert max(density, 1 / density) >= 1.25 or abs(register) >= 2.0, (density, register)
        assert strokes(score, theme, 1) != strokes(score, contrast, 1) != strokes(score, final, 1)
        assert final.arrangement.level > theme.arrangement.level > contrast.arrangement.level
        loudness = {s.letter: np.mean([n.velocity for n in notes_of(score, "bass", s)]) for s in (theme, final)}
        assert loudness["A''"] > loudness["A"]
        for section in find_sections(score, "break"):
            heard = {part for part in ("lead", "harmony", "bass") if notes_of(score, part, section)}
            assert len(heard) < 3


@pytest.mark.parametrize("name", NAMES)
def test_phrases_end_on_cadences(name: str, scores: dict[str, list[Score]]) -> None:
    game = find_game(name)
    for score in scores[name]:
        language = game.harmony[score.mode]
        for section in score.sections:
            numerals = [chord.numeral for chord in section.chords]
            lead = notes_of(score, "lead", section)
            if section.letter in ("A'", "B'", "A''"):
                assert section.cadence == "full"
                assert any(numerals[-len(row.split()) :] == row.split() for row in language.full)
                # The melody comes to rest on the tonic, on the first beat of the last bar.
                assert classes(score, lead)[-1] == section.chords[-1].root == 0
                assert lead[-1].start == (section.first_bar + section.bars - 1) * score.beats_per_bar
                assert lead[-1].duration >= 0.9
            if section.letter == "A":
                assert section.cadence == "half"
                assert any(numerals[-len(row.split()) :] == row.split() for row in language.half)
                assert section.chords[-1].root != 0 and classes(score, lead)[-1] in section.chords[-1].tones
                assert classes(score, lead)[-1] != 0


@pytest.mark.parametrize("name", NAMES)
def test_a_consequent_opens_like_its_antecedent_and_closes_otherwise(name: str, scores: dict[str, list[Score]]) -> None:
    periods = 0
    for score in scores[name]:
        assert score.sections[-1].cadence == "full"
        for one, two in pairwise(score.sections):
            if (one.letter, two.letter) != ("A", "A'"):
                continue
            periods += 1
            assert one.chords[0] == two.chords[0] and one.chords[-1] != two.chords[-1]
            openings = [[note.pitch for note in notes_of(score, "lead", section, 0)] for section in (one, two)]
            assert openings[0] == openings[1]
            goals = [classes(score, notes_of(score, "lead", section))[-1] for section in (one, two)]
            assert goals[0] != goals[1] == 0
    assert periods >= TRACKS


@pytest.mark.parametrize("name", NAMES)
def test_the_ending_rests_on_the_tonic(name: str, scores: dict[str, list[Score]]) -> None:
    for score in scores[name]:
        outro = score.sections[-1]
        numerals = " ".join(chord.numeral for chord in outro.chords)
        assert numerals in find_game(name).harmony[score.mode].endings
        last_bar = outro.bars - 1
        lead, bass = notes_of(score, "lead", outro, last_bar), notes_of(score, "bass", outro, last_bar)
        assert classes(score, lead) == classes(score, bass) == [0]
        assert lead[0].duration == bass[0].duration == score.beats_per_bar
        # The groove stops: one stroke under the last chord.
        assert {beat for beat, _ in strokes(score, outro, last_bar)} == {0.0}


@pytest.mark.parametrize("name", NAMES)
def test_motifs_return_and_are_developed(name: str, scores: dict[str, list[Score]]) -> None:
    for score in scores[name]:
        first, second = find_sections(score, "A")[0], find_sections(score, "A''")[0]

        def rhythm(section: Section, bar: int, score: Score = score) -> list[float]:
            begin = (section.first_bar + bar) * score.beats_per_bar
            return [round(note.start - begin, 3) for note in notes_of(score, "lead", section, bar)]

        # The second bar of the theme is a sequence: the rhythm of the first on other pitches.
        assert rhythm(first, 0) == rhythm(first, 1)
        pitches = [[note.pitch for note in notes_of(score, "lead", first, bar)] for bar in (0, 1)]
        assert pitches[0] != pitches[1]
        # At its return the theme is ornamented: all of its rhythm, and more.
        ornamented = any(length >= score.motifs["a"].beat for _, length, _ in score.motifs["a"].events)
        assert set(rhythm(first, 0)) <= set(rhythm(second, 0))
        assert (len(rhythm(second, 0)) > len(rhythm(first, 0))) == ornamented
        operations = {use.operation for section in score.sections for use in section.motifs if use.motif in "abc"}
        assert {"state", "sequence", "invert", "augment", "diminish", "ornament"} <= operations


def test_operations_on_motifs() -> None:
    motif = draw_motif("x-x-x---x-x-x---", 4, np.random.default_rng(0))
    starts = [start for start, _, _ in motif.events]
    offsets = [offset for _, _, offset in motif.events]
    assert [offset for _, _, offset in invert(motif).events] == [-offset for offset in offsets]
    slow = augment(motif)
    assert [(start, length) for start, length, _ in slow.events] == [(0, 4), (4, 4), (8, 8)]
    assert [offset for _, _, offset in slow.events] == offsets[:3]
    ornamented = ornament(motif)
    assert set(starts) < {start for start, _, _ in ornamented.events}
    hurried = diminish(motif).events
    half = len(hurried) // 2
    assert [start + 8 for start, _, _ in hurried[:half]] == [start for start, _, _ in hurried[half:]]
    assert [offset + 1 for _, _, offset in hurried[:half]] == [offset for _, _, offset in hurried[half:]]
    for changed in (slow, ornamented, diminish(motif)):
        assert all(a[0] + a[1] <= b[0] for a, b in pairwise(changed.events))
        assert changed.events[-1][0] + changed.events[-1][1] <= 16


def test_games_differ_in_metre_groove_and_harmony() -> None:
    assert {game.metre for game in GAMES} == {(4, 4), (3, 4), (12, 8)}
    assert {game.steps_per_beat for game in GAMES} == {3, 4}
    moves = {}
    for game in GAMES:
        rows = [row.split() for h in game.harmony.values() for row in (*h.themes, *h.contrasts, *h.full)]
        moves[game.name] = {pair for row in rows for pair in pairwise(row)}
    onsets = {}
    for game in GAMES:
        rows = [row for pattern in game.grooves.main for row in pattern.values()]
        onsets[game.name] = {
            (index, step / game.steps_per_beat) for index, row in enumerate(rows) for step, _, _ in parse(row)
        }
    for index, one in enumerate(NAMES):
        for other in NAMES[index + 1 :]:
            for sets in (moves, onsets):
                shared = len(sets[one] & sets[other]) / len(sets[one] | sets[other])
                assert shared < 0.6, (one, other, shared)


def test_no_two_tracks_are_alike() -> None:
    for game in GAMES:
        many = [compose(game, track, seconds=12.0, seed=0) for track in range(99)]
        assert len({score.tonic for score in many[:8]}) == len({score.tempo for score in many[:8]}) == 8
        for part in ("lead", "bass", "harmony"):
            lines = {
                tuple((note.start, note.pitch - score.tonic) for note in score.notes if note.part == part)
                for score in many
            }
            assert len(lines) >= (99 if part == "lead" else 25), (game.name, part, len(lines))
        assert len({track_title(game, track, 0) for track in range(99)}) == 99


def test_chords_are_consonant_and_forms_add_up() -> None:
    assert build_chord("minor", "V7").tones == (7, 11, 2, 5) and build_chord("minor", "V7").scale[6] == 11
    assert build_chord("dorian", "IV").tones == (5, 9, 0) and build_chord("minor", "bVI").tones == (8, 0, 3)
    with pytest.raises(ValueError, match="numeral must be like"):
        build_chord("minor", "H")
    for game in GAMES:
        for mode, language in game.harmony.items():
            for numeral in " ".join(row for rows in vars(language).values() for row in rows).split():
                chord = build_chord(mode, numeral)
                assert (chord.tones[2] - chord.root) % 12 == 7 and set(chord.tones) <= set(chord.scale), numeral
    for bars in range(1, 150):
        letters = plan_letters(bars)
        assert sum(count for _, count in letters) == bars and letters[-1][0] == "outro"
