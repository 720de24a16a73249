"""From folders of audio to a dataset: `python -m dataset_processing synth | run | add`.

duplicates/      Which tracks are the same recording, and what follows from that
report/          What became of every file, for a person to read and hear
run/             One run of a dataset config
steps/           Dataset steps
synth/           A built-in corpus of invented game music
add.py           Bringing more music into the source folder of a dataset
latent_tiles.py  Latents of a track tile by tile
meters.py        Meters that a signal flows through once
step.py          The protocol of dataset steps: records flow through them in the order of the config
workers.py       Worker processes that are ready at once
"""
