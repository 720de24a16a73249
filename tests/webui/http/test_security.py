"""Hostile input and foreign origins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.webui.conftest import REQUEST, Server
from webui.http.security import Guard
from webui.settings import Settings

GAMES = '"games":{"Castle":1}'
HOSTILE = {
    "not JSON": ("{", 422, None),
    "empty": ("", 422, None),
    "a list": ("[]", 422, None),
    "deep nesting": ("[" * 100_000, 422, None),
    "no games": ("{}", 422, "games"),
    "games of no weight": ('{"games":{"Castle":0}}', 422, "games"),
    "no such game": ('{"games":{"Cavern":1}}', 422, "games"),
    "surrogate game": ('{"games":{"\\ud800":1}}', 422, "games"),
    "NaN": ('{"games":{"Castle":NaN}}', 422, "games.Castle"),
    "1e309": ('{"games":{"Castle":1e309}}', 422, "games.Castle"),
    "10000 games": (json.dumps({"games": {f"g{i}": 1 for i in range(10_000)}}), 422, "games"),
    "no length": (f'{{{GAMES},"seconds":0}}', 422, "seconds"),
    "too long": (f'{{{GAMES},"seconds":9999}}', 422, "seconds"),
    "null length": (f'{{{GAMES},"seconds":null}}', 422, "seconds"),
    "negative steps": (f'{{{GAMES},"steps":-1}}', 422, "steps"),
    "half a step": (f'{{{GAMES},"steps":1.5}}', 422, "steps"),
    "steps as text": (f'{{{GAMES},"steps":"10"}}', 422, "steps"),
    "steps as true": (f'{{{GAMES},"steps":true}}', 422, "steps"),
    "seed 2^64": (f'{{{GAMES},"seed":{2**64}}}', 422, "seed"),
    "seed of 6000 digits": (f'{{{GAMES},"seed":{"9" * 6000}}}', 422, None),
    "unknown key": (f'{{{GAMES},"sedd":1}}', 422, "sedd"),
    "unknown sampler": (f'{{{GAMES},"sampler":"__class__"}}', 422, "sampler"),
    "path as EMA": (f'{{{GAMES},"ema":"../../etc/passwd"}}', 422, "ema"),
    "path as weaker EMA": (f'{{{GAMES},"guidance":{{"weak_ema":"../x","weak_scale":2}}}}', 422, "guidance.weak_ema"),
    "folder of another model": (f'{{{GAMES},"guidance":{{"weak_model":"/","weak_scale":2}}}}', 422, "guidance"),
    "file of the machine": (f'{{{GAMES},"source":{{"path":"/etc/passwd"}}}}', 422, "source"),
    "5 MB": ('{"games":{"' + "x" * 5_000_000 + '":1}}', 413, None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bad_requests_are_refused_with_field_and_sentence(server: Server, name: str) -> None:
    body, status, field = HOSTILE[name]
    response = server.client.post("/api/jobs", content=body.encode(), headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    answer = response.json()
    assert answer["field"] == field, answer
    assert 5 < len(answer["error"]) < 700 and "\n" not in answer["error"]
    if field and field != "games":
        assert answer["error"].startswith(field)


def test_nearest_games_are_named(server: Server) -> None:
    error = server.client.post("/api/jobs", json={"games": {"Castel": 1}}).json()["error"]
    assert "unknown game 'Castel'" in error and "Castle" in error


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/jobs/..%2f..%2fhistory.sqlite3/audio"),
        ("GET", "/api/jobs/%2fetc%2fpasswd/audio"),
        ("GET", "/api/jobs/0123456789abcdef/audio"),
        ("GET", "/api/jobs/0123456789ABCDEF"),
        ("GET", "/static/../server.py"),
        ("GET", "/static/%2e%2e/server.py"),
        ("GET", "/static/..%2f..%2fpyproject.toml"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("DELETE", "/api/jobs/unknown"),
        ("POST", "/api/jobs/0123456789abcdef/retry"),
        ("GET", "/api/jobs?before=-1"),
        ("GET", f"/api/jobs?before={10**30}"),
        ("GET", "/api/jobs?limit=100000"),
        ("GET", "/api/jobs?view=x'; DROP TABLE jobs"),
        ("PUT", "/api/jobs"),
    ],
)
def test_odd_addresses_are_refused(server: Server, method: str, path: str) -> None:
    response = server.client.request(method, path)
    assert 400 <= response.status_code < 500
    assert response.json()["error"]


def test_a_file_name_in_the_database_cannot_lead_outside(tmp_path: Path) -> None:
    from webui.history.outputs import OutputFolder

    outputs = OutputFolder(tmp_path / "outputs")
    outputs.create()
    (tmp_path / "secret").write_text("x")
    (outputs.path / "link.flac").symlink_to(tmp_path / "secret")
    assert [outputs.audio(name) for name in ("../secret", str(tmp_path / "secret"), "link.flac", "", None)] == [
        None
    ] * 5


FOREIGN: list[tuple[dict[str, str], int]] = [
    ({"Host": "evil.example"}, 400),
    ({"Host": "localhost.evil.example"}, 400),
    ({"Host": "user@localhost"}, 400),
    ({"Host": ""}, 400),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://localhost:3000"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
def test_foreign_requests_queue_nothing(server: Server, headers: dict[str, str], status: int) -> None:
    def newest() -> Any:
        return [job["id"] for job in server.client.get("/api/jobs?limit=1").json()["jobs"]]

    before = newest()
    all_headers = {"Content-Type": "application/json"} | headers
    response = server.client.post("/api/jobs", content=json.dumps(REQUEST), headers=all_headers)
    assert response.status_code == status and response.json()["error"]
    assert newest() == before


def test_own_page_and_links_from_elsewhere_work(server: Server) -> None:
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    response = server.client.post("/api/jobs", json=REQUEST, headers=own)
    assert response.status_code == 201
    server.wait(response.json()["id"], "done")
    page = server.client.get("/", headers={"Sec-Fetch-Site": "cross-site", "Referer": "http://elsewhere.example"})
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_the_socket_refuses_foreign_pages(server: Server, headers: dict[str, str]) -> None:
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"ws://127.0.0.1:{server.port}/api/events", additional_headers=headers),
    ):
        pass


def test_the_token_opens_the_door(tmp_path: Path) -> None:
    server = Server(tmp_path, extra=["127.0.0.1", "a long secret"])
    try:
        client = httpx.Client(base_url=server.url)
        assert client.get("/api/health").status_code == 401
        assert client.get("/?token=wrong one").status_code == 401
        assert client.get("/api/health", headers={"Authorization": "Bearer a long secret"}).status_code == 200
        welcome = client.get("/", params={"token": "a long secret"})
        assert welcome.status_code == 303 and "HttpOnly" in welcome.headers["set-cookie"]
        assert client.get("/api/health").status_code == 200
        with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{server.port}/api/events"):
            pass
    finally:
        server.close()


def test_hosts_when_bound_to_all_addresses() -> None:
    guard = Guard(None, Settings(Path("m"), host="0.0.0.0", token="12345678"))  # type: ignore[arg-type]
    assert guard.is_own_name("192.168.1.5:7860") and guard.is_own_name("[fe80::1]:7860")
    assert not guard.is_own_name("evil.example:7860")
