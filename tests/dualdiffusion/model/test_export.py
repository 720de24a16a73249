"""Exported models: small, whole, playing as the trained ones do, and never written over anything else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model.export import ema_named, export
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module, save_weights
from dualdiffusion.nn.magnitude_preserving import MPConv
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.tiny import assert_one_line_error, run

LONG = Request(games={"Castle": 1.0}, seconds=3.0, steps=2, phase_iterations=2)


@pytest.fixture
def trained(tmp_path: Path) -> ModelFolder:
    """A model folder as training leaves it: an EMA that is the default, runs, snapshots, reports."""
    folder = tiny.make_model(tmp_path / "trained")
    save_weights(folder.weights_path("unet", "ema_0.100"), tiny.make_denoiser(seed=1).state_dict())
    folder.register("unet", folder.module_entry("unet")["type"], "ema_0.100")
    run_path = folder.run_path("unet")
    write_json(run_path / "config.json", {"module_trainer": {"crop_seconds": 1.024}, "dataset": "datasets/gone"})
    write_json(run_path / "dataset.json", {"vae": "", "tracks": {"audio/Castle/1.flac": 5400.0, "b": 1800.0}})
    (run_path / "checkpoints" / "samples-1").mkdir(parents=True)
    (run_path / "checkpoints" / "samples-1" / "optimizer.pt").write_bytes(b"x" * 1000)
    rows = [(at, at * 16, "validation/ema_0.100/loss", 1 / at) for at in range(1, 31)]
    rows += [(at, at * 16, "validation/raw/loss", 9.0) for at in range(1, 31)]
    lines = ["step,samples,metric,value", *(",".join(map(str, row)) for row in rows), "31,49"]
    (run_path / "metrics.csv").write_text("\n".join(lines))
    (folder.path / "reports").mkdir()
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_export_holds_what_playing_needs_and_nothing_else(trained: ModelFolder, tmp_path: Path) -> None:
    result = export(trained, tmp_path / "out")
    modules = [f"{name}/{name}{suffix}" for name in ("format", "unet", "vae") for suffix in (".json", ".safetensors")]
    assert files(tmp_path / "out") == ["README.md", *modules[:2], "labels.json", "model_index.json", *modules[2:]]
    assert sum(result.sizes.values()) == sum((tmp_path / "out" / name).stat().st_size for name in result.sizes)
    whole = trained.weights_path("unet", "ema_0.100").stat().st_size
    assert result.sizes["unet/unet.safetensors"] < 0.6 * whole
    assert not list(tmp_path.glob(".*"))


def test_an_export_without_runs_plays_exactly_as_with_them(trained: ModelFolder, tmp_path: Path) -> None:
    out = ModelFolder(export(trained, tmp_path / "out").path)
    with_runs = ModelFolder(tmp_path / "with runs")
    shutil.copytree(out.path, with_runs.path)
    shutil.copytree(trained.path / "runs", with_runs.path / "runs")
    index = json.loads(with_runs.index_path.read_text())
    assert index["modules"]["unet"].pop("window_columns") == 16
    write_json(with_runs.index_path, index)
    exported, original = Generator.load(out, "cpu"), Generator.load(with_runs, "cpu")
    assert exported.window_columns == original.window_columns == 16
    assert torch.equal(exported.generate(LONG).audio, original.generate(LONG).audio)
    index["modules"]["unet"] |= {"window_columns": None}
    write_json(out.index_path, index)
    assert not torch.equal(Generator.load(out, "cpu").generate(LONG).audio, original.generate(LONG).audio)


def test_rounding_to_float16_changes_little(trained: ModelFolder, tmp_path: Path) -> None:
    out = ModelFolder(export(trained, tmp_path / "out").path)
    before, after = load_module(trained, "unet"), load_module(out, "unet")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 4, 4, 16, generator=generator)
    sigma, labels = torch.tensor([0.02, 0.3, 2.0, 40.0]), torch.eye(3)[[0, 1, 2, 0]]
    arguments = (x * sigma[:, None, None, None], sigma, Conditioning(labels))
    position = load_module(out, "vae").latent_position(load_module(out, "format").position())
    with torch.inference_mode():
        wanted, got = (network(*arguments, position=position) for network in (before, after))
    assert 0 < float((wanted - got).norm() / wanted.norm()) < 1e-2
    vaes = load_module(trained, "vae"), load_module(out, "vae")
    position = load_module(out, "format").position()
    spectrogram = torch.randn(1, 2, 32, 16, generator=generator)
    with torch.inference_mode():
        modes = [vae.encode(spectrogram, position=position, conditioning=Conditioning()).mode for vae in vaes]
    assert float((modes[0] - modes[1]).norm() / modes[0].norm()) < 1e-2


def test_filters_are_still_of_unit_magnitude(trained: ModelFolder, tmp_path: Path) -> None:
    out = ModelFolder(export(trained, tmp_path / "out").path)
    stored = load_file(out.weights_path("unet"))
    assert {tensor.dtype for tensor in stored.values() if tensor.ndim >= 2} == {torch.float16}
    assert {tensor.dtype for tensor in stored.values() if tensor.ndim < 2} == {torch.float32}
    layers = [layer for name in ("vae", "unet") for layer in load_module(out, name).modules()]
    layers = [layer for layer in layers if isinstance(layer, MPConv)]
    assert len(layers) > 20
    for layer in layers:
        assert layer.weight.dtype == torch.float32
        magnitude = layer.weight.flatten(1).square().mean(dim=1).sqrt()
        assert torch.allclose(magnitude, torch.ones(()), atol=1e-3)


def test_a_fingerprint_is_that_of_the_stored_bytes(trained: ModelFolder, tmp_path: Path) -> None:
    out = ModelFolder(export(trained, tmp_path / "out").path)
    assert out.fingerprint("vae") != trained.fingerprint("vae")
    assert out.fingerprint("format") == trained.fingerprint("format")
    index = json.loads(out.index_path.read_text())
    assert index["exported"]["fingerprints"] == {name: trained.fingerprint(name) for name in ("vae", "unet")}
    before = out.fingerprint("unet")
    loaded = load_module(out, "unet")
    assert out.fingerprint("unet") == before
    save_weights(out.weights_path("unet"), loaded.state_dict())  # the same values, in float32
    assert out.fingerprint("unet") != before


@pytest.mark.parametrize("ema", ["raw", "0.1", "ema_0.100", None])
def test_the_weights_are_those_that_are_asked_for(ema: str | None, trained: ModelFolder, tmp_path: Path) -> None:
    out = ModelFolder(export(trained, tmp_path / "out", ema=ema).path)
    name = "raw" if ema == "raw" else "ema_0.100"
    wanted = load_file(trained.weights_path("unet", name))
    stored = load_file(out.weights_path("unet"))
    assert all(torch.equal(stored[key], tensor.to(stored[key].dtype)) for key, tensor in wanted.items())
    assert out.emas("unet") == ["raw"]
    assert json.loads(out.index_path.read_text())["exported"]["weights"] == {"vae": "raw", "unet": name}


def test_a_width_of_which_there_is_no_ema_is_refused(trained: ModelFolder) -> None:
    with pytest.raises(UserError, match=r"has no EMA '0\.2'; it has: ema_0\.100, raw"):
        ema_named(trained, "0.2")


def test_the_recommended_request_comes_along_with_the_networks_it_names(trained: ModelFolder, tmp_path: Path) -> None:
    guidance = {"weak_ema": "ema_0.200", "weak_scale": 2.0}
    request = {"steps": 40, "ema": "raw", "guidance": guidance}
    write_json(trained.path / "request.json", request)
    save_weights(trained.weights_path("unet", "ema_0.200"), tiny.make_denoiser(seed=2).state_dict())
    out = ModelFolder(export(trained, tmp_path / "out").path)
    assert json.loads((out.path / "request.json").read_text()) == {**request, "ema": None}
    assert json.loads(out.index_path.read_text())["exported"]["weights"]["unet"] == "raw"
    played = Request(games={"Cave": 1.0}, seconds=0.3, steps=1, guidance=guidance)
    Generator.load(out, "cpu").generate(played)
    assert export(trained, out.path).sizes  # which is replaced, being an export with all that it holds


# -- what is there already ----------------------------------------------------------------------------------------


def test_only_an_earlier_export_is_replaced(trained: ModelFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(trained, out)
    (out / "README.md").write_text("old")
    export(trained, out)
    assert (out / "README.md").read_text().startswith("# out")

    (out / "runs").mkdir()
    (out / "runs" / "metrics.csv").write_text("hours of work")
    before = files(out)
    with pytest.raises(UserError, match="is not an earlier export"):
        export(trained, out)
    assert files(out) == before
    (tmp_path / "notes.txt").write_text("mine")
    for other in (trained.path, tiny.make_model(tmp_path / "other").path, tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="choose another folder"):
            export(trained, other)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_export_that_fails_leaves_the_earlier_one_whole(
    trained: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export(trained, tmp_path / "out").path
    before = ModelFolder(out).fingerprint("unet")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("dualdiffusion.model.export.model_card", full)
    with pytest.raises(OSError, match="No space"):
        export(trained, out, ema="raw")
    assert ModelFolder(out).fingerprint("unet") == before
    assert not list(tmp_path.glob(".*"))


def test_an_export_that_cannot_be_put_in_place_puts_the_earlier_one_back(
    trained: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export(trained, tmp_path / "out").path
    before = ModelFolder(out).fingerprint("unet")
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(5, os.strerror(5))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        export(trained, out, ema="raw")
    assert ModelFolder(out).fingerprint("unet") == before
    assert not list(tmp_path.glob(".*"))


def test_an_exported_model_can_be_exported_again(trained: ModelFolder, tmp_path: Path) -> None:
    first = ModelFolder(export(trained, tmp_path / "first").path)
    second = ModelFolder(export(first, tmp_path / "second").path)
    assert second.fingerprint("unet") == first.fingerprint("unet")
    assert Generator.load(second, "cpu").window_columns == 16


# -- the command and the card -------------------------------------------------------------------------------------


def test_the_command_prints_sizes_and_writes_a_card_of_facts(trained: ModelFolder, tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("One hears a march.\n")
    write_json(tmp_path / "measures.json", {"beat_ratio": 0.812, "copies": 0, "tables": {"beat": 1}, "other": 2.5})
    words = ["--ema", "0.1", "--card", tmp_path / "own.md", "--measures", tmp_path / "measures.json"]
    words += ["--hardware", "a toaster", "--licence", "CC0 1.0", "--data", "songs of birds", "--command", "make birds"]
    result = run("-m", "dualdiffusion", "export", trained.path, tmp_path / "birds", *words)
    assert result.returncode == 0, result.stderr
    assert "unet/unet.safetensors" in result.stdout and f"written to {tmp_path / 'birds'}" in result.stdout
    assert "larger than" not in result.stdout
    card = (tmp_path / "birds" / "README.md").read_text()
    facts = [
        "# birds\n\nOne hears a march.",
        "games: Castle, Cave, Circuit",
        "8,000 Hz, stereo",
        "windows of 1.02 s",
        "- songs of birds\n- 2 training tracks, 2.0 hours\n- licence of data and weights: CC0 1.0",
        "Hardware: a toaster.",
        "unet: 480 samples in 0 s",
        "| 480 | 0.0333 |",
        "| beat clarity, of the corpus' | 0.812 |",
        "| copies of training tracks | 0 |",
        "| other | 2.5 |",
        "```\nmake birds\n```",
    ]
    for fact in facts:
        assert fact in card, (fact, card)
    assert card.count("| 0.") == 10 + 1  # of thirty points of the curve ten, and the measure
    assert "9.0000" not in card  # the curve is that of the weights that were taken
    assert "tables" not in card


def test_seconds_trained_are_those_of_all_parts_of_the_run(dataset: Path, model: ModelFolder, tmp_path: Path) -> None:
    from dualdiffusion.model.card import seconds_trained
    from train.reports.events import EventFile

    times = iter([100.0, 101.0, 160.0, 1000.0, 1010.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.reports.events.time.time", lambda: next(times))
        first = EventFile(tmp_path, first_step=1)
        from tensorboard.compat.proto.summary_pb2 import Summary

        first.add(Summary(), 5)
        first.close()
        EventFile(tmp_path, first_step=6).close()
    for path in tmp_path.glob("events*"):
        path.write_bytes(path.read_bytes() + b"\x09half a record")
    assert seconds_trained(tmp_path) == 60 + 10


def test_a_model_that_is_too_large_to_ship_is_told(
    trained: ModelFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import argparse

    from dualdiffusion.__main__ import add_export, run_export

    monkeypatch.setattr("dualdiffusion.model.export.MAX_MEGABYTES", 0.01)
    parser = argparse.ArgumentParser()
    add_export(parser)
    assert run_export(parser.parse_args([str(trained.path), str(tmp_path / "out")])) == 0
    assert "larger than the 0.01 MB that a shipped model may have" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ema", "0.3"], ["has no EMA '0.3'", "ema_0.100"]),
        (["--measures", "nowhere.json"], ["nowhere.json: no such file"]),
        (["--measures", "README.md"], ["README.md: not valid JSON"]),
        (["--card", "nowhere.md"], ["nowhere.md: no such file"]),
        (["--em", "0.1"], ["--em", "--help"]),
    ],
)
def test_what_cannot_be_done_is_one_line(
    options: list[str], words: list[str], trained: ModelFolder, tmp_path: Path
) -> None:
    result = run("-m", "dualdiffusion", "export", trained.path, tmp_path / "out", *options)
    assert_one_line_error(result, *words)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_whole_model_is_refused(tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / "half")
    shutil.rmtree(folder.module_path("unet"))
    result = run("-m", "dualdiffusion", "export", folder.path, tmp_path / "out")
    assert_one_line_error(result, "unet")
    assert not (tmp_path / "out").exists()


def test_help_needs_no_torch() -> None:
    assert "--measures" in tiny.help_without_torch("dualdiffusion", "export")
