"""Fixtures of the tests of datasets."""

from __future__ import annotations

import pytest

from tests import commands


@pytest.fixture(scope="session", autouse=True)
def server() -> None:
    """Steps in the test process have workers: these fork from what forks commands, or commands would from theirs."""
    commands.start_server()
