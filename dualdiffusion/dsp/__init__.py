"""Signal processing that formats are made of.

band_transform.py   Magnitudes of a short-time Fourier transform, summed to bands; also at a part of the sample rate
banded.py           Products with banded matrices, such as filters of neighbouring bins
beat.py             The beat of a track: evenly spaced moments at which notes begin, found in its onset curve
circular.py         Sound without beginning and end: what lies before the first sample is the last one
curves.py           How a track's loudness and brightness move along time
frequency_scale.py  Frequency scales
key.py              The key of a track
onsets.py           Where notes begin
phase_recovery.py   Phase recovery: audio from the magnitudes of frequency bands, without any phase
relative_spectrum.py  Spectra in which rhythm, notes and sections are looked for
stft.py             Short-time Fourier transform with a window far shorter than its nominal length
tiles.py            Long clips in tiles
"""
