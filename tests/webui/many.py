"""A history of many clips, written as the page writes it, without making them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy
import soundfile

from tests.webui.conftest import REQUEST
from tests.webui.serve import GAMES
from webui.history_search import games_column, words_column
from webui.jobs import JobStore


def fill(outputs: Path, count: int) -> None:
    """Writes a history of `count` clips of two games each, with seeds from 0 on; all of them are one audio file."""
    outputs.mkdir(parents=True, exist_ok=True)
    time = numpy.arange(2 * 32000) / 32000
    soundfile.write(outputs / "clip.flac", 0.3 * numpy.sin(2 * numpy.pi * 220 * time), 32000)
    JobStore(outputs / "history.sqlite3").close()
    rows = []
    for number in range(count):
        mix = {GAMES[number % 6]: 0.6, GAMES[(number // 6) % 6]: 0.4}
        request = {**REQUEST, "sampler": "heun", "schedule": "edm", "games": mix, "seed": number}
        made = 1.7e9 + 60 * number
        found = games_column(mix), words_column(request, "demo", "clip.flac")
        rows.append((f"{number:016x}", number + 1, json.dumps(request), made, made, made + 2, *found))
    with closing(sqlite3.connect(outputs / "history.sqlite3")) as db, db:
        db.executemany(
            "INSERT INTO jobs (id, position, status, request, created, started, finished, games, words, model, file) "
            "VALUES (?, ?, 'done', ?, ?, ?, ?, ?, ?, 'demo', 'clip.flac')",
            rows,
        )
