"""What the model of the page may be asked for: its games, what it recommends, and checks of requests."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from dualdiffusion.controls import check_controls
from dualdiffusion.errors import UserError
from dualdiffusion.labels import Labels
from dualdiffusion.model.folder import ModelFolder
from sampling.recommended import Asked
from sampling.request import Request
from webui.exchange.sources import as_request
from webui.history.stored import usable, usable_controls, usable_recommendation
from webui.http.bodies import fields_of, refusal_of
from webui.http.refusal import RefusedError


class ModelRequests:
    """Completes and checks requests against a model folder, without the weights.

    Args:
        least_seconds: the shortest clip that the loaded model makes; 0 until it is loaded, when its own process tells.

    Raises:
        UserError: the model has no labels.
    """

    def __init__(self, folder: ModelFolder, least_seconds: Callable[[], float]) -> None:
        self.folder, self._least_seconds = folder, least_seconds
        self.ema: str | None = None
        """The weights where a request says nothing; None for the model's own choice."""
        self.read()

    def read(self) -> None:
        """Takes games, controls and recommendation from the folder as it is now.

        Raises:
            UserError: the model has no labels.
        """
        self.labels, self.recommended = self.folder.labels(), usable_recommendation(self.folder)
        self.controls, self.asks_for_games = usable_controls(self.folder), self._asks_for_games()

    @property
    def revision(self) -> str:
        """Differs where a page must read anew what it may ask for: 16 hex digits of games, controls, recommendation."""
        controls = {name: control.to_json() for name, control in self.controls.items()}
        fields = [self.recommended.fields, self.ema]
        world = [str(self.folder.path.resolve()), self.games.to_json(), fields, controls]
        return hashlib.sha256(json.dumps(world, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def games(self) -> Labels:
        """Those that one may ask for: none of an unconditional model."""
        return self.labels if self.asks_for_games else Labels(())

    def _asks_for_games(self) -> bool:
        try:
            return self.folder.asks_for_games()
        except UserError:  # told when the model is loaded
            return True

    def choose(self, ema: str | None) -> None:
        """Takes other weights where a request says nothing.

        Raises:
            RefusedError: 422, the model has none of this name.
        """
        known = self.folder.emas("unet")
        if ema is not None and ema not in known:
            raise RefusedError(422, f"ema: this model has no {ema[:80]!r}; it has: {', '.join(known)}", "ema")
        self.ema = ema

    def usable(self, body: bytes) -> dict[str, Any]:
        """What of the fields of a request this model can do: {"request": fields, "dropped": {field: why}}.

        Raises:
            RefusedError: 422, no JSON object.
        """
        request, dropped = usable(fields_of(body), self.games.names, self.parse)
        return {"request": request, "dropped": dropped}

    def parse(self, body: bytes) -> Request:
        """Completes a request by what the model recommends, and checks it as far as is possible without the weights.

        Raises:
            RefusedError: 422 with the field and what is allowed there.
        """
        try:
            request = Request.model_validate_json(self._completed(body), strict=True)
        except ValidationError as error:
            raise refusal_of(Request, error) from None
        if request.guidance.weak_model is not None:
            raise RefusedError(422, "guidance.weak_model: other models are read by python -m sampling only", "guidance")
        try:
            request.check_games(self.labels, needed=self.asks_for_games)
        except UserError as error:
            raise RefusedError(422, f"games: {str(error).removeprefix('games: ')[:500]}", "games") from None
        try:
            check_controls(request.controls, self.controls)
        except UserError as error:
            raise RefusedError(422, str(error)[:500], "controls") from None
        for field, ema in (("ema", request.ema), ("guidance.weak_ema", request.guidance.weak_ema)):
            if ema is not None and ema not in (known := self.folder.emas("unet")):
                has = f"this model has no {ema[:80]!r}; it has: {', '.join(known)}"
                raise RefusedError(422, f"{field}: {has}", field)
        least = self._least_seconds()
        if request.seconds < least:
            raise RefusedError(
                422, f"seconds: this model makes {least:.4g} or more, not {request.seconds:g}", "seconds"
            )
        return request

    def with_chosen(self, said: dict[str, Any]) -> dict[str, Any]:
        """The fields of a request with what was chosen on the page where they say nothing: its weights; and without
        games, where the model knows none."""
        said = said if self.asks_for_games else {"games": {}, **said}
        return said if self.ema is None else {"ema": self.ema, **said}

    def _completed(self, body: bytes) -> bytes:
        """The request with what the model recommends; one that is no JSON object is left for the checks to refuse.

        Raises:
            RefusedError: 422, a source that is no clip of the history.
        """
        with contextlib.suppress(ValueError):
            said = from_json(body)
            if isinstance(said, dict):
                return json.dumps(as_request(Asked(self.with_chosen(said)).over(self.recommended))).encode()
        return body
