"""Cases of `tests/WILD.md` that concern the page."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.webui.conftest import REQUEST
from tests.webui.serve import make_model
from webui.server import STATIC, create_app
from webui.settings import Settings


@pytest.fixture
def system_without_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Windows whose registry calls all text, or a container without a list of types: starlette then says text."""
    for name in ("starlette.responses.guess_type", "starlette.staticfiles.guess_type"):
        monkeypatch.setattr(name, lambda *_, **__: ("text/plain", None), raising=False)


@pytest.mark.parametrize(
    ("file", "kind"), [("a.flac", "audio/flac"), ('ゲーム "1".ogg', "audio/ogg"), ("a.wav", "audio/wav")]
)
def test_a_clip_is_audio_whatever_the_system_knows_of_types(
    tmp_path: Path, system_without_types: None, file: str, kind: str
) -> None:
    app = create_app(Settings(make_model(tmp_path / "model"), tmp_path / "outputs"))
    service = app.state.service
    (tmp_path / "outputs" / file).write_bytes(b"fLaC")
    job, _ = service.store.add(REQUEST, limit=1)
    service.store.claim_next()
    assert service.store.finish(job.id, "done", file=file)
    answer = _ask(app, f"/api/jobs/{job.id}/audio?download=1")
    assert answer.status_code == 200 and answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"].isascii()


@pytest.mark.parametrize("file", sorted(path.name for path in (STATIC / "js").glob("*.js"))[:2])
def test_modules_are_javascript_whatever_the_system_knows_of_types(
    tmp_path: Path, system_without_types: None, file: str
) -> None:
    app = create_app(Settings(make_model(tmp_path / "model"), tmp_path / "outputs"))
    answer = _ask(app, f"/static/js/{file}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_text_that_is_none_is_refused_by_its_field(tmp_path: Path) -> None:
    app = create_app(Settings(make_model(tmp_path / "model"), tmp_path / "outputs"))
    answer = _ask(app, "/api/jobs", rb'{"games": {"Castle\ud800": 1}}')
    assert answer.status_code == 422 and "is not text in UTF-8" in answer.json()["error"]


def _ask(app: FastAPI, path: str, body: bytes | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            json = {"Content-Type": "application/json"}
            return await (client.get(path) if body is None else client.post(path, content=body, headers=json))

    return asyncio.run(ask())
