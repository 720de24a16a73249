"""Audio from visitors: what is none is refused in one line, what is some is kept as the server's own, and no more."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mutagen.flac
import numpy
import pytest
import soundfile

from dualdiffusion.errors import UserError
from tests.webui.conftest import REQUEST, Server
from webui.exchange import incoming, uploads
from webui.history.outputs import OutputFolder

RAW = {"Content-Type": "application/octet-stream"}


def sound(kind: str = "WAV", seconds: float = 1.0, rate: int = 22050, channels: int = 1) -> bytes:
    """A tone as a whole file."""
    tone = 0.3 * numpy.sin(440 * 2 * numpy.pi * numpy.arange(int(seconds * rate)) / rate)
    buffer = io.BytesIO()
    soundfile.write(buffer, numpy.stack([tone] * channels, axis=1), rate, format=kind)
    return buffer.getvalue()


def ours(folder: Path, **changes: Any) -> bytes:
    """A clip as `python -m sampling` writes it, as far as its tags go."""
    path = folder / "ours.flac"
    path.write_bytes(sound("FLAC", rate=32000, channels=2))
    file = mutagen.flac.FLAC(path)
    file["dualdiffusion"] = json.dumps({"version": 1, "request": REQUEST | changes, "model": "m", "fingerprint": "f"})
    file.save()
    return path.read_bytes()


def send(server: Server, data: bytes, name: str = "a.wav", **headers: str) -> httpx.Response:
    return server.client.post("/api/uploads", params={"name": name}, content=data, headers=RAW | headers, timeout=60)


def left(server: Server) -> set[str]:
    return {path.name for path in (server.outputs / ".webui" / "uploads").iterdir()}


@pytest.mark.parametrize(
    ("kind", "name"), [("WAV", "theme.wav"), ("OGG", "wrong.mp3"), ("MP3", "theme"), ("FLAC", "t")]
)
def test_any_audio_becomes_a_source_by_its_content(server: Server, kind: str, name: str) -> None:
    told = send(server, sound(kind), name).json()
    assert told["name"] == name and told["seconds"] == pytest.approx(1, abs=0.1) and told["settings"] is None
    assert max(told["peaks"]) == pytest.approx(0.3, abs=0.05)
    audio = server.client.get(f"/api/uploads/{told['id']}/audio")
    assert soundfile.info(io.BytesIO(audio.content)).subtype == "PCM_24"
    assert server.client.get("/api/uploads").json()["uploads"][0]["id"] == told["id"]
    if kind == "WAV":
        job = server.job(server.submit(source={"upload": told["id"], "strength": 0.4}))
        assert job["request"]["source"]["upload"] == told["id"] and "path" not in job["request"]["source"]
        assert job["request"]["seconds"] == pytest.approx(1)
    assert server.client.delete(f"/api/uploads/{told['id']}").status_code == 200
    assert not [name for name in left(server) if told["id"] in name]


def test_a_clip_of_ours_brings_its_whole_request(server: Server, tmp_path: Path) -> None:
    changes = {"loop": True, "games_end": {"Moss": 1.0}, "guidance": {"rescale": 0.5}, "sigma_max": 60.0, "ema": "raw"}
    told = send(server, ours(tmp_path, **changes)).json()
    assert told["settings"]["request"] == REQUEST | changes


def test_numbers_that_json_does_not_have_are_left_out_of_settings(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(ours(tmp_path, sigma_max=float("nan"), guidance={"interval": [0.0, 1e999]}))
    request = incoming.settings_in(tmp_path / "a.flac")["request"]
    assert (request["sigma_max"], request["guidance"]) == (None, {"interval": [0.0, None]})


def test_where_a_clip_was_made_from_a_file_only_what_was_brought_in_is_named(tmp_path: Path) -> None:
    outputs = OutputFolder(tmp_path)
    kept = uploads.Uploads(outputs)
    known = kept.flac("0" * 16)
    known.write_bytes(b"x")

    def shown(**request: Any) -> dict:
        found = {"seconds": 1.0, "peaks": [], "settings": {"request": request}}
        return kept.add("1" * 16, "x", found)["settings"]["request"]

    # What the file was for is left out with it.
    assert shown(source={"path": "/home/me/x.wav"}, extend_after=3.0, steps=7) == {"steps": 7}
    again = shown(source={"path": str(known), "sha256": "0" * 64, "strength": 0.2}, steps=7)
    assert again == {"source": {"upload": "0" * 16, "strength": 0.2}, "steps": 7}


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil.wav", sound())
    return buffer.getvalue()


BAD = {
    "text": (b"not audio at all\n" * 100, "no audio"),
    "a zip": (zipped(), "no audio"),
    "HTML": (b"<script>alert(1)</script>" * 50, "no audio"),
    "half a FLAC": (sound("FLAC")[:2000], "no audio"),
    "a header alone": (sound("WAV")[:44], "no audio"),
    "no numbers": (b"", "no numbers"),
    "an endless rate": (b"", "sample rate"),
}
NOT_A_NUMBER = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + 8000, b"WAVE", b"fmt ", 16, 3, 1, 8000, 32000, 4, 32, b"data", 8000
)
BAD["no numbers"] = (NOT_A_NUMBER + struct.pack("<2000f", *[float("nan")] * 2000), "no numbers")
BAD["an endless rate"] = (sound(rate=384_000, seconds=0.1), "sample rate")


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_audio_is_refused_and_nothing_is_written(tmp_path: Path, what: str) -> None:
    data, words = BAD[what]
    path, target = tmp_path / "raw", tmp_path / "out.flac"
    path.write_bytes(data)
    with pytest.raises(UserError, match=words):
        incoming.work({"path": str(path), "flac": str(target)})
    assert list(tmp_path.iterdir()) == [path]


def test_a_refusal_is_one_line_without_a_path_and_leaves_nothing(server: Server) -> None:
    before = left(server)
    for data, words in ((b"", "is empty"), BAD["a zip"]):
        answer = send(server, data, name="x.wav")
        error = answer.json()["error"]
        assert answer.status_code == 422 and error.startswith("x.wav ") and words in error
        assert "\n" not in error and "/" not in error
    assert left(server) == before


NAMES = {
    "../../../etc/passwd": "passwd",
    "..\\..\\x.wav": "x.wav",
    "a.flac\0.zip": "a.flac .zip",
    "C:\\CON": "CON",
    "": "the file",
    "..": "..",
    "<b>\u202e&.wav": "<b> &.wav",
    "n" * 5000: "n" * 100,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_label_and_no_path(name: str) -> None:
    assert uploads.label_of(name) == NAMES[name]


def test_a_hostile_name_writes_nowhere_else(server: Server) -> None:
    before = {path for path in server.outputs.parent.rglob("*") if path.is_file()}
    told = send(server, sound(), name="../../../evil.zip/..\\x").json()
    new = {path for path in server.outputs.parent.rglob("*") if path.is_file()} - before
    assert {path.name for path in new} == {f"{told['id']}.flac", f"{told['id']}.json"}
    assert send(server, sound(), name="n" * 20_000).status_code == 422


def test_too_large_is_told_and_dropped_on_its_way(server: Server) -> None:
    before = left(server)

    def parts() -> Iterator[bytes]:
        for _ in range(uploads.MAX_FILE // 2**20 + 3):
            yield bytes(2**20)

    answer = server.client.post("/api/uploads", content=parts(), headers=RAW, timeout=60)
    assert answer.status_code == 413 and "64 MiB" in answer.json()["error"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = "POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n\r\n"
        connection.sendall(head.format(10**12).encode())
        assert b" 413 " in connection.recv(4096)
    assert left(server) == before


def test_a_small_file_that_holds_a_day_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb: silence packs a thousandfold."""
    monkeypatch.setattr(incoming, "MAX_SECONDS", 2.0)
    path, target = tmp_path / "bomb.flac", tmp_path / "out.flac"
    soundfile.write(path, numpy.zeros(8000 * 3600, numpy.int16), 8000)
    assert path.stat().st_size < 300_000
    told = incoming.work({"path": str(path), "flac": str(target)})
    assert told["seconds"] == 2 and told["cut"] and soundfile.info(target).frames == 16000


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 400),
    ],
)
def test_other_sites_bring_nothing_in(server: Server, headers: dict[str, str], status: int) -> None:
    before = left(server)
    assert send(server, sound(), **headers).status_code == status
    assert left(server) == before


@pytest.mark.parametrize(
    "source", [{"path": "/etc/passwd"}, {"upload": "../x"}, {"upload": "0" * 16}, {}, {"upload": 5}]
)
def test_a_source_is_something_that_was_brought_in_and_nothing_else(server: Server, source: dict) -> None:
    answer = server.client.post("/api/jobs", json=REQUEST | {"source": source})
    assert answer.status_code == 422 and answer.json()["error"].startswith("source")
    for path in ("..%2f..%2fhistory", "0" * 16, "x"):
        assert server.client.get(f"/api/uploads/{path}/audio").status_code == 404


def test_old_ones_go_but_for_those_that_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "KEPT", 2)
    outputs = OutputFolder(tmp_path)
    outputs.create()
    kept = uploads.Uploads(outputs)
    found = {"seconds": 1.0, "settings": None, "peaks": []}
    for number in range(4):
        upload_id = f"{number:016x}"
        kept.flac(upload_id).write_bytes(b"x")
        os.utime(kept.flac(upload_id), (number, number))
        kept.add(upload_id, "x", found)
    kept.prune({"0" * 16, None})
    assert {about["id"] for about in kept.listed()} == {f"{number:016x}" for number in (0, 2, 3)}


def test_nonsense_in_the_folder_hides_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "KEPT", 1)
    kept = uploads.Uploads(OutputFolder(tmp_path))
    for number, created in enumerate(("soon", 1e999, 7.0, 5.0)):
        upload_id = f"{number:016x}"
        kept.flac(upload_id).write_bytes(b"x")
        os.utime(kept.flac(upload_id), (number, number))
        (kept.folder / f"{upload_id}.json").write_text(json.dumps({"id": upload_id, "created": created}))
    (kept.folder / ".tmp-9.json").write_text(json.dumps({"id": ".tmp-9", "created": 9}))
    (kept.folder / ".tmp-9.flac").write_bytes(b"being written")
    (kept.folder / ("e" * 16 + ".flac")).symlink_to("gone meanwhile")
    assert [about["created"] for about in kept.listed()] == [7.0, 5.0, "soon", None]
    kept.prune({None})
    assert [about["created"] for about in kept.listed()] == [5.0]
    assert (kept.folder / ".tmp-9.flac").exists()
