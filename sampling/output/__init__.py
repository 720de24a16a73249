"""Clips as files that carry the request that made them.

clips.py          Clips on disk: audio files that carry the request that made them
contact_sheet.py  A page that shows the clips of a grid side by side
containers.py     Clips as files of four formats
loudness.py       Brings clips to a loudness, below a ceiling of the true peak
settings.py       How clips are written
"""
