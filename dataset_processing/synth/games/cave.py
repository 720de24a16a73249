"""Cave: a slow twelve-eight over drones, in dorian and phrygian, with the echo of a 16-bit console."""

from __future__ import annotations

from dataset_processing.synth.chips import wavetable
from dataset_processing.synth.drums import BLOCK, KICK, SHAKER, TOM
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Cave",
    place=2,
    chip=wavetable.CHIP,
    tempo=(74.0, 90.0),
    metre=(12, 8),
    beats_per_bar=4,
    steps_per_beat=3,
    harmony={
        "dorian": Harmony(
            themes=("i IV", "i bVII", "i ii", "i bIII"),
            contrasts=("bIII IV i bVII", "bVII IV bIII IV", "ii IV bVII bIII"),
            half=("bVII IV", "bIII IV", "i IV"),
            full=("IV i", "bVII i", "ii IV i"),
            vamps=("i i IV i", "i ii i IV"),
            builds=("i IV bVII bVII", "IV IV bVII bVII"),
            endings=("IV i", "bVII i"),
        ),
        "phrygian": Harmony(
            themes=("i bII", "i bvii", "i bVI"),
            contrasts=("bVI bII bvii i", "bIII bII bVI bvii", "bvii bVI bIII bII"),
            half=("bVI bII", "bvii bII"),
            full=("bII i", "bvii i", "bVI bII i"),
            vamps=("i i bII i", "i bII i bvii"),
            builds=("i bII bvii bvii", "bVI bVI bII bII"),
            endings=("bII i", "bvii i"),
        ),
    },
    lead_range=(60, 77),
    harmony_range=(64, 79),
    bass_low=33,
    lines=Lines(
        lead=("x-----x--x--", "x--x-xx-----", "x-xx--x-----", "x--x--x--x-x", "x----xx--x--"),
        lead_contrast=("x-xx-xx-xx--", "xxxx--x-xx--", "x--xxxx-----", "x-----------"),
        harmony=("0.10.10.10.1", "012012012012", "0.12.10.12.1"),
        harmony_contrast=("x..x..x..x..", "0..1..2..1..", "2.10.12.10.1"),
        bass=("r-----r-----", "r-----5--r--", "r--r--r--r--"),
        bass_contrast=("r--5--r--a--", "r-----w--b-a", "r-r5--r-rb-a"),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X.....x.....", BLOCK: "X..X..X..X..", SHAKER: "oooxoooooxoo"},
            {KICK: "X....ox.....", BLOCK: "X..X.oX..X.o", SHAKER: "...x.....x.."},
        ),
        contrast=(
            {KICK: "X..x..X..x..", BLOCK: "X.oX.oX.oX.o", SHAKER: "...x.....x.."},
            {KICK: "X.........x.", TOM: "......x.....", BLOCK: "X..X..X..X.."},
        ),
        light=(
            {KICK: "x.....x.....", BLOCK: "X..X..X..X.."},
            {BLOCK: "X..X..X..X..", SHAKER: "oooxoooooxoo"},
        ),
        full=(
            {KICK: "X..x..X..x.x", TOM: "...x.....x.o", BLOCK: "X.oX.oX.oX.o", SHAKER: "xooxooxooxoo"},
            {KICK: "X....xX..x..", TOM: "...x.....x..", BLOCK: "X..X..X..X..", SHAKER: "xooxooxooxoo"},
        ),
        fills=(
            {KICK: "X.....x.....", BLOCK: "x..x..x.....", TOM: "......x.xx.x"},
            {KICK: "X..x..X.....", TOM: "......xxxxxx"},
            {KICK: "X...........", BLOCK: "x.xx.xx.....", TOM: "......x..x.x"},
        ),
        roll=TOM,
        crash=TOM,
    ),
    mix={
        "lead": PartMix(0.42, 0.1, 0.0, 0.35, 0.25),
        "counter": PartMix(0.28, -0.45, 0.0, 0.2, 0.25),
        "harmony": PartMix(0.3, -0.3, 0.0, 0.75, 0.3),
        "bass": PartMix(0.6, 0.0, 0.0, 0.0, 0.05),
        "pad": PartMix(0.15, 0.0, 6.0, 0.0, 0.4),
        "drums": PartMix(0.5, 0.1, 0.0, 0.4, 0.25),
    },
    tone=((60, 2), (400, 3), (1000, -2), (2500, -8), (7000, -14)),
    title_nouns=("Grotto", "Echo", "Lantern", "Stalactite", "Drip", "Tunnel", "Hollow", "Moss", "Chasm", "Geode"),
    # The echo falls on the second triplet of the beat, inside the pulse.
    space=Space(2.0 / 3.0, 0.55, 1.8, 2500.0),
    pad_range=(48, 64),
)
