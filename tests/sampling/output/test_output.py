"""Clips on disk: formats, tags, levels and names."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import mutagen
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.errors import UserError
from sampling.generator import Result
from sampling.output import clips as output_module
from sampling.output.clips import SUFFIXES, output_of, read_settings, same_audio, save, spectrogram_image
from sampling.output.containers import decode, encode
from sampling.output.loudness import levelled
from sampling.output.settings import SUBTYPES, OutputSettings
from sampling.request import Request
from tests.tiny import SAMPLE_RATE

REQUEST = Request(games={'Dr. "Ö"; <Schloß>=1': 0.7, "ゲーム\n2": -0.3}, seed=2**53 - 1, cfg_scale=0.1)
LOSSLESS = [("flac", 16), ("flac", 24), ("wav", 16), ("wav", 24), ("wav", 32)]
ALL = [*LOSSLESS, ("mp3", None), ("ogg", None)]
every_format = pytest.mark.parametrize(("format", "bits"), ALL)


def music(seconds: float = 2.0, level: float = 0.2, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """(2, N): a chord with bursts of noise, whose peaks lie between samples too."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(round(seconds * sample_rate)) / sample_rate
    tones = sum(torch.sin(2 * math.pi * hz * time + hz) for hz in (220.0, 277.3, 1713.0))
    noise = torch.randn(2, len(time), generator=generator) * (torch.sin(9 * time) > 0.5)
    return level * (tones[None] / 3 + 0.2 * noise)


def clip(samples: Tensor, request: Request = REQUEST) -> Result:
    return Result(request, samples, SAMPLE_RATE, torch.zeros(2, 4, 8), torch.randn(4, 4, 8), "models/x", "abc-def")


@every_format
def test_every_format_gives_back_the_settings_and_the_samples(format: str, bits: int | None, tmp_path: Path) -> None:
    settings = OutputSettings(format=format, bits=bits, loudness=-23.0)
    result = clip(music())
    path = save(result, tmp_path, settings, device=torch.device("cpu"))
    request, stored = read_settings(path)
    assert request == REQUEST
    assert output_of(stored, path) == settings
    assert stored["fingerprint"] == "abc-def"
    assert stored["torch"] == torch.__version__
    assert stored["device"]
    assert stored["threads"] == torch.get_num_threads()
    assert same_audio(result, path, settings)
    assert not same_audio(clip(result.audio.roll(100)), path, settings)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("format", "bits"), LOSSLESS)
def test_lossless_formats_hold_the_nearest_samples_of_their_bits(format: str, bits: int) -> None:
    samples = torch.tensor([[-1.5, -1.0, -0.3, 0.0, 1e-9, 0.3, 1.0, 1.5]])
    stored, sample_rate = decode(encode(samples, SAMPLE_RATE, OutputSettings(format=format, bits=bits)))
    assert sample_rate == SAMPLE_RATE
    if bits == 32:
        assert torch.equal(stored, samples)
        return
    step = 2.0 ** (1 - bits)
    assert float((stored - samples.clamp(-1, 1 - step)).abs().max()) <= step / 2
    assert torch.equal((stored / step).round() * step, stored)


@pytest.mark.parametrize("format", ["mp3", "ogg"])
def test_lossy_formats_keep_length_and_most_of_the_sound(format: str) -> None:
    samples = music(sample_rate=32000)
    stored, _ = decode(encode(samples, 32000, OutputSettings(format=format)))
    assert stored.shape == samples.shape
    noise = (stored - samples).square().mean()
    assert 10 * math.log10(samples.square().mean() / noise) > 10


@every_format
def test_tags_change_no_sample_and_may_be_long(format: str, bits: int | None, tmp_path: Path) -> None:
    settings = OutputSettings(format=format, bits=bits)
    many = Request(games={f"ゲーム number {number}": 0.5 for number in range(1000)})
    path = save(clip(music(), many), tmp_path, settings)
    bare, _ = decode(encode(music(), SAMPLE_RATE, settings))
    assert torch.equal(audio.read(path)[0], bare)
    assert read_settings(path)[0] == many
    assert "ゲーム number 999" in audio.read_tags(path)["title"]


@every_format
def test_a_clip_without_tags_is_known_by_the_json_beside_it(format: str, bits: int | None, tmp_path: Path) -> None:
    path = save(clip(music()), tmp_path, OutputSettings(format=format, bits=bits), settings_file=True)
    beside = path.with_suffix(".json")
    assert read_settings(beside) == read_settings(path)
    mutagen.File(path).delete()
    assert read_settings(path)[0] == REQUEST
    beside.unlink()
    with pytest.raises(UserError, match=r"no settings of this program in its tags or in a \.json beside it"):
        read_settings(path)


def test_what_is_written_beside_a_clip_has_its_name_and_settings(tmp_path: Path) -> None:
    result = clip(music())
    path = save(result, tmp_path, latents=True, spectrogram=True, settings_file=True)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == sorted(f"{path.stem}{suffix}" for suffix in (".flac", ".json", ".png", ".safetensors"))
    with safe_open(path.with_suffix(".safetensors"), "pt") as file:
        assert torch.equal(file.get_tensor("latents"), result.latents)
        assert json.loads(file.metadata()["dualdiffusion"]) == read_settings(path)[1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_name_is_taken_where_anything_of_a_clip_has_it(suffix: str, tmp_path: Path) -> None:
    there = tmp_path / f"a{suffix}"
    there.write_text("precious")
    for format in SUBTYPES:
        path = save(clip(music(0.1)), tmp_path, OutputSettings(format=format), name="a", spectrogram=True)
        assert path.stem != "a"
    assert there.read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1 + 2 * len(SUBTYPES)


def test_a_name_that_another_process_takes_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def slow_link(source: Path, target: Path) -> None:
        if target.name == "a.flac":
            target.write_text("precious")
        link(source, target)

    monkeypatch.setattr(os, "link", slow_link)
    path = save(clip(music(0.1)), tmp_path, name="a", spectrogram=True)
    assert path.name == "a (2).flac"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a (2).flac", "a (2).png", "a.flac"]
    assert (tmp_path / "a.flac").read_text() == "precious"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_without_links_clips_are_written_all_the_same_and_over_no_other(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        if target.name == "a.flac":
            target.write_text("precious")  # taken after this process has looked, with the picture named already
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    result = clip(music(0.1))
    paths = [save(result, tmp_path, name="a", spectrogram=True) for _ in range(2)]
    assert [path.name for path in paths] == ["a (2).flac", "a (3).flac"]
    names = ["a (2).flac", "a (2).png", "a (3).flac", "a (3).png", "a.flac"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert (tmp_path / "a.flac").read_text() == "precious"
    for path in paths:
        assert same_audio(result, path)
        assert Image.open(path.with_suffix(".png")).height == 128


def test_a_link_that_fails_for_another_reason_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM if target.suffix == ".png" else errno.EIO, "refused")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="refused"):
        save(clip(music(0.1)), tmp_path, spectrogram=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("samples", [1, 100, SAMPLE_RATE // 100])
def test_the_shortest_clips_have_a_picture_of_one_column(samples: int) -> None:
    assert spectrogram_image(0.1 * torch.ones(2, samples), SAMPLE_RATE).size == (1, 128)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output_module, "sync_file", full)
    with pytest.raises(OSError, match="No space"):
        save(clip(music(0.1)), tmp_path, latents=True, settings_file=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", [-40.0, -23.0, -16.0])
@pytest.mark.parametrize("level", [0.001, 0.2])
def test_clips_reach_the_loudness_that_is_asked_for(target: float, level: float) -> None:
    samples = levelled(music(3, level), SAMPLE_RATE, OutputSettings(loudness=target, true_peak=0.0))
    assert audio.loudness_lufs(samples, SAMPLE_RATE) == pytest.approx(target, abs=0.1)


@pytest.mark.parametrize("ceiling", [None, -6.0])
@pytest.mark.parametrize(("format", "bits"), [("flac", 16), ("wav", 32)])
def test_the_ceiling_comes_before_the_loudness(format: str, bits: int, ceiling: float | None) -> None:
    settings = OutputSettings(format=format, bits=bits, loudness=0.0, true_peak=ceiling)
    stored, _ = decode(encode(levelled(music(), SAMPLE_RATE, settings), SAMPLE_RATE, settings))
    peak = 20 * math.log10(audio.true_peak(stored, SAMPLE_RATE))
    assert peak == pytest.approx(-1.0 if ceiling is None else ceiling, abs=0.01)
    assert float(stored.abs().max()) < 1
    assert audio.loudness_lufs(stored, SAMPLE_RATE) < -1


def test_a_ceiling_alone_makes_clips_quieter_and_never_louder() -> None:
    settings = OutputSettings(true_peak=-3.0)
    quiet, loud = music(level=0.1), music(level=0.9)
    assert torch.equal(levelled(quiet, SAMPLE_RATE, settings), quiet)
    assert audio.true_peak(levelled(loud, SAMPLE_RATE, settings), SAMPLE_RATE) == pytest.approx(
        10 ** (-3 / 20), abs=1e-4
    )


def test_true_peak_sees_what_lies_between_samples() -> None:
    # A sine of a quarter of the sample rate whose samples all lie at 45 degrees from its peaks.
    time = torch.arange(8000, dtype=torch.float64)
    samples = 0.5 * torch.sin(math.pi / 2 * time + math.pi / 4)[None]
    assert float(samples.abs().max()) == pytest.approx(0.5 * math.sqrt(0.5), abs=1e-5)
    middle = samples * torch.hann_window(8000)  # without the jump at the ends, which overshoots
    assert audio.true_peak(middle, SAMPLE_RATE) == pytest.approx(0.5, abs=0.01)


def test_silence_stays_silent_and_the_defaults_change_nothing() -> None:
    for samples in (torch.zeros(2, 8000), torch.full((2, 8000), 1e-6), music()):
        assert torch.equal(levelled(samples, SAMPLE_RATE, OutputSettings()), samples)
    for samples in (torch.zeros(2, 8000), torch.full((2, 8000), 1e-6)):
        assert torch.equal(levelled(samples, SAMPLE_RATE, OutputSettings(loudness=-10.0)), samples)


def test_settings_that_cannot_be_used_are_told_so(tmp_path: Path) -> None:
    path = save(clip(music(0.1)), tmp_path, settings_file=True).with_suffix(".json")
    settings = json.loads(path.read_text())
    for change, words in (
        ({"version": 2}, "settings of version 2"),
        ({"request": {**settings["request"], "stps": 1}}, "did you mean steps"),
        ({"request": None}, "object"),
    ):
        path.write_text(json.dumps({**settings, **change}))
        with pytest.raises(UserError, match=words):
            read_settings(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match="no settings of this program"):
        read_settings(path)
