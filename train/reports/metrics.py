"""Metrics: averaging between two lines of the log, over all processes, and writing to TensorBoard and metrics.csv.

A logger never ends a run: what cannot be written is reported once and dropped; what follows is written again as soon as
that is possible.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import summary

from dualdiffusion.files import write_text
from train.module_trainer import Demo
from train.reports.events import EventFile, append_whole

CSV_HEADER = ["step", "samples", "metric", "value"]
# Metrics whose names start so are shown as distributions, not as averages.
HISTOGRAM = "histogram/"
BINS = 64


class MetricAverages:
    """Averages of everything noted under a name since the last `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, name: str, values: Tensor | float) -> None:
        """Notes any number of values, also none."""
        # Summed in float64, of which Apple's GPUs know nothing, so on the CPU.
        values = values.detach().cpu() if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
        values = values.double()
        if values.numel():
            self._sums[name] += float(values.sum())
            self._counts[name] += values.numel()

    def take(self) -> dict[str, float]:
        """The averages by name; starts anew."""
        return {name: total / count for name, (total, count) in self.take_sums().items()}

    def take_sums(self) -> dict[str, tuple[float, int]]:
        """Sum and count by name; starts anew."""
        sums = {name: (total, self._counts[name]) for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return sums


@dataclass(frozen=True)
class StepSums:
    """What one process has noted: sum and count of each metric, and all values of each distribution."""

    sums: dict[str, tuple[float, int]]
    distributions: dict[str, Tensor]


class StepMetrics:
    """Metrics of the updates since the last `take`, as far as one process has seen them."""

    def __init__(self) -> None:
        self._averages = MetricAverages()
        self._distributions: dict[str, list[Tensor]] = defaultdict(list)

    def note(self, metrics: Sequence[dict[str, Tensor]]) -> None:
        """Takes in the metrics of an update's micro batches, which are on the CPU."""
        for of_batch in metrics:
            for name, metric in of_batch.items():
                if name.startswith(HISTOGRAM):
                    self._distributions[name].append(metric.flatten())
                else:
                    self._averages.add(name, metric)

    def add(self, name: str, value: float) -> None:
        """Notes a number that is the same in all processes; one of them is to do it."""
        self._averages.add(name, value)

    def take(self) -> StepSums:
        """Everything noted; starts anew."""
        distributions = {name: torch.cat(parts) for name, parts in self._distributions.items()}
        self._distributions.clear()
        return StepSums(self._averages.take_sums(), distributions)


def merged(parts: Sequence[StepSums]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Averages and distributions over all processes, whatever each of them saw: a bucket may be empty in some."""
    averages = {}
    for name in dict.fromkeys(name for part in parts for name in part.sums):
        # Not the mean of the processes' means: a range of noise levels may hold more samples in one than in another.
        totals, counts = zip(*(part.sums[name] for part in parts if name in part.sums), strict=True)
        averages[name] = sum(totals) / sum(counts)
    names = dict.fromkeys(name for part in parts for name in part.distributions)
    return averages, {
        name: torch.cat([p.distributions[name] for p in parts if name in p.distributions]) for name in names
    }


class MetricLog:
    """TensorBoard events and metrics.csv of one run.

    Args:
        folder: the run folder.
        samples: where training goes on from; later lines of an interrupted run are dropped.

    TensorBoard's horizontal axis is samples seen, which a change of the batch size does not bend.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        self._folder, self._samples = folder, samples
        self._csv_path = folder / "metrics.csv"
        self._reported: set[str] = set()
        # Neither may be possible yet, on a full disk; each is then tried again before what is written next.
        self._csv_ready = False
        self._events: EventFile | None = None
        self._guard("metrics.csv", self._prepare_csv)
        self._guard("TensorBoard", self._event_file)

    def scalars(self, values: dict[str, float], *, step: int, samples: int) -> None:
        """Writes named numbers; a name is a path such as "loss/total"."""
        rows = [[step, samples, name, repr(value)] for name, value in values.items()]
        self._guard("metrics.csv", lambda: self._append(rows))
        for name, value in values.items():
            self._tensorboard(lambda name=name, value=value: summary.scalar(name, value), samples)

    def histogram(self, name: str, values: Tensor, samples: int) -> None:
        """Writes the distribution of any number of values, to TensorBoard only."""
        self._tensorboard(lambda: summary.histogram(name, values.float().numpy(), BINS), samples)

    def config(self, config: dict[str, Any], samples: int) -> None:
        """Writes a config as text."""
        text = "\n".join("    " + line for line in json.dumps(config, indent=1).splitlines())
        self._tensorboard(lambda: summary.text("config", text), samples)

    def demo(self, demo: Demo, samples: int) -> None:
        """Writes a demo's audio, in stereo, and its images."""
        self._tensorboard(lambda: self._audio(demo), samples)
        for name, image in demo.images.items():
            tag = f"images/{name}/{demo.name}"
            self._tensorboard(lambda tag=tag, image=image: summary.image(tag, image, dataformats="HWC"), samples)

    def close(self) -> None:
        """Ends TensorBoard's file."""
        if self._events is not None:
            self._guard("TensorBoard", self._events.close)

    @staticmethod
    def _audio(demo: Demo) -> Summary:
        # torch's summary of audio is mono only.
        buffer = io.BytesIO()
        frames = demo.audio.detach().cpu().float().clamp(-1, 1).numpy().T
        soundfile.write(buffer, np.ascontiguousarray(frames), demo.sample_rate, format="WAV", subtype="PCM_16")
        audio = Summary.Audio(
            sample_rate=demo.sample_rate,
            num_channels=frames.shape[1],
            length_frames=len(frames),
            encoded_audio_string=buffer.getvalue(),
            content_type="audio/wav",
        )
        return Summary(value=[Summary.Value(tag=f"audio/{demo.name}", audio=audio)])

    def _event_file(self) -> EventFile:
        if self._events is None:
            self._events = EventFile(self._folder, first_step=self._samples + 1)
        return self._events

    def _prepare_csv(self) -> None:
        """The header, and the lines up to where training goes on from."""
        if self._csv_ready:
            return
        rows: list[list[str]] = []
        if self._csv_path.exists():
            with open(self._csv_path, newline="", encoding="utf-8") as file:
                rows = [
                    row
                    for row in csv.reader(file)
                    if len(row) == 4 and row[1].isdigit() and int(row[1]) <= self._samples
                ]
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([CSV_HEADER, *rows])
        write_text(self._csv_path, buffer.getvalue())
        self._csv_ready = True

    def _append(self, rows: list[list[Any]]) -> None:
        self._prepare_csv()
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(rows)
        with open(self._csv_path, "ab", buffering=0) as file:
            append_whole(file, buffer.getvalue().encode())

    def _tensorboard(self, make: Callable[[], Summary], samples: int) -> None:
        self._guard("TensorBoard", lambda: self._event_file().add(make(), samples))

    def _guard(self, what: str, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:
            if what not in self._reported:
                self._reported.add(what)
                print(f"warning: {what} cannot be written ({error}); training goes on without it", file=sys.stderr)
