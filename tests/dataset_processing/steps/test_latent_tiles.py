"""Tracks are encoded in tiles as if in one piece, in memory that does not grow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dataset_processing import latent_tiles
from dataset_processing.latent_tiles import Encoder, TrackAudio, Variation
from dualdiffusion import audio
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module
from tests import tiny
from tests.dataset_processing.steps.latents import COLUMN, HOP, RATE, encode_one, melody, write_track


@pytest.fixture(scope="module")
def parts(model: ModelFolder) -> tuple:
    return load_module(model, "format"), load_module(model, "vae")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [31, 32, 33, 77, 125])
def test_tiles_of_every_variation_equal_the_track_encoded_in_one_piece(
    columns: int, parts: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_tiles, "TILE_COLUMNS", 32)
    monkeypatch.setattr(latent_tiles, "_BLOCK", 5000)
    format, vae = parts
    path = write_track(tmp_path / "a.flac", COLUMN * columns + 3 * HOP + 17)
    variations = [Variation(offset=HOP * k, mirrored=m) for m in (False, True) for k in range(8)]
    variations += [Variation(pitch=pitch) for pitch in (1.0, -1.0)]
    encoder = Encoder(format, vae, torch.float32, batch_size=3, workers=2)
    tracks = {pitch: TrackAudio(path, pitch) for pitch in (0.0, 1.0, -1.0)}
    tiles: list[list[torch.Tensor]] = [[] for _ in variations]
    for number, first, latents in latent_tiles.encode_tiles(encoder, tracks, variations, Conditioning()):
        assert first == sum(part.shape[-1] for part in tiles[number])
        tiles[number].append(latents)
    samples, _ = audio.read(path)
    for variation, parts_of_it in zip(variations, tiles, strict=True):
        whole = audio.resample(samples, RATE, round(RATE / 2 ** (variation.pitch / 12)))[:, variation.offset :]
        whole = whole.flip(0) if variation.mirrored else whole
        frames = whole.shape[1] // COLUMN * 8
        with torch.inference_mode():
            x = format.encode(whole[None])[..., :frames]
            expected = vae.encode(x, position=format.position(), conditioning=Conditioning()).mode
            expected = vae.normalize_latents(expected)[0]
        assert expected.shape == (4, 4, frames // 8)
        torch.testing.assert_close(torch.cat(parts_of_it, -1), expected, atol=1e-4, rtol=0)


def test_a_batch_equals_its_clips_one_by_one(parts: tuple) -> None:
    clips = [melody(2, seed)[:, : 8 * COLUMN] for seed in range(5)]
    encoder = Encoder(*parts, torch.float32, batch_size=2, workers=2)
    alone = encoder.encode(clips, 8, 48, Conditioning())
    together = encoder.encode_batch(torch.stack(clips), 8, 48, Conditioning())
    assert len(alone) == 5
    assert alone[0].shape == (4, 4, 6)
    torch.testing.assert_close(torch.stack(alone), together, atol=1e-5, rtol=0)


def test_no_more_clips_than_the_batch_size_are_encoded_at_once(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [melody(1, seed)[:, : 4 * COLUMN] for seed in range(7)]
    sizes = []

    class Gpu(torch.nn.Module):
        device = torch.device("meta")

    encoder = Encoder(parts[0], Gpu(), torch.float32, batch_size=3, workers=1)
    monkeypatch.setattr(
        Encoder, "encode_batch", lambda self, batch, *_: sizes.append(len(batch)) or list(range(len(batch)))
    )
    assert encoder.encode(clips, 0, 32, Conditioning()) == [0, 1, 2, 0, 1, 2, 0]
    assert sizes == [3, 3, 1]


def test_latents_do_not_depend_on_threads_cores_or_how_many_clips_are_encoded_at_once(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before they are rounded to float16, which hides most of such differences."""
    write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN * 200)
    seen: list[bytes] = []

    def watched(*arguments: object) -> torch.Tensor:
        result = original(*arguments)
        seen.append(result.numpy().tobytes())
        return result

    original, before, results = Encoder.encode_batch, torch.get_num_threads(), []
    monkeypatch.setattr(Encoder, "encode_batch", watched)
    for threads, cores, batch_size in [(1, 1, 4), (3, 1, 4), (3, 8, 4), (7, 8, 1)]:
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        torch.set_num_threads(threads)
        encode_one(model, tmp_path, offsets=4, batch_size=batch_size)
        assert torch.get_num_threads() == threads
        results.append(sorted(seen))
        seen.clear()
    torch.set_num_threads(before)
    assert len(results[0]) == 4
    assert results[1:] == results[:1] * 3


@pytest.mark.parametrize(("precision", "error"), [("bfloat16", 0.02), ("float16", 0.003)])
def test_half_precision_is_close_to_full_precision(precision: str, error: float, parts: tuple) -> None:
    clips = [melody(4, seed)[:, : 48 * COLUMN] for seed in range(2)]
    full = torch.stack(Encoder(*parts, torch.float32, 2, 1).encode(clips, 0, 384, Conditioning()))
    half = torch.stack(Encoder(*parts, getattr(torch, precision), 2, 1).encode(clips, 0, 384, Conditioning()))
    assert half.dtype == torch.float32
    # The root mean square, as a share of the latents' own: 0.011 and 0.0013 were measured.
    deviation = float((half - full).square().mean().sqrt() / full.std())
    assert 0 < deviation < error


@pytest.mark.slow
def test_memory_does_not_grow_with_the_track(model: ModelFolder, tmp_path: Path) -> None:
    """The peaks of a track of half a minute and of 5 minutes differ by less than 16 MiB (0 to 9 were measured for 20).

    The audio of 5 minutes takes 18 MiB, and holding it was measured to raise the peak by twice that.
    """
    for name, seconds in (("short", 30), ("long", 300)):
        path = tmp_path / name / "audio" / "Cave" / "a.flac"
        path.parent.mkdir(parents=True)
        audio.write_flac(path, melody(30, 0).repeat(1, seconds // 30), RATE)
    code = """if True:
        import re, sys
        from pathlib import Path
        from dataset_processing import latent_tiles
        from dualdiffusion.model.folder import ModelFolder
        from tests.dataset_processing.steps.latents import encode_one
        latent_tiles.TILE_COLUMNS = 128  # so that the shorter track, too, has tiles of full size
        for name in ("short", "short", "long"):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            record = encode_one(ModelFolder(Path(sys.argv[1])), Path(sys.argv[2]) / name, offsets=1, batch_size=1)
            peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
            print(record.fields["latents_length"], peak)
    """
    result = tiny.run("-c", code, model.path, tmp_path)
    assert result.returncode == 0, result.stderr
    (_, _), (short, before), (long, after) = [map(int, line.split()) for line in result.stdout.splitlines()]
    assert long > 9 * short
    assert (after - before) / 1024 < 16  # MiB
