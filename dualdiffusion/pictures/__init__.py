"""Pictures for reports: no window, no browser.

chart.py        Line charts as pictures, for reports: no window, no browser, no further library
spectrogram.py  Pictures of spectrograms
"""
