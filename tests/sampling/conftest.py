"""`python -m sampling` as tests call it."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `python -m sampling ...` in this process, which needs no seconds to import torch."""

    def call(*arguments: object) -> CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["sampling", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            runpy.run_module("sampling", run_name="__main__")
        return CompletedProcess(words, exit.value.code, *capfd.readouterr())

    return call
