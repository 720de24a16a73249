"""Whatever fails in the web process, the queue goes on, and a model that dies is not given what killed it again."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import REQUEST, run_async
from tests.webui.history.test_ends import Page
from webui.desk.grids import GridOrder, cells_of
from webui.exchange.sources import Sources
from webui.history.actions import History
from webui.history.jobs import JobStore
from webui.http.refusal import RefusedError
from webui.models import supervisor as supervising
from webui.models.supervisor import FAILED, READY, Supervisor


@pytest.fixture
def page(tmp_path: Path) -> Page:
    """The application without its model's process: what that would be told is kept in `sent`."""
    page = Page(tmp_path)
    page.sent = []
    page.service.dispatcher.supervisor.send = page.sent.append
    page.service.dispatcher.supervisor.status = READY
    return page


async def submit(page: Page, **changes: Any) -> str:
    service = page.service
    asked = service.requests.parse(json.dumps(REQUEST | changes).encode())
    return (await service.submit(asked, service.models.chosen, None)).id


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk I/O error"), OSError(5, "input/output error")])
def test_a_source_that_cannot_be_looked_for_leaves_its_job_waiting(
    page: Page, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def scene() -> None:
        resolved, left = Sources.resolved, [error]

        def fails_once(self: Sources, fields: dict[str, Any]) -> dict[str, Any]:
            if left:
                raise left.pop()
            return resolved(self, fields)

        monkeypatch.setattr(Sources, "resolved", fails_once)
        job_id = await submit(page)
        assert page.service.dispatcher.running is None and page.sent == []
        assert (await page.service.job(job_id)).status == "queued"
        await page.service.dispatcher.dispatch()
        assert [message["id"] for message in page.sent] == [job_id]
        await page.service.dispatcher.ends.close()

    run_async(scene())


def test_a_process_that_dies_while_a_source_is_looked_for_ends_its_job(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, dispatcher = page.service, page.service.dispatcher

    async def scene() -> None:
        resolved, dies = Sources.resolved, []

        def slow(self: Sources, fields: dict[str, Any]) -> dict[str, Any]:
            # As the watch tells it, on the loop's thread, before this answers.
            told = asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)
            told.result(5)
            loop.call_soon_threadsafe(lambda: dies.append(loop.create_task(dispatcher.on_change({"death": "gone"}))))
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(5)
            return resolved(self, fields)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(Sources, "resolved", slow)
        job_id = await submit(page)
        await asyncio.gather(*dies)
        await service.dispatcher.ends.close()
        assert service.dispatcher.running is None
        assert (await service.job(job_id)).status == "failed"

    run_async(scene())


def test_a_job_that_is_refused_says_why_also_when_the_process_dies_meanwhile(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, dispatcher = page.service, page.service.dispatcher

    async def scene() -> None:
        job_id = await submit(page)  # one whose process is not ready: it waits
        assert (await service.job(job_id)).status == "queued"
        claim, dies = JobStore.claim_next, []

        def slow(self: JobStore) -> Any:
            loop.call_soon_threadsafe(lambda: dies.append(loop.create_task(dispatcher.on_change({"death": "gone"}))))
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(5)
            return claim(self)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(JobStore, "claim_next", slow)
        unloadable = RefusedError(422, "model: x cannot be loaded", "model")
        monkeypatch.setattr(dispatcher, "refusal", lambda job: unloadable)
        await service.dispatcher.dispatch()
        await asyncio.gather(*dies)
        await service.dispatcher.ends.close()
        assert (await service.job(job_id)).error == "model: x cannot be loaded"

    page.service.dispatcher.supervisor.status = FAILED
    run_async(scene())


def test_a_job_that_cannot_be_told_of_is_made_all_the_same(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async def fails(self: History, job_id: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(History, "changed", fails)
        first, second = await submit(page), await submit(page, seed=2)
        done = {"type": "done", "id": first, "file": None, "fingerprint": "f"}
        await page.service.dispatcher.on_message({"type": "described", "id": first})
        await page.service.dispatcher.on_message(done)
        assert [message["id"] for message in page.sent] == [first, second]

    run_async(scene())


def test_clips_that_killed_the_process_which_drew_them_are_not_given_to_the_next(page: Page) -> None:
    async def scene() -> None:
        service = page.service
        service.dispatcher.drawing._waiting = {"a" * 16: "crashes.flac", "b" * 16: "waits.flac"}
        service.dispatcher.supervisor.info = {"least_seconds": 0.1}
        await service.dispatcher.on_change({"death": None})
        assert [message["id"][0] for message in page.sent] == ["a", "b"]
        page.sent.clear()
        await service.dispatcher.on_change({"death": "was ended by signal 11"})
        await service.dispatcher.on_change({"death": None})
        assert [message["id"][0] for message in page.sent] == ["b"], "which has done nothing wrong"

    run_async(scene())


def test_a_request_keeps_the_model_that_it_was_checked_against(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    models, asked_of = page.service.models, []

    async def and_chooses_another(request: Any, model: str, *more: Any) -> Any:
        asked_of.append(model)
        models.chosen = "gone"
        return type("Queued", (), {"id": "a" * 16, "status": "queued"})

    monkeypatch.setattr(page.service, "submit", and_chooses_another)
    chosen = models.chosen
    answer = page.client.post("/api/jobs", json=REQUEST | {"schedule": "linear", "rho": 3.0})
    assert answer.status_code == 201 and "rho" in answer.json()["notes"][0] and asked_of == [chosen]


def test_grids_are_made_with_the_weights_that_were_chosen(page: Page) -> None:
    unet = page.service.folder.path / "unet"
    unet.mkdir()
    for name in ("unet", "ema_0.100"):
        (unet / f"{name}.safetensors").write_bytes(b"x")
    requests = page.service.requests
    requests.choose("ema_0.100")
    axis = {"key": "seed", "values": [1, 2]}
    cells = cells_of(GridOrder.from_json({"request": REQUEST, "axes": [axis]}), requests)
    assert [cell.request.ema for cell in cells] == ["ema_0.100"] * 2
    own = GridOrder.from_json({"request": REQUEST, "axes": [{"key": "ema", "values": ["raw", None]}]})
    assert [cell.request.ema for cell in cells_of(own, requests)] == ["raw", None], "what is said wins"


def test_a_grid_of_a_model_without_games_names_none(page: Page) -> None:
    requests = page.service.requests
    requests.asks_for_games = False
    order = GridOrder.from_json({"request": {"seed": 1}, "axes": [{"key": "steps", "values": [10, 20]}]})
    assert [cell.request.games for cell in cells_of(order, requests)] == [{}, {}]


def test_a_process_that_cannot_be_started_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    async def on_change(change: dict[str, Any]) -> None:
        told.append((supervisor.status, change["death"]))
        if len(told) == 2:
            raise sqlite3.OperationalError("disk I/O error")  # which must not end the watch either

    async def on_message(message: dict[str, Any]) -> None:
        pass

    async def start(*words: Any, **how: Any) -> Any:
        raise OSError(12, "Cannot allocate memory")

    supervisor = Supervisor(tmp_path, tmp_path, "x:y", on_message=on_message, on_change=on_change)
    monkeypatch.setattr(supervising, "MAX_BACK_OFF", 0.01)
    monkeypatch.setattr(supervising.asyncio, "create_subprocess_exec", start)

    async def scene() -> None:
        task = asyncio.create_task(supervisor.run())
        async with asyncio.timeout(10):
            while len(told) < 4 and not task.done():
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_async(scene())
    assert len(told) >= 4 and all(status == FAILED and "allocate" in death for status, death in told)
