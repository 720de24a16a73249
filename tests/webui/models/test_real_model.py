"""The page's server with a real model in its worker: from a posted job to a clip that tells how it was made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from dualdiffusion import audio
from dualdiffusion.model.module import save_weights
from sampling.fingerprints import model_fingerprint
from sampling.generator import Generator
from sampling.output.clips import read_settings
from sampling.request import Request
from tests import tiny
from tests.webui.conftest import Server, free_port, until

SHORT = {"games": {"Castle": 0.7, "Cave": 0.3}, "seed": 1, "seconds": 1, "steps": 3, "cfg_scale": 2}


class RealServer(Server):
    """`python -m webui` itself, with a model folder of weights."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.outputs = tiny.make_model(folder / "model"), folder / "outputs"
        self.port = free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.start()
        until(lambda: self.client.get("/api/health").json()["status"] == "ready", "the model is loaded", timeout=60)

    def command(self) -> list[object]:
        """See `Server.command`."""
        return ["-m", "webui", "--model", self.folder.path, "--outputs", self.outputs, "--port", self.port]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = RealServer(tmp_path_factory.mktemp("real"))
    yield server
    server.close()


def made(server: RealServer, **changes: object) -> tuple[dict, Path]:
    """The job as the history tells it when it is done, and its clip as a visitor downloads it."""
    response = server.client.post("/api/jobs", json=SHORT | changes)
    assert response.status_code == 201, response.text
    job = server.wait(response.json()["id"], "done", "failed", timeout=60)
    assert job["status"] == "done", job["error"]
    path = server.outputs.parent / job["file"]
    path.write_bytes(server.client.get(job["audio"]).content)
    return job, path


def test_a_posted_job_becomes_the_clip_that_the_command_line_makes(real: RealServer) -> None:
    job, path = made(real)
    request, settings = read_settings(path)
    assert request == Request.from_json(SHORT)
    assert settings["fingerprint"] == job["fingerprint"] == model_fingerprint(real.folder)
    made_here = Generator.load(real.folder, "cpu").generate(request).audio
    # The last bits of a convolution depend on the number of threads, which the model's process has for itself.
    torch.testing.assert_close(audio.read(path)[0], made_here, rtol=0, atol=2e-3)
    assert real.client.get(job["peaks"]).json()["seconds"] == 1
    assert real.client.get(job["spectrogram"]).content[8:12] == b"WEBP"


def test_history_and_tag_name_the_weights_that_a_job_asked_for(real: RealServer) -> None:
    folder = real.folder
    save_weights(folder.weights_path("unet", "ema_0.100"), tiny.make_denoiser(seed=3).state_dict())
    job, path = made(real, ema="ema_0.100")
    other = model_fingerprint(folder, Request.from_json(SHORT | {"ema": "ema_0.100"}))
    assert read_settings(path)[1]["fingerprint"] == job["fingerprint"] == other
    assert other != real.client.get("/api/health").json()["fingerprint"]


def test_regions_and_ends_of_a_clip_are_made_anew_and_the_rest_is_kept_to_the_sample(real: RealServer) -> None:
    rate = tiny.SAMPLE_RATE
    first, path = made(real)
    whole = audio.read(path)[0]
    child, path = made(real, seed=2, source={"job": first["id"]}, inpaint=[[0.25, 0.5], [0.7, 0.8]])
    kept = torch.ones(rate, dtype=torch.bool)
    for start, end in ((0.25, 0.5), (0.7, 0.8)):  # and the cross-fade of 16 ms beside each
        kept[round((start - 0.016) * rate) - 1 : round((end + 0.016) * rate) + 1] = False
    anew = audio.read(path)[0]
    assert torch.equal(anew[:, kept], whole[:, kept])
    assert not torch.equal(anew[:, 2000:4000], whole[:, 2000:4000])
    assert child["parent"] == first["id"]
    assert "path" not in child["request"]["source"], "the history and the page know no path"

    longer, path = made(real, seed=3, source={"job": child["id"]}, extend_before=0.5, extend_after=0.25)
    extended = audio.read(path)[0]
    assert longer["request"]["seconds"] == 1.75 and extended.shape[-1] == round(1.75 * rate)
    inner = slice(round(0.02 * rate), -round(0.02 * rate))
    assert torch.equal(extended[:, rate // 2 : rate // 2 + rate][:, inner], anew[:, inner])
    family = real.client.get(f"/api/jobs/{child['id']}/versions").json()["jobs"]
    assert [job["id"] for job in family] == [first["id"], child["id"], longer["id"]]


def test_a_clip_shorter_than_a_frame_is_refused_when_it_is_posted(real: RealServer) -> None:
    refused = real.client.post("/api/jobs", json=SHORT | {"seconds": 1e-6})
    assert refused.status_code == 422
    assert refused.json() == {"error": "seconds: this model makes 0.008 or more, not 1e-06", "field": "seconds"}


def test_a_job_that_the_model_refuses_fails_in_one_line_and_the_next_one_is_made(real: RealServer) -> None:
    response = real.client.post("/api/jobs", json=SHORT | {"seconds": 0.02, "loop": True})
    job = real.wait(response.json()["id"], "failed")
    assert job["error"].startswith("seconds: a loop must have 0.064 s or more")
    made(real)
