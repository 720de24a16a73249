"""One device, two users: training and playing take turns, and the page says which has it.

On a GPU, training gets the memory to itself: the model's process ends before the training begins, and starts again when
it has ended. Meanwhile a visitor may wait (what is asked for stays in the queue), play on the CPU, or pause the
training. Where there is no GPU both share the processor, and clips only take longer; who does not want that may let
playing wait. A clip that is forming is finished first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Choice = Literal["wait", "cpu", "share"]
Seat = Literal["device", "cpu", "resting"]
POLL = 0.1  # seconds


class Player(Protocol):
    """What holds the model's process; see `webui.models.supervisor.Supervisor`."""

    def hold(self) -> None:
        """Takes no more jobs, and starts no process."""

    def wake(self, loader: str) -> None:
        """Goes on, with this loader."""

    def let_go(self) -> None:
        """Ends the process."""


class HasPlayer(Protocol):
    """What gives jobs to the model's process, as far as turns go; see `webui.dispatcher.Dispatcher`."""

    supervisor: Any
    """The Player."""
    running: Any
    """The job that is made now, or None."""


@dataclass(frozen=True)
class Loaders:
    """`module:function` that load the model on the usual device, and on the CPU."""

    device: str
    cpu: str


def seat_for(training: str | None, choice: Choice | None) -> Seat:
    """Where the model plays.

    Args:
        training: the device of the training that is at work, "cuda", "mps" or "cpu"; None: there is none.
        choice: of a visitor since it began; None: nobody has chosen.
    """
    if training is None:
        return "device"
    if training == "cpu":  # which two programs may share: what each needs is reckoned beforehand
        return "resting" if choice == "wait" else "device"
    return "cpu" if choice == "cpu" else "resting"


def options_for(training: str | None) -> list[str]:
    """What a visitor may choose while a training is at work."""
    if training is None:
        return []
    return ["wait", "share", "pause"] if training == "cpu" else ["wait", "cpu", "pause"]


class Turns:
    """Puts the model's process where it belongs.

    Attributes:
        training: the device of the training at work; None where there is none.
        seat: where the model plays, or is about to.
    """

    def __init__(self, dispatcher: HasPlayer, loaders: Loaders) -> None:
        self._dispatcher, self._loaders = dispatcher, loaders
        self.training: str | None = None
        self.choice: Choice | None = None
        self.seat: Seat = "device"
        self._taking = asyncio.Lock()

    def begin(self, training: str | None) -> None:
        """Before the model's process starts: whether a training that outlived the last server has the device."""
        self.training = training
        if seat_for(training, None) == "resting":
            self.seat = "resting"
            self._dispatcher.supervisor.hold()

    async def training_is(self, device: str | None) -> None:
        """A training is about to begin on a device, or none is at work any more; returns when the device is free."""
        if device is None or self.training is None:
            self.choice = None  # which was about another training
        self.training = device
        await self._settle()

    async def choose(self, choice: Choice) -> None:
        """A visitor's choice, for as long as the training is at work."""
        self.choice = choice
        await self._settle()

    def to_json(self) -> dict[str, Any]:
        """{"training": device or null, "seat", "choice", "options"}."""
        return {
            "training": self.training,
            "seat": self.seat,
            "choice": self.choice or ("share" if self.training == "cpu" else "wait"),
            "options": options_for(self.training),
        }

    async def _settle(self) -> None:
        async with self._taking:
            seat = seat_for(self.training, self.choice)
            if seat == self.seat:
                return
            player: Player = self._dispatcher.supervisor
            if self.seat != "resting":
                await self._take_from(player)
            self.seat = seat
            if seat != "resting":
                player.wake(self._loader(seat))

    async def _take_from(self, player: Player) -> None:
        """Ends the model's process when the clip that it forms is ready; cancelled before, nothing has changed."""
        player.hold()  # what is asked for from now on waits
        try:
            while self._dispatcher.running is not None:
                await asyncio.sleep(POLL)
        except asyncio.CancelledError:
            player.wake(self._loader(self.seat))
            raise
        player.let_go()

    def _loader(self, seat: Seat) -> str:
        return self._loaders.cpu if seat == "cpu" else self._loaders.device
