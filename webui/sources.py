"""Clips of the history that other clips start from: `{"source": {"job": "0f3a..."}}`, never a path of the machine.

What pages and scripts send, and what the history stores, names a clip by its job. Only the model's process is told the
file, and only when it begins: until then the clip may be moved to the bin and back.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sampling.request import MAX_SECONDS, Request
from webui.jobs import Job, JobStore
from webui.outputs import OutputFolder
from webui.refusal import RefusedError

_JOB = re.compile(r"[0-9a-f]{16}")
_SCHEME = "job:"  # stands before the id where a request has the path of a file


def as_request(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as the API has them, as those of a `Request`: `source.path` is `job:<id>`.

    Raises:
        RefusedError: 422, a source that is a file, or no job's id.
    """
    source = fields.get("source")
    if not isinstance(source, dict):
        return fields
    if "path" in source:  # who may use the page may not have every file of the machine read
        raise RefusedError(422, "source: files are read by python -m sampling only; name a clip: source.job", "source")
    job_id = source.get("job")
    if not isinstance(job_id, str) or not _JOB.fullmatch(job_id):
        raise RefusedError(422, "source.job: must be the id of a clip of the history", "source")
    rest = {name: value for name, value in source.items() if name != "job"}
    return {**fields, "source": {"path": _SCHEME + job_id, **rest}}


def as_shown(request: Request) -> dict[str, Any]:
    """The request as the API and the history have it; the inverse of `as_request`."""
    fields = request.to_json()
    if request.source is not None:
        path = fields["source"].pop("path")
        fields["source"] = {"job": path.removeprefix(_SCHEME), **fields["source"]}
    return fields


def source_job(fields: dict[str, Any]) -> str | None:
    """The id of the clip that a request, as the history has it, starts from; None where it starts from noise."""
    source = fields.get("source")
    return source.get("job") if isinstance(source, dict) else None


class Sources:
    """Finds the clips that requests name. Every method waits for the disk."""

    def __init__(self, store: JobStore, outputs: OutputFolder) -> None:
        self._store, self._outputs = store, outputs

    def completed(self, request: Request) -> dict[str, Any]:
        """The request as the history stores it, with the length that the clip will have.

        Raises:
            RefusedError: 422, its source is no finished clip whose file is there.
        """
        fields = as_shown(request)
        job_id = source_job(fields)
        if job_id is None:
            return fields
        self._clip(job_id)
        seconds = request.source.seconds if request.source else None
        if seconds is None and (whole := self._seconds(job_id)):
            seconds = whole - (request.source.start if request.source else 0.0)
        if seconds is not None and 0 < seconds + request.extended_seconds <= MAX_SECONDS:
            fields["seconds"] = seconds + request.extended_seconds
        return fields

    def resolved(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A stored request as the model's process takes it, with the path of the source.

        Raises:
            RefusedError: 422, its source is no finished clip whose file is there (any more).
        """
        job_id = source_job(fields)
        if job_id is None:
            return fields
        rest = {name: value for name, value in fields["source"].items() if name != "job"}
        return {**fields, "source": {"path": str(self._clip(job_id).resolve()), **rest}}

    def _clip(self, job_id: str) -> Path:
        job = self._store.get(job_id)
        if job is None:
            raise RefusedError(422, "source.job: there is no clip with this id", "source")
        path = self._path(job)
        if path is None:
            why = "its audio file is gone" if job.status == "done" else f"that job is {job.status}"
            raise RefusedError(422, f"source.job: cannot start from this clip: {why}", "source")
        return path

    def _path(self, job: Job) -> Path | None:
        return self._outputs.audio(job.file, job.binned is not None) if job.status == "done" else None

    def _seconds(self, job_id: str) -> float | None:
        """Length of a clip as its waveform's file has it; None where that is gone or damaged."""
        try:
            seconds = json.loads(self._outputs.peaks(job_id).read_bytes())["seconds"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return seconds if isinstance(seconds, int | float) else None
