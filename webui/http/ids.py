"""Ids in addresses."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends, Path
from pydantic import Field

from webui.http.refusal import RefusedError

ID = re.compile(r"[0-9a-f]{16}")


def checked_id(text: str, what: str) -> str:
    """An id that a job, or anything else that the server names, may have.

    Raises:
        RefusedError: 404, nothing can have it.
    """
    if not ID.fullmatch(text):
        raise RefusedError(404, f"there is no {what} with this id", "id")
    return text


def id_in_address(what: str) -> Any:
    """A parameter of an address, `{<what>_id}`, that is checked by `checked_id`."""

    def of(given: str = Path(alias=f"{what}_id")) -> str:  # a default, since annotations are read without `what`
        return checked_id(given, what)

    return Depends(of)


JobId = Annotated[str, id_in_address("job")]
IdText = Annotated[str, Field(pattern=f"^{ID.pattern}$")]
"""An id in a body."""
