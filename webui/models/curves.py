"""The curves of a training, read from its metrics.csv as it grows."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

MOST_POINTS = 300  # of a curve that is shown
LOSSES = ("loss/total", "loss")
VALIDATION = re.compile(r"validation/([^/]+)/loss")


class Curves:
    """Follows one metrics.csv: loss, and the validation of each set of weights, by samples seen.

    A training that goes on after an interruption writes the file anew, without what came after its last checkpoint;
    then it is read anew, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._series: dict[str, list[tuple[int, float]]] = {}
        self.samples: int | None = None  # the last that is told

    def read(self) -> None:
        """Reads what is new."""
        try:
            with open(self._path, "rb") as file:
                status = self._path.stat()
                identity = (status.st_dev, status.st_ino)
                if identity != self._identity or status.st_size < self._offset:
                    self._identity, self._offset, self._series, self.samples = identity, 0, {}, None
                file.seek(self._offset)
                data = file.read()
        except OSError:
            self._identity, self._offset, self._series, self.samples = None, 0, {}, None
            return
        whole = data[: data.rfind(b"\n") + 1]  # a line may be half written
        self._offset += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._take(line)

    def _take(self, line: str) -> None:
        parts = line.split(",")
        if len(parts) != 4 or not parts[1].isdigit():
            return
        samples, name = int(parts[1]), parts[2]
        self.samples = samples
        try:
            value = float(parts[3])
        except ValueError:
            return
        if (name in LOSSES or VALIDATION.fullmatch(name)) and math.isfinite(value):
            self._series.setdefault(name, []).append((samples, value))

    def to_json(self) -> dict[str, Any]:
        """{"loss": [[samples, value], ...], "validation": {"ema_0.100": [[samples, value], ...], ...}}."""
        loss = next((self._series[name] for name in LOSSES if name in self._series), [])
        matches = {name: VALIDATION.fullmatch(name) for name in self._series}
        validation = {match[1]: _thinned(self._series[name]) for name, match in matches.items() if match}
        return {"loss": _thinned(loss), "validation": validation}

    def by_metric(self) -> dict[str, list[tuple[int, float]]]:
        """The same by the names that the file has for them, where there is more than a point."""
        return {name: _thinned(points) for name, points in self._series.items() if len(points) > 1}


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS averages of neighbours."""
    group = -(-len(points) // MOST_POINTS)
    if group <= 1:
        return points
    groups = [points[start : start + group] for start in range(0, len(points), group)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in groups]
