"""The form: which phrases follow one another, with what chords, motifs and arrangement.

Phrases have four bars. A and A' are a period: A ends on a half cadence, A' answers with a full one. B and B' contrast
in rhythm, register and groove; a break reduces the parts; a build-up climbs over a pedal; A'' is the theme again with
all parts; the outro closes on the tonic.
"""

from __future__ import annotations

from dataset_processing.synth.composition.plan import Plan
from dataset_processing.synth.composition.score import Arrangement, MotifUse, Section
from dataset_processing.synth.theory import build_chord

PHRASE_BARS = 4
# The outro takes two bars where there is room.
OUTRO_BARS = 2
# From this many phrases on, a track gives its first one to the intro when no bar is left over for it.
INTRO_PHRASES = 5
FORMS: dict[int, str] = {
    1: "A''",
    2: "A A''",
    3: "A B A''",
    4: "A A' B A''",
    5: "A A' B build A''",
    6: "A A' B break build A''",
    7: "A A' B B' break build A''",
    8: "A A' B B' break build A A''",
}
# Longer tracks repeat the middle between the first period and the last one.
LONG_HEAD, LONG_CYCLE, LONG_TAIL = "A A'", "B B' break A A'", "build A A''"


def plan_letters(bars: int) -> list[tuple[str, int]]:
    """Letters and bar counts of the sections of a track of `bars` >= 1 bars; the counts add up to `bars`."""
    outro = OUTRO_BARS if bars >= PHRASE_BARS + OUTRO_BARS else 1
    phrases, intro = divmod(bars - outro, PHRASE_BARS)
    if phrases == 0:
        return [*([("A", intro)] if intro else []), ("outro", outro)]
    if intro == 0 and phrases >= INTRO_PHRASES:
        phrases, intro = phrases - 1, PHRASE_BARS
    letters = _phrase_letters(phrases)
    return [*([("intro", intro)] if intro else []), *((letter, PHRASE_BARS) for letter in letters), ("outro", outro)]


def _phrase_letters(phrases: int) -> list[str]:
    if phrases in FORMS:
        return FORMS[phrases].split()
    head, cycle, tail = LONG_HEAD.split(), LONG_CYCLE.split(), LONG_TAIL.split()
    middle = [cycle[index % len(cycle)] for index in range(phrases - len(head) - len(tail))]
    if middle[-1] == "A":
        # No half cadence is left without its answer.
        middle[-1] = "A'"
    return [*head, *middle, *tail]


def _numerals(plan: Plan, letter: str, bars: int) -> tuple[list[str], str]:
    """Numerals of the bars and the cadence they end with."""
    if letter == "outro":
        return list(plan.ending[-bars:]), "full"
    if letter == "intro":
        return list(plan.vamp[:bars]), "open"
    if letter == "break":
        return list(plan.vamp), "open"
    if letter == "build":
        return list(plan.build), "half"
    if letter == "B":
        return list(plan.contrast), "open"
    opening = [*plan.theme, *plan.contrast[2:]] if letter != "B'" else list(plan.contrast)
    close, cadence = (plan.half, "half") if letter == "A" else (plan.full, "full")
    return [*opening[: PHRASE_BARS - len(close)], *close][:bars], cadence


def _motifs(plan: Plan, letter: str, bars: int) -> tuple[MotifUse, ...]:
    motif, operation = plan.answer.split()
    answer = MotifUse(motif, operation)
    state, sequence = MotifUse("a"), MotifUse("a", "sequence")
    rest = MotifUse("")
    half, full, close = MotifUse("cadence", "half"), MotifUse("cadence", "full"), MotifUse("close")
    uses = {
        "intro": (rest, rest, rest, rest),
        "A": (state, sequence, answer, half),
        "A'": (state, MotifUse("b"), MotifUse("a", "sequence"), full),
        "A''": (MotifUse("a", "ornament"), MotifUse("a", "sequence"), answer, full),
        "B": (MotifUse("c"), MotifUse("c", "sequence"), MotifUse("c", "invert"), MotifUse("c", "augment")),
        "B'": (MotifUse("c"), MotifUse("c", "invert"), MotifUse("a", "diminish"), full),
        "break": (MotifUse("a", "augment"), rest, MotifUse("a", "augment"), rest),
        "build": (MotifUse("a", "diminish"), *(MotifUse("a", "diminish"),) * 2, MotifUse("a", "ornament")),
        "outro": (MotifUse("b"), close)[-bars:],
    }
    return uses[letter][:bars]


def _arrangement(plan: Plan, letter: str) -> Arrangement:
    first, second = plan.counters
    up = abs(plan.register)
    return {
        "intro": Arrangement(0.68, 0.78, "light", counter="solo", silent=plan.intro),
        "A": Arrangement(0.8, 0.82, "main"),
        "A'": Arrangement(0.84, 0.88, "main", counter=first),
        "B": Arrangement(0.76, 0.82, "contrast", "contrast", register=plan.register),
        "B'": Arrangement(0.8, 0.9, "contrast", "contrast", counter=second, register=plan.register),
        "break": Arrangement(0.62, 0.66, "light", "contrast", "solo", -up // 2, silent=plan.broken),
        "build": Arrangement(0.66, 0.96, "build", register=0, pedal=True),
        "A''": Arrangement(0.98, 1.0, "full", counter=second, register=up // 2),
        "outro": Arrangement(0.92, 0.84, "main", counter="contrary"),
    }[letter]


def write_form(plan: Plan, bars: int) -> tuple[Section, ...]:
    """The sections of a track of `bars` bars."""
    sections, bar = [], 0
    for letter, count in plan_letters(bars):
        numerals, cadence = _numerals(plan, letter, count)
        chords = tuple(build_chord(plan.mode, numeral) for numeral in numerals)
        motifs = _motifs(plan, letter, count)
        sections.append(Section(letter, bar, chords, cadence, motifs, _arrangement(plan, letter)))
        bar += count
    return tuple(sections)
