"""Meadow: a swinging song in major over turnarounds and a walking bass, for sung vowels and mallets."""

from __future__ import annotations

from dataset_processing.synth.chips import formant
from dataset_processing.synth.drums import KICK, SHAKER, TOM
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Meadow",
    place=7,
    chip=formant.CHIP,
    tempo=(108.0, 124.0),
    metre=(4, 4),
    beats_per_bar=4,
    steps_per_beat=3,
    harmony={
        "major": Harmony(
            themes=("I vi", "I VI7", "I iii", "I IV"),
            contrasts=("IV iv iii VI7", "iii VI7 ii V7", "IV bVII I VI7", "vi II7 ii V7"),
            half=("ii V7", "II7 V7", "vi ii V7"),
            full=("ii V7 I", "bVII I", "iv V7 I"),
            vamps=("I vi ii V7", "I I ii V7"),
            builds=("ii V7 ii V7", "IV iv V7 V7"),
            endings=("V7 I", "bVII I"),
        ),
        "mixolydian": Harmony(
            themes=("I7 IV", "I bVII", "I v", "I IV7"),
            contrasts=("IV7 I7 IV7 bVII", "IV bVII I7 IV", "bVII IV I7 bVII"),
            half=("IV bVII", "v IV", "ii V7"),
            full=("bVII IV I", "IV I", "V7 I"),
            vamps=("I7 I7 IV I7", "I bVII IV bVII"),
            builds=("IV IV bVII V7", "ii ii V7 V7"),
            endings=("V7 I", "IV I"),
        ),
    },
    lead_range=(57, 74),
    harmony_range=(69, 84),
    bass_low=36,
    lines=Lines(
        lead=("x--x-xx--x--", "x-xx-xx--x--", "x----xx-xx--", "x-xx--x-xx--", "x--x-xx-xx-x"),
        lead_contrast=("x-----x--x--", "x--x--x-----", "x-xx-xx-xx-x", "x----x-----x"),
        harmony=("0.20.20.20.2", "...x.x...x.x", "0.12.10.12.1"),
        harmony_contrast=("..x..x..x..x", "012210012210", "0..2..1..2.."),
        bass=("r--w--w--a--", "r--3--5--a--", "r----55--a--"),
        bass_contrast=("r-----5-----", "r----r5----a", "r--5--r--b-a"),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X.....x.....", TOM: "...x.....x.o", SHAKER: "x.ox.ox.ox.o"},
            {KICK: "X....oX.....", TOM: "...x.....x..", SHAKER: "x.xx.xx.xx.x"},
        ),
        contrast=(
            {KICK: "X.........x.", TOM: "......x.....", SHAKER: "x..x..x..x.."},
            {KICK: "X..x..X..x..", TOM: ".....o.....x", SHAKER: "..x..x..x..x"},
        ),
        light=(
            {KICK: "x...........", SHAKER: "x.ox.ox.ox.o"},
            {KICK: "x.....x.....", SHAKER: "x..x..x..x.."},
        ),
        full=(
            {KICK: "X..x..X..x..", TOM: "...x.o...x.o", SHAKER: "xoxxoxxoxxox"},
            {KICK: "X....xX..x..", TOM: "...x.....x.x", SHAKER: "x.xx.xx.xx.x"},
        ),
        fills=(
            {KICK: "X.....x.....", TOM: "...x.xx.xxxx", SHAKER: "x.ox.o......"},
            {KICK: "X.....X.....", TOM: "x.xx.xx.xx.x", SHAKER: "............"},
            {KICK: "X..x..X.....", TOM: "......x..x.x", SHAKER: "x..x..x..x.."},
        ),
        roll=TOM,
        crash=SHAKER,
    ),
    mix={
        "lead": PartMix(0.4, -0.1, 0.0, 0.0, 0.2),
        "counter": PartMix(0.26, 0.5, 0.0, 0.0, 0.15),
        "harmony": PartMix(0.36, 0.3, 0.0, 0.0, 0.15),
        "bass": PartMix(0.42),
        "drums": PartMix(0.5, -0.25, 0.0, 0.0, 0.1),
    },
    tone=((60, -12), (200, -5), (700, 4), (1100, 4), (2500, -10), (4000, -4), (6000, 9)),
    title_nouns=(
        "Clover",
        "Brook",
        "Lark",
        "Picnic",
        "Windmill",
        "Haystack",
        "Bumblebee",
        "Sunbeam",
        "Orchard",
        "Kite",
    ),
    space=Space(reverb_seconds=1.0, reverb_high=5000.0),
)
