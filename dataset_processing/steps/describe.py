"""Describe: facts of each track that a network may be told in training, such as its beat and key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import soundfile
import torch

import dualdiffusion.config
from dataset_processing.step import JsonData, Record, Step
from dualdiffusion.data.facts import facts_of_parts, facts_of_tags
from dualdiffusion.dsp.onsets import frame_samples

PART_HOPS = 3750  # half a minute is in memory at a time


class Describe(Step):
    """Gives every track the field `facts`, see `dualdiffusion.data.facts`; what cannot be told of it is left out.

    The last step of a config: latents do not depend on it.
    """

    version: ClassVar[int] = 2  # 2: key, loudness, brightness and tags
    optional: ClassVar[bool] = True

    class Config(dualdiffusion.config.Config):
        """Nothing to set."""

    def run(self, record: Record) -> Record:
        """Reads the track as convert has written it."""
        with soundfile.SoundFile(os.fsencode(self.paths.dataset / record.fields["file_name"])) as file:
            frame, hop = frame_samples(file.samplerate)
            size = PART_HOPS * hop + frame
            parts = (torch.from_numpy(part.T) for part in file.blocks(size, frame, dtype="float32", always_2d=True))
            facts = facts_of_parts(parts, file.samplerate)
        facts |= facts_of_tags(record.fields.get("tags", {}))
        return record.adding(fields={"facts": facts}, measured=_measured(facts))


def _measured(facts: Mapping[str, Any]) -> dict[str, JsonData]:
    """What the report shows of the facts."""
    measured: dict[str, JsonData] = {}
    if beat := facts.get("beat"):
        measured |= {"bpm": round(beat["bpm"], 2), "beat_clarity": round(beat["clarity"], 3)}
    if key := facts.get("key"):
        measured |= {"key": key["name"], "key_clarity": round(key["clarity"], 3)}
    return measured
