"""Checkpoints that survive being killed, a full disk, and damage.

A checkpoint is a folder `samples-<seen>`, written under a temporary name, synced, completed by a manifest of hashes,
and renamed. Only then are older ones pruned. Reading verifies the hashes and falls back to the checkpoint before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualdiffusion.errors import UserError
from dualdiffusion.files import TEMPORARY_MARK, read_json, sha256_of, sync_file, sync_folder, write_json
from dualdiffusion.machine.limits import no_room
from dualdiffusion.model.module import load_weights, save_weights

PREFIX = "samples-"
OLD_MARK = ".old-"
MANIFEST = "manifest.json"
MODULE_TRAINER = "module_trainer"  # file stem


@dataclass(frozen=True)
class CheckpointState:
    """Everything that is checkpointed, by name.

    Attributes:
        weights: file stem -> tensors; the module under its own name, each EMA under its.
        optimizer: the optimizer's state_dict.
        loop: JSON data of the loop, stored as progress.json: samples seen, best EMA, rollbacks.
        module_trainer: what a `Stateful` module trainer has learned, such as a density of noise levels.
    """

    weights: dict[str, dict[str, Tensor]]
    optimizer: dict[str, Any]
    loop: dict[str, Any]
    module_trainer: dict[str, Tensor] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `<model>/runs/<module>/checkpoints`.
        keep: how many of the newest are kept, at least 2, so that a damaged newest one has a predecessor.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMPORARY_MARK}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for old in folder.glob(f"{OLD_MARK}*"):
            final = folder / old.name.removeprefix(OLD_MARK)
            if final.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(final)

    def list(self) -> list[Path]:
        """Published checkpoints, newest first, by the samples in their names: clocks may be wrong."""
        found = [path for path in self.folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
        return sorted(found, key=samples_of, reverse=True)

    def save(self, state: CheckpointState) -> Path:
        """Publishes a checkpoint, then prunes the oldest ones.

        Raises:
            OSError: such as a full disk; older checkpoints are untouched.
        """
        final = self.folder / f"{PREFIX}{state.loop['samples']:012d}"
        temporary = self.folder / f"{TEMPORARY_MARK}{os.getpid()}-{final.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            for name, tensors in state.weights.items():
                save_weights(temporary / f"{name}.safetensors", tensors)
            save_weights(temporary / f"{MODULE_TRAINER}.safetensors", state.module_trainer)
            _save_optimizer(temporary / "optimizer.pt", state.optimizer)
            write_json(temporary / "progress.json", state.loop)
            # Last, as it vouches for all that was written before it.
            hashes = {path.name: sha256_of(path) for path in sorted(temporary.iterdir())}
            write_json(temporary / MANIFEST, hashes)
            self._put_in_place(temporary, final)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, OSError) and no_room(error):
                raise OSError(error.errno, error.strerror, str(final)) from None  # says where
            raise
        self._prune(final)
        return final

    def _prune(self, newest: Path) -> None:
        """Removes the oldest, and those of a later time than the newest, which were damaged or led nowhere."""
        paths = self.list()
        place = paths.index(newest)
        for path in paths[:place] + paths[place + self.keep :]:
            with contextlib.suppress(OSError):
                shutil.rmtree(path)

    def _put_in_place(self, temporary: Path, final: Path) -> None:
        """Renames; a checkpoint of the same samples makes room first, and comes back if we die in between."""
        old = self.folder / f"{OLD_MARK}{final.name}"
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        temporary.rename(final)
        sync_folder(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def load(self, before: int | None = None) -> CheckpointState | None:
        """The newest checkpoint that is whole; None where there is none. Says which damaged ones it passes over.

        Args:
            before: only checkpoints of fewer samples than that.

        Raises:
            UserError: there are checkpoints, but all are damaged.
        """
        paths = [path for path in self.list() if before is None or samples_of(path) < before]
        problems = []
        for path in paths:
            problem = damage(path)
            if problem is None:
                state = _read(path)
                if problems:
                    print(f"{'; '.join(problems)}: going on from {path.name}{_lost(paths[0], state)}", file=sys.stderr)
                return state
            problems.append(f"{path}: {problem}")
        if paths:
            raise UserError(
                f"every checkpoint is damaged ({'; '.join(problems)}); remove {self.folder} to train on from the "
                "published weights, and these too to start anew"
            )
        return None


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None if it is whole."""
    try:
        manifest = read_json(path / MANIFEST)
    except UserError as error:
        return str(error)
    if not isinstance(manifest, dict) or not manifest:
        return f"{MANIFEST} is damaged"
    for name, expected in manifest.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        try:
            if sha256_of(path / name) != expected:
                return f"{name} is damaged"
        except OSError as error:
            if error.errno != errno.EIO:  # a failing disk is a damage like others
                raise
            return f"{name} cannot be read ({error.strerror})"
    return None


def samples_of(path: Path) -> int:
    """The samples seen, as a checkpoint's name tells them."""
    return int(path.name.removeprefix(PREFIX))


def _lost(newest: Path, state: CheckpointState) -> str:
    """How much of the training is done again, as far as the names of the damaged checkpoints tell."""
    samples = samples_of(newest) - state.loop["samples"]
    size = state.loop.get("batch_size")
    return f"; lost and trained again: {samples} samples" + (f", {-(-samples // size)} steps" if size else "")


def _save_optimizer(path: Path, optimizer: dict[str, Any]) -> None:
    try:
        with open(path, "wb") as file:
            torch.save(optimizer, file)
    except RuntimeError as error:
        # On a full disk, torch hides the reason behind an error of its own.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
    sync_file(path)


def _read(path: Path) -> CheckpointState:
    weights = {file.stem: load_weights(file) for file in sorted(path.glob("*.safetensors"))}
    try:
        optimizer = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}/optimizer.pt: refused: {error}") from None
    module_trainer = weights.pop(MODULE_TRAINER, {})
    return CheckpointState(weights, optimizer, read_json(path / "progress.json"), module_trainer)
