"""Latents: encoded in tiles as if in one piece, by a real command, and with all that a reader must know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dataset_processing.steps import encode
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.data.latent_crops import read_header
from dualdiffusion.model_folder import ModelFolder
from dualdiffusion.module import load_module
from tests import tiny


@pytest.fixture(scope="module")
def parts(model: ModelFolder) -> tuple:
    return load_module(model, "format"), load_module(model, "vae")


def test_tiles_fit_together_without_a_seam(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = 0.1 * torch.randn(2, 64 * 1003, generator=generator)
    with torch.inference_mode():
        whole = encode.encode_tiled(*parts, samples, Conditioning())
        monkeypatch.setattr(encode, "TILE_FRAMES", 256)
        tiled = encode.encode_tiled(*parts, samples, Conditioning())
    assert whole.shape == (4, 4, 1003 // 8)
    assert torch.allclose(whole, tiled, atol=1e-4)


def test_a_clip_shorter_than_a_column_has_no_columns(parts: tuple) -> None:
    assert encode.encode_tiled(*parts, torch.zeros(2, 64), Conditioning()).shape == (4, 4, 0)


def test_the_command_writes_latents_that_say_what_they_are(model: ModelFolder, tmp_path: Path) -> None:
    dataset = tiny.make_dataset(tmp_path / "music", tracks=1, seconds=6.0)
    config = {
        "source": str(dataset / "audio"),
        "dataset": str(tmp_path / "dataset"),
        "processes": 1,
        "steps": [
            {"type": "scan.Scan"},
            {"type": "convert.Convert", "sample_rate": tiny.SAMPLE_RATE},
            {"type": "filter.Filter"},
            {"type": "split.Split"},
            {"type": "encode.Encode", "model": str(model.path), "offsets": 2, "mirror": True, "device": "cpu"},
        ],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = tiny.run("-m", "dataset_processing", "run", tmp_path / "config.json")
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in (tmp_path / "dataset" / "train.jsonl").read_text().splitlines()]
    assert len(records) == 3
    path = tmp_path / "dataset" / records[0]["latents_file_name"]
    header, latents = read_header(path), load_file(path)["latents"]
    assert path.parts[-3] == header.vae_fingerprint == model.fingerprint("vae")
    assert latents.dtype == torch.float16
    assert latents.shape == (4, 4, 4, header.valid_length)
    assert [(v["offset"], v["mirrored"]) for v in header.variations] == [
        (0, False),
        (256, False),
        (0, True),
        (256, True),
    ]
    assert not torch.equal(latents[0], latents[1])
    written = path.stat().st_mtime_ns
    again = tiny.run("-m", "dataset_processing", "run", tmp_path / "config.json")
    assert again.returncode == 0
    assert path.stat().st_mtime_ns == written  # nothing was encoded twice
