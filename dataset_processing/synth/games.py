"""The built-in games, one record each. A new game is a new record here."""

from __future__ import annotations

from dataset_processing.synth.chips import (
    fm,
    formant,
    overdrive,
    pulse,
    sid,
    string_organ,
    strings_bells,
    wavetable,
)
from dataset_processing.synth.drums import (
    BELL,
    BLOCK,
    CLAP,
    CLOSED_HAT,
    KICK,
    OPEN_HAT,
    SHAKER,
    SNARE,
    TAMBOURINE,
    TOM,
)
from dataset_processing.synth.records import Game, PartMix, Space


def words(text: str) -> tuple[str, ...]:
    """The words of a line."""
    return tuple(text.split())


PENTATONIC = (0, 1, 2, 4, 5)

CASTLE = Game(
    name="Castle",
    chip=pulse.CHIP,
    tempo=(136.0, 160.0),
    beats_per_bar=4,
    modes=("minor",),
    lead_range=(67, 86),
    harmony_range=(57, 71),
    bass_low=36,
    lead_rhythms=("x--x--x-x---x-x-", "x-x-x---x-x-x---", "x---x-x-x--x--x-", "x-xxx-x-x---x---", "x--xx-x-x-x-x-x-"),
    cadence_rhythm="x-x-x-x-x-------",
    harmony_patterns=("0121012101210121", "0123210301232103", "2101210121012101"),
    bass_patterns=("r-r-r-r-r-r-5-a-", "r-o-r-o-r-o-r-a-", "r--rr-5-r--rr-a-"),
    drum_patterns=(
        {KICK: "X.....x.X.......", SNARE: "....X.......X...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        {KICK: "X..x....X..x....", SNARE: "....X.......X..o", CLOSED_HAT: "x.o.x.o.x.o.x.o."},
    ),
    fill={KICK: "X.......X.......", SNARE: "....X...X.x.xxxx", CLOSED_HAT: "x.x.x.x.x......."},
    mix={
        "lead": PartMix(0.36, -0.3),
        "harmony": PartMix(0.28, 0.45),
        "bass": PartMix(0.34),
        "drums": PartMix(0.5),
    },
    tone=((60, -4), (200, -2), (1000, 0), (3000, 4), (7000, 7)),
    title_nouns=words("Rampart Drawbridge Throne Gargoyle Belfry Dungeon Banner Thorn Crown Moat"),
)

CAVE = Game(
    name="Cave",
    chip=wavetable.CHIP,
    tempo=(74.0, 90.0),
    beats_per_bar=4,
    modes=("dorian", "minor", "phrygian"),
    lead_range=(60, 77),
    harmony_range=(64, 79),
    bass_low=33,
    lead_rhythms=("x-------x---x---", "x---x-------x---", "x-----x-x-------", "x---x---x-------"),
    cadence_rhythm="x-------x-------",
    harmony_patterns=("0...1...2...1...", "0.....2...1.....", "2...0...1...3..."),
    bass_patterns=("r-------5-------", "r-----------5---", "r-----r---------"),
    drum_patterns=(
        {KICK: "x.........o.....", BLOCK: "......o......o..", SHAKER: "....x.......x..."},
        {KICK: "x.......o.......", BLOCK: "...o......o.....", SHAKER: "....x.......x..."},
    ),
    fill={KICK: "x.......o.......", TOM: "..........o.x.x.", SHAKER: "....x..........."},
    mix={
        "lead": PartMix(0.42, 0.1, 0.0, 0.35, 0.25),
        "harmony": PartMix(0.3, -0.3, 0.0, 0.75, 0.3),
        "bass": PartMix(0.6, 0.0, 0.0, 0.0, 0.05),
        "pad": PartMix(0.15, 0.0, 6.0, 0.0, 0.4),
        "drums": PartMix(0.5, 0.1, 0.0, 0.4, 0.25),
    },
    tone=((60, 2), (400, 3), (1000, -2), (2500, -8), (7000, -14)),
    title_nouns=words("Grotto Echo Lantern Stalactite Drip Tunnel Hollow Moss Chasm Geode"),
    space=Space(0.75, 0.55, 1.8, 2500.0),
    pad_range=(48, 64),
)

CIRCUIT = Game(
    name="Circuit",
    chip=fm.CHIP,
    tempo=(126.0, 146.0),
    beats_per_bar=4,
    modes=("minor", "dorian"),
    lead_range=(62, 81),
    harmony_range=(60, 74),
    bass_low=33,
    lead_rhythms=("x--x--x---x-x---", "x-x--x-x--x-----", "--x-x-x-x--x--x-", "x--x--x--x--x---", "x-----x-x-x-x---"),
    cadence_rhythm="x--x--x---------",
    harmony_patterns=("..x...x...x...x.", "x..x..x..x..x.x.", "..xx..x...xx..x."),
    bass_patterns=("r.rro.r.r.rro.a.", "r.orr.o.r.orr.a.", "rrorrrorrrorrror"),
    drum_patterns=(
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
    fill={KICK: "X...X...X...X...", SNARE: "....X..x..x.xxxx", TOM: "........x.x.....", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
    mix={
        "lead": PartMix(0.44, 0.0, 4.0, 0.25),
        "harmony": PartMix(0.27, -0.45, 0.0, 0.2),
        "bass": PartMix(0.4),
        "drums": PartMix(0.74, 0.08),
    },
    tone=((60, 4), (200, 2), (700, -8), (1500, -6), (4000, 3), (7000, 8)),
    title_nouns=words("Voltage Relay Neon Turbine Signal Overclock Diode Grid Pulse Highway"),
    space=Space(0.75, 0.3),
)

HARBOR = Game(
    name="Harbor",
    chip=string_organ.CHIP,
    tempo=(132.0, 164.0),
    beats_per_bar=3,
    modes=("major", "mixolydian"),
    lead_range=(64, 83),
    harmony_range=(55, 69),
    bass_low=38,
    lead_rhythms=("x---x---x---", "x-----x-x---", "x---x-x-x-x-", "x-x-x---x---", "x-------x-x-"),
    cadence_rhythm="x---x-------",
    harmony_patterns=("....x---x---", "....x-x-x-x-", "....x-..x-..", "....0-1-2-1-"),
    bass_patterns=("r---........", "r-------5---", "r---5---....", "r-----5-a---"),
    drum_patterns=(
        {KICK: "x...........", TAMBOURINE: "....x...x..."},
        {KICK: "x.....o.....", TAMBOURINE: "....x...x.o."},
    ),
    fill={KICK: "x...x...x...", TAMBOURINE: "....x.x.x.x.", BLOCK: "x.x........."},
    mix={
        "lead": PartMix(0.26, 0.2, 3.0, 0.0, 0.12),
        "harmony": PartMix(0.4, -0.4, 0.0, 0.0, 0.12),
        "bass": PartMix(0.46, -0.05),
        "drums": PartMix(0.6, 0.25, 0.0, 0.0, 0.1),
    },
    tone=((60, -10), (150, -2), (400, 4), (1200, 6), (3000, -2), (6000, -10)),
    title_nouns=words("Gull Anchor Pier Lighthouse Tide Sailcloth Ferry Compass Market Breeze"),
    space=Space(reverb_seconds=0.6, reverb_high=6000.0),
    staccato=0.95,
)

ORBIT = Game(
    name="Orbit",
    chip=sid.CHIP,
    tempo=(98.0, 114.0),
    beats_per_bar=4,
    modes=("lydian", "dorian", "major"),
    lead_range=(65, 84),
    harmony_range=(57, 71),
    bass_low=31,
    lead_rhythms=("x-----------x---", "x-------x-----x-", "x-----x-----x---", "x---------x-x-x-"),
    cadence_rhythm="x-----x---------",
    harmony_patterns=("0214021402140214", "0120312001203120", "0421042104210421"),
    bass_patterns=("r--r--r-r--r--r-", "r-r-..r-r-r-..o-", "r--.r--.r-r-..a-"),
    drum_patterns=(
        {KICK: "X.........x.....", CLAP: "........X.......", CLOSED_HAT: "..x...x...x...x."},
        {KICK: "X.....x.........", CLAP: "........X......o", CLOSED_HAT: "..x...x...x...x."},
    ),
    fill={KICK: "X.....x.........", CLAP: "........X...x...", TOM: "..........x.x.xx", CLOSED_HAT: "..x...x........."},
    mix={
        "lead": PartMix(0.26, 0.0, 5.0, 0.5, 0.2),
        "harmony": PartMix(0.34, 0.35, 0.0, 0.5, 0.05),
        "bass": PartMix(0.44),
        "pad": PartMix(0.1, 0.0, 11.0, 0.0, 0.3),
        "drums": PartMix(0.62, 0.0, 0.0, 0.12, 0.08),
    },
    tone=((60, 4), (300, 2), (1200, 2), (2500, 1), (4500, -8), (7500, -14)),
    title_nouns=words("Nebula Comet Apogee Satellite Airlock Moonrise Vacuum Beacon Eclipse Drift"),
    space=Space(0.75, 0.5, 2.2, 4000.0),
    pad_range=(60, 76),
)

TEMPLE = Game(
    name="Temple",
    chip=strings_bells.CHIP,
    tempo=(62.0, 76.0),
    beats_per_bar=4,
    modes=("major", "lydian", "minor"),
    lead_range=(74, 91),
    harmony_range=(60, 76),
    bass_low=33,
    lead_rhythms=("x---x---x-x-x---", "x-----x-x---x---", "x---x-x-x-------", "x-x-x---x---x---"),
    cadence_rhythm="x---x---x-------",
    harmony_patterns=("0-1-2-1-3-2-1-2-", "0-2-1-2-0-2-1-2-", "0-1-2-3-2-1-2-1-"),
    bass_patterns=("r---------------", "r-------5-------", "r-----------5---"),
    drum_patterns=(
        {KICK: "x.............o.", BLOCK: "........o.......", SHAKER: "o.......o......."},
        {KICK: "x..........o....", BLOCK: "....o.......o...", SHAKER: "o.......o......."},
    ),
    fill={KICK: "x.........o.....", TOM: "............o.x.", BELL: "o...............", SHAKER: "o.......o......."},
    mix={
        "lead": PartMix(0.42, 0.15, 0.0, 0.0, 0.3),
        "harmony": PartMix(0.3, -0.35, 0.0, 0.0, 0.25),
        "bass": PartMix(0.13, 0.1, 0.0, 0.0, 0.1),
        "pad": PartMix(0.09, 0.0, 8.0, 0.0, 0.25),
        "drums": PartMix(0.34, -0.1, 0.0, 0.0, 0.3),
    },
    tone=((60, -14), (250, -8), (700, 0), (2000, 5), (3500, 6), (5500, 0), (7500, -5)),
    title_nouns=words("Incense Lotus Shrine Vow Pagoda Dawn Prayer Cedar Stillness Mirror"),
    space=Space(reverb_seconds=2.8, reverb_high=4500.0),
    pad_range=(50, 67),
    melody_degrees=PENTATONIC,
    staccato=1.0,
)

MEADOW = Game(
    name="Meadow",
    chip=formant.CHIP,
    tempo=(108.0, 124.0),
    beats_per_bar=4,
    modes=("major", "mixolydian"),
    lead_range=(57, 74),
    harmony_range=(69, 84),
    bass_low=36,
    lead_rhythms=("x---x-x-x---x---", "x-x-x---x---x-x-", "x-----x-x-x-x---", "x---x---x-x-x-x-"),
    cadence_rhythm="x-x-x---x-------",
    harmony_patterns=("0.20.20.0.20.20.", "012.210.012.210.", "0.1.2.1.3.1.2.1."),
    bass_patterns=("r---....5---....", "r-----r-5-----a-", "r---5---r---5---"),
    drum_patterns=(
        {KICK: "x.......x.......", TOM: "......o...o.....", SHAKER: "oooxooxoooxoooxo"},
        {KICK: "x.....o.x.......", TOM: "...o......o...o.", SHAKER: "ooxoooxoooxoooxo"},
    ),
    fill={KICK: "x.......x.......", TOM: "..o...o.x.x.x.x.", SHAKER: "ooxoooxoooxoooxo"},
    mix={
        "lead": PartMix(0.4, -0.1, 0.0, 0.0, 0.2),
        "harmony": PartMix(0.36, 0.3, 0.0, 0.0, 0.15),
        "bass": PartMix(0.42),
        "drums": PartMix(0.5, -0.25, 0.0, 0.0, 0.1),
    },
    tone=((60, -12), (200, -5), (700, 4), (1100, 4), (2500, -10), (4000, -4), (6000, 9)),
    title_nouns=words("Clover Brook Lark Picnic Windmill Haystack Bumblebee Sunbeam Orchard Kite"),
    space=Space(reverb_seconds=1.0, reverb_high=5000.0),
)

FOUNDRY = Game(
    name="Foundry",
    chip=overdrive.CHIP,
    tempo=(148.0, 172.0),
    beats_per_bar=4,
    modes=("phrygian", "minor"),
    lead_range=(62, 79),
    harmony_range=(43, 57),
    bass_low=28,
    lead_rhythms=("x-------x-----x-", "x---x---x--x--x-", "x-x-x-x-x-------", "x-----x-----x---"),
    cadence_rhythm="x---x-x-x-------",
    harmony_patterns=("0-0000-00-0000-0", "0--0--0-0--0--0-", "00.00.0-00.00.0-"),
    bass_patterns=("r-rrrr-rr-rrrr-a", "r--r--r-r--r--a-", "rr.rr.r-rr.rr.a-"),
    drum_patterns=(
        {KICK: "X.x...X.X.x...X.", SNARE: "....X.......X...", BELL: "x...x...x...x..."},
        {KICK: "XxX.X.X.XxX.X.X.", SNARE: "....X.......X...", BELL: "..x...x...x...x."},
    ),
    fill={KICK: "X.X.X.X.X.X.X.X.", SNARE: "....X.......xxxx", TOM: "........x.xx....", BELL: "x...x..........."},
    mix={
        "lead": PartMix(0.26, 0.15, 3.0, 0.2, 0.1),
        "harmony": PartMix(0.3, 0.0, 14.0),
        "bass": PartMix(0.3),
        "drums": PartMix(0.6, -0.05, 0.0, 0.0, 0.1),
    },
    tone=((60, -3), (300, -3), (1000, 0), (2000, 7), (3500, 4), (5500, -10), (8000, -16)),
    title_nouns=words("Anvil Furnace Piston Crucible Ingot Smokestack Rivet Conveyor Hammer Slag"),
    space=Space(0.75, 0.3, 0.7, 5000.0),
)

GAMES: tuple[Game, ...] = (CASTLE, CAVE, CIRCUIT, HARBOR, ORBIT, TEMPLE, MEADOW, FOUNDRY)


def find_game(name: str) -> Game:
    """The record of that name; ValueError lists the known ones."""
    for game in GAMES:
        if game.name == name:
            return game
    raise ValueError(f"game must be one of {', '.join(game.name for game in GAMES)}, got {name!r}")
