"""Runs the steps of a dataset config over a source folder, doing only what is missing or changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from dataset_processing.duplicates.acoustic_fingerprint import FINGERPRINTS
from dataset_processing.run.flow import Flow, Ranks, Result, StepCount, View, step_name
from dualdiffusion.component import Component, part_of
from dualdiffusion.config import Config, nearest
from dualdiffusion.errors import UserError
from dualdiffusion.files import folder_lock, sweep

__all__ = ["Ranks", "Result", "RunConfig", "StepCount", "check_folders", "plan", "run", "select_steps", "step_name"]


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


def plan(config: RunConfig, selected: Sequence[str]) -> Result:
    """What `run` would do, without writing anything."""
    check_folders(config)
    return Flow(config, selected, Ranks(), None).plan()


def run(
    config: RunConfig,
    selected: Sequence[str],
    *,
    wait: bool = False,
    ranks: Ranks | None = None,
    view: View | None = None,
) -> Result:
    """Runs the selected steps and writes the dataset.

    Args:
        config: the dataset.
        selected: names of steps; the others are taken from what earlier runs have done.
        wait: wait for another process that works on the dataset instead of refusing.
        ranks: this process among launched ones; the first does all steps that are not distributed.
        view: shows progress.

    Raises:
        UserError: folders that cannot be used, a dataset in use, or a selected step whose predecessors are not done.
    """
    ranks = ranks or Ranks()
    check_folders(config)
    with ExitStack() as stack:
        if ranks.rank == 0:
            stack.enter_context(folder_lock(config.dataset, wait=wait))
            _sweep(config.dataset)
        return Flow(config, selected, ranks, view).run()


def _sweep(dataset: Path) -> None:
    """Removes what killed runs left unfinished."""
    state = dataset / ".state"
    for folder in (dataset, state, state / FINGERPRINTS, dataset / "audio", dataset / "latents"):
        sweep(folder)
    for folder in [*(dataset / "audio").glob("*/"), *(dataset / "latents").glob("*/*/")]:
        sweep(folder)
