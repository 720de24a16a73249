"""Measures of music: beat, notes and form, in the corpus, through format and VAE, and in what is generated.

figures.py   Where is music lost? Its measures in the corpus
pitch.py     Notes: how sharply they stand out of the spectrum, and which pitch classes and intervals are played
record.py    What makes a clip music
rhythm.py    Rhythm
sections.py  Form
"""
