"""Circuit: four on the floor with off-beat stabs and chromatic thirds, on an FM chip."""

from __future__ import annotations

from dataset_processing.synth.chips import fm
from dataset_processing.synth.drums import CLOSED_HAT, KICK, OPEN_HAT, SNARE, TOM
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Circuit",
    place=3,
    chip=fm.CHIP,
    tempo=(126.0, 146.0),
    metre=(4, 4),
    beats_per_bar=4,
    steps_per_beat=4,
    harmony={
        "minor": Harmony(
            themes=("i bVI", "i bIII", "i iv", "i bvi"),
            contrasts=("bVI bVII v bIII", "bIII bVI bVII v", "bVI bIII bVII iv", "i bvi bIII bVII"),
            half=("bVI bVII", "iv bVII", "bIII bVII"),
            full=("bVII i", "bVI bVII i", "v i"),
            vamps=("i i bVI bVII", "i i bIII bVII"),
            builds=("bVI bVII bVI bVII", "iv iv bVII bVII"),
            endings=("bVII i", "v i"),
        )
    },
    lead_range=(62, 81),
    harmony_range=(60, 74),
    bass_low=33,
    lines=Lines(
        lead=("x--x--x---x-x---", "x-x--x-x--x-----", "x-x-x-x-x--x--x-", "x--x--x--x--x---", "x-----x-x-x-x---"),
        lead_contrast=("x-------x-------", "x-----x-----x---", "x---x---x---x---", "x-xxx-xxx-xxx---"),
        harmony=("..x...x...x...x.", "x..x..x..x..x.x.", "..xx..x...xx..x."),
        harmony_contrast=("x..x..x...x...x.", "x-----x-..x...x.", "..x...x...x.x.x."),
        bass=("r.rro.r.r.rro.a.", "r.orr.o.r.orr.a.", "rrorrrorrrorrror", "..r...r...r...a."),
        bass_contrast=("r-----..r---b-a-", "r--r--r-r--r--a-", "r.r.r.r.5.5.b.a."),
    ),
    grooves=Grooves(
        main=(
            {
                KICK: "X...X...X...X...",
                SNARE: "....X.......X...",
                CLOSED_HAT: "xoxoxoxoxoxoxoxo",
                OPEN_HAT: "..x...x...x...x.",
            },
            {
                KICK: "X...X...X...X.x.",
                SNARE: "....X.......X..o",
                CLOSED_HAT: "xxoxxxoxxxoxxxox",
                OPEN_HAT: "..x...x...x...x.",
            },
        ),
        contrast=(
            {KICK: "X.....x...x.....", SNARE: "........X.......", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
            {
                KICK: "X..x..x.X..x..x.",
                SNARE: "....X.......X...",
                CLOSED_HAT: "x...x...x...x...",
                OPEN_HAT: "..x...x...x...x.",
            },
        ),
        light=(
            {KICK: "X...X...X...X...", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
            {KICK: "X...X...X...X...", CLOSED_HAT: "x.x.x.x.x.x.x.x.", OPEN_HAT: "..x...x...x...x."},
        ),
        full=(
            {
                KICK: "X...X...X...X...",
                SNARE: "....X.......X..o",
                CLOSED_HAT: "xxxxxxxxxxxxxxxx",
                OPEN_HAT: "..X...X...X...X.",
            },
        ),
        fills=(
            {
                KICK: "X...X...X...X...",
                SNARE: "....X.......X...",
                TOM: "........x.xx.xxx",
                CLOSED_HAT: "xoxoxoxoxoxoxoxo",
            },
            {
                KICK: "X...X...X.......",
                TOM: "........xx.xx.xx",
                SNARE: "....X.......X...",
                CLOSED_HAT: "x.x.x.x.x.x.x.x.",
            },
            {
                KICK: "X...X...X...X...",
                SNARE: "....X.......X.xx",
                TOM: "..x..x..x.x.x...",
                OPEN_HAT: "..x...x...x...x.",
            },
        ),
        roll=TOM,
        crash=OPEN_HAT,
    ),
    mix={
        "lead": PartMix(0.44, 0.0, 4.0, 0.25),
        "counter": PartMix(0.26, 0.5, 0.0, 0.15),
        "harmony": PartMix(0.27, -0.45, 0.0, 0.2),
        "bass": PartMix(0.4),
        "drums": PartMix(0.74, 0.08),
    },
    tone=((60, 4), (200, 2), (700, -8), (1500, -6), (4000, 3), (7000, 8)),
    title_nouns=("Voltage", "Relay", "Neon", "Turbine", "Signal", "Overclock", "Diode", "Grid", "Pulse", "Highway"),
    space=Space(0.75, 0.3),
)
