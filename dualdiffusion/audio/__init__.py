"""Audio files, tags, channels and levels.

Tensors have the shape (channels, samples), float32, full scale at +-1. What works block by block takes NumPy arrays of
shape (samples, channels): torch is imported by the functions on tensors alone, when they are called, so that a dataset
tool's worker processes start fast and stay small.

decode/      Decoding that cannot be fooled: any audio that people have, whole or refused
channels.py  Mixing channels and changing the sample rate
files.py     Reading and writing audio files
loudness.py  Loudness and true peak (ITU-R BS.1770-4), of tensors, and of signals that are given in blocks
tags.py      Tags of audio files, under the same names whatever the format calls them
"""

from dualdiffusion.audio.channels import mix_channels, mixing_matrix, resample, to_stereo
from dualdiffusion.audio.files import flac_writer, read, write_flac
from dualdiffusion.audio.loudness import (
    LoudnessMeter,
    TruePeakMeter,
    k_weighting,
    loudness_lufs,
    loudness_of,
    true_peak,
    true_peak_of,
)
from dualdiffusion.audio.tags import TAG_NAMES, read_tags, without_huge, write_tags

__all__ = [
    "TAG_NAMES",
    "LoudnessMeter",
    "TruePeakMeter",
    "flac_writer",
    "k_weighting",
    "loudness_lufs",
    "loudness_of",
    "mix_channels",
    "mixing_matrix",
    "read",
    "read_tags",
    "resample",
    "to_stereo",
    "true_peak",
    "true_peak_of",
    "without_huge",
    "write_flac",
    "write_tags",
]
