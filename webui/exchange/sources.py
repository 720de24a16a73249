"""Audio that clips start from: `{"source": {"job": "0f3a..."}}`, a clip of the history, or `{"upload": ...}`, what a
visitor brought in; never a path of the machine.

What pages and scripts send, and what the history stores, names a clip by its job. Only the model's process is told the
file, and only when it begins: until then the clip may be moved to the bin and back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampling.request import MAX_SECONDS, Request
from webui.history.jobs import JobStore
from webui.history.outputs import OutputFolder, seconds_in
from webui.http.ids import ID
from webui.http.refusal import RefusedError

SLACK = 0.05  # seconds by which the file beside the audio and a browser may have its length otherwise
_KINDS = ("job", "upload")  # one of these stands before the id, where a request has the path of a file


def as_request(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as the API has them, as those of a `Request`: `source.path` is `job:<id>` or `upload:<id>`.

    Raises:
        RefusedError: 422, a source that is a file, or no id.
    """
    source = fields.get("source")
    if not isinstance(source, dict):
        return fields
    if "path" in source:  # who may use the page may not have every file of the machine read
        raise RefusedError(422, "source: files are read by python -m sampling only; name a clip: source.job", "source")
    named = [kind for kind in _KINDS if kind in source]
    if len(named) != 1 or not isinstance(source[named[0]], str) or not ID.fullmatch(source[named[0]]):
        raise RefusedError(422, "source: must name a clip of the history by its job's id, or an upload", "source")
    rest = {name: value for name, value in source.items() if name not in _KINDS}
    return {**fields, "source": {"path": f"{named[0]}:{source[named[0]]}", **rest}}


def as_shown(request: Request) -> dict[str, Any]:
    """The request as the API and the history have it; the inverse of `as_request`."""
    fields = request.to_json()
    if request.source is not None:
        kind, _, name = fields["source"].pop("path").partition(":")
        fields["source"] = {kind: name, **fields["source"]}
    return fields


def source_job(fields: dict[str, Any]) -> str | None:
    """The id of the clip that a request, as the history has it, starts from; None where it starts from noise."""
    source = fields.get("source")
    return source.get("job") if isinstance(source, dict) else None


def _used_seconds(request: Request, whole: float) -> float:
    """How much of a source of `whole` seconds is used; to the sample, the model checks it.

    Raises:
        RefusedError: 422, it is asked for more than it has.
    """
    start, seconds = request.source.start, request.source.seconds
    if start + (seconds or 0) > whole + SLACK or start >= whole:
        end = f"from {start:g} s on" if seconds is None else f"from {start:g} to {start + seconds:g} s"
        raise RefusedError(422, f"source: has {whole:.6g} s, and cannot be used {end}", "source")
    used = seconds or whole - start
    for region_start, region_end in request.inpaint:
        if region_end > used + SLACK:
            name = f"inpaint: the region from {region_start:g} to {region_end:g} s"
            raise RefusedError(422, f"{name} leaves the source, which has {used:.6g} s", "inpaint")
    return used


class Sources:
    """Finds the clips that requests name. Every method waits for the disk."""

    def __init__(self, store: JobStore, outputs: OutputFolder) -> None:
        self._store, self._outputs = store, outputs

    def completed(self, request: Request) -> dict[str, Any]:
        """The request as the history stores it, with the length that the clip will have.

        Raises:
            RefusedError: 422, its source is nothing that is there, or shorter than what is asked of it.
        """
        fields = as_shown(request)
        if request.source is None:
            return fields
        self._path(fields["source"])
        seconds, whole = request.source.seconds, self._seconds(fields["source"])
        if whole:
            seconds = _used_seconds(request, whole)
        if seconds is not None and 0 < seconds + request.extended_seconds <= MAX_SECONDS:
            fields["seconds"] = seconds + request.extended_seconds
        return fields

    def resolved(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A stored request as the model's process takes it, with the path of the source.

        Raises:
            RefusedError: 422, its source is nothing that is there (any more).
        """
        source = fields.get("source")
        if not isinstance(source, dict):
            return fields
        rest = {name: value for name, value in source.items() if name not in _KINDS}
        return {**fields, "source": {"path": str(self._path(source).resolve()), **rest}}

    def _path(self, source: dict[str, Any]) -> Path:
        if "upload" not in source:
            return self._clip(source["job"])
        path = self._outputs.upload(source["upload"])
        if path is None:
            raise RefusedError(422, "source.upload: this file is not here any more; bring it in again", "source")
        return path

    def _clip(self, job_id: str) -> Path:
        job = self._store.get(job_id)
        if job is None:
            raise RefusedError(422, "source.job: there is no clip with this id", "source")
        path = self._outputs.audio_of(job) if job.status == "done" else None
        if path is None:
            why = "its audio file is gone" if job.status == "done" else f"that job is {job.status}"
            raise RefusedError(422, f"source.job: cannot start from this clip: {why}", "source")
        return path

    def _seconds(self, source: dict[str, Any]) -> float | None:
        """Length of a source as the file beside it has it; None where that is gone or damaged."""
        about = self._outputs.peaks(source["job"]) if "job" in source else self._path(source).with_suffix(".json")
        return seconds_in(about)
