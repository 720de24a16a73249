"""Checkpoints that survive being killed, a full disk, and damage.

A checkpoint is a folder `samples-<seen>`, written under a temporary name, synced, completed by a manifest of hashes,
and renamed. Only then are older ones pruned. Reading verifies the hashes and falls back to the checkpoint before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dualdiffusion.errors import UserError
from dualdiffusion.files import TEMPORARY_MARK, read_json, sync_file, sync_folder, write_json
from dualdiffusion.module import load_weights, save_weights

PREFIX = "samples-"
OLD_MARK = ".old-"
MANIFEST = "manifest.json"
MODULE_TRAINER = "module_trainer"  # file stem


@runtime_checkable
class Stateful(Protocol):
    """A module trainer that changes while it trains, beside its module: what it learns is part of a checkpoint."""

    def after_update(self, samples: int) -> bool:
        """Called after every update, with the samples seen; whether the state has changed."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The state, on the CPU."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state; from an empty one as at the start."""
        ...


@dataclass(frozen=True)
class CheckpointState:
    """Everything that is checkpointed, by name.

    Attributes:
        weights: file stem -> tensors; the module under its own name, each EMA under its.
        optimizer: the optimizer's state_dict.
        progress: JSON data of the loop: samples seen, best EMA, rollbacks.
        module_trainer: what a `Stateful` module trainer has learned, such as a density of noise levels.
    """

    weights: dict[str, dict[str, Tensor]]
    optimizer: dict[str, Any]
    progress: dict[str, Any]
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
        numbered = [
            (int(path.name.removeprefix(PREFIX)), path)
            for path in self.folder.glob(f"{PREFIX}*")
            if path.name.removeprefix(PREFIX).isdigit()
        ]
        return [path for _, path in sorted(numbered, reverse=True)]

    def save(self, state: CheckpointState) -> Path:
        """Publishes a checkpoint, then prunes the oldest ones.

        Raises:
            OSError: such as a full disk; older checkpoints are untouched.
        """
        final = self.folder / f"{PREFIX}{state.progress['samples']:012d}"
        temporary = self.folder / f"{TEMPORARY_MARK}{os.getpid()}-{final.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            for name, tensors in state.weights.items():
                save_weights(temporary / f"{name}.safetensors", tensors)
            save_weights(temporary / f"{MODULE_TRAINER}.safetensors", state.module_trainer)
            with open(temporary / "optimizer.pt", "wb") as file:  # through a file, so that a full disk is an OSError
                torch.save(state.optimizer, file)
            sync_file(temporary / "optimizer.pt")
            write_json(temporary / "progress.json", state.progress)
            hashes = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
            write_json(temporary / MANIFEST, hashes)
            self._put_in_place(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        for old in self.list()[self.keep :]:
            with contextlib.suppress(OSError):
                shutil.rmtree(old)
        return final

    def _put_in_place(self, temporary: Path, final: Path) -> None:
        """Renames; a checkpoint of the same samples makes room first, and comes back if we die in between."""
        old = self.folder / f"{OLD_MARK}{final.name}"
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        temporary.rename(final)
        sync_folder(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def load(self) -> CheckpointState | None:
        """The newest checkpoint that is whole; None where there is none. Says which damaged ones it passes over.

        Raises:
            UserError: there are checkpoints, but all are damaged.
        """
        paths = self.list()
        problems = []
        for path in paths:
            problem = damage(path)
            if problem is None:
                state = _read(path)
                if problems:
                    print(f"{'; '.join(problems)}: going on from {path.name}", file=sys.stderr)
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
    for name, expected in manifest.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if _sha256(path / name) != expected:
            return f"{name} is damaged"
    return None


def _read(path: Path) -> CheckpointState:
    weights = {file.stem: load_weights(file) for file in sorted(path.glob("*.safetensors"))}
    try:
        optimizer = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}/optimizer.pt: refused: {error}") from None
    module_trainer = weights.pop(MODULE_TRAINER, {})
    return CheckpointState(weights, optimizer, read_json(path / "progress.json"), module_trainer)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
