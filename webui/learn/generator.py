"""A generator in the making: what it is made of, where it lies, and the commands that make it.

<work>/generators/<name>/generator.json   what was chosen; written by the server
<work>/generators/<name>/run.json         how far its commands are; written by `webui.learn.runner`
<work>/generators/<name>/<stage>.log      what each command printed
<work>/datasets/<name>/, and the model where the page finds models
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from dualdiffusion.config import Config
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import ModelFolder
from webui.learn.presets import Preset

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38}[A-Za-z0-9])?")
NAME_RULE = "name: must have 1 to 40 letters of A to Z, digits, - or _, and begin and end with a letter or digit"
PREPARING = "scan,convert,filter,split,describe"
StageName = Literal["prepare", "check", "vae", "encode", "unet"]
STAGES: tuple[StageName, ...] = ("prepare", "check", "vae", "encode", "unet")
TRAINING = ("vae", "unet")
RUN = "run.json"


class Chosen(Config):
    """What a visitor has chosen, fully resolved: later versions of the presets change nothing of it."""

    name: str
    """Of the generator, its dataset and its model."""
    source: Path
    """Folder of music."""
    model: Path
    """The model folder that is made."""
    preset_name: str
    """Of the file in config/generators/."""
    preset: Preset
    """What that file said."""
    created: float = Field(0.0, ge=0)
    """Seconds since 1970."""
    label: Annotated[str, Field(max_length=80)] = ""
    """What the page calls it; empty for its name, after which its folders are called for ever."""


@dataclass(frozen=True)
class Generator:
    """One generator: its choices and its folders."""

    chosen: Chosen
    work: Path
    """Absolute; where `generators` and `datasets` lie."""

    @classmethod
    def load(cls, work: Path, name: str) -> Generator:
        """Raises:
        UserError: there is none of this name, or its file is damaged.
        """
        path = work / "generators" / name / "generator.json"
        try:
            chosen = Chosen.from_json(read_json(path))
        except ValidationError:
            raise UserError(f"{path}: is damaged, or from another version; remove its folder, and begin anew") from None
        if chosen.name != name:  # its folders are called after it: what is done to a copy would be done to another
            raise UserError(f"{path}: is of the generator {chosen.name}; a copy of its folder is no generator")
        return cls(chosen, work)

    def save(self) -> None:
        """Writes what was chosen."""
        write_json(self.folder / "generator.json", self.chosen.to_json())

    @property
    def folder(self) -> Path:
        """Of its own files."""
        return self.work / "generators" / self.chosen.name

    @property
    def dataset(self) -> Path:
        """The dataset folder."""
        return self.work / "datasets" / self.chosen.name

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.chosen.model

    @property
    def run_path(self) -> Path:
        """How far its commands are."""
        return self.folder / RUN

    def log(self, stage: str) -> Path:
        """What the commands of a stage have printed."""
        return self.folder / f"{stage}.log"

    def progress(self, stage: str) -> Path:
        """How far a stage of the dataset command is."""
        return self.folder / f"{stage}.progress.json"

    def command(self, stage: StageName, micro_batches: dict[str, int] | None = None) -> list[str]:
        """The words of a stage's command, to run in the program's folder.

        Args:
            micro_batches: of modules that would not fit the memory with that of their config.
        """
        preset, python = self.chosen.preset, sys.executable
        places = [f"model={self.model}", f"dataset={self.dataset}"]
        match stage:
            case "prepare":
                return [*self._dataset_command(), "--steps", PREPARING, "--progress", str(self.progress(stage))]
            case "encode":
                return [*self._dataset_command(), "--steps", "encode", "--progress", str(self.progress(stage))]
            case "check":
                return [python, "-m", "train", "preflight", preset.vae, preset.unet, "--set", *places]
            case "vae" | "unet":
                begun = ModelFolder(self.model).run_path(stage) / "config.json"
                preset_config = preset.vae if stage == "vae" else preset.unet
                # Presets change from version to version: what was begun by an older one goes on by that.
                config = str(begun) if begun.is_file() else preset_config
                size = (micro_batches or {}).get(stage)
                sizes = [f"micro_batch_size={size}"] if size else []
                return [python, "train.py", config, "--set", *places, *sizes]

    def _dataset_command(self) -> list[str]:
        config = self.chosen.preset.dataset
        places = [f"source={self.chosen.source}", f"dataset={self.dataset}", f"steps.4.model={self.model}"]
        return [sys.executable, "-m", "dataset_processing", "run", config, "--set", *places]

    def run_state(self) -> dict[str, Any]:
        """What the runner has written last; empty before, and where it cannot be read."""
        return run_state(self.folder)


def run_state(folder: Path) -> dict[str, Any]:
    """What the runner of the generator in `folder` has written last; empty before, and where it cannot be read."""
    try:
        state = read_json(folder / RUN)
    except UserError:
        return {}
    return state if isinstance(state, dict) and isinstance(state.get("stages"), dict) else {}


def names(work: Path) -> list[str]:
    """The names of all generators in `work`."""
    return sorted(path.parent.name for path in (work / "generators").glob("*/generator.json"))
