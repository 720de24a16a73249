"""Models over HTTP: which there are, what one is like, and which one plays.

GET    /api/models                     {"models": [{"id", "name", "shipped", "games", "problem"}], "chosen", "loaded"}
GET    /api/models/{id}                its card, games, modules, EMAs, training curves, figures, TensorBoard's command
POST   /api/models/choose              {"model", "ema"} -> the health; jobs that wait keep the model they have
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import Field

from dualdiffusion.config import Config
from webui.http.bodies import Body, parsed
from webui.http.openapi import MODEL, takes
from webui.http.refusal import json_response
from webui.models.folders import describe_model
from webui.service import Service


class Choice(Config):
    """The model that new requests are for."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    """Its id."""
    ema: Annotated[str, Field(max_length=100)] | None = None
    """Which of its weights, where a request says nothing; null for those that the model names."""


def add_model_routes(app: FastAPI, service: Service) -> None:
    """Adds the routes."""
    shelf = service.models.shelf

    @app.get("/api/models")
    async def models() -> Response:
        """The models that the page can play: {"models", "chosen", "loaded"}."""
        listing = await asyncio.to_thread(shelf.listing)
        return json_response({"models": listing, "chosen": service.models.chosen, "loaded": service.dispatcher.loaded})

    @app.get("/api/models/{model}")
    async def model(model: str) -> Response:
        """A model's card, games, modules, weights, training curves and figures."""
        folder = await asyncio.to_thread(shelf.find, model)
        return json_response({"id": model, **await asyncio.to_thread(describe_model, folder)})

    @app.post("/api/models/choose", openapi_extra=takes(Choice, {"model": MODEL, "ema": None}))
    async def choose(body: Body) -> Response:
        """Makes a model the one that new requests are for; returns the health."""
        choice = parsed(Choice, body)
        return json_response(await service.choose(choice.model, choice.ema))
