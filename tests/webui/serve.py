"""The server with the fake model: `... tests.webui.serve MODEL OUTPUTS PORT [HOST TOKEN PREFIX MODELS]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dualdiffusion.command_line import run_command
from webui.__main__ import bind, serve
from webui.settings import Settings

GAMES = ["Castle", "Cave", "Sky Ruins", "Neon Harbor", "Moss", "Clockwork"]


def make_model(folder: Path, games: list[str] | None = None, recommended: dict[str, Any] | None = None) -> Path:
    """A model folder with labels and a recommendation only, which is all that the web process reads."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = [{"id": i, "name": name, "tracks": 8 + i} for i, name in enumerate(games or GAMES)]
    (folder / "labels.json").write_text(json.dumps({"games": labels}))
    if recommended is not None:
        (folder / "request.json").write_text(json.dumps(recommended))
    return folder


def main() -> None:
    """Serves until killed."""
    model, outputs, port, *rest = sys.argv[1:]
    host, token, root_path, models = (*rest, "", "", "", "")[:4]
    settings = Settings(
        Path(model),
        Path(outputs),
        host or "127.0.0.1",
        int(port),
        token or None,
        "tests.webui.fake_model:load",
        queue_limit=8,
        models=Path(models) if models else None,
        root_path=root_path,
    )
    with bind(settings.host, settings.port) as listener:
        serve(settings, listener)


if __name__ == "__main__":
    run_command(main)
