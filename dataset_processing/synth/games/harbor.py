"""Harbor: a waltz in major with dominants of dominants, for reed organ and plucked strings."""

from __future__ import annotations

from dataset_processing.synth.chips import string_organ
from dataset_processing.synth.drums import BLOCK, KICK, TAMBOURINE
from dataset_processing.synth.records import Game, Grooves, Harmony, Lines, PartMix, Space

GAME = Game(
    name="Harbor",
    place=4,
    chip=string_organ.CHIP,
    tempo=(132.0, 164.0),
    metre=(3, 4),
    beats_per_bar=3,
    steps_per_beat=4,
    harmony={
        "major": Harmony(
            themes=("I vi", "I IV", "I III7", "I V", "I ii"),
            contrasts=("vi II7 V I", "IV I II7 V", "ii V I VI7", "vi III7 IV I"),
            half=("II7 V", "ii V", "IV V"),
            full=("V7 I", "ii V7 I", "IV V7 I"),
            vamps=("I I V7 I", "I IV V7 I"),
            builds=("ii II7 V V7", "IV II7 V V7"),
            endings=("V7 I", "V I"),
        )
    },
    lead_range=(64, 83),
    harmony_range=(55, 69),
    bass_low=38,
    lines=Lines(
        lead=("x---x---x---", "x-----x-x---", "x---x-x-x-x-", "x-x-x---x---", "x-------x-x-"),
        lead_contrast=("x-x-x-x-x-x-", "x-----------", "x-------x---", "x-x-x-x-x---"),
        harmony=("....x---x---", "....x-..x-..", "..x...x-..x-"),
        harmony_contrast=("0-1-2-3-2-1-", "....0-1-2-1-", "....x-x-x-x-"),
        bass=("r---........", "r-------5---", "r-----..5-..", "r---....a---"),
        bass_contrast=("r---w---a---", "r---3---a---", "r---5---b-a-"),
    ),
    grooves=Grooves(
        main=(
            {KICK: "X...........", TAMBOURINE: "....x...x..."},
            {KICK: "X.....o.....", TAMBOURINE: "....x...x.o."},
        ),
        contrast=(
            {KICK: "X...........", BLOCK: "....x...x...", TAMBOURINE: "x..........."},
            {KICK: "X.....x.....", TAMBOURINE: "..x.x...x.x."},
        ),
        light=(
            {BLOCK: "x...o...o..."},
            {KICK: "x...........", BLOCK: "....x...x..."},
        ),
        full=(
            {KICK: "X.......x...", TAMBOURINE: "x.o.x.o.x.o.", BLOCK: "....x...x..."},
            {KICK: "X...x...x...", TAMBOURINE: "..x.x.x.x.x."},
        ),
        fills=(
            {KICK: "x...x...x...", TAMBOURINE: "....x.x.x.x.", BLOCK: "x.x........."},
            {KICK: "X...........", BLOCK: "x.x.x.x.xxxx", TAMBOURINE: "........x..."},
            {KICK: "X.....X.....", TAMBOURINE: "x.....x.....", BLOCK: "......x.x.x."},
        ),
        roll=TAMBOURINE,
        crash=TAMBOURINE,
    ),
    mix={
        "lead": PartMix(0.26, 0.2, 3.0, 0.0, 0.12),
        "counter": PartMix(0.3, -0.5, 0.0, 0.0, 0.12),
        "harmony": PartMix(0.4, -0.4, 0.0, 0.0, 0.12),
        "bass": PartMix(0.46, -0.05),
        "drums": PartMix(0.6, 0.25, 0.0, 0.0, 0.1),
    },
    tone=((60, -10), (150, -2), (400, 4), (1200, 6), (3000, -2), (6000, -10)),
    title_nouns=("Gull", "Anchor", "Pier", "Lighthouse", "Tide", "Sailcloth", "Ferry", "Compass", "Market", "Breeze"),
    space=Space(reverb_seconds=0.6, reverb_high=6000.0),
    counter_voice="harmony",
    staccato=0.95,
)
