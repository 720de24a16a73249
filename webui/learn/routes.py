"""The addresses of new generators. Host, Origin and token are checked around all of them (webui/http/security.py).

GET    /api/learn                              {"roots", "generators", "turn"}
GET    /api/learn/presets                      what the machine can do: {"device", "room", "presets": [...]}
GET    /api/learn/folders?root=0&path=a/b      the folders in a folder
POST   /api/learn/surveys                      {"root", "path"} -> what the folder holds; GET the same to hear more
POST   /api/learn/generators                   {"name", "root", "path", "preset"} -> a new generator
GET    /api/learn/generators/{name}            how far it is
PATCH  /api/learn/generators/{name}            {"label"}: what the page calls it
DELETE /api/learn/generators/{name}            into the bin, with its dataset; POST .../restore undoes it
GET    /api/learn/bin                          {"removed": [...]}; DELETE empties it
POST   /api/learn/generators/{name}/prepare, /train, /pause, /stop, /play
GET    /api/learn/generators/{name}/curves, /demos, /demos/{module}/{id}, /report, /report.html, /log?stage=vae
POST   /api/learn/turn                         {"choice": "wait" | "cpu" | "share"}, while a training is at work
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import Field

from dualdiffusion.config import Config
from webui.http.bodies import Body, parsed
from webui.http.openapi import PRESET, takes
from webui.http.refusal import RefusedError, json_response
from webui.http.sending import send_file
from webui.learn.generator import StageName
from webui.learn.reading import Reading
from webui.learn.roots import Place
from webui.learn.studio import Studio
from webui.learn.turns import Choice, options_for

# Of the report, which holds its own style sheet and sounds, and neither scripts nor anything from elsewhere.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
BASE = "/api/learn"
MOST_PATH = 4096  # characters
EXAMPLE = {"name": "mine", "root": 0, "path": "", "preset": PRESET}


class Wanted(Config):
    """A folder of music."""

    root: Annotated[int, Field(ge=0, lt=1000)] = 0
    """Number of the root."""
    path: Annotated[str, Field(max_length=MOST_PATH)] = ""
    """Names below it, joined by "/"."""


class New(Config):
    """A new generator."""

    name: Annotated[str, Field(max_length=100)]
    """Of its dataset and its model, too."""
    root: Annotated[int, Field(ge=0, lt=1000)] = 0
    """See Wanted."""
    path: Annotated[str, Field(max_length=MOST_PATH)] = ""
    """See Wanted."""
    preset: Annotated[str, Field(max_length=100)]
    """Of /api/learn/presets."""


class Rename(Config):
    """What the page calls a generator."""

    label: Annotated[str, Field(max_length=80)]
    """Empty for its name."""


class Turn(Config):
    """Who plays where while a training is at work."""

    choice: Choice
    """wait: the queue waits; cpu: play there; share: play on the device of the training."""


def add_learn_routes(app: FastAPI, studio: Studio) -> None:
    """Adds all addresses."""
    _add_choosing(app, studio)
    _add_making(app, studio)
    _add_reading(app, studio)


def _add_choosing(app: FastAPI, studio: Studio) -> None:
    @app.get(BASE)
    async def overview() -> Response:
        """The folders of music, the generators, and who has the device: {"roots", "generators", "turn"}."""
        return json_response(await asyncio.to_thread(studio.overview))

    @app.get(BASE + "/presets")
    async def presets() -> Response:
        """What this machine can do of each preset: {"status", "device", "room", "presets"}."""
        return json_response(studio.forecast.state())

    @app.get(BASE + "/folders")
    async def folders(
        root: Annotated[int, Query(ge=0, lt=1000)] = 0, path: Annotated[str, Query(max_length=MOST_PATH)] = ""
    ) -> Response:
        """The folders in a folder of music."""
        return json_response(await asyncio.to_thread(studio.roots.listing, Place(root, path)))

    @app.post(BASE + "/surveys", openapi_extra=takes(Wanted, {"root": 0, "path": ""}))
    async def survey(data: Body) -> Response:
        """Begins to look what a folder of music holds."""
        wanted = parsed(Wanted, data)
        place = Place(wanted.root, wanted.path)
        await asyncio.to_thread(studio.check_place, place)
        return json_response(studio.survey(place), 202)

    @app.get(BASE + "/surveys")
    async def survey_state(
        root: Annotated[int, Query(ge=0, lt=1000)] = 0, path: Annotated[str, Query(max_length=MOST_PATH)] = ""
    ) -> Response:
        """What a folder of music holds, as far as it was looked at: {"status", "error", "result"}."""
        return json_response(studio.surveys.state(Place(root, path)))

    @app.post(BASE + "/turn", openapi_extra=takes(Turn, {"choice": "wait"}))
    async def turn(data: Body) -> Response:
        """Says who plays where while a training is at work."""
        choice = parsed(Turn, data).choice
        if choice not in options_for(studio.turns.training):
            raise RefusedError(409, "choice: no training is at work with which that could be chosen", "choice")
        await studio.turns.choose(choice)
        return json_response(studio.turns.to_json())


def _add_making(app: FastAPI, studio: Studio) -> None:
    @app.post(BASE + "/generators", openapi_extra=takes(New, EXAMPLE))
    async def create(data: Body) -> Response:
        """A new generator, of which nothing is made yet."""
        new = parsed(New, data)
        await asyncio.to_thread(studio.create, new.name, Place(new.root, new.path), new.preset)
        return json_response(studio.describe(new.name), 201)

    @app.get(BASE + "/generators/{name}")
    async def generator(name: str) -> Response:
        """How far a generator is: {"status", "stages", ...}."""
        return json_response(await asyncio.to_thread(studio.describe, name))

    @app.patch(BASE + "/generators/{name}", openapi_extra=takes(Rename, {"label": "Castles and caves"}))
    async def rename(name: str, data: Body) -> Response:
        """Has the page call a generator something else."""
        await studio.rename(name, parsed(Rename, data).label)
        return json_response(await asyncio.to_thread(studio.describe, name))

    @app.delete(BASE + "/generators/{name}")
    async def remove(name: str) -> Response:
        """Moves a generator and its dataset into a bin; its model stays. 409 while it is being made."""
        await studio.remove(name)
        return json_response({"name": name})

    @app.post(BASE + "/generators/{name}/restore")
    async def restore(name: str) -> Response:
        """Brings the generator of this name back that was removed last."""
        await studio.restore(name)
        return json_response(await asyncio.to_thread(studio.summary, name))  # it may be damaged

    @app.get(BASE + "/bin")
    async def removed() -> Response:
        """The generators that can be brought back: {"removed": [{"name", "label", "removed"}]}, the last one first."""
        return json_response({"removed": await studio.removed()})

    @app.delete(BASE + "/bin")
    async def empty_bin() -> Response:
        """Deletes the removed generators and their datasets for good; their models stay."""
        await studio.empty_bin()
        return json_response({"removed": []})

    @app.post(BASE + "/generators/{name}/prepare")
    async def prepare(name: str) -> Response:
        """Prepares the music of a generator."""
        await studio.start(name, "prepare")
        return json_response(studio.describe(name), 202)

    @app.post(BASE + "/generators/{name}/train")
    async def train(name: str) -> Response:
        """Trains a generator, or goes on with that."""
        await studio.start(name, "unet")
        return json_response(studio.describe(name), 202)

    @app.post(BASE + "/generators/{name}/pause")
    async def pause(name: str) -> Response:
        """Pauses what is being made; its state is saved."""
        await studio.pause(name)
        return json_response(studio.describe(name), 202)

    @app.post(BASE + "/generators/{name}/stop")
    async def stop(name: str) -> Response:
        """Stops what is being made; its state is saved."""
        await studio.pause(name, for_good=True)
        return json_response(studio.describe(name), 202)

    @app.post(BASE + "/generators/{name}/play")
    async def play(name: str) -> Response:
        """Plays a generator: {"opened", "command"}."""
        return json_response(await studio.play(name))


def _add_reading(app: FastAPI, studio: Studio) -> None:
    def reading(name: str) -> Reading:
        return studio.reading(studio.generator(name))

    @app.get(BASE + "/generators/{name}/curves")
    async def curves(name: str) -> Response:
        """Losses of the trainings: {"vae", "unet"}."""
        return json_response(await asyncio.to_thread(reading(name).curves))

    @app.get(BASE + "/generators/{name}/demos")
    async def demos(name: str) -> Response:
        """Sounds that the trainings have made: {"vae", "unet"}."""
        return json_response(await asyncio.to_thread(reading(name).demos))

    @app.get(BASE + "/generators/{name}/demos/{module}/{demo_id}")
    async def demo(name: str, module: str, demo_id: str) -> Response:
        """A sound that a training has made: WAV."""
        sound = await asyncio.to_thread(reading(name).sound, module, demo_id)
        if sound is None:
            raise RefusedError(404, "this demo is gone")
        return Response(sound, headers={"Cache-Control": "private, max-age=86400"}, media_type="audio/wav")

    @app.get(BASE + "/generators/{name}/report")
    async def report(name: str) -> Response:
        """What the prepared music holds."""
        found = await asyncio.to_thread(reading(name).report)
        if found is None:
            raise RefusedError(404, "there is no report of this dataset yet")
        return json_response(found)

    @app.get(BASE + "/generators/{name}/report.html")
    async def report_page(request: Request, name: str) -> Response:
        """The same as a page: HTML."""
        path = studio.generator(name).dataset / "report.html"
        if not path.is_file():
            raise RefusedError(404, "there is no report of this dataset yet")
        response = send_file(request, path)
        response.headers["Content-Security-Policy"] = REPORT_POLICY
        return response

    @app.get(BASE + "/generators/{name}/log")
    async def log(name: str, stage: StageName) -> Response:
        """The end of what a stage has printed: {"text"}."""
        return json_response({"text": await asyncio.to_thread(reading(name).log, stage)})
