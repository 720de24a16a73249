"""The API's description: every route stands in it, and takes the example that it gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from tests.webui.serve import make_model
from webui.http.openapi import EXAMPLE_ID, SCHEMAS
from webui.learn import survey
from webui.server import create_app
from webui.settings import Settings

CHANGING = {"post", "patch", "delete"}
UNASKED = ("/api/events", "/api/learn/presets", "/api/learn/surveys")  # no HTTP; a command; only after a POST


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The application without its model's process, whose games and recommendation are its own."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "music").mkdir()
    model = make_model(folder / "mine", ["Volcano"], {"steps": 11})
    settings = Settings(model, folder / "outputs", music=(folder / "music",), work=folder / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "answer_of", nothing)
        yield TestClient(create_app(settings), base_url="http://127.0.0.1:7860")


async def nothing(words: Any) -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    text = client.get("/api/openapi.json").text
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def body_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    return operation.get("requestBody", {}).get("content", {}).get("application/json")


def test_every_route_is_described_and_every_reference_leads_somewhere(
    client: TestClient, document: dict[str, Any]
) -> None:
    routes = [route for route in client.app.routes if isinstance(route, APIRoute) and route.path != "/"]
    expected = {(method.lower(), route.path) for route in routes for method in route.methods - {"HEAD"}}
    assert {(method, path) for method, path, _ in operations(document)} == expected
    assert all(operation["summary"].endswith(".") for _, _, operation in operations(document))
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    named = {word.removeprefix(SCHEMAS) for word in words_in(document) if word.startswith(SCHEMAS)}
    assert {"Refusal", "Guidance", "GridAxis"} <= named <= set(document["components"]["schemas"])


def words_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from words_in(part)
    elif isinstance(value, str):
        yield value


def test_the_example_of_a_request_is_for_the_model_that_plays(document: dict[str, Any]) -> None:
    body = body_of(document["paths"]["/api/jobs"]["post"])
    assert body["example"] == {"games": {"Volcano": 0.7}, "seed": 0, "seconds": 8.0, "steps": 11, "cfg_scale": 2.0}
    assert body["schema"]["required"] == ["games"] and "schedule" in body["schema"]["properties"]
    source = document["components"]["schemas"]["Source"]["properties"]
    assert {"job", "upload", "strength"} <= set(source) and "path" not in source


def test_every_body_that_stands_there_is_accepted(client: TestClient, document: dict[str, Any]) -> None:
    job = client.post("/api/jobs", json=body_of(document["paths"]["/api/jobs"]["post"])["example"]).json()["id"]
    preset = client.post("/api/presets", json={"name": "Hers", "request": {}}).json()["id"]
    places = {"{job_id}": job, "{preset_id}": preset, "{name}": "mine"}
    tried = set()
    for method, path, operation in operations(document):
        if method in CHANGING and (body := body_of(operation)) is not None:
            for name, value in places.items():
                path = path.replace(name, value)
            answer = client.request(method, path, json=body["example"])
            asked_in_vain = path == "/api/learn/turn" and answer.status_code == 409  # nothing trains here
            assert answer.is_success or asked_in_vain, (method, path, answer.text)
            tried.add(path)
    assert len(tried) >= 12


def test_every_address_that_stands_there_is_one(client: TestClient, document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        parameters = operation.get("parameters", [])
        assert all(parameter["description"].endswith(".") for parameter in parameters), path
        if method == "get" and path not in UNASKED:
            answer = asked(client, path, parameters)
            # There is no such clip, but one could have this name.
            is_there = not ({EXAMPLE_ID, "mine"} & {parameter.get("example") for parameter in parameters})
            assert answer.is_success or (answer.status_code == 404 and not is_there), (path, answer.text)


def asked(client: TestClient, path: str, parameters: list[dict[str, Any]]) -> httpx.Response:
    examples = {(each["in"], each["name"]): each["example"] for each in parameters if "example" in each}
    path = path.format(**{name: value for (place, name), value in examples.items() if place == "path"})
    return client.get(path, params={name: value for (place, name), value in examples.items() if place == "query"})


def test_below_a_prefix_the_document_says_so(tmp_path: Path) -> None:
    settings = replace(Settings(make_model(tmp_path / "mine"), tmp_path / "outputs"), root_path="/music")
    client = TestClient(create_app(settings), base_url="http://127.0.0.1:7860")
    assert client.get("/music/api/openapi.json").json()["servers"] == [{"url": "/music"}]
