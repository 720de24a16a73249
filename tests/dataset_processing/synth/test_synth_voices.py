"""What the parts around the lead do, judged from the notes alone: counter-melody, drums, bass and the pulse of all."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dataset_processing.synth import GAMES
from dataset_processing.synth.composition import Score, compose
from dataset_processing.synth.composition.motifs import parse
from dataset_processing.synth.games import find_game
from tests.dataset_processing.synth.scores import classes, find_sections, notes_of, strokes

NAMES = [game.name for game in GAMES]
TRACKS = 4
SECONDS = 100.0
STEPWISE = (1, 2)
ENDING_IN_FILLS = ("intro", "A", "A'", "B", "B'", "break", "A''")


@pytest.fixture(scope="module")
def scores() -> dict[str, list[Score]]:
    """Tracks long enough for every kind of section."""
    return {game.name: [compose(game, track, seconds=SECONDS, seed=1) for track in range(TRACKS)] for game in GAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_counter_melody_answers_follows_or_opposes_the_lead(name: str, scores: dict[str, list[Score]]) -> None:
    moves = {"contrary": 0, "similar": 0}
    for score in scores[name]:
        sounding = [section for section in score.sections if notes_of(score, "counter", section)]
        assert len(sounding) >= 3 and len({section.letter for section in sounding}) >= 2
        assert any(not notes_of(score, "counter", section) for section in score.sections)
        for section in sounding:
            lead, counter = notes_of(score, "lead", section), notes_of(score, "counter", section)
            if section.arrangement.counter == "thirds":
                under = {note.start: note.pitch for note in lead}
                assert {under[note.start] - note.pitch for note in counter} <= {3, 4, 8, 9}
            if section.arrangement.counter == "answer":
                taken = {int(note.start) for note in lead}
                assert not taken & {int(note.start) for note in counter}
            if section.arrangement.counter == "contrary" and section.letter != "outro":
                for one, two in pairwise(counter):
                    end = two.start + (two.start - one.start)
                    inside = [note.pitch for note in lead if two.start <= note.start < end]
                    if len(inside) > 1 and inside[-1] != inside[0] and one.pitch != two.pitch:
                        same = (inside[-1] > inside[0]) == (two.pitch > one.pitch)
                        moves["similar" if same else "contrary"] += 1
    assert moves["contrary"] > 2 * moves["similar"], moves


@pytest.mark.parametrize("name", NAMES)
def test_a_fill_leads_into_each_new_section(name: str, scores: dict[str, list[Score]]) -> None:
    game = find_game(name)
    written = [
        {(round(step / game.steps_per_beat, 3), key) for key, row in fill.items() for step, _, _ in parse(row)}
        for fill in game.grooves.fills
    ]
    used = set()
    for score in scores[name]:
        for section in score.sections:
            if section.letter not in ENDING_IN_FILLS or section.bars < 2:
                continue
            last = strokes(score, section, section.bars - 1)
            assert last in written and last != strokes(score, section, section.bars - 2)
            used.add(written.index(last))
    assert len(used) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_build_up_grows_over_a_pedal(name: str, scores: dict[str, list[Score]]) -> None:
    for score in scores[name]:
        for section in find_sections(score, "build"):
            rolls = [len(strokes(score, section, bar)) for bar in range(section.bars)]
            assert rolls == sorted(rolls) and rolls[-1] > rolls[0]
            loudness = [np.mean([n.velocity for n in notes_of(score, "drums", section, bar)]) for bar in (0, 3)]
            assert loudness[1] > 1.15 * loudness[0]
            pedal = set(classes(score, notes_of(score, "bass", section)))
            assert pedal == {section.chords[-1].root} != {0}
            pitches = [np.mean([n.pitch for n in notes_of(score, "lead", section, bar)]) for bar in (0, 3)]
            assert pitches[1] > pitches[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_bass_leads_by_step_into_new_roots(name: str, scores: dict[str, list[Score]]) -> None:
    steps, leaps = 0, 0
    for score in scores[name]:
        for section, following in pairwise(score.sections):
            last, first = notes_of(score, "bass", section), notes_of(score, "bass", following)
            moves = section.chords[-1].root != following.chords[0].root
            if not last or not first or not moves or section.arrangement.pedal or following.arrangement.pedal:
                continue
            by_step = abs(last[-1].pitch - first[0].pitch) in STEPWISE
            steps, leaps = steps + by_step, leaps + (not by_step)
    assert steps >= 3 and steps >= 9 * leaps, (steps, leaps)


def test_the_bass_walks_in_quarters_where_the_game_swings() -> None:
    game = find_game("Meadow")
    walking = 0
    for track in range(12):
        score = compose(game, track, seconds=SECONDS, seed=2)
        theme = find_sections(score, "A")[0]
        line = [notes_of(score, "bass", theme, bar) for bar in range(theme.bars - 1)]
        if all([note.start % 4 for note in bar] == [0, 1, 2, 3] for bar in line):
            walking += 1
            assert np.mean([len({note.pitch for note in bar}) for bar in line]) >= 3
    assert walking >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_bar_has_a_pulse(name: str, scores: dict[str, list[Score]]) -> None:
    """Drums, bass and accompaniment together begin a note on three beats of four, in every bar but the last."""
    for score in scores[name]:
        for bar in range(round(score.beats / score.beats_per_bar) - 1):
            begin = bar * score.beats_per_bar
            parts = ("drums", "bass", "harmony")
            heard = {note.start - begin for note in score.notes if note.part in parts}
            beats = sum(float(beat) in heard for beat in range(score.beats_per_bar))
            assert beats >= 0.5 * score.beats_per_bar and 0.0 in heard, bar


@pytest.mark.parametrize("name", NAMES)
def test_patterns_fill_their_bars(name: str) -> None:
    game = find_game(name)
    grooves = [pattern for rows in vars(game.grooves).values() if isinstance(rows, tuple) for pattern in rows]
    rows = [row for pattern in grooves for row in pattern.values()]
    rows += [row for group in vars(game.lines).values() for row in group]
    assert {len(row) for row in rows} == {game.steps_per_bar}
    assert {key for pattern in grooves for key in pattern} <= set(game.chip.drums)
    assert {game.grooves.roll, game.grooves.crash} <= set(game.chip.drums)
    assert set(game.mix) >= {"lead", "counter", "harmony", "bass", "drums"}
    assert ("pad" in game.mix) == (game.pad_range is not None)
