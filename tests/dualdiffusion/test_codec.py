"""The one way between audio and latents: the same for one clip, for batches, in tiles, and told a game or none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from dualdiffusion import codec as codec_module
from dualdiffusion.codec import Codec
from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from tests import tiny

COLUMN = 8 * tiny.FORMAT["hop_length"]  # samples


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    format = component_from_json("dualdiffusion.formats", tiny.FORMAT).build()
    vae = component_from_json("dualdiffusion.models", {**tiny.VAE, "label_dim": 3}).build().eval()
    for name, parameter in vae.named_parameters():
        if name.endswith("gain"):  # zero at initialisation, which would hide the games
            torch.nn.init.constant_(parameter, 0.7)
    vae.latents_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    vae.latents_std.fill_(0.5)
    return Codec(format, vae)


def sound(columns: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(2, columns * COLUMN, generator=torch.Generator().manual_seed(seed))


def test_lengths_are_counted_in_whole_columns(codec: Codec) -> None:
    assert codec.column_samples == COLUMN
    assert codec.columns_per_second == tiny.SAMPLE_RATE / COLUMN
    assert [codec.columns(samples) for samples in (-5, 0, COLUMN - 1, COLUMN, 3 * COLUMN + 1)] == [0, 0, 0, 1, 3]
    padded = codec.whole_columns(sound(1)[:, : COLUMN - 3])
    assert padded.shape == (2, COLUMN)
    assert bool((padded[:, -3:] == 0).all())
    assert torch.equal(codec.whole_columns(sound(2)), sound(2))


@torch.inference_mode()
def test_latents_are_normalised_and_the_mode_is_not(codec: Codec) -> None:
    x = codec.spectrogram(sound(6))
    mode, latents = codec.mode(x), codec.encode(x)
    assert torch.allclose(latents, (mode - codec.vae.latents_mean[:, None, None]) / 0.5)
    assert torch.equal(mode, codec.posterior(x[None]).mode)
    assert torch.allclose(codec.decode(latents), codec.decode_mode(mode), atol=1e-5)


@torch.inference_mode()
def test_excerpts_of_a_batch_equal_each_clip_on_its_own(codec: Codec) -> None:
    clips = torch.stack([sound(8, seed) for seed in range(3)])
    games = Conditioning(torch.eye(3)[1:2])
    together = codec.told(games).encode_excerpts(clips, skip=0, frames=64)
    for clip, latents in zip(clips, together, strict=True):
        alone = codec.told(games).encode(codec.spectrogram(clip))[0]
        assert torch.allclose(latents, alone, atol=1e-5)
    # What lies before an excerpt is heard by its first frames, and gives no latents itself.
    reach = codec.format.context_frames
    part = codec.told(games).encode_excerpts(clips[:, :, 8 * COLUMN // 2 - reach * 64 :], skip=reach, frames=32)
    x = codec.spectrogram(clips[0])[..., 32:]
    assert torch.allclose(part[0], codec.told(games).encode(x)[0], atol=1e-5)


@torch.inference_mode()
def test_a_codec_for_other_games_leaves_the_first_as_it_was(codec: Codec) -> None:
    x = codec.spectrogram(sound(4))
    before = codec.encode(x)
    castle, cave = (codec.told(Conditioning(torch.eye(3)[game : game + 1])) for game in (0, 1))
    assert not torch.allclose(castle.encode(x), cave.encode(x), atol=1e-3)
    assert torch.equal(codec.encode(x), before)


@torch.inference_mode()
def test_tiles_fit_together_and_bound_what_is_computed_at_once(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    audio, widths = sound(150), []
    x = codec.spectrogram(audio)
    latents = codec.encode(x)
    decoded = codec.decode(latents)
    monkeypatch.setattr(codec_module, "TILE_COLUMNS", 40)
    for name in ("encode", "decode"):
        whole = getattr(codec.vae, name)
        per_column = 8 if name == "encode" else 1
        monkeypatch.setattr(
            codec.vae,
            name,
            lambda x, whole=whole, per_column=per_column, **rest: (
                widths.append(x.shape[-1] / per_column) or whole(x, **rest)
            ),
        )
    assert torch.allclose(codec.spectrogram(audio), x, atol=1e-5)
    assert torch.allclose(codec.encode(x), latents, atol=1e-4)
    assert torch.allclose(codec.decode(latents), decoded, atol=1e-4)
    assert len(widths) == 2 * 4
    assert max(widths) <= 40 + 2 * codec_module.CONTEXT_COLUMNS


@torch.inference_mode()
def test_in_half_precision_latents_are_close_and_float32(codec: Codec) -> None:
    half = Codec(codec.format, codec.vae, dtype=torch.bfloat16)
    x = codec.spectrogram(sound(6))
    latents, exact = half.encode(x), codec.encode(x)
    assert latents.dtype == torch.float32
    assert 0 < float((latents - exact).std() / exact.std()) < 0.03


# What a step of a VAE's training differentiates is no conversion.
TRAINING = Path("train/module_trainers/vae.py")


@pytest.mark.parametrize("package", ["dualdiffusion", "train", "sampling", "dataset_processing", "webui"])
def test_nobody_else_calls_a_vae(package: str) -> None:
    calls = re.compile(r"(?:vae|module)\.(?:encode|decode)\([^)]*position=")
    wrong = [
        str(path.relative_to(tiny.ROOT))
        for path in sorted((tiny.ROOT / package).rglob("*.py"))
        if calls.search(path.read_text())
    ]
    allowed = {"dualdiffusion": ["dualdiffusion/codec.py"], "train": [str(TRAINING)]}
    assert wrong == allowed.get(package, [])
