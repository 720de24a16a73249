"""What the figures of an evaluation cannot tell, in sentences: the sceptic's part of the report."""

from __future__ import annotations

from typing import Any

from sampling.evaluation.measures import GENERATED, THROUGH_VAE
from sampling.evaluation.music.figures import LOST_IN
from sampling.evaluation.music.record import MEASURES

FEW_CLIPS = 50
FEW_TRACKS = 20
WIDE = 0.3


def find_notes(result: dict[str, Any]) -> list[str]:
    """One sentence each; `result` as `evaluate` makes it."""
    return [*_amounts(result), *_distances(result), *_class_control(result), *_copies(result), *_music(result)]


def _amounts(result: dict[str, Any]) -> list[str]:
    notes = []
    generated, tracks = result["settings"]["clips"] * len(result["games"]), result["validation_tracks"]
    if generated < FEW_CLIPS:
        notes.append(f"{generated} generated clips are too few to tell small differences; {FEW_CLIPS} or more would")
    if tracks < FEW_TRACKS:
        source = "1 track" if tracks == 1 else f"{tracks} tracks"
        notes.append(
            f"the validation clips come from {source} only, and clips of a track are alike: the intervals, which take "
            "them for independent, are too narrow"
        )
    if result["left_out"]:
        names = ", ".join(result["left_out"][:5]) + (", ..." if len(result["left_out"]) > 5 else "")
        notes.append(
            f"left out, as a split has no track of them that is long enough: {names}; with validation_tracks=1 of "
            "the split step, the dataset holds one of each out"
        )
    return notes


def _distances(result: dict[str, Any]) -> list[str]:
    notes = []
    for name, figures in result["distances"].items():
        if figures["shrunk"]:
            notes.append(
                f"{name}: there are no more frames than the {figures['dimensions']} dimensions, so covariances are "
                "regularised, and Frechet distances compare only with those of as many clips"
            )
        elif figures["sets"][GENERATED]["frechet_extrapolated"] is None:
            notes.append(f"{name}: too few clips to extrapolate the Frechet distance to infinitely many")
        above = figures["sets"][GENERATED]["above_training"]["kad"]
        if above["low"] is None:
            notes.append(f"{name}: too few clips for kernel distances")
            continue
        if above["low"] <= 0 <= above["high"]:
            notes.append(f"{name}: by KAD, so few generated clips cannot be told from as many training clips")
        vae = figures["sets"][THROUGH_VAE]["above_training"]["kad"]
        if vae["low"] is not None and vae["low"] > 0 and above["value"] > 0:
            notes.append(
                f"{name}: VAE and phase recovery alone make {min(vae['value'] / above['value'], 9.99):.0%} of what the "
                "generated clips' KAD has above that of training clips"
            )
    return notes


def _class_control(result: dict[str, Any]) -> list[str]:
    notes, control = [], result["class_control"]
    if control["generated"] is None:
        return ["the model is told no games, so that there is no class control"]
    held_out, accuracy = control["validation"]["accuracy"], control["generated"]["accuracy"]
    if len(result["games"]) < 2:
        return ["class control means nothing with one game"]
    if held_out["value"] < 0.8:
        notes.append(
            f"the classifier hears only {held_out['value']:.0%} of the validation clips right: the accuracy of the "
            "generated ones says little"
        )
    if accuracy["high"] - accuracy["low"] > WIDE:
        notes.append("class control: too few clips for more than a rough idea of the accuracy")
    if accuracy["low"] <= control["chance"]:
        notes.append("class control: the generated clips' accuracy cannot be told from chance")
    return notes


def _copies(result: dict[str, Any]) -> list[str]:
    notes, copies = [], result["copies"]
    if copies["known_copies_found"]["value"] < 0.9:
        notes.append(
            f"copies: of training clips that went through the VAE only {copies['known_copies_found']['value']:.0%} are "
            "told from validation clips, so copies may be missed"
        )
    if copies["flagged"] and copies["flagged"] <= 2 * copies["flagged_by_chance"] + 1:
        notes.append(
            f"copies: about {copies['flagged_by_chance']:.1f} clips would be flagged by chance alone; listen to them"
        )
    return notes


def _music(result: dict[str, Any]) -> list[str]:
    """Where most of a measure is lost, if any stage keeps less than all."""
    notes, kept = [], result["music"]["kept"]
    for name in ("beat", "sharpness", "onsets"):
        shares = {stage: kept[stage]["measures"][name] for stage in LOST_IN}
        losing = {stage: share["value"] for stage, share in shares.items() if (share["high"] or 1) < 1}
        if losing:
            stage = min(losing, key=losing.__getitem__)
            notes.append(f"music: {MEASURES[name]} is lost most {stage}, which keeps {losing[stage]:.0%} of it")
    return notes
