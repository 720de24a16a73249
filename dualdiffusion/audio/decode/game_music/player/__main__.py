"""`python player READER NAME FILE RATE [SONG]`, with the music on the standard input.

READER is "gme", "openmpt" or "fluidsynth", NAME and FILE are what its library is called (`library.load`).

Writes one line of JSON: {"songs": [...]}, {"error": "..."} or {"missing": true}; with SONG (from 0) then its samples,
interleaved stereo of the library's own kind, until it ends or nobody reads on. Exit code 0, or the process was ended:
by a crash, or by itself where the library works on one block for longer than a minute.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from contextlib import suppress

import ffmpeg
import fluidsynth
import gme
import openmpt
from library import CannotPlayError, MissingLibraryError, load

PATIENCE = 60.0
"""Seconds for one block, which usually takes a few milliseconds."""
_READERS = {"gme": gme, "openmpt": openmpt, "fluidsynth": fluidsynth}
_Player = gme.Player | openmpt.Player | fluidsynth.Player | ffmpeg.Player
_NOWHERE = open(os.devnull, "w")  # noqa: SIM115 - for the life of the process


def main(reader: str, name: str, file: str, rate: int, song: int | None) -> None:
    """See above."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True, file=_NOWHERE)
    try:
        player = _player(reader, name, file, rate)
        answer: dict[str, object] = {"songs": player.songs()}
    except MissingLibraryError:
        answer = {"missing": True}
    except CannotPlayError as error:
        answer = {"error": str(error)}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()
    if song is None or "songs" not in answer:
        return
    for block in player.blocks(song):
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=_NOWHERE)
        sys.stdout.buffer.write(bytes(block))
        sys.stdout.buffer.flush()


def _player(reader: str, name: str, file: str, rate: int) -> _Player:
    try:
        library = load(name, file)
    except MissingLibraryError:
        return ffmpeg.Player(reader, rate)
    return _READERS[reader].Player(library, sys.stdin.buffer.read(), rate)


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # enough was heard
        main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else None)
    # The library's own memory is left to the system: a damaged file may have spoilt it, and freeing it would crash.
    sys.stderr.flush()
    os._exit(0)
