"""Reading a finished dataset: crops of audio and of latents.

audio_crops.py     Random crops of audio, read from the files as slices
dataset_folder.py  A finished dataset on disk: its tracks, its games, and where its latents lie
excerpt_crops.py   Random crops of audio with what stands around them, which are encoded as if all of their track was
facts.py           Facts of a track that training may tell a network
latent_crops.py    Latents on disk, and random crops of them read as slices
order.py           Which track a training sample is of: a pure function of the seed and the sample's number
"""
