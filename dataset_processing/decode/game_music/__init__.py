"""Game music that is not a recording, rendered by what a machine has; one file for each library.

gme.py      Sound chips (SPC, NSF, VGM, GBS, HES, KSS, AY, SAP) by libgme
library.py  A C library where the system has it, else a refusal that names the package
openmpt.py  Tracker modules (MOD, XM, IT, S3M) by libopenmpt
"""
