"""A server with music."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.webui.learn.studio_server import StudioServer


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """One server for all tests of a file; nothing is prepared."""
    server = StudioServer(tmp_path_factory.mktemp("studio"))
    yield server
    server.close()
