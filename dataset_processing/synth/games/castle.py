"""Castle: a fast march in minor that runs around the circle of fifths, on an 8-bit console."""

from __future__ import annotations

from dataset_processing.synth.chips import pulse
from dataset_processing.synth.drums import CLOSED_HAT, KICK, OPEN_HAT, SNARE
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix

GAME = Game(
    name="Castle",
    place=1,
    chip=pulse.CHIP,
    tempo=(136.0, 160.0),
    metre=(4, 4),
    beats_per_bar=4,
    steps_per_beat=4,
    harmony={
        "minor": Harmony(
            themes=("i iv", "i bVI", "i bVII", "i bIII", "i v"),
            contrasts=("iv bVII bIII bVI", "bIII bVII i V", "bVI iv bVII bIII", "i iv bVII bIII"),
            half=("iv V", "bVI V", "bVII V"),
            full=("V i", "V7 i", "iv V i"),
            vamps=("i i bVI V", "i i iv V", "i bVII bVI V"),
            builds=("iv iv V V", "i V i V", "bVI bVI V V"),
            endings=("V i", "V7 i", "V I"),
        )
    },
    lead_range=(67, 86),
    harmony_range=(57, 71),
    bass_low=36,
    lines=Lines(
        lead=("x--x--x-x---x-x-", "x-x-x---x-x-x---", "x---x-x-x--x--x-", "x-xxx-x-x---x---", "x--xx-x-x-x-x-x-"),
        lead_contrast=("x-------x---x---", "x-----x-x-------", "x---x---x-----x-", "xxx-x-x-xxx-x-x-"),
        harmony=("0121012101210121", "0123210301232103", "2101210121012101"),
        harmony_contrast=("0-.1-.2-0-.1-.2-", "x.x.x.x.x.x.x.x.", "0.1.2.1.0.1.2.1."),
        bass=("r-r-r-r-r-r-5-a-", "r-o-r-o-r-o-r-a-", "r--rr-5-r--rr-a-"),
        bass_contrast=("r---5---r---b-a-", "r---w---w---a---", "r-..r-..5-..a-.."),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X...x...X...x...", SNARE: "....X..o....X.oo", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X.......X.x.....", SNARE: "o.ooX.o.o.ooX.o.", CLOSED_HAT: "x...x...x...x..."},
            {KICK: "X.....x.X.......", SNARE: "....X.......X...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        ),
        contrast=(
            {KICK: "X.......x.......", SNARE: "........X.......", CLOSED_HAT: "x...x...x...x..."},
            {KICK: "X..x....X..x....", SNARE: "....X.oo....X.oo", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        ),
        light=(
            {KICK: "X...x...X...x...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X.......X.......", SNARE: "x.oox.o.x.oox.o."},
        ),
        full=(
            {
                KICK: "X...x...X..x....",
                SNARE: "....X..o....X..o",
                CLOSED_HAT: "x...x...x...x...",
                OPEN_HAT: "..x...x...x...x.",
            },
            {KICK: "X.x.X...X.x.X...", SNARE: "....X.oo....X.oo", OPEN_HAT: "x...x...x...x..."},
        ),
        fills=(
            {KICK: "X.......X.......", SNARE: "....X...X.x.xxxx", CLOSED_HAT: "x.x.x.x.x......."},
            {KICK: "X...X...X...X...", SNARE: "X.xxX.xxX.xxXxxx"},
            {KICK: "X...........X...", SNARE: "....X.x.X.x.X.X.", OPEN_HAT: "............x..."},
        ),
        roll=SNARE,
        crash=OPEN_HAT,
    ),
    mix={
        "lead": PartMix(0.36, -0.3),
        "counter": PartMix(0.24, 0.5),
        "harmony": PartMix(0.28, 0.45),
        "bass": PartMix(0.34),
        "drums": PartMix(0.5),
    },
    tone=((60, -4), (200, -2), (1000, 0), (3000, 4), (7000, 7)),
    title_nouns=(
        "Rampart",
        "Drawbridge",
        "Throne",
        "Gargoyle",
        "Belfry",
        "Dungeon",
        "Banner",
        "Thorn",
        "Crown",
        "Moat",
    ),
)
