"""Fixtures shared by all tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from dualdiffusion.model.folder import ModelFolder
from tests import tiny

# Started in the background, a run of the tests ignores Ctrl-C and a closed terminal, and so would what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
torch.set_num_threads(1)  # the test processes already share the cores


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A whole model folder with random weights; read only."""
    return tiny.make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, model: ModelFolder) -> Path:
    """A finished dataset with latents of `model`; read only."""
    path = tiny.make_dataset(tmp_path_factory.mktemp("dataset") / "tiny")
    tiny.make_latents(path, model)
    return path
