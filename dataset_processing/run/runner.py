"""Runs the steps of a dataset config over a source folder, doing only what is missing or changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dataset_processing.duplicates.acoustic_fingerprint import FINGERPRINTS
from dataset_processing.run.flow import Flow
from dataset_processing.run.result import Ranks, Result, View
from dataset_processing.run.run_config import RunConfig, check_folders, settled
from dualdiffusion.files import folder_lock, sweep


def plan(config: RunConfig, selected: Sequence[str]) -> Result:
    """What `run` would do, without writing anything."""
    check_folders(config)
    return Flow(settled(config, selected), selected, Ranks(), None).plan()


def run(
    config: RunConfig,
    selected: Sequence[str],
    *,
    wait: bool = False,
    ranks: Ranks | None = None,
    view: View | None = None,
    prune: bool = False,
) -> Result:
    """Runs the selected steps and writes the dataset.

    Args:
        config: the dataset.
        selected: names of steps; the others are taken from what earlier runs have done.
        wait: wait for another process that works on the dataset instead of refusing.
        ranks: this process among launched ones; the first does all steps that are not distributed.
        view: shows progress.
        prune: remove tracks whose files are gone, also where they are much of a game.

    Raises:
        UserError: folders that cannot be used, settings that do not fit the model of a later step, a dataset in use, a
            selected step whose predecessors are not done, or much of a game gone without `prune`.
    """
    ranks = ranks or Ranks()
    check_folders(config)
    config = settled(config, selected)
    with ExitStack() as stack:
        if ranks.rank == 0:
            stack.enter_context(folder_lock(config.dataset, wait=wait))
            _sweep(config.dataset)
        return Flow(config, selected, ranks, view, prune=prune).run()


def _sweep(dataset: Path) -> None:
    """Removes what killed runs left unfinished."""
    state = dataset / ".state"
    for folder in (dataset, state, state / FINGERPRINTS, dataset / "audio", dataset / "latents"):
        sweep(folder)
    for folder in [*(dataset / "audio").glob("*/"), *(dataset / "latents").glob("*/*/")]:
        sweep(folder)
