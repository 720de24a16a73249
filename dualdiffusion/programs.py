"""The programs above the library, by name. Imports none of them, nor torch.

The library imports no program; but there is one console command for all of them, and a loaded model has one method that
makes a clip, which the package above does. Both find their way here, and here alone: the names are looked up when they
are first needed, so that what only loads a model never reads what generates, trains or serves.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from dualdiffusion.model.loaded import LoadedModel


@dataclass(frozen=True)
class Program:
    """One sub-command of `dualdiffusion`.

    Attributes:
        text: what it does, for --help.
        module: has `main(words, program) -> exit code`, where `program` is what the user typed before `words`.
        inner: the sub-command's name is one of the module's own commands.
    """

    text: str
    module: str
    inner: bool = False


PROGRAMS = {
    "data": Program("prepare audio for training: synth, run, add", "dataset_processing.__main__"),
    "train": Program("train one module of a model; also overfit, ema, sweep", "train.__main__"),
    "sample": Program("generate clips; also recommend", "sampling.__main__"),
    "evaluate": Program("measure a model's clips against music it was not trained on", "sampling.__main__", inner=True),
    "serve": Program("open the page that plays a model", "webui.__main__"),
}
GENERATING = "sampling.clip"  # has `generate(model, fields) -> Clip`


class Clip(Protocol):
    """A clip that a loaded model has made; a notebook shows it as a player."""

    @property
    def audio(self) -> Tensor:
        """(C, N) in [-1, 1]."""

    @property
    def sample_rate(self) -> int:
        """Of the audio, in Hz."""

    def save(self, path: str | Path) -> Path:
        """Writes the clip, with the request that made it; returns the path."""


def run_program(name: str, words: Sequence[str]) -> int:
    """Runs a sub-command with the words that follow its name; returns the exit code."""
    program = PROGRAMS[name]
    main = importlib.import_module(program.module).main
    if program.inner:
        return main([name, *words], "dualdiffusion") or 0
    return main(list(words), f"dualdiffusion {name}") or 0


def generate(model: LoadedModel, fields: dict[str, Any]) -> Clip:
    """Makes a clip of a request's fields; see `LoadedModel.generate`."""
    return importlib.import_module(GENERATING).generate(model, fields)
