"""One device: who has it, and that it is never taken by both."""

from __future__ import annotations

import asyncio

import pytest

from tests.webui.conftest import run_async
from webui.learn.turns import Loaders, Turns, options_for, seat_for


class Player:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def hold(self) -> None:
        self.told.append("hold")

    def wake(self, loader: str) -> None:
        self.told.append(f"wake {loader}")

    def let_go(self) -> None:
        self.told.append("let go")


class Service:
    def __init__(self) -> None:
        self.supervisor, self.running = Player(), None


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def turns(service: Service) -> Turns:
    return Turns(service, Loaders("usual", "cpu"))


def test_who_sits_where() -> None:
    assert seat_for(None, "wait") == "device"
    assert seat_for("cuda", None) == seat_for("cuda", "wait") == seat_for("cuda", "share") == "resting"
    assert seat_for("cuda", "cpu") == "cpu"
    assert seat_for("cpu", None) == seat_for("cpu", "share") == "device"
    assert seat_for("cpu", "wait") == "resting"
    assert options_for(None) == []
    assert "share" not in options_for("cuda")  # the one way to run out of memory


def test_a_training_on_a_gpu_begins_when_the_model_has_let_go(turns: Turns, service: Service) -> None:
    run_async(turns.training_is("cuda"))
    assert service.supervisor.told == ["hold", "let go"]
    assert turns.to_json()["seat"] == "resting"
    run_async(turns.training_is(None))
    assert service.supervisor.told[2:] == ["wake usual"]


def test_a_clip_that_is_forming_is_finished_first(turns: Turns, service: Service) -> None:
    async def scene() -> None:
        service.running = "a job"
        taking = asyncio.create_task(turns.training_is("cuda"))
        await asyncio.sleep(0.25)
        assert service.supervisor.told == ["hold"]  # no other one begins meanwhile
        assert not taking.done()
        service.running = None
        await taking

    run_async(scene())
    assert service.supervisor.told == ["hold", "let go"]


def test_who_changes_their_mind_meanwhile_finds_everything_as_it_was(turns: Turns, service: Service) -> None:
    async def scene() -> None:
        service.running = "a job"
        taking = asyncio.create_task(turns.training_is("cuda"))
        await asyncio.sleep(0.05)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await turns.training_is(None)

    run_async(scene())
    assert service.supervisor.told == ["hold", "wake usual"]
    assert turns.seat == "device"


def test_playing_on_the_cpu_while_the_gpu_trains(turns: Turns, service: Service) -> None:
    async def scene() -> None:
        await turns.training_is("cuda")
        await turns.choose("cpu")
        assert service.supervisor.told[2:] == ["wake cpu"]
        await turns.choose("wait")
        assert service.supervisor.told[3:] == ["hold", "let go"]
        await turns.choose("cpu")
        await turns.training_is(None)  # paused, or at its end
        assert service.supervisor.told[-1] == "wake usual"

    run_async(scene())
    assert turns.to_json() == {"training": None, "seat": "device", "choice": "wait", "options": []}


def test_a_choice_is_about_one_training(turns: Turns) -> None:
    async def scene() -> None:
        await turns.training_is("cuda")
        await turns.choose("cpu")
        await turns.training_is(None)
        await turns.training_is("cuda")

    run_async(scene())
    assert turns.seat == "resting"


def test_both_share_a_processor_unless_somebody_says_otherwise(turns: Turns, service: Service) -> None:
    async def scene() -> None:
        await turns.training_is("cpu")
        assert service.supervisor.told == []
        assert turns.to_json() == {
            "training": "cpu",
            "seat": "device",
            "choice": "share",
            "options": options_for("cpu"),
        }
        await turns.choose("wait")
        assert service.supervisor.told == ["hold", "let go"]

    run_async(scene())


def test_after_a_restart_a_training_that_runs_still_has_the_gpu(turns: Turns, service: Service) -> None:
    turns.begin("cuda")
    assert service.supervisor.told == ["hold"]
    turns = Turns(Service(), Loaders("usual", "cpu"))
    turns.begin("cpu")
    assert turns.seat == "device"
