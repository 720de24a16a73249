"""Signal processing that formats are made of.

circular.py         Sound without beginning and end: what lies before the first sample is the last one
frequency_scale.py  Frequency scales
phase_recovery.py   Phase recovery: audio from the magnitudes of frequency bands, without any phase
stft.py             Short-time Fourier transform with a window far shorter than its nominal length
tiles.py            Long clips in tiles
"""
