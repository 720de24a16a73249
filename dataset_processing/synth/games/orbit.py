"""Orbit: half-time with a 3-3-2 bass and running arpeggios over floating major chords, on an analogue filter chip."""

from __future__ import annotations

from dataset_processing.synth.chips import sid
from dataset_processing.synth.drums import CLAP, CLOSED_HAT, KICK, TOM
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Orbit",
    place=5,
    chip=sid.CHIP,
    tempo=(98.0, 114.0),
    metre=(4, 4),
    beats_per_bar=4,
    steps_per_beat=4,
    harmony={
        "lydian": Harmony(
            themes=("I II", "I vii", "I iii", "I vi"),
            contrasts=("vi II iii II", "bVI bVII I II", "iii vi II vii", "bIII bVII vi II"),
            half=("vi II", "iii II", "vii II"),
            full=("II I", "bVII I", "iii II I"),
            vamps=("I II I II", "I I II II"),
            builds=("I II I II", "vi vi II II"),
            endings=("II I", "bVII I"),
        ),
        "mixolydian": Harmony(
            themes=("I bVII", "I v", "I bIII", "I bVI"),
            contrasts=("IV bVII bIII bVII", "bVI bIII IV bVII", "ii v IV bVII"),
            half=("IV bVII", "ii bVII", "bIII bVII"),
            full=("bVII I", "bVI bVII I", "v I"),
            vamps=("I I bVII bVII", "I bVII I v"),
            builds=("IV IV bVII bVII", "bVI bVI bVII bVII"),
            endings=("bVII I", "v I"),
        ),
    },
    lead_range=(65, 84),
    harmony_range=(57, 71),
    bass_low=31,
    lines=Lines(
        lead=("x-----x-----x---", "x-------x--x--x-", "x--x--x-----x---", "x---------x-x-x-"),
        lead_contrast=("x--x--x-x--x--x-", "x-x-x---x-x-x---", "x---x-x-x-----x-", "x---------------"),
        harmony=("0214021402140214", "0120312001203120", "0421042104210421"),
        harmony_contrast=("0.2.1.4.0.2.1.4.", "x--x--x-x--x--x-", "0312031203120312"),
        bass=("r--r--r-r--r--r-", "r--r--r-........", "r--r--o-r--r--a-"),
        bass_contrast=("r-------5-----a-", "r---r---r---b-a-", "r-.r-.r-r-.o-.a-"),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X.........x.....", CLAP: "........X.......", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X.....x.........", CLAP: "........X......o", CLOSED_HAT: "x.xox.xox.xox.xo"},
        ),
        contrast=(
            {KICK: "X..x..x.X..x..x.", CLAP: "....X.......X...", CLOSED_HAT: "x...x...x...x..."},
            {KICK: "X...X...X...X...", CLAP: "....X.......X...", CLOSED_HAT: "..x...x...x...x."},
        ),
        light=(
            {KICK: "X.......x.......", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
            {KICK: "X...............", CLAP: "........x.......", CLOSED_HAT: "x...x...x...x..."},
        ),
        full=(
            {KICK: "X..x..x.X.x...x.", CLAP: "....X.......X..o", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
            {KICK: "X.....x.X..x..x.", CLAP: "....X.......X...", CLOSED_HAT: "x.xxx.xxx.xxx.xx"},
        ),
        fills=(
            {
                KICK: "X.....x.........",
                CLAP: "........X...x...",
                TOM: "..........x.x.xx",
                CLOSED_HAT: "x.x.x.x.........",
            },
            {KICK: "X.......X.......", TOM: "....x..x..x.x.xx", CLAP: "............X..."},
            {KICK: "X..x..x.X..x..x.", CLAP: "x..x..x.x..x..x.", TOM: "............x.xx"},
        ),
        roll=TOM,
        crash=CLAP,
    ),
    mix={
        "lead": PartMix(0.26, 0.0, 5.0, 0.5, 0.2),
        "counter": PartMix(0.17, -0.5, 0.0, 0.25, 0.15),
        "harmony": PartMix(0.34, 0.35, 0.0, 0.5, 0.05),
        "bass": PartMix(0.44),
        "pad": PartMix(0.1, 0.0, 11.0, 0.0, 0.3),
        "drums": PartMix(0.62, 0.0, 0.0, 0.12, 0.08),
    },
    tone=((60, 4), (300, 2), (1200, 2), (2500, 1), (4500, -8), (7500, -14)),
    title_nouns=(
        "Nebula",
        "Comet",
        "Apogee",
        "Satellite",
        "Airlock",
        "Moonrise",
        "Vacuum",
        "Beacon",
        "Eclipse",
        "Drift",
    ),
    space=Space(0.75, 0.5, 2.2, 4000.0),
    pad_range=(60, 76),
)
