"""The benchmark of the first sound, from the page on, against the real server with the fake model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.first_sound import first_clip
from tests.webui.conftest import Server


def test_page_model_and_clip_come_in_this_order(server: Server) -> None:
    times = first_clip(server.url, 1.0)
    assert list(times) == ["page", "model", "clip"]
    assert 0 < times["page"] <= times["model"] <= times["clip"] < 60


def test_a_model_that_cannot_be_played_is_told(tmp_path: Path) -> None:
    server = Server(tmp_path, model="unusable")
    try:
        with pytest.raises(SystemExit, match="has no module 'unet'"):
            first_clip(server.url, 1.0)
    finally:
        server.close()
