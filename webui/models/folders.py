"""The models that the page can play: folders below one root, and those that come with the program."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import read_json, read_text
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import SHIPPED, shipped_names
from webui.http.refusal import RefusedError
from webui.models.curves import Curves

SHIPPED_MARK = "shipped:"  # before the name of a model that comes with the program; no folder below the root has it
MOST_CARD = 100_000  # characters
MOST_CSV = 64 * 2**20  # bytes


@dataclass(frozen=True)
class ModelShelf:
    """Which models there are.

    Attributes:
        started: the folder that the server was started with, which is there wherever it lies.
        root: the folder whose folders are models, too; None for none.
    """

    started: Path
    root: Path | None = None

    def names(self) -> dict[str, Path]:
        """Folders by the name that the API has for them, the one of the start first."""
        found = {self.name_of(self.started): self.started}
        if self.root is not None and self.root.is_dir():
            for path in sorted(self.root.iterdir()):
                if (path / "labels.json").is_file() and self._is_inside(path):
                    found.setdefault(self.name_of(path), path)
        for name in shipped_names():
            found.setdefault(SHIPPED_MARK + name, SHIPPED / name)
        return found

    def _is_inside(self, path: Path) -> bool:
        """Whether a folder lies in the root itself: a link may lead anywhere."""
        return self.root is not None and path.resolve().parent == self.root.resolve()

    def name_of(self, path: Path) -> str:
        """What the API calls a model folder."""
        resolved = path.resolve()
        return f"{SHIPPED_MARK if resolved.parent == SHIPPED.resolve() else ''}{resolved.name}"

    def find(self, name: str) -> ModelFolder:
        """Raises:
        RefusedError: 404, there is no such model.
        """
        known = self.names()
        if name not in known:
            raise RefusedError(404, f"there is no model {name[:100]!r}; there is: {', '.join(known)}"[:500], "model")
        return ModelFolder(known[name])

    def listing(self) -> list[dict[str, Any]]:
        """Every model in short: {"id", "name", "shipped", "games", "problem"}; `problem` says why it cannot play."""
        return [self._entry(name, ModelFolder(path)) for name, path in self.names().items()]

    @staticmethod
    def _entry(name: str, folder: ModelFolder) -> dict[str, Any]:
        entry = {
            "id": name,
            "name": name.removeprefix(SHIPPED_MARK),
            "shipped": name.startswith(SHIPPED_MARK),
            "games": 0,
            "problem": None,
        }
        try:
            entry["games"] = len(folder.labels().games)
            if folder.index_path.exists() and "unet" not in folder.module_names():
                entry["problem"] = "has no unet yet: its training has still to come"
        except (UserError, OSError) as error:
            entry["problem"] = one_line(error).removeprefix(f"{folder.path}: ")
        return entry


def describe_model(folder: ModelFolder) -> dict[str, Any]:
    """What a model's page shows.

    Returns:
        {"folder", "card" (Markdown or null), "games", "modules", "emas", "default_ema", "bytes", "curves", "figures",
        "tensorboard" (a command, or null without runs)}. Whatever cannot be read is left out.
    """
    games: list[dict[str, Any]] = []
    modules: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(UserError, OSError):
        games = [{"name": game.name, "tracks": game.tracks} for game in folder.labels().games]
    with contextlib.suppress(UserError, OSError):
        index = folder.read_index()["modules"]
        modules = {name: entry for name, entry in index.items() if isinstance(entry, dict)}
    runs = [path for path in sorted(folder.path.glob("runs/*/metrics.csv")) if path.is_file()]
    return {
        "folder": str(folder.path),
        "card": _card(folder.path),
        "games": games,
        "modules": [_module(folder, name, entry) for name, entry in modules.items()],
        "emas": folder.emas("unet"),
        "default_ema": modules.get("unet", {}).get("ema"),
        "bytes": sum(path.stat().st_size for path in folder.path.glob("*/*.safetensors")),
        "curves": {path.parent.name: _curves(path) for path in runs},
        "figures": _figures(folder.path),
        "tensorboard": f"tensorboard --logdir {folder.path / 'runs'}" if runs else None,
    }


def _module(folder: ModelFolder, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    weights = folder.weights_path(name)
    size = weights.stat().st_size if weights.is_file() else 0
    return {"name": name, "type": str(entry.get("type", "")), "ema": str(entry.get("ema", "")), "bytes": size}


def _card(path: Path) -> str | None:
    with contextlib.suppress(UserError, OSError):
        return read_text(path / "README.md")[:MOST_CARD]
    return None


def _curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The losses that a run has written into its metrics.csv, by metric; none of a file of endless length."""
    curves = Curves(path)
    with contextlib.suppress(OSError):
        if path.stat().st_size <= MOST_CSV:
            curves.read()
    return curves.by_metric()


def _figures(path: Path) -> dict[str, float]:
    """The numbers that an evaluation has left in the model's folder."""
    figures: dict[str, float] = {}
    for source in (*sorted(path.glob("evaluation*.json")), path / "measures.json"):
        with contextlib.suppress(UserError, OSError):
            content = read_json(source) if source.is_file() else None
            if isinstance(content, dict):
                figures |= {
                    name: value
                    for name, value in content.items()
                    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
                }
    return figures
