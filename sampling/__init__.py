"""From a request to a clip. `python -m sampling` is the command.

command/           What `python -m sampling` does with its options
evaluation/        `python -m sampling evaluate`
output/            Clips as files that carry the request that made them
solvers/           Samplers and noise schedules
tasks/             What a clip may be besides new and short
batch.py           Clips that are sampled together: from their noise to their audio
clip.py            A clip in Python: audio, a file, a player in a notebook
diffusion.py       A denoiser together with how it is sampled, as one module for notebooks
fingerprints.py    What a clip's weights are known by
foreign.py         Networks from elsewhere as denoisers
generator.py       From a request to a clip: the one door to generating
guidance.py        Guidance
likelihood.py      How likely a model finds some data
preview.py         Pictures of a clip while it forms
progress.py        What is told while clips are made, and how a callback ends it
recommended.py     What a model recommends to ask of it
request.py         What one may ask of a trained model
without_effect.py  What is asked and changes nothing
"""
