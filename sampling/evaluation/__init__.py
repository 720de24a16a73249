"""`python -m sampling evaluate`: generated clips against music that the model was not trained on.

embeddings/    Embeddings by name
music/         Measures of music
report/        An evaluation as a person sees it
chosen.py      What an evaluation is to compare: its settings, and the excerpts of both splits
classifier.py  Which game does a clip sound like? A classifier simple enough to trust
clips.py       Clips to compare
command.py     `python -m sampling evaluate`: options and checks. Imports no torch until everything is checked
copies.py      Is a clip a copy of a training track? Correlation of spectrogram patches with every moment of every t
distances.py   Distances between two sets of clips in an embedding: Frechet (FAD) and kernel (KAD, KID)
evaluate.py    Measures a model against the music it was not trained on: what `python -m sampling evaluate` does
features.py    What is measured of clips
measures.py    From features of clips to figures as JSON data: distances, class control, copies, sound
sound.py       Plain figures of a clip's sound: level, stereo, silence, and where its spectrum lies
statistics.py  What few samples can tell: resampling, intervals and quartiles
"""
