"""Track titles by rule: an adjective and one of the game's own nouns, unique within a game."""

from __future__ import annotations

import zlib

import numpy as np

from dataset_processing.synth.records import Game

ADJECTIVES = (
    "Silver",
    "Restless",
    "Hidden",
    "Burning",
    "Last",
    "Gentle",
    "Broken",
    "Golden",
    "Distant",
    "Crooked",
    "First",
    "Quiet",
)


def track_title(game: Game, track: int, seed: int) -> str:
    """Title of a track number from 0; two numbers below len(ADJECTIVES) * len(nouns) never share one."""
    generator = np.random.default_rng([seed, zlib.crc32(game.name.encode()), 0])
    adjectives, nouns = generator.permutation(len(ADJECTIVES)), generator.permutation(len(game.title_nouns))
    # The noun changes with every track; the adjective too, and shifts by one more when the nouns are used up.
    noun = track % len(nouns)
    adjective = (track + track // len(nouns)) % len(adjectives)
    return f"{ADJECTIVES[adjectives[adjective]]} {game.title_nouns[nouns[noun]]}"
