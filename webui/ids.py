"""Ids in addresses."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends

from webui.refusal import RefusedError

ID = re.compile(r"[0-9a-f]{16}")


def checked_id(text: str, what: str) -> str:
    """An id that a job, or anything else that the server names, may have.

    Raises:
        RefusedError: 404, nothing can have it.
    """
    if not ID.fullmatch(text):
        raise RefusedError(404, f"there is no {what} with this id", "id")
    return text


def job_id_of(job_id: str) -> str:
    """The id of a job in an address."""
    return checked_id(job_id, "job")


JobId = Annotated[str, Depends(job_id_of)]
