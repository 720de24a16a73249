"""Game music that is not a recording, played by the libraries that a machine has, in a process of their own.

player/     The program that calls the libraries: libgme for sound chips, libopenmpt for tracker modules,
            libfluidsynth for MIDI files
fades.py    The fades that files of sound chips state, which libgme 0.6 does not tell
gd3.py      The tags of VGM files, which libgme tells in part
playing.py  Game music played by another process: its songs
song.py     A song of a file: what the file says of it
stated.py   How many bytes a file of game music says it has, by its own tables
"""
