"""Commands whose answer the page waits for: one that fails, or that another one ends, is not the end of asking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.commands import ROOT
from tests.webui.conftest import run_async
from webui.http.refusal import RefusedError
from webui.learn import commands, forecast, survey
from webui.learn.forecast import Forecast
from webui.learn.presets import load_presets
from webui.learn.roots import Place
from webui.learn.survey import Surveys

RUN = {"module": "vae", "need": 1, "fits": True, "micro_batch_size": None}


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), RefusedError(422, "no"), KeyError("device")])
def test_a_forecast_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    presets, failures = load_presets(ROOT / "config" / "generators"), [error, error]

    async def answer(words: Sequence[str]) -> Any:
        if failures:
            raise failures.pop()
        return {"device": "cpu", "name": "it", "room": 2, "runs": [RUN] * 2 * len(presets)}

    async def scene() -> None:
        asked = Forecast(presets, Path("nowhere"))
        with pytest.raises(type(error)):
            await asked.device()
        assert asked.state() == {"status": "running"}
        await asyncio.sleep(0)
        with pytest.raises(type(error)):
            asked.state()
        assert await asked.device() == "cpu" and asked.state()["status"] == "done"

    monkeypatch.setattr(forecast, "answer_of", answer)
    run_async(scene())


def test_a_command_that_cannot_be_started_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(*words: Any, **how: Any) -> Any:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(commands.asyncio, "create_subprocess_exec", start)
    with pytest.raises(RefusedError, match="started now: Cannot allocate memory"):
        run_async(commands.answer_of(["-m", "train"]))


def test_a_folder_that_is_asked_for_again_while_another_one_ends_its_survey_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    is_free = asyncio.Event()

    async def answer(words: Sequence[str]) -> Any:
        await is_free.wait()
        return json.loads('{"hours": 1}')

    async def scene() -> None:
        surveys, (one, other) = Surveys(), (Place(0, "one"), Place(0, "other"))
        surveys.start(one, tmp_path, "config")
        await asyncio.sleep(0)  # it waits for its command
        for place in (other, one):
            surveys.start(place, tmp_path, "config")
        await asyncio.sleep(0)
        assert surveys.state(one)["status"] == "running"
        is_free.set()
        while surveys.state(one)["status"] == "running":
            await asyncio.sleep(0)
        assert surveys.state(one) == {"status": "done", "error": None, "result": {"hours": 1}}
        with pytest.raises(RefusedError, match="nobody has asked"):
            surveys.state(other)

    monkeypatch.setattr(survey, "answer_of", answer)
    run_async(scene())
