"""Making clips one after the other: what is there already, progress, and a way out that leaves whole files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import TimeElapsedColumn

from dualdiffusion.errors import UserError
from dualdiffusion.files import sha256_of
from dualdiffusion.progress_bar import progress_bar
from sampling.generator import StepReport
from sampling.output.clips import output_of, read_settings
from sampling.output.settings import SUBTYPES, OutputSettings
from sampling.request import Request


class ProgressBar:
    """Progress of all clips together, with the time left; nothing but printed lines where there is no terminal.

    Args:
        work: of each clip, in any unit: more steps take longer.
    """

    def __init__(self, work: list[float]) -> None:
        self._work, self._done = work, 0
        self._console = Console()
        # The speed of ten minutes: the last few steps alone would forget phase recovery.
        self._progress = progress_bar(self._console, columns=(TimeElapsedColumn(),), speed_estimate_period=600)
        self._task = self._progress.add_task("sampling", total=sum(work))

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_step(self, report: StepReport) -> None:
        """Shows where the clips that are being made stand."""
        count = len(self._work)
        which = f"clip {self._done + 1} of {count}: " if count > 1 else ""
        whole = min(int(report.fraction * count), count - 1)
        completed = sum(self._work[:whole]) + self._work[whole] * (report.fraction * count - whole)
        self._progress.update(self._task, completed=completed, description=which + report.text)

    def finish(self, text: str) -> None:
        """Counts a clip as made, and prints a line above the bar."""
        self._done += 1
        self._progress.update(self._task, completed=sum(self._work[: self._done]))
        self.print(text)

    def print(self, text: str) -> None:
        """Prints a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def identity(request: Request, output: OutputSettings, fingerprint: str) -> str:
    """Equal for clips that are made by the same weights, and written in the same way; a source is what its file holds.

    Args:
        fingerprint: of the weights, see `sampling.fingerprints.model_fingerprint`.
    """
    if request.source is not None:
        path, digest = Path(request.source.path), request.source.sha256
        source = request.source.model_copy(update={"sha256": digest or (sha256_of(path) if path.is_file() else None)})
        # The length is filled in when the clip is made.
        request = request.model_copy(update={"source": source, "seconds": 0.0})
    return json.dumps([request.to_json(), output.identity, fingerprint], sort_keys=True)


def clips_there(out: Path) -> dict[str, Path]:
    """The clips in a folder, by `identity`."""
    there: dict[str, Path] = {}
    for path, request, settings, output in _readable(out):
        there.setdefault(identity(request, output, str(settings.get("fingerprint"))), path)
    return there


def _readable(out: Path) -> Iterator[tuple[Path, Request, dict[str, Any], OutputSettings]]:
    paths = (path for format in SUBTYPES for path in out.glob(f"*.{format}") if not path.name.startswith("."))
    for path in sorted(paths):
        with contextlib.suppress(UserError):  # other files may lie here too, also clips of a newer version
            request, settings = read_settings(path)
            yield path, request, settings, output_of(settings, path)
