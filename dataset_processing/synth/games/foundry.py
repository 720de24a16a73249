"""Foundry: galloping riffs around the flat second and the tritone, on overdriven guitars and struck metal."""

from __future__ import annotations

from dataset_processing.synth.chips import overdrive
from dataset_processing.synth.drums import BELL, KICK, SNARE, TOM
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Foundry",
    place=8,
    chip=overdrive.CHIP,
    tempo=(148.0, 172.0),
    metre=(4, 4),
    beats_per_bar=4,
    steps_per_beat=4,
    harmony={
        "phrygian": Harmony(
            themes=("i bII", "i bIII", "i bV", "i bvii", "i i"),
            contrasts=("bVI bVII i bII", "bIII bII bV bII", "iv bIII bII bVI", "bVI bV iv bII"),
            half=("bIII bII", "bVI bII", "bV bII"),
            full=("bII i", "bIII bII i", "bvii i"),
            vamps=("i i i bII", "i i bIII bII"),
            builds=("i bII bIII bII", "bV bV bII bII"),
            endings=("bII i", "bvii i"),
        )
    },
    lead_range=(62, 79),
    harmony_range=(43, 57),
    bass_low=28,
    lines=Lines(
        lead=("x-------x-----x-", "x---x---x--x--x-", "x-x-x-x-x-------", "x--x--x-x---x---"),
        lead_contrast=("x-xxx-xxx-xxx-x-", "x-----x-----x---", "x---------------", "xxx-xxx-x-x-x-x-"),
        harmony=("0-0000-00-0000-0", "0--0--0-0--0--0-", "00.00.0-00.00.0-"),
        harmony_contrast=("0-------0-------", "0.0.0.0.0.0.0.0.", "0-----0-----0---"),
        bass=("r-rrrr-rr-rrrr-a", "r--r--r-r--r--a-", "rr.rr.r-rr.rr.a-"),
        bass_contrast=("r-------r---b-a-", "r.r.r.r.5.5.b.a.", "r-----r-----a---"),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X.x...X.X.x...X.", SNARE: "....X.......X...", BELL: "x...x...x...x..."},
            {KICK: "XxX.X.X.XxX.X.X.", SNARE: "....X.......X...", BELL: "..x...x...x...x."},
            {KICK: "X..x..X.X..x..X.", SNARE: "....X.......X...", BELL: "x..x..x.x..x..x."},
        ),
        contrast=(
            {KICK: "X.....x.........", SNARE: "........X.......", BELL: "x...x...x...x..."},
            {KICK: "X...X...X...X...", SNARE: "..x...x...x...x.", BELL: "x.......x......."},
        ),
        light=(
            {KICK: "X...x...X...x...", BELL: "x...x...x...x..."},
            {BELL: "x...x...x...x.x.", TOM: "x.......x......."},
        ),
        full=(
            {KICK: "X.X.X.X.X.X.X.X.", SNARE: "....X.......X..x", BELL: "x.x.x.x.x.x.x.x."},
            {KICK: "XxXxX.X.XxXxX.X.", SNARE: "....X..x....X..x", BELL: "x...x...x...x..."},
        ),
        fills=(
            {KICK: "X.X.X.X.X.X.X.X.", SNARE: "....X.......xxxx", TOM: "........x.xx....", BELL: "x...x..........."},
            {KICK: "X..x..X.X...X...", SNARE: "x..x..x.xx......", TOM: "..........xxxxxx"},
            {KICK: "X...X...X...X...", SNARE: "....X...X.X.X.X.", TOM: "..x...x...x...xx"},
        ),
        roll=SNARE,
        crash=BELL,
    ),
    mix={
        "lead": PartMix(0.26, 0.15, 3.0, 0.2, 0.1),
        "counter": PartMix(0.16, -0.5, 0.0, 0.1, 0.1),
        "harmony": PartMix(0.3, 0.0, 14.0),
        "bass": PartMix(0.3),
        "drums": PartMix(0.6, -0.05, 0.0, 0.0, 0.1),
    },
    tone=((60, -3), (300, -3), (1000, 0), (2000, 7), (3500, 4), (5500, -10), (8000, -16)),
    title_nouns=(
        "Anvil",
        "Furnace",
        "Piston",
        "Crucible",
        "Ingot",
        "Smokestack",
        "Rivet",
        "Conveyor",
        "Hammer",
        "Slag",
    ),
    space=Space(0.75, 0.3, 0.7, 5000.0),
)
