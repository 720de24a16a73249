"""From a request to a clip. `python -m sampling` is the command.

command/        What `python -m sampling` does with its options
evaluation/     `python -m sampling evaluate`
output/         Clips as files that carry the request that made them
solvers/        Samplers and noise schedules
tasks/          What a clip may be besides new and short
clip.py         A clip in Python: audio, a file, a player in a notebook
generator.py    From a request to a clip: noise, sampling, decoding, phase recovery
guidance.py     Guidance
preview.py      Pictures of a clip while it forms
progress.py     What is told while clips are made, and how a callback ends it
recommended.py  What a model recommends to ask of it
request.py      What one may ask of a trained model
"""
