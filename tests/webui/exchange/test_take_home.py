"""Clips leave in every format, at the level asked for, with loop points where engines look for them."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zipfile
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mutagen
import mutagen.flac
import numpy
import pytest
import soundfile

from dualdiffusion.audio import LoudnessMeter
from sampling.output.settings import OutputSettings
from tests.webui.conftest import Server, run_async, until
from webui.exchange import helper as helping
from webui.exchange.downloads import Downloads
from webui.exchange.outgoing import work
from webui.history.outputs import OutputFolder
from webui.http.refusal import RefusedError


def downloaded(server: Server, job: dict, **how: object) -> bytes:
    answer = server.client.get(f"/api/jobs/{job['id']}/download", params=how, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment")
    return answer.content


def chunk(data: bytes, name: bytes) -> bytes:
    """A chunk of a RIFF file, whose lengths must be right for it to be found."""
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    at = 12
    while at < len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        if data[at : at + 4] == name:
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    raise AssertionError(f"there is no {name!r}")


@pytest.fixture(scope="module")
def job(server: Server) -> dict:
    return server.wait(server.submit(), "done")


@pytest.fixture(scope="module")
def loop(server: Server) -> dict:
    return server.wait(server.submit(loop=True), "done")


def written(tmp_path: Path, loop: list | None = None, **output: object) -> bytes:
    """A clip of one second with tags, as `work` writes it."""
    path = tmp_path / "a.flac"
    tone = 0.2 * numpy.sin(440 * 2 * numpy.pi * numpy.arange(32000) / 32000)
    soundfile.write(path, numpy.stack([tone, -tone], axis=1), 32000)
    file = mutagen.flac.FLAC(path)
    file["title"], file["dualdiffusion"] = "Castle", '{"version": 1}'
    file.save()
    target = tmp_path / f"b.{output['format']}"
    assert work({"path": str(path), "target": str(target), "output": output, "loop": loop}).keys() == {"loop"}
    return target.read_bytes()


@pytest.mark.parametrize("format", ["flac", "wav", "mp3", "ogg"])
def test_every_format_holds_the_clip_and_what_made_it(tmp_path: Path, format: str) -> None:
    samples, rate = soundfile.read(io.BytesIO(written(tmp_path, format=format)))
    original, _ = soundfile.read(tmp_path / "a.flac")
    assert rate == 32000 and abs(len(samples) - 32000) <= (3000 if format == "mp3" else 0)
    assert format not in ("flac", "wav") or numpy.array_equal(samples, original)
    tags = mutagen.File(tmp_path / f"b.{format}").tags
    found = tags["TXXX:dualdiffusion"].text if format in ("wav", "mp3") else tags["dualdiffusion"]
    assert found == ['{"version": 1}']


def test_loudness_is_what_was_asked_for(tmp_path: Path) -> None:
    samples, rate = soundfile.read(
        io.BytesIO(written(tmp_path, format="flac", bits=24, loudness=-30.0)), dtype="float32"
    )
    meter = LoudnessMeter(rate, 2)
    meter.add(samples)
    assert meter.integrated() == pytest.approx(-30, abs=0.2)


def test_loop_points_stand_where_engines_look_for_them(tmp_path: Path) -> None:
    for format in ("flac", "ogg"):
        file = mutagen.File(io.BytesIO(written(tmp_path, [0.25, None], format=format)))
        assert (file["LOOPSTART"], file["LOOPLENGTH"]) == (["8000"], ["24000"])
    wav = written(tmp_path, [0.25, 0.5], format="wav")
    words = struct.unpack("<15I", chunk(wav, b"smpl"))
    assert words[2] == round(1e9 / 32000) and words[7] == 1 and words[11:13] == (8000, 8000 + 16000 - 1)
    assert len(soundfile.read(io.BytesIO(wav))[0]) == 32000
    assert b"LOOPSTART" not in written(tmp_path, [0, None], format="mp3")


def test_a_loop_tells_that_it_is_one(server: Server, loop: dict, job: dict) -> None:
    file = mutagen.flac.FLAC(io.BytesIO(downloaded(server, loop)))
    assert (file["LOOPSTART"], file["LOOPLENGTH"]) == (["0"], ["64000"])
    assert "LOOPSTART" not in mutagen.flac.FLAC(io.BytesIO(downloaded(server, loop, loop=False)))
    assert b"smpl" not in downloaded(server, job, format="wav")
    aside = server.outputs / ".webui" / "downloads"
    until(lambda: not list(aside.iterdir()), "what was sent is thrown away")


def test_an_extended_loop_has_an_intro(server: Server, loop: dict, job: dict) -> None:
    source = {"source": {"job": loop["id"]}, "extend_before": 1.5}
    with_intro = server.wait(server.submit(**source), "done", timeout=30)
    file = mutagen.flac.FLAC(io.BytesIO(downloaded(server, with_intro)))
    assert (file["LOOPSTART"], file["LOOPLENGTH"]) == (["48000"], ["64000"])
    plain = server.wait(server.submit(source={"job": job["id"]}, extend_before=1.5), "done")
    assert "LOOPSTART" not in mutagen.flac.FLAC(io.BytesIO(downloaded(server, plain)))


def test_many_clips_are_one_zip(server: Server, loop: dict, job: dict) -> None:
    ids = ",".join([job["id"], loop["id"], job["id"]])
    answer = server.client.get("/api/download", params={"ids": ids, "format": "wav"}, timeout=60)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(f"{Path(each['file']).stem}.wav" for each in (job, loop))
        assert all(len(soundfile.read(io.BytesIO(archive.read(name)))[0]) == 64000 for name in archive.namelist())


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("format=exe", 422),
        ("format=mp3&bits=24", 422),
        ("loudness=5", 422),
        ("loudness=nan", 422),
        ("bits=x", 422),
        ("true_peak=1e999", 422),
    ],
)
def test_odd_wishes_are_refused(server: Server, job: dict, query: str, status: int) -> None:
    answer = server.client.get(f"/api/jobs/{job['id']}/download?{query}")
    assert answer.status_code == status and answer.json()["error"]


def test_only_our_page_makes_the_machine_work(server: Server, job: dict) -> None:
    for site in ("cross-site", "same-site"):
        answer = server.client.get(f"/api/jobs/{job['id']}/download", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403
    for ids, status in (("", 422), ("../x", 422), ("0" * 16, 404), (",".join(["0" * 16] * 300), 422)):
        assert server.client.get("/api/download", params={"ids": ids}).status_code == status
    failed = server.submit(steps=300)
    assert server.client.get(f"/api/jobs/{failed}/download").status_code == 404
    server.client.delete(f"/api/jobs/{failed}")


class Slow:
    """A process that answers the first job too late, and the others as it should: with the job that it was given."""

    returncode = None
    pid = 0

    def __init__(self, is_slow: list[bool]) -> None:
        self._is_slow, self._answers = is_slow, asyncio.Queue()
        self.stdin = self.stdout = self

    def write(self, line: bytes) -> None:
        target = Path(json.loads(line)["target"])
        if self._is_slow and self._is_slow.pop():
            asyncio.get_running_loop().call_later(0.1, self._answers.put_nowait, target)
        else:
            self._answers.put_nowait(target)

    async def drain(self) -> None:
        pass

    async def readline(self) -> bytes:
        (await self._answers.get()).write_bytes(b"sound")
        return b'{"done": {}}'


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Downloads:
    outputs = OutputFolder(tmp_path)
    outputs.create()
    (tmp_path / "a.flac").write_bytes(b"x")
    service = SimpleNamespace(outputs=outputs, history=SimpleNamespace(audio=outputs.audio_of))
    downloads, slow = Downloads(service), [True]
    downloads.helpers._places = places = asyncio.Semaphore(2)

    @asynccontextmanager
    async def start() -> Any:
        async with places:
            yield helping.Helper(Slow(slow))  # type: ignore[arg-type]

    monkeypatch.setattr(downloads.helpers, "start", start)
    monkeypatch.setattr("webui.exchange.downloads.PATIENCE", 0.05)
    return downloads


CLIP = SimpleNamespace(id="a" * 16, file="a.flac", binned=None, status="done", request={})


def test_a_clip_that_takes_too_long_spoils_no_other_of_its_zip(downloads: Downloads) -> None:
    async def scene() -> bytes:
        return b"".join([piece async for piece in downloads.zipped([CLIP] * 3, OutputSettings(), loop=False)])

    with zipfile.ZipFile(io.BytesIO(run_async(scene()))) as archive:
        assert {name: archive.read(name)[:5] for name in archive.namelist()} == {
            "a.txt": b"this ", "a.flac": b"sound", "a (2).flac": b"sound",
        }  # fmt: skip


def test_visitors_who_do_not_go_on_reading_keep_nobody_from_a_download(downloads: Downloads) -> None:
    async def scene() -> None:
        with pytest.raises(RefusedError, match="longer"):
            await downloads.written(CLIP, OutputSettings(), loop=False)
        stalled = [downloads.zipped([CLIP], OutputSettings(), loop=False) for _ in range(2)]
        for each in stalled:
            await anext(each)
        async with asyncio.timeout(5):
            assert (await downloads.written(CLIP, OutputSettings(), loop=False)).is_file()
        for each in stalled:
            await each.aclose()

    run_async(scene())
