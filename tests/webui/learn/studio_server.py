"""`python -m tests.webui.learn.studio_server FOLDER PORT`: the server with music to make tiny generators of.

Below FOLDER lie `music` (the root), `presets`, `work`, and what the page itself needs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from dualdiffusion.command_line import run_command
from tests.webui.conftest import Server, free_port
from tests.webui.serve import make_model
from webui.__main__ import bind, serve
from webui.settings import Settings

SAMPLE_RATE = 8000
SAMPLES = {"vae": 480, "unet": 48}  # of the trainings: that of the VAE can be seen to run
NEW = {"name": "mine", "root": 0, "path": "snes", "preset": "tiny"}  # a generator of this music


def write_track(path: Path, seed: int, seconds: float = 6.0) -> Path:
    """Tones that come and go, in stereo."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * f * time) * np.exp(-3 * (time % (1 / 3))) for f in random.uniform(150, 1500, 3))
    sound = 0.15 * tones[:, None] * random.uniform(0.5, 1, 2) + 0.003 * random.standard_normal((len(time), 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, SAMPLE_RATE)
    return path


def make_music(folder: Path) -> Path:
    """Two games in `folder/music/snes`, a damaged file, and a text."""
    for number, game in enumerate(("Castle", "Cave")):
        for track in range(3):
            write_track(folder / "music" / "snes" / game / f"track {track}.flac", 10 * number + track)
    (folder / "music" / "snes" / "Cave" / "broken.wav").write_bytes(b"RIFF, and then nothing")
    (folder / "music" / "snes" / "Cave" / "notes.txt").write_text("what we heard")
    (folder / "music" / "empty").mkdir()
    return folder / "music"


def make_presets(folder: Path) -> Path:
    """A preset of the smallest networks, trained for a moment, and one that no machine has room for."""
    from tests.tiny import write_train_config

    presets = folder / "presets"
    presets.mkdir()
    dataset = {
        "source": "music",
        "dataset": "dataset",
        "processes": 1,
        "steps": [
            {"type": "scan.Scan"},
            {"type": "convert.Convert", "sample_rate": SAMPLE_RATE},
            {"type": "filter.Filter", "min_seconds": 2},
            {"type": "split.Split", "validation_tracks": 1},
            {"type": "encode.Encode", "model": "model", "offsets": 1},
            {"type": "describe.Describe"},
        ],
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))
    parts = {
        name: str(
            write_train_config(folder / f"{name}.json", name, Path("model"), Path("dataset"), total_samples=samples)
        )
        for name, samples in SAMPLES.items()
    }
    preset = {"title": "Tiny", "description": "For tests.", "rank": 1, "dataset": str(folder / "dataset.json"), **parts}
    (presets / "tiny.json").write_text(json.dumps(preset))
    (presets / "large.json").write_text(json.dumps({**preset, "title": "Large", "rank": 2, "needs_gpu": True}))
    return presets


class StudioServer(Server):
    """The server in a process of its own; `Server` with music."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_music(folder)
        make_presets(folder)
        make_model(folder / "demo")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=120)
        self.start()

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def command(self) -> list[object]:
        """See `Server.command`."""
        return ["-m", "tests.webui.learn.studio_server", self.folder, self.port]

    def generator(self, name: str) -> dict[str, Any]:
        return self.client.get(f"/api/learn/generators/{name}").json()


def settings_of(folder: Path, port: int = 0) -> Settings:
    """The settings of such a server."""
    return Settings(
        folder / "demo",
        folder / "outputs",
        port=port,
        loader="tests.webui.fake_model:load",
        cpu_loader="tests.webui.fake_model:load",
        music=(folder / "music",),
        work=folder / "work",
        models=folder / "models",
        presets=folder / "presets",
    )


def main() -> None:
    """Serves until killed."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    settings = settings_of(folder, port)
    with bind(settings.host, settings.port) as listener:
        serve(settings, listener)


if __name__ == "__main__":
    run_command(main)
