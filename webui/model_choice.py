"""Which model new requests are for, and what each model may be asked for."""

from __future__ import annotations

from dualdiffusion.errors import UserError, one_line
from webui.model_requests import ModelRequests
from webui.models import ModelShelf
from webui.refusal import RefusedError


class ModelChoice:
    """The models of a shelf, of which one is chosen; at the beginning the one that the server was started with.

    Raises:
        UserError: that one has no labels.
    """

    def __init__(self, shelf: ModelShelf) -> None:
        self.shelf = shelf
        self.chosen = shelf.name_of(shelf.started)
        self.least_seconds: dict[str, float] = {}
        """Of the models that were loaded so far: the shortest clip that each makes."""
        self._requests: dict[str, ModelRequests] = {}
        self.requests_of(self.chosen)

    @property
    def requests(self) -> ModelRequests:
        """Of the chosen model."""
        return self._requests[self.chosen]

    def requests_of(self, model: str) -> ModelRequests:
        """What a model may be asked for.

        Raises:
            RefusedError: 404, there is no such model (any more).
            UserError: the model has no labels.
        """
        known = self._requests.get(model)
        if known is not None and known.folder.labels_path.exists():
            return known
        folder = self.shelf.find(model)
        self._requests[model] = ModelRequests(folder, lambda: self.least_seconds.get(model, 0.0))
        return self._requests[model]

    def choose(self, model: str, ema: str | None) -> None:
        """Makes a model the chosen one, with weights for requests that name none; None for the model's own choice.

        Raises:
            RefusedError: 404, no such model; 422, it cannot be played, or has no such weights.
        """
        try:
            requests = self.requests_of(model)
            requests.read()
            if requests.folder.index_path.exists():
                requests.folder.module_entry("unet")
        except UserError as error:
            raise RefusedError(422, f"model: {one_line(error)}"[:500], "model") from None
        requests.choose(ema)
        self.chosen = model
