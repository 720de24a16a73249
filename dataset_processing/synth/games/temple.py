"""Temple: slow and pentatonic, with plagal closes, for hand bells, harp and strings."""

from __future__ import annotations

from dataset_processing.synth.chips import strings_bells
from dataset_processing.synth.drums import BELL, BLOCK, KICK, TOM
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Temple",
    place=6,
    chip=strings_bells.CHIP,
    tempo=(62.0, 76.0),
    metre=(4, 4),
    beats_per_bar=4,
    steps_per_beat=4,
    harmony={
        "major": Harmony(
            themes=("I IV", "IV V", "vi iii", "I iii"),
            contrasts=("IV V iii vi", "vi iii IV I", "ii iii IV V"),
            half=("IV V", "ii V", "iii vi"),
            full=("IV I", "iv I", "ii IV I"),
            vamps=("I IV I IV", "IV V IV V"),
            builds=("IV V IV V", "ii iii IV V"),
            endings=("IV I", "iv I"),
        ),
        "minor": Harmony(
            themes=("i bVI", "i iv", "bVI bVII", "i v"),
            contrasts=("bVI bVII v i", "iv v bVI bVII", "bIII iv bVI v"),
            half=("iv v", "bVI v", "iv bVII"),
            full=("iv i", "bVI iv i", "bII i"),
            vamps=("i bVI i bVI", "i iv i iv"),
            builds=("bVI bVII bVI v", "iv iv v v"),
            endings=("iv i", "iv I"),
        ),
    },
    lead_range=(74, 91),
    harmony_range=(60, 76),
    bass_low=33,
    lines=Lines(
        lead=("x---x---x-x-x---", "x-----x-x---x---", "x---x-x-x-------", "x-x-x---x---x---"),
        lead_contrast=("x-x-x-x-x-x-x---", "x---x-xxx---x-xx", "x-------x-------", "x-x-x-x-x-------"),
        harmony=("0-1-2-1-3-2-1-2-", "0-2-1-2-0-2-1-2-", "0-1-2-3-2-1-2-1-"),
        harmony_contrast=("0123210301232103", "x---x---x---x---", "0.121.210.121.21"),
        bass=("r-------5-------", "r-----------5---", "r-------r-------"),
        bass_contrast=("r---5---r---a---", "r---w---w---a---", "r-------5---b-a-"),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X.......x.....o.", BLOCK: "X...X...X...X..."},
            {KICK: "X.........x.....", BLOCK: "X.o.X.o.X.o.X.o."},
        ),
        contrast=(
            {KICK: "X...x...X...x...", TOM: "..o...o...o...oo", BLOCK: "X...X...X...X..."},
            {KICK: "X.....x.X.......", TOM: "....x.......x...", BLOCK: "X...X...X...X..."},
        ),
        light=(
            {BLOCK: "X...X...X...X...", KICK: "x.......x......."},
            {KICK: "X...............", BLOCK: "X...X...X...X..."},
        ),
        full=(
            {KICK: "X...x...X...x.x.", TOM: "....x.oo....x.oo", BLOCK: "X.x.X.x.X.x.X.x."},
            {KICK: "X..x..x.X..x..x.", TOM: "....x.......x...", BLOCK: "X...X...X...X..."},
        ),
        fills=(
            {KICK: "X.......x.......", TOM: "........x.x.x.xx", BLOCK: "X...X...X...X..."},
            {KICK: "X...x...X.......", TOM: "..x...x.x.xxx.xx"},
            {KICK: "X.......X...X...", BLOCK: "X.x.X.x.X.x.X.x.", TOM: "............x.xx"},
        ),
        roll=TOM,
        crash=BELL,
    ),
    mix={
        "lead": PartMix(0.42, 0.15, 0.0, 0.0, 0.3),
        "counter": PartMix(0.22, 0.5, 0.0, 0.0, 0.2),
        "harmony": PartMix(0.3, -0.35, 0.0, 0.0, 0.25),
        "bass": PartMix(0.13, 0.1, 0.0, 0.0, 0.1),
        "pad": PartMix(0.09, 0.0, 8.0, 0.0, 0.25),
        "drums": PartMix(0.34, -0.1, 0.0, 0.0, 0.3),
    },
    tone=((60, -14), (250, -8), (700, 0), (2000, 5), (3500, 6), (5500, 0), (7500, -5)),
    title_nouns=("Incense", "Lotus", "Shrine", "Vow", "Pagoda", "Dawn", "Prayer", "Cedar", "Stillness", "Mirror"),
    space=Space(reverb_seconds=2.8, reverb_high=4500.0),
    pad_range=(50, 67),
    melody_degrees=(0, 1, 2, 4, 5),
    staccato=1.0,
)
