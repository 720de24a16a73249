"""Clips without pictures, such as those of the command line: the model's process draws them between its jobs."""

from __future__ import annotations

from webui.models.supervisor import READY, Supervisor

MOST_WAITING = 200  # clips; those beyond are drawn when they are looked at again


class Drawing:
    """Clips that wait for spectrogram and peaks."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._waiting: dict[str, str] = {}  # job id -> file, in the order in which they are sent

    def ask(self, job_id: str, file: str) -> None:
        """Has a clip drawn, now or when the process is ready."""
        if len(self._waiting) >= MOST_WAITING:
            return
        if self._supervisor.status == READY and job_id not in self._waiting:
            self._send(job_id, file)
        self._waiting[job_id] = file

    def drawn(self, job_id: str) -> None:
        """A clip waits no longer."""
        self._waiting.pop(job_id, None)

    def ready(self) -> None:
        """A new process is ready, and is sent all that wait."""
        for job_id, file in self._waiting.items():
            self._send(job_id, file)

    def died(self) -> None:
        """The process has died. The clip that was sent first was being drawn: it may have ended the process, and would
        end the next, so it is given up."""
        self._waiting.pop(next(iter(self._waiting), ""), None)

    def _send(self, job_id: str, file: str) -> None:
        self._supervisor.send({"type": "describe", "id": job_id, "file": file})
