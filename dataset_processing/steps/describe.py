"""Describe: facts of each track that a network may be told in training, such as where its beats fall."""

from __future__ import annotations

import os

import soundfile
import torch

import dualdiffusion.config
from dataset_processing.step import Record, Step
from dualdiffusion.data.facts import facts_of_parts
from dualdiffusion.dsp.onsets import frame_samples

PART_HOPS = 3750  # half a minute is in memory at a time


class Describe(Step):
    """Gives every track the field `facts`, see `dualdiffusion.data.facts`; what cannot be told of it is left out.

    The last step of a config: latents do not depend on it.
    """

    optional = True

    class Config(dualdiffusion.config.Config):
        """Nothing to set."""

    def run(self, record: Record) -> Record:
        """Reads the track as convert has written it."""
        with soundfile.SoundFile(os.fsencode(self.paths.dataset / record.fields["file_name"])) as file:
            frame, hop = frame_samples(file.samplerate)
            size = PART_HOPS * hop + frame
            parts = (torch.from_numpy(part.T) for part in file.blocks(size, frame, dtype="float32", always_2d=True))
            facts = facts_of_parts(parts, file.samplerate)
        beat = facts.get("beat")
        measured = {} if beat is None else {"bpm": round(beat["bpm"], 2), "beat_clarity": round(beat["clarity"], 3)}
        return record.adding(fields={"facts": facts}, measured=measured)
