"""The page below a path prefix, behind a proxy; and the methods that its addresses know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.webui.conftest import Server, until
from tests.webui.page.test_changing_world import BROWSER, Visitor
from tests.webui.proxy import Proxy


@BROWSER
@pytest.mark.parametrize(
    ("root_path", "strip", "host"),
    [("", True, None), ("/music", True, None), ("/music", False, None), ("music/", True, "127.0.0.1:{port}")],
    ids=["nothing said", "said, stripped", "said, kept", "another Host header"],
)
def test_the_page_works_below_a_prefix(
    chromium: Any, tmp_path: Path, root_path: str, strip: bool, host: str | None
) -> None:
    server = Server(tmp_path, extra=["", "a long secret", root_path])
    server.client.headers["Authorization"] = "Bearer a long secret"
    proxy = Proxy(server.port, prefix="/music", strip=strip, host=host and host.format(port=server.port))
    visit = Visitor(chromium, server, f"{proxy.url}/?token=a%20long%20secret")
    page = visit.page
    assert page.url == f"{proxy.url}/"
    until(lambda: proxy.sockets == 1 or host, "a socket")
    assert {cookie["path"] for cookie in visit.context.cookies()} == {"/music"}
    visit.quick(seconds=2)
    page.click("#generate")
    visit.wait_for_cards(1)
    until(lambda: page.locator("#dock-play").get_attribute("aria-label") == "Pause", "it plays")
    until(lambda: page.locator(".spectrogram").evaluate("i => i.naturalWidth > 0"), "its picture")
    with page.expect_download() as download:
        page.locator(".download").click()
    assert Path(download.value.path()).read_bytes().startswith(b"fLaC")
    page.locator(".star").click()
    until(lambda: page.locator(".star").get_attribute("aria-pressed") == "true", "a change")
    assert all(path.startswith("/music") for path in proxy.requests)
    visit.close()
    proxy.close()
    server.close()
    assert visit.complaints == [] or host  # of a socket that a changed Host header may cost


def test_addresses_below_a_prefix(tmp_path: Path) -> None:
    server = Server(tmp_path, extra=["", "", "https://music.example/a%20b/musik"])
    try:
        client = httpx.Client(base_url=server.url)
        response = client.get("/a%20b/musik?x=1", follow_redirects=False)
        assert response.status_code == 307 and response.headers["location"] == "/a%20b/musik/?x=1"
        for path in ("/a%20b/musik/", "/"):
            assert 'src="/a%20b/musik/static/js/main.js"' in client.get(path).text
        for path in ("/a%20b/musik/static/js/main.js", "/static/js/main.js", "/a%20b/musik/api/health", "/api/health"):
            assert client.get(path).status_code == 200, path
        assert client.get("/a%20b/musik/static/../server.py").status_code == 404
        assert client.get("/a%20b/musikapi/health").status_code == 404
        public = {"Host": "music.example", "Origin": "https://music.example"}
        assert client.get("/api/health", headers=public).status_code == 200
        assert client.post("/api/check", json={}, headers=public).status_code == 200
        assert (
            client.post("/api/check", json={}, headers=public | {"Origin": "https://evil.example"}).status_code == 403
        )
        assert client.get("/api/health", headers={"Host": "evil.example"}).status_code == 400
        forwarded = {"Origin": "https://music.example", "X-Forwarded-Host": "music.example"}
        assert client.post("/api/check", json={}, headers=forwarded).status_code == 200
    finally:
        server.close()


@pytest.mark.parametrize("root_path", ["?x", "/a/../b", "/a b?", "ftp://x/y", "https:///x", "/a\\b"])
def test_a_root_path_that_is_none_is_refused(root_path: str, tmp_path: Path) -> None:
    from dualdiffusion.errors import UserError
    from webui.settings import Settings

    with pytest.raises(UserError, match="--root-path"):
        Settings(tmp_path, root_path=root_path).check()


def test_every_address_with_get_has_head(server: Server) -> None:
    job = server.wait(server.submit(), "done")
    urls = ["/", "/static/js/main.js", "/static/icon.svg", "/api/health", "/api/options", "/api/jobs?view=all"]
    urls += [f"/api/jobs/{job['id']}", job["audio"], f"{job['audio']}?download=1", job["peaks"], job["spectrogram"]]
    urls += [
        "/api/jobs/0123456789abcdef",
        "/nowhere",
        "/static/nowhere",
        "/api/events",
    ]
    # A preview that is there no more: nothing, and no error, as a page cannot know that in time.
    preview = f"/api/jobs/{job['id']}/preview"
    assert server.client.get(preview).status_code == server.client.head(preview).status_code == 204
    for url in urls:
        got, head = server.client.get(url), server.client.head(url)
        assert head.status_code == got.status_code and head.content == b"", url
        assert head.headers["content-type"] == got.headers["content-type"], url
        assert head.headers["content-length"] == str(len(got.content)) or url == "/api/health", url
    head = server.client.head(job["audio"])
    assert head.headers["accept-ranges"] == "bytes" and head.headers["content-type"] in ("audio/flac", "audio/x-flac")
    part = server.client.head(job["audio"], headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.headers["content-length"] == "100"


def test_other_methods_are_told_what_there_is(server: Server) -> None:
    cases = {
        "/": "GET, HEAD, OPTIONS",
        "/static/icon.svg": "GET, HEAD, OPTIONS",
        "/api/jobs": "GET, HEAD, OPTIONS, POST",
        "/api/jobs/0123456789abcdef": "DELETE, GET, HEAD, OPTIONS, PATCH",
        "/api/jobs/0123456789abcdef/audio": "GET, HEAD, OPTIONS",
        "/api/jobs/0123456789abcdef/bin": "OPTIONS, POST",
    }
    for path, allow in cases.items():
        asked = server.client.options(path)
        assert (asked.status_code, asked.headers.get("allow"), asked.content) == (204, allow, b""), path
        refused = server.client.put(path)
        assert (refused.status_code, refused.headers.get("allow")) == (405, allow) and refused.json()["error"], path
    assert server.client.options("/nowhere").status_code == 404
    foreign = server.client.options("/api/jobs", headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403 and "access-control-allow-origin" not in foreign.headers
