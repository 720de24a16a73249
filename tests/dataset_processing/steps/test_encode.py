"""Latents as they are written, cropped and refused; the command writes the same with any number of processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file

from dataset_processing.latent_tiles import Encoder
from dataset_processing.step import Record
from dualdiffusion.data.dataset_folder import DatasetFolder, latents_file_name
from dualdiffusion.data.latent_crops import LatentCrops, LatentsHeader, latents_writer, read_header, write_latents
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from tests import commands, tiny
from tests.dataset_processing.steps.latents import COLUMN, HOP, RATE, encode_one, write_track
from tests.train import forked


def latents_of(dataset: Path, record: Record) -> tuple[LatentsHeader, torch.Tensor]:
    path = dataset / record.fields["latents_file_name"]
    return read_header(path), load_file(path)["latents"]


def contents(dataset: Path) -> dict[str, bytes]:
    """All that belongs to a dataset, but for the report's page: its links depend on where the dataset lies."""
    files = [path for path in dataset.rglob("*") if path.is_file() and ".state" not in path.parts]
    kept = [path for path in files if path.name not in (".lock", "report.html")]
    return {str(path.relative_to(dataset)): path.read_bytes() for path in kept}


# What is written


def test_latents_written_in_parts_are_those_written_at_once_byte_for_byte(tmp_path: Path) -> None:
    latents = torch.randn(3, 4, 2, 11, generator=torch.Generator().manual_seed(0)).half()
    latents[1, ..., 7:] = 0
    header = LatentsHeader("vae", "format", "audio", ({"offset": 0}, {}, {}), (11, 7, 11))
    with latents_writer(tmp_path / "parts.safetensors", header, 4, 2) as write:
        for variation, first, end in [(2, 5, 11), (0, 0, 11), (1, 4, 7), (2, 0, 5), (1, 0, 4)]:
            write(variation, first, latents[variation, ..., first:end])
    write_latents(tmp_path / "whole.safetensors", latents, header)
    expected = safetensors.torch.save({"latents": latents}, header.to_metadata())
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes() == expected
    assert read_header(tmp_path / "parts.safetensors") == header


def test_a_part_that_does_not_fit_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    header = LatentsHeader("vae", "format", "audio", ({},), (8,))
    with pytest.raises(ValueError, match="does not fit"), latents_writer(tmp_path / "a", header, 4, 2) as write:
        write(0, 5, torch.zeros(4, 2, 4).half())
    assert not list(tmp_path.iterdir())


def test_every_variation_keeps_its_own_length(model: ModelFolder, tmp_path: Path) -> None:
    write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN * 40)
    record = encode_one(model, tmp_path, offsets=2, pitch_shifts=[1, -1])
    header, latents = latents_of(tmp_path, record)
    assert [(v["offset"], v["pitch"]) for v in header.variations] == [(0, 0), (4 * HOP, 0), (0, 1), (0, -1)]
    # A semitone up is 2^(1/12) times faster: 40 columns become 37.8, and 42.4 a semitone down.
    assert header.valid_lengths == (40, 39, 37, 42)
    assert latents.shape == (4, 4, 4, 42)
    assert record.fields["latents_length"] == 42
    assert record.fields["latents_variations"] == 4
    for variation, length in zip(latents, header.valid_lengths, strict=True):
        assert variation[..., :length].abs().amin(dim=(0, 1)).gt(0).any()
        assert not variation[..., length:].any()
        assert variation[..., length - 1].any()


@pytest.mark.parametrize(("offsets", "hops"), [(1, [0]), (3, [0, 2, 5]), (4, [0, 2, 4, 6]), (8, list(range(8)))])
def test_offsets_are_whole_hops_within_a_column(
    offsets: int, hops: list[int], model: ModelFolder, tmp_path: Path
) -> None:
    write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN * 5)
    header, _ = latents_of(tmp_path, encode_one(model, tmp_path, offsets=offsets))
    assert [variation["offset"] for variation in header.variations] == [HOP * hop for hop in hops]


# Crops


def test_crops_come_from_the_valid_part_of_all_variations_that_are_long_enough(
    model: ModelFolder, tmp_path: Path
) -> None:
    tiny.make_dataset(tmp_path, tracks=2, seconds=1.0)
    folder, fingerprint = DatasetFolder(tmp_path), model.fingerprint("vae")
    lengths = (20, 7, 12, 8)
    # Each column of each variation holds its own number; what is not valid holds -1.
    latents = 100.0 * torch.arange(4)[:, None, None, None] + torch.arange(20.0).expand(4, 4, 4, 20)
    for variation, length in enumerate(lengths):
        latents[variation, ..., length:] = -1
    for track in folder.tracks("train"):
        header = LatentsHeader(fingerprint, "", "", ({},) * 4, lengths)
        write_latents(tmp_path / latents_file_name(track.file_name, fingerprint), latents, header)
    data = LatentCrops(folder, folder.tracks("train"), 8, vae_fingerprint=fingerprint, seed=0)
    firsts = [int(data[index].data[0, 0, 0]) for index in range(1200)]
    assert {first // 100 for first in firsts} == {0, 2, 3}
    assert {first % 100 for first in firsts if first < 100} == set(range(13))
    assert {first % 100 for first in firsts if 200 <= first < 300} == set(range(5))
    assert {first % 100 for first in firsts if first >= 300} == {0}
    counts = [sum(first // 100 == variation for first in firsts) for variation in (0, 2, 3)]
    assert all(330 < count < 470 for count in counts)  # 400 is expected, with a deviation of 16
    assert all((data[index].data >= 0).all() for index in range(50))
    only_longest = LatentCrops(folder, folder.tracks("train"), 20, vae_fingerprint=fingerprint, seed=None)
    assert len(only_longest) == 3
    assert int(only_longest[0].data[0, 0, 0]) == 0
    with pytest.raises(UserError, match="no track has 21 latent columns"):
        LatentCrops(folder, folder.tracks("train"), 21, vae_fingerprint=fingerprint, seed=0)


@pytest.mark.parametrize("version", [1, 3, None])
def test_latents_of_another_version_are_refused_with_the_command_that_encodes(version: object, tmp_path: Path) -> None:
    fields = {"version": version, "vae_fingerprint": "a", "variations": [{}], "valid_length": 4}
    metadata = {"dualdiffusion": json.dumps(fields)}
    safetensors.torch.save_file({"latents": torch.zeros(1, 4, 4, 4).half()}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(
        UserError, match=rf"version {version}, .*encode again: python -m dataset_processing run"
    ) as error:
        read_header(tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)


def test_a_header_that_does_not_fit_its_latents_is_refused(tmp_path: Path) -> None:
    write_latents(tmp_path / "a", torch.zeros(2, 4, 4, 9), LatentsHeader("", "", "", ({}, {}), (9, 10)))
    with pytest.raises(UserError, match=r"damaged latents .*encode again"):
        read_header(tmp_path / "a")


# What is refused


def test_a_clip_shorter_than_a_column_is_refused(model: ModelFolder, tmp_path: Path) -> None:
    write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN - 1)
    assert encode_one(model, tmp_path).reason == "is shorter than one latent column"


def test_a_track_that_the_format_cannot_take_is_refused_with_the_remedy(model: ModelFolder, tmp_path: Path) -> None:
    path = tmp_path / "audio" / "Cave" / "a.flac"
    write_track(path, COLUMN * 5, rate=16000)
    assert "set sample_rate of the convert step to 8000" in encode_one(model, tmp_path).reason
    write_track(path, COLUMN * 5, channels=1)
    assert "set channels of the convert step to 2" in encode_one(model, tmp_path).reason
    assert not (tmp_path / "latents").exists()


def test_latents_that_are_not_finite_are_refused_and_not_written(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN * 5)
    monkeypatch.setattr(Encoder, "encode_batch", lambda *_: torch.full((1, 4, 4, 5), 1e6))  # too large for float16
    assert "not finite" in encode_one(model, tmp_path).reason
    assert not list((tmp_path / "latents").rglob("*.*"))


def test_a_track_that_ends_too_early_is_an_error_of_the_file(model: ModelFolder, tmp_path: Path) -> None:
    path = write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN * 300)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(OSError, match=r"a\.flac: .*; delete this file, and the next run makes it again"):
        encode_one(model, tmp_path)
    assert not list((tmp_path / "latents").rglob("*.*"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"offsets": 9}, "has 8 hops, so there are no 9 different offsets; set offsets to 8 or less"),
        ({"batch_size": 4}, "CUDA out of memory.*set batch_size of the encode step, which is 4, to 2 or less"),
        ({"batch_size": 1}, "CUDA out of memory.*batch_size of the encode step is 1 already: set its precision"),
    ],
)
def test_settings_that_cannot_work_end_the_run_with_one_line(
    settings: dict, words: str, model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB.\nMore.")

    write_track(tmp_path / "audio" / "Cave" / "a.flac", COLUMN * 5)
    monkeypatch.setattr(Encoder, "encode_batch", no_memory)
    with pytest.raises(UserError, match=words) as error:
        encode_one(model, tmp_path, **settings)
    assert "\n" not in str(error.value)


# The command


@pytest.fixture(scope="module")
def finished(model: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.json, and in `dataset` what it makes of six tracks with one process."""
    folder = tmp_path_factory.mktemp("finished")
    for seed in range(6):
        write_track(folder / "source" / tiny.GAMES[seed % 3] / f"{seed}.flac", 30 * RATE + 1000 * seed, seed=seed)
    write_config(folder, model)
    result = tiny.run("-m", "dataset_processing", "run", folder / "config.json")
    assert result.returncode == 0, result.stderr
    return folder


def write_config(folder: Path, model: ModelFolder) -> None:
    config = {
        "source": str(folder / "source"),
        "dataset": str(folder / "dataset"),
        "processes": 1,
        "steps": [
            {"type": "scan.Scan"},
            {"type": "convert.Convert"},  # at the rate of the model
            {"type": "filter.Filter"},
            {"type": "split.Split"},
            {"type": "encode.Encode", "model": str(model.path), "offsets": 2, "mirror": True, "device": "cpu"},
        ],
    }
    (folder / "config.json").write_text(json.dumps(config))


def not_encoded(finished: Path, dataset: Path) -> list[object]:
    """Copies the finished dataset without its latents; returns the arguments of the command that encodes."""
    shutil.copytree(finished / "dataset", dataset, ignore=shutil.ignore_patterns("latents", "encode*"))
    arguments = ["-m", "dataset_processing", "run", finished / "config.json", "--steps", "encode"]
    return [*arguments, "--set", f"dataset={dataset}"]


def launch(processes: int, arguments: list[object]) -> None:
    """The command in several processes that share the work, as `torchrun` starts them."""

    def start(rank: int, as_rank: Callable[[], object]) -> subprocess.CompletedProcess[str]:
        return commands.run(arguments, timeout=240, prepare=as_rank)

    results = forked.in_ranks(start, processes)
    assert [result.returncode for result in results] == [0] * processes, [result.stderr for result in results]


@pytest.mark.slow
def test_the_command_writes_latents_that_say_what_they_are(model: ModelFolder, finished: Path) -> None:
    records = [json.loads(line) for line in (finished / "dataset" / "train.jsonl").read_text().splitlines()]
    path = finished / "dataset" / records[0]["latents_file_name"]
    header, latents = read_header(path), load_file(path)["latents"]
    assert path.parts[-3] == header.vae_fingerprint == model.fingerprint("vae")
    assert header.format_fingerprint == model.fingerprint("format")
    assert latents.dtype == torch.float16
    assert latents.shape == (4, 4, 4, records[0]["latents_length"])
    expected = [(0, False), (256, False), (0, True), (256, True)]
    assert [(v["offset"], v["mirrored"]) for v in header.variations] == expected
    assert not torch.equal(latents[0], latents[1])
    assert not torch.equal(latents[0], latents[2])


def test_two_processes_write_what_one_writes_byte_for_byte(finished: Path, tmp_path: Path) -> None:
    launch(2, not_encoded(finished, tmp_path / "dataset"))
    assert contents(tmp_path / "dataset") == contents(finished / "dataset")
    assert len(list((tmp_path / "dataset" / "latents").rglob("*.safetensors"))) == 6


def test_a_process_that_has_nothing_to_do_waits_for_the_other(finished: Path, tmp_path: Path) -> None:
    track = Path(tiny.GAMES[0]) / "0.flac"
    (tmp_path / "source" / track).parent.mkdir(parents=True)
    shutil.copy2(finished / "source" / track, tmp_path / "source" / track)
    launch(2, [*not_encoded(finished, tmp_path / "dataset"), "--prune", "--set", f"source={tmp_path / 'source'}"])
    [path] = (tmp_path / "dataset" / "latents").rglob("*.safetensors")
    assert path.read_bytes() == (finished / "dataset" / path.relative_to(tmp_path / "dataset")).read_bytes()


@pytest.mark.kills
def test_a_killed_run_goes_on_and_ends_as_if_undisturbed(finished: Path, tmp_path: Path) -> None:
    arguments = not_encoded(finished, tmp_path / "dataset")
    process = commands.Running(*arguments)
    while not list((tmp_path / "dataset").glob("latents/*/*/[!.]*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").glob("latents/*/*/[!.]*")}
    assert 1 <= len(before) < 6
    result = tiny.run(*arguments)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "dataset") == contents(finished / "dataset")
    assert sum(path.stat().st_mtime_ns == written for path, written in before.items()) >= len(before) - 1
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").glob("latents/*/*/[!.]*")}
    again = tiny.run(*arguments)
    assert again.returncode == 0, again.stderr
    assert after == {path: path.stat().st_mtime_ns for path in after}  # nothing is encoded twice
