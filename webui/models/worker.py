"""The model's own process: loads the model, makes one clip at a time, and says how it goes.

Started by supervisor.py as `python -m webui.models.worker <model> <outputs> <module:function>`. On standard input: JSON
lines {"type": "generate", "id", "request"}, {"type": "describe", "id", "file"} and {"type": "cancel", "id"}. On
standard output: "alive" every second, "ready", "unusable", "described", and for each job "progress", "preview" and at
the end one of "done", "failed", "cancelled". This is the only part of the page that imports torch, and only
once a `SamplingModel` is made.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import atomic_path, sweep, write_json
from dualdiffusion.machine.limits import no_room
from dualdiffusion.machine.memory import is_out_of_memory
from dualdiffusion.machine.output import guard_output
from dualdiffusion.machine.threads import prepare_cpu
from sampling.request import Request
from webui.history.outputs import PEAKS, OutputFolder
from webui.models.contract import Heard, Model, Report, Result, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW_INTERVAL = 0.4  # seconds
PREVIEW_SIZE = (800, 256)  # pixels, at most
PICTURE_SIZE = (800, 180)  # twice a card's, for screens that are twice as fine
PICTURE_QUALITY = 72
ALIVE = 1.0  # seconds


class SamplingModel:
    """The real model, as `sampling` makes it."""

    def __init__(self, path: Path, device: str | None = None) -> None:
        from dualdiffusion.model.folder import ModelFolder
        from sampling.generator import Cancelled, Generator

        self.generator = Generator.load(ModelFolder(path), device=device)
        self.fingerprint, self.sample_rate = self.generator.fingerprint, self.generator.sample_rate
        self.least_seconds, self.cancelled = self.generator.least_seconds, Cancelled

    def generate(self, request: Request, on_step: Callable[[Report], None]) -> Result:
        """See `Model.generate`."""
        return self.generator.generate(request, on_step=on_step)

    def save(self, result: Result, folder: Path) -> Path:
        """See `Model.save`; the file carries the request."""
        from sampling.output.clips import save

        return save(result, folder, device=self.generator.vae.device)

    def picture(self, result: Result | Heard) -> Image:
        """See `Model.picture`."""
        from torch import as_tensor

        from sampling.output.clips import spectrogram_image

        return spectrogram_image(as_tensor(result.audio), result.sample_rate)

    def recover(self) -> None:
        """See `Model.recover`."""
        self.generator.free_memory()


def load_model(path: Path) -> Model:
    """The loader that `python -m webui` uses."""
    return SamplingModel(path)


def load_model_on_cpu(path: Path) -> Model:
    """The loader for as long as a training has the GPU."""
    return SamplingModel(path, "cpu")


class Channel:
    """The pipes to the web process. A thread reads them, so that a cancel is heard while the model computes.

    They are standard input and output, which are taken away from all others: what libraries print belongs with the
    messages in the terminal.
    """

    def __init__(self) -> None:
        self._in, self._out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.dup2(2, 1)
        os.close(nowhere)
        self.requests: queue.Queue[dict[str, Any]] = queue.Queue()
        self.cancelled: set[str] = set()
        self._turn = threading.Lock()
        for task in (self._read, self._live):
            threading.Thread(target=task, daemon=True).start()

    def send(self, type: str, **values: Any) -> None:
        """Tells the web process something, as one JSON line."""
        with self._turn:
            self._out.write(json.dumps({"type": type, **values}).encode() + b"\n")
            self._out.flush()

    def _live(self) -> None:
        """Says that this process is there, whatever the model does meanwhile."""
        with contextlib.suppress(OSError):  # the web process is gone, which the other thread sees
            while True:
                self.send("alive")
                time.sleep(ALIVE)

    def _read(self) -> None:
        try:
            for line in self._in:
                message = json.loads(line)
                if message["type"] == "cancel":
                    self.cancelled.add(message["id"])
                else:
                    self.requests.put(message)
        finally:
            # The web process is gone: nobody wants what we compute. Files are written atomically.
            os._exit(0)


class JobProgress:
    """What the model calls after every step: reports, shows previews now and then, and stops when cancelled."""

    def __init__(self, channel: Channel, job_id: str, cancelled: type[Exception]) -> None:
        self.channel, self.job_id, self.cancelled = channel, job_id, cancelled
        self._next_preview = 0.0

    def __call__(self, report: Report) -> None:
        self.check()
        self.channel.send("progress", id=self.job_id, progress=min(max(report.fraction, 0.0), 1.0), text=report.text)
        if time.monotonic() >= self._next_preview:
            began = time.monotonic()
            self.channel.send("preview", id=self.job_id, image=_encode(report.preview()))
            # Previews take a tenth of the time at most.
            ended = time.monotonic()
            self._next_preview = ended + max(PREVIEW_INTERVAL, 9 * (ended - began))
            self.check()

    def check(self) -> None:
        """Raises what ends the generation, where the job has been cancelled."""
        if self.job_id in self.channel.cancelled:
            raise self.cancelled()


def within(image: Image, size: tuple[int, int]) -> Image:
    """`image`, squeezed where it is larger; the page stretches it over the clip's length, so the aspect is free."""
    return image.resize((min(image.width, size[0]), min(image.height, size[1])))


def _encode(image: Image) -> str:
    buffer = io.BytesIO()
    within(image, PREVIEW_SIZE).save(buffer, "WEBP", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


def peaks_of(audio: Samples, count: int = PEAKS) -> list[float]:
    """The largest magnitude, over both channels, in each of `count` equal stretches of (channels, samples) audio."""
    import numpy

    loudest = numpy.abs(numpy.asarray(audio, dtype=numpy.float32)).max(axis=0)
    parts = numpy.array_split(loudest, min(count, max(len(loudest), 1)))
    return [round(float(part.max(initial=0.0)), 3) for part in parts]


def make(model: Model, outputs: OutputFolder, job_id: str, request: Request, progress: JobProgress) -> dict[str, str]:
    """Generates one clip and writes the audio, its spectrogram and its peaks.

    Returns:
        What the history is to keep: the audio's "file", and the "fingerprint" of the weights, as the file's tag has it.
    """
    result = model.generate(request, progress)
    progress.check()
    outputs.create()
    _write_extras(model, outputs, job_id, result)
    return {"file": model.save(result, outputs.path).name, "fingerprint": result.fingerprint}


def _write_extras(model: Model, outputs: OutputFolder, job_id: str, result: Result | Heard) -> None:
    with atomic_path(outputs.spectrogram(job_id)) as temporary:
        within(model.picture(result), PICTURE_SIZE).save(temporary, "WEBP", quality=PICTURE_QUALITY)
    seconds = result.audio.shape[-1] / result.sample_rate
    write_json(outputs.peaks(job_id), {"seconds": seconds, "peaks": peaks_of(result.audio)})


def describe(model: Model, outputs: OutputFolder, job_id: str, file: str) -> None:
    """Writes spectrogram and peaks of a clip that was made elsewhere; does nothing where its file cannot be read."""
    import soundfile

    path = outputs.audio(file) or outputs.audio(file, binned=True)
    if path is None:
        return
    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        if len(samples):
            _write_extras(model, outputs, job_id, Heard(samples.T.copy(), sample_rate))
    except Exception as error:  # what one file holds must not end this process
        print(f"{path}: cannot be drawn: {one_line(error)}", file=sys.stderr, flush=True)


def explain(error: Exception, request: Request) -> str:
    """One line for the person at the page."""
    if isinstance(error, UserError):
        return one_line(error)
    if is_out_of_memory(error):  # not while generating, of which the generator tells, but in what comes after
        return f"out of memory while writing {request.seconds:g} s of audio; choose a shorter length"
    if reason := no_room(error):
        return f"{reason[0]}; {reason[1]} and try again"
    if isinstance(error, OSError) and error.errno is not None:  # its text names temporary files
        return f"the outputs folder cannot be written: {os.strerror(error.errno)}; see its permissions, and try again"
    return one_line(f"{type(error).__name__}: {error}"[:500])


def serve(channel: Channel, model: Model, outputs: OutputFolder) -> None:
    """Makes clips until the process ends."""
    while True:
        message = channel.requests.get()
        if message["type"] == "describe":
            describe(model, outputs, message["id"], message["file"])
            channel.send("described", id=message["id"])
            continue
        job_id, request = message["id"], Request.from_json(message["request"])
        try:
            made = make(model, outputs, job_id, request, JobProgress(channel, job_id, model.cancelled))
        except model.cancelled:
            channel.send("cancelled", id=job_id)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            channel.send("failed", id=job_id, error=explain(error, request))
            error.__traceback__ = None  # it holds the tensors that `recover` wants to free
            model.recover()
        else:
            channel.send("done", id=job_id, **made)
        channel.cancelled.discard(job_id)


def main(arguments: list[str]) -> int:
    """Loads and serves. Exit code 2 when the model cannot be used."""
    prepare_cpu()
    channel = Channel()
    guard_output()
    model_path, outputs_path, loader = arguments
    module_name, _, function_name = loader.partition(":")
    try:
        model: Model = getattr(importlib.import_module(module_name), function_name)(Path(model_path))
    except UserError as error:
        channel.send("unusable", error=one_line(error))
        return 2
    except Exception as error:
        traceback.print_exc()
        channel.send("unusable", error=one_line(f"{type(error).__name__}: {error}"[:500]))
        return 2
    outputs = OutputFolder(Path(outputs_path))
    sweep(outputs.extras)
    channel.send(
        "ready", fingerprint=model.fingerprint, sample_rate=model.sample_rate, least_seconds=model.least_seconds
    )
    serve(channel, model, outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
