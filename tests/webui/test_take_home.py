"""Clips leave in every format, at the level asked for, with loop points where engines look for them."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import mutagen
import mutagen.flac
import numpy
import pytest
import soundfile

from dualdiffusion.audio import LoudnessMeter
from tests.webui.conftest import Server, until
from webui.exchange.outgoing import work


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
