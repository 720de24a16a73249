"""Metrics: averaging between two lines of the log, and writing to TensorBoard and metrics.csv.

A logger never ends a run: what cannot be written is reported once and dropped.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from dualdiffusion.files import write_text
from train.step import Demo

CSV_HEADER = ["step", "samples", "metric", "value"]


class MetricAverages:
    """Averages of everything noted under a name since the last `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, name: str, values: Tensor | float) -> None:
        """Notes any number of values, also none."""
        values = torch.as_tensor(values, dtype=torch.float64).detach()
        if values.numel():
            self._sums[name] += float(values.sum())
            self._counts[name] += values.numel()

    def take(self) -> dict[str, float]:
        """The averages by name; starts anew."""
        averages = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return averages


class MetricLog:
    """TensorBoard events and metrics.csv of one run.

    Args:
        folder: the run folder.
        samples: where training goes on from; later lines of an interrupted run are dropped.

    TensorBoard's horizontal axis is samples seen, which a change of the batch size does not bend.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        self._csv_path = folder / "metrics.csv"
        self._reported: set[str] = set()
        self._writer: SummaryWriter | None = None
        self._guard("metrics.csv", lambda: self._drop_lines_after(samples))
        self._guard("TensorBoard", lambda: self._open(folder, samples))

    def scalars(self, values: dict[str, float], *, step: int, samples: int) -> None:
        """Writes named numbers; a name is a path such as "loss/total"."""
        rows = [[step, samples, name, repr(value)] for name, value in values.items()]
        self._guard("metrics.csv", lambda: self._append(rows))
        for name, value in values.items():
            self._tensorboard(lambda writer, name=name, value=value: writer.add_scalar(name, value, samples))

    def histogram(self, name: str, values: Tensor, samples: int) -> None:
        """Writes the distribution of any number of values, to TensorBoard only."""
        self._tensorboard(lambda writer: writer.add_histogram(name, values, samples))

    def config(self, config: dict[str, Any], samples: int) -> None:
        """Writes a config as text."""
        text = "\n".join("    " + line for line in json.dumps(config, indent=1).splitlines())
        self._tensorboard(lambda writer: writer.add_text("config", text, samples))

    def demo(self, demo: Demo, samples: int) -> None:
        """Writes a demo's audio, in stereo, and its images."""
        self._tensorboard(lambda writer: self._add_audio(writer, demo, samples))
        for name, image in demo.images.items():
            tag = f"images/{name}/{demo.name}"
            self._tensorboard(lambda w, tag=tag, image=image: w.add_image(tag, image, samples, dataformats="HWC"))

    def close(self) -> None:
        """Flushes everything."""
        self._tensorboard(lambda writer: writer.close())

    @staticmethod
    def _add_audio(writer: SummaryWriter, demo: Demo, samples: int) -> None:
        # SummaryWriter.add_audio writes mono only, so the summary is built here.
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
        summary = Summary(value=[Summary.Value(tag=f"audio/{demo.name}", audio=audio)])
        writer._get_file_writer().add_summary(summary, samples)

    def _open(self, folder: Path, samples: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=samples + 1, flush_secs=20)

    def _drop_lines_after(self, samples: int) -> None:
        rows: list[list[str]] = []
        if self._csv_path.exists():
            with open(self._csv_path, newline="", encoding="utf-8") as file:
                rows = [
                    row for row in csv.reader(file) if len(row) == 4 and row[1].isdigit() and int(row[1]) <= samples
                ]
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([CSV_HEADER, *rows])
        write_text(self._csv_path, buffer.getvalue())

    def _append(self, rows: list[list[Any]]) -> None:
        with open(self._csv_path, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _tensorboard(self, write: Callable[[SummaryWriter], Any]) -> None:
        if self._writer is not None:
            self._guard("TensorBoard", lambda: write(self._writer))

    def _guard(self, what: str, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:
            if what not in self._reported:
                self._reported.add(what)
                print(f"warning: {what} cannot be written ({error}); training goes on without it", file=sys.stderr)
