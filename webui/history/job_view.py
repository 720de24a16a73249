"""A job as the API shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webui.history.job import Job


@dataclass
class Running:
    """What is known of the running job beside its row."""

    id: str
    progress: float = 0.0
    text: str = "starting"
    preview: bytes | None = None
    preview_version: int = 0
    cancelling: bool = False
    refusal: str | None = None  # why it fails before its model has seen it


def describe_job(job: Job, live: Running | None, *, missing: bool, is_drawn: bool) -> dict[str, Any]:
    """A job as the API shows it.

    Args:
        live: what is known of it while it runs.
        missing: whether its audio should be in the outputs folder, and is not.
        is_drawn: whether there are its spectrogram and peaks.
    """
    base = f"/api/jobs/{job.id}"
    done = job.status == "done"
    return {
        "id": job.id,
        "status": job.status,
        "progress": 1.0 if done else live.progress if live else 0.0,
        "text": ("cancelling" if live.cancelling else live.text) if live else None,
        "error": "the audio file is no longer in the outputs folder" if missing else job.error,
        "missing": missing,
        "request": job.request,
        "position": job.position,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "file": job.file,
        "fingerprint": job.fingerprint,
        "title": job.title,
        "notes": job.notes,
        "model": job.model,
        "starred": job.starred,
        "binned": job.binned is not None,
        "parent": job.parent,
        "audio": f"{base}/audio" if done and not missing else None,
        "peaks": f"{base}/peaks" if done and is_drawn else None,
        "spectrogram": f"{base}/spectrogram" if done and is_drawn else None,
        "preview": f"{base}/preview?version={live.preview_version}" if live and live.preview else None,
    }
