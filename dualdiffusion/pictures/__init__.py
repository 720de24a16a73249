"""Pictures for reports: no window, no browser.

audio.py        A spectrogram to look at, whatever the format of a clip is
chart.py        Line charts as pictures, for reports: no window, no browser, no further library
spectrogram.py  Pictures of spectrograms
"""
