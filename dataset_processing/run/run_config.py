"""The config of a run, and what can be wrong with it before anything is read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from dataset_processing.step import JsonData
from dualdiffusion.component import Component, part_of, type_name
from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError


def step_name(step: Component) -> str:
    """The name of a step in `--steps` and in journals: its file."""
    return type_name(step.cls).partition(".")[0]


def _steps_once(steps: tuple[Component, ...]) -> tuple[Component, ...]:
    names = [step_name(step) for step in steps]
    if len(set(names)) < len(names):
        raise ValueError(f"every step may stand there once, not {', '.join(names)}")
    return steps


class RunConfig(Config):
    """A dataset: where its audio comes from, where it goes, and what happens on the way."""

    description: str = ""
    """What the dataset is."""
    source: Path
    """Folder of audio, `<source>/<game>/**/<track>`."""
    dataset: Path
    """Folder that is written."""
    processes: int | None = Field(None, ge=1)
    """Worker processes; null uses every core."""
    steps: Annotated[tuple[part_of("dataset_processing.steps"), ...], AfterValidator(_steps_once)]  # type: ignore[misc]
    """The steps in their order."""


def select_steps(config: RunConfig, names: Sequence[str] | None) -> list[str]:
    """The names of the steps to run, in the order of the config; None selects all.

    Raises:
        UserError: a name that the config does not have.
    """
    known = [step_name(step) for step in config.steps]
    for name in names or ():
        if name not in known:
            raise UserError(f"--steps {name}: no such step; nearest: {', '.join(nearest(name, known) or known)}")
    return [name for name in known if names is None or name in names]


def settled(config: RunConfig, selected: Sequence[str]) -> RunConfig:
    """The config where what steps leave open is what later ones need, see `_AnyStep.needs`.

    Raises:
        UserError: a setting is not what a selected step needs, which would then refuse every track.
    """
    parts = list(config.steps)
    needed: dict[str, JsonData] = {}
    needed_by: dict[str, str] = {}  # setting -> the step that needs it, of selected steps alone
    # From the last step to the first, as what a step needs is needed of those before it.
    for at, part in reversed(list(enumerate(config.steps))):
        if hasattr(part.config, "settled"):
            part = parts[at] = Component(part.cls, part.config.settled(needed))
        for key, later in needed_by.items():
            if (found := getattr(part.config, key, needed[key])) != needed[key]:
                raise UserError(
                    f"steps.{at}.{key}: is {found}, but the model of the step {later} needs {needed[key]}; leave "
                    f"{key} out, and it is that"
                )
        try:
            needs = part.cls.needs(part.config)
        except UserError:
            # A model that is missing costs nothing but what it would make, and that step says so: what is there stays.
            needed |= _of_tracks(config.dataset)
            continue
        needed |= needs
        if step_name(part) in selected:
            needed_by |= dict.fromkeys(needs, step_name(part))
    return config.model_copy(update={"steps": tuple(parts)})


def _of_tracks(dataset: Path) -> dict[str, JsonData]:
    """The sample rate and channels of the tracks that a dataset has; nothing where there are none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(dataset / "metadata.jsonl", "rb") as lines:
        track = json.loads(next(lines, b""))
        return {key: track[key] for key in ("sample_rate", "channels")}
    return {}


def check_folders(config: RunConfig) -> None:
    """Raises UserError for a source that is missing or empty, and for folders that lie in each other."""
    source, dataset = config.source.resolve(), config.dataset.resolve()
    if not source.is_dir():
        raise UserError(f"source {config.source}: no such folder; set it with --set source=FOLDER")
    if source == dataset or source.is_relative_to(dataset) or dataset.is_relative_to(source):
        raise UserError(f"source {config.source} and dataset {config.dataset}: one must not lie inside the other")
    if dataset.exists() and not dataset.is_dir():
        raise UserError(f"dataset {config.dataset}: is a file, not a folder")
    if next(os.scandir(source), None) is None:
        raise UserError(f"source {config.source}: the folder is empty")
