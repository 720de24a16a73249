"""New generators: what the page can do about them, without HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from dualdiffusion.errors import UserError, one_line
from webui.http.refusal import RefusedError
from webui.learn import removal
from webui.learn.crew import Crew
from webui.learn.forecast import Forecast
from webui.learn.generator import NAME, NAME_RULE, Chosen, Generator, names, run_state
from webui.learn.presets import load_presets
from webui.learn.reading import Reading
from webui.learn.roots import Place, Roots
from webui.learn.runner import FAILED, RUNNING
from webui.learn.survey import Surveys
from webui.learn.turns import Loaders, Turns
from webui.service import Service
from webui.settings import Settings

LOOK = 1.0  # seconds between two looks at what runs
MOST_GENERATORS = 200


class Studio:
    """The generators in the making. Lives on the event loop; the commands are processes of their own."""

    def __init__(self, settings: Settings, service: Service) -> None:
        """Raises:
        UserError: the presets cannot be used.
        """
        self._work, self._service = settings.work.resolve(), service
        self._models = (settings.models or self._work / "models").resolve()
        self.roots, self.surveys = Roots(settings.music), Surveys()
        self.presets = load_presets(settings.presets)
        self.turns = Turns(service.dispatcher, Loaders(settings.loader, settings.cpu_loader))
        self._crew = Crew(self._work)
        self._readings: dict[str, Reading] = {}
        self.forecast = Forecast(self.presets, self._work / "generators" / ".none")
        self._starting: dict[str, asyncio.Task[None]] = {}  # trainings that wait for the device
        self._refusals: dict[str, str] = {}  # why these could not begin
        self._turn = asyncio.Lock()
        self.turns.begin(self._crew.training_device())

    @contextlib.asynccontextmanager
    async def active(self) -> AsyncIterator[None]:
        """Watches what runs for as long as the block; what runs goes on afterwards."""
        self._crew.look()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self.surveys.stop()
            tasks = [watching, *self._starting.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.forecast.stop()

    # -- what is shown ---------------------------------------------------------------------------------------------

    def overview(self) -> dict[str, Any]:
        """The roots, the generators, and who has the device."""
        return {
            "roots": self.roots.names(),
            "generators": [self.summary(name) for name in names(self._work)],
            "turn": self.turns.to_json(),
        }

    def generator(self, name: str) -> Generator:
        """Raises:
        RefusedError: 404, there is none of this name; 409, its file is damaged.
        """
        self._check_known(name)
        try:
            return Generator.load(self._work, name)
        except UserError as error:
            told = one_line(error).replace(f"{self._work}/", "")  # visitors need not know where
            raise RefusedError(409, told, "name") from None

    def _check_known(self, name: str) -> None:
        if not NAME.fullmatch(name) or not (self._work / "generators" / name / "generator.json").is_file():
            raise RefusedError(404, "there is no generator of this name", "name")

    def status(self, generator: Generator) -> str:
        """new, prepared, running, paused, stopped, failed, done or interrupted."""
        if generator.chosen.name in self._starting:
            return RUNNING
        status = self._crew.status(generator.chosen.name, generator.run_state())
        return FAILED if generator.chosen.name in self._refusals and status != RUNNING else status

    def summary(self, name: str) -> dict[str, Any]:
        """A generator in a list: {"name", "label", "status", "stage", "last", "title", "error"}."""
        try:
            generator = self.generator(name)
        except RefusedError as refusal:
            error = refusal.error
            return {"name": name, "label": name, "status": "damaged", "stage": None, "title": "", "error": error}
        state = generator.run_state()
        return {
            "name": name,
            "label": generator.chosen.label or name,
            "status": self.status(generator),
            "stage": state.get("stage"),
            "last": state.get("last"),
            "title": generator.chosen.preset.title,
            "error": self._refusals.get(name) or state.get("error"),
        }

    def describe(self, name: str) -> dict[str, Any]:
        """Everything about a generator that changes while it is made."""
        generator = self.generator(name)
        reading = self.reading(generator)
        state = generator.run_state()
        return {
            **self.summary(name),
            "source": generator.chosen.source.name,
            "preset": generator.chosen.preset_name,
            "model": str(generator.model),
            "stages": reading.stages(state),
            "report": reading.has_report(),
            "playable": reading.is_playable(),
            "stopping": name in self._crew.stopping,
            "starting": name in self._starting,
            "turn": self.turns.to_json(),
        }

    def reading(self, generator: Generator) -> Reading:
        """What its commands write; remembers what was read."""
        return self._readings.setdefault(generator.chosen.name, Reading(generator))

    # -- what can be done ------------------------------------------------------------------------------------------

    def check_place(self, place: Place) -> None:
        """Raises RefusedError for a folder that cannot be chosen; see `Roots`."""
        self.roots.check_links(self.roots.folder(place))

    def survey(self, place: Place) -> dict[str, Any]:
        """Begins to look into a folder of music, which has been checked; what is in it is the same for all presets."""
        return self.surveys.start(place, self.roots.folder(place), next(iter(self.presets.values())).dataset)

    def create(self, name: str, place: Place, preset: str) -> Generator:
        """A new generator, of which nothing is made yet.

        Raises:
            RefusedError: 422 for a wrong name or preset, 409 where the name is taken, as `Roots` for the folder.
        """
        if not NAME.fullmatch(name):
            raise RefusedError(422, NAME_RULE, "name")
        if preset not in self.presets:
            raise RefusedError(422, f"preset: must be one of {', '.join(self.presets)}", "preset")
        if len(names(self._work)) >= MOST_GENERATORS:
            raise RefusedError(409, f"there are {MOST_GENERATORS} generators already; remove some folders")
        source = self.roots.folder(place)
        self.roots.check_links(source)
        model = self._models / name
        chosen = Chosen(
            name=name, source=source, model=model, preset_name=preset, preset=self.presets[preset], created=time.time()
        )
        generator = Generator(chosen, self._work)
        if any(path.exists() for path in (generator.folder, generator.dataset, generator.model)):
            raise RefusedError(409, f"name: there is something called {name!r} already; choose another name", "name")
        generator.save()
        return generator

    async def start(self, name: str, last: str) -> None:
        """Begins, or goes on with, the stages up to `last`: "prepare", or "unet" for the training.

        Raises:
            RefusedError: 404; 409 where it or another one is at work, or nothing is prepared yet.
        """
        async with self._turn:
            generator = self.generator(name)
            busy = [*self._starting, *self._crew.running()]
            if busy:
                raise RefusedError(409, f"{busy[0]} is being made; pause it, or wait until it is ready")
            await asyncio.to_thread(self._check_source, generator)
            stages = generator.run_state().get("stages", {})
            if last != "prepare" and stages.get("prepare", {}).get("status") != "done":
                raise RefusedError(409, "the music is not prepared yet")
            self._refusals.pop(name, None)
            if last == "prepare":
                self._crew.start(generator, last)
            else:
                self._starting[name] = asyncio.create_task(self._begin_training(generator, last))

    async def _begin_training(self, generator: Generator, last: str) -> None:
        """Waits until the device is free, then begins."""
        name = generator.chosen.name
        try:
            known = (generator.run_state().get("forecast") or {}).get("device")
            await self.turns.training_is(known or await self.forecast.device())
            self._crew.start(generator, last)
        except (RefusedError, OSError) as error:
            self._refusals[name] = error.error if isinstance(error, RefusedError) else one_line(error)
            await self.turns.training_is(None)
        finally:
            del self._starting[name]

    def _check_source(self, generator: Generator) -> None:
        """The folder of music is still there, and still leads nowhere else."""
        source = generator.chosen.source
        if not source.is_dir():
            raise RefusedError(409, f"the folder {source.name!r} is gone; bring it back, and go on")
        if not self.roots.holds(source.resolve()):
            raise RefusedError(403, f"the folder {source.name!r} is not below the roots of this server; see --music")
        self.roots.check_links(source)

    async def pause(self, name: str, *, for_good: bool = False) -> None:
        """Asks what runs to save its state and leave; the same commands go on later.

        Args:
            for_good: it is told as stopped, not as paused.

        Raises:
            RefusedError: 404, or 409 where nothing runs.
        """
        generator = self.generator(name)
        if name in self._starting:
            self._starting[name].cancel()
            await self.turns.training_is(None)
        elif for_good and self.status(generator) != RUNNING:
            self._refusals.pop(name, None)
            self._crew.put_aside(generator)
        else:
            self._crew.ask_to_stop(generator, signal.SIGINT if for_good else signal.SIGTERM)

    async def rename(self, name: str, label: str) -> None:
        """Has the page call a generator something else; empty for its name. Its folders keep theirs.

        Raises:
            RefusedError: 404, or 409 where its file is damaged.
        """
        async with self._turn:  # nothing is written where a folder is just being moved away
            chosen = self.generator(name).chosen.model_copy(update={"label": label.strip()})
            await asyncio.to_thread(Generator(chosen, self._work).save)

    async def remove(self, name: str) -> None:
        """Moves a generator, which may be damaged, and its dataset into the bin; its model stays.

        Raises:
            RefusedError: 404, or 409 where it is at work.
        """
        async with self._turn:
            self._check_known(name)
            state = run_state(self._work / "generators" / name)
            if name in self._starting or self._crew.is_at_work(name, state):
                raise RefusedError(409, f"{name} is being made; pause or stop it first")
            await asyncio.to_thread(removal.remove, self._work, name)
            for known in (self._readings, self._refusals):
                known.pop(name, None)

    async def restore(self, name: str) -> None:
        """Brings the generator of this name back that was removed last.

        Raises:
            RefusedError: 404, or 409 where its name was taken meanwhile.
        """
        if not NAME.fullmatch(name):
            raise RefusedError(404, "no generator of this name was removed", "name")
        async with self._turn:
            await asyncio.to_thread(removal.restore, self._work, name)

    async def removed(self) -> list[dict[str, Any]]:
        """What can be brought back; see `removal.removed`."""
        return await asyncio.to_thread(removal.removed, self._work)

    async def empty_bin(self) -> None:
        """Deletes the removed generators and their datasets for good; their models stay.

        Raises:
            RefusedError: 503, some of it cannot be deleted.
        """
        async with self._turn:
            await asyncio.to_thread(removal.empty, self._work)

    async def play(self, name: str) -> dict[str, Any]:
        """Opens the new model; where this server cannot, says how to start one that does.

        Returns:
            {"opened": whether the page plays it now, "command": the line to start a server with}.
        """
        generator = self.generator(name)
        if not self.reading(generator).is_playable():
            raise RefusedError(409, "there is nothing to play yet: the training of the UNet has not saved anything")
        shelf = self._service.models.shelf
        name = shelf.name_of(generator.model)
        found = (await asyncio.to_thread(shelf.names)).get(name)
        opened = found is not None and found.resolve() == generator.model.resolve()
        if opened:
            await self._service.choose(name, None)
        command = shlex.join(["python", "-m", "webui", "--model", str(generator.model)])
        return {"opened": opened, "command": command}

    # -- watching --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Gives the device back when a training has ended."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self._look()
            except (OSError, RefusedError) as error:
                print(f"generators: {one_line(error)}", file=sys.stderr, flush=True)

    async def _look(self) -> None:
        await asyncio.to_thread(self._crew.look)
        if self._turn.locked() or self._starting:
            return
        device = self._crew.training_device(known=self.turns.training)
        if device != self.turns.training:
            await self.turns.training_is(device)
