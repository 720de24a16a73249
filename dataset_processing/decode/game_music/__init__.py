"""Game music that is not a recording, rendered by what a machine has; one file for each library.

fades.py    The fades that files of sound chips state, which libgme 0.6 does not tell
gd3.py      The tags of VGM files, which libgme tells in part
gme.py      Sound chips (SPC, NSF, VGM, GBS, HES, KSS, AY, SAP, GYM) by libgme
library.py  A C library where the system has it, else a refusal that names the package
openmpt.py  Tracker modules (MOD, XM, IT, S3M, ...) by libopenmpt
song.py     A song of a file: what the file says of it, and how it is played to an end
stated.py   How many bytes a file says it has
"""
