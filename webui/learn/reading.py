"""What the commands of one generator have written, as the page shows it."""

from __future__ import annotations

import threading
import time
from typing import Any

from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from webui.learn import progress
from webui.learn.demos import Demo, Demos
from webui.learn.generator import STAGES, TRAINING, Generator
from webui.models.curves import Curves

MOST_DEMOS = 60  # the newest, of a module


class Reading:
    """Remembers what was read of files that grow. Safe to call from any thread: each line is taken in once."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        folder = ModelFolder(generator.model)
        self._folder = folder
        self._lock = threading.Lock()  # around all that reads on in a file
        self._curves = {name: Curves(folder.run_path(name) / "metrics.csv") for name in TRAINING}
        self._demos = {name: Demos(folder.run_path(name)) for name in TRAINING}

    def stages(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """Every stage with its status, and how far it is: {"name", "status", "fraction", "text", "left", "seconds"}."""
        return [self._stage(name, state.get("stages", {}).get(name, {})) for name in STAGES]

    def _stage(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        status = told.get("status", "waiting")
        shown: dict[str, Any] = {"name": name, "status": status, "killed": told.get("killed", 0)}
        if status == "done" and told.get("began") and told.get("ended"):
            shown |= {"seconds": max(told["ended"] - told["began"], 0.0), "ended": told["ended"]}
        if status in ("waiting", "done") or name == "check":
            return {**shown, "fraction": 1.0 if status == "done" else None, "text": "", "left": None}
        if name in TRAINING:
            with self._lock:
                self._curves[name].read()
                samples = self._curves[name].samples
            how = progress.of_training(self._generator.log(name), self._folder.run_path(name), samples)
        else:
            how = progress.of_dataset(self._generator.progress(name), time.time())
        return {**shown, **how, **({} if status == "running" else {"left": None})}

    def curves(self) -> dict[str, Any]:
        """{"vae": {"loss", "validation", "total"}, "unet": ...} of the trainings that have begun."""
        found = {}
        for name, curves in self._curves.items():
            with self._lock:
                curves.read()
                told = {**curves.to_json(), "samples": curves.samples}
            if told["samples"] is not None:
                found[name] = {**told, "total": progress.total_samples(self._folder.run_path(name))}
        return found

    def demos(self) -> dict[str, list[dict[str, Any]]]:
        """{"vae": [{"id", "name", "samples", "time"}, ...], "unet": ...}, the newest first."""
        with self._lock:
            found = {name: demos.read() for name, demos in self._demos.items()}
        return {name: [_shown(demo) for demo in demos[: -MOST_DEMOS - 1 : -1]] for name, demos in found.items()}

    def sound(self, module: str, demo_id: str) -> bytes | None:
        """A demo as a WAV file."""
        demos = self._demos.get(module)
        if demos is None:
            return None
        with self._lock:
            demos.read()
            return demos.sound(demo_id)

    def has_report(self) -> bool:
        """Whether the dataset has a report."""
        return (self._generator.dataset / "report.json").is_file()

    def report(self) -> dict[str, Any] | None:
        """What the dataset holds; see `progress.report_of`."""
        return progress.report_of(self._generator.dataset)

    def log(self, stage: str) -> str:
        """The end of what a stage's commands have printed."""
        return progress.tail(self._generator.log(stage), 20_000)

    def is_playable(self) -> bool:
        """Whether the model has all that playing needs."""
        try:
            modules = self._folder.read_index()["modules"]
        except UserError:
            return False
        return {"vae", "unet"} <= set(modules) and self._folder.labels_path.is_file()


def _shown(demo: Demo) -> dict[str, Any]:
    return {"id": demo.id, "name": demo.name, "samples": demo.samples, "time": demo.time}
