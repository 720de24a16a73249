"""A program of its own that plays game music: `python player ...`, started by `game_music/playing.py`.

It imports nothing of ours and only the standard library, so that it starts in no time; when a library crashes on a
damaged file, or never comes back, this process ends and no other.

The process itself (`__main__`): Reads a file from the standard input, and writes what it holds, or how it sounds
ffmpeg.py    Game music by the program `ffmpeg`
fluidsynth.py  MIDI files by libfluidsynth, with the sound font that the system has
gme.py       Sound chips by libgme
library.py   A C library where the system has it
midi.py      How long a MIDI file plays, and what it says of itself
openmpt.py   Tracker modules by libopenmpt
"""
