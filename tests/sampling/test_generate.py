"""From a request to a FLAC and back, by the code and by the real command."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from dualdiffusion.errors import UserError
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model import loaded
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import save_weights
from sampling import generator as generator_module
from sampling.fingerprints import model_fingerprint
from sampling.generator import Cancelled, Generator, StepReport
from sampling.guidance import Guidance, load_weak
from sampling.output.clips import read_settings, same_audio, save, spectrogram_image
from sampling.output.settings import OutputSettings
from sampling.request import Request
from tests import tiny
from tests.tiny import assert_one_line_error, run

REQUEST = Request(games={"Castle": 0.7, "Cave": 0.3}, seed=7, seconds=1.0, steps=3, cfg_scale=2.0)


@pytest.fixture(scope="module")
def generator(model: ModelFolder) -> Generator:
    return Generator.load(model)


def test_a_clip_has_the_length_rate_and_level_that_were_asked(generator: Generator) -> None:
    result = generator.generate(REQUEST)
    assert result.audio.shape == (2, tiny.SAMPLE_RATE)
    assert result.sample_rate == tiny.SAMPLE_RATE
    assert bool(result.audio.isfinite().all())
    assert 1e-4 < float(result.audio.abs().max()) <= 1
    assert result.latents.shape[-1] * 8 * 64 >= tiny.SAMPLE_RATE


def test_in_bfloat16_a_clip_is_nearly_the_same_repeats_to_the_bit_and_says_so(
    generator: Generator, tmp_path: Path
) -> None:
    full, request = generator.generate(REQUEST), REQUEST.model_copy(update={"precision": "bfloat16"})
    half = generator.generate(request)
    distance = (half.latents - full.latents).square().mean().sqrt() / full.latents.std()
    assert 1e-5 < float(distance) < 0.1
    assert half.latents.dtype == half.audio.dtype == torch.float32
    assert torch.equal(generator.generate(request).audio, half.audio)
    stored, _ = read_settings(save(half, tmp_path))
    assert stored.precision == "bfloat16"
    assert same_audio(generator.generate(stored), next(tmp_path.glob("*.flac")), OutputSettings())
    assert not torch.is_autocast_enabled("cpu")


def test_the_same_request_gives_the_same_clip_and_every_part_of_it_matters(generator: Generator) -> None:
    audio = generator.generate(REQUEST).audio
    assert torch.equal(audio, generator.generate(REQUEST).audio)
    for change in (
        {"seed": 8},
        {"games": {"Castle": 0.3, "Cave": 0.7}},
        {"games": {"Castle": 0.7, "Cave": -0.3}},
        {"cfg_scale": 1.0},
        {"steps": 4},
        {"sampler": "euler"},
        {"schedule": "exponential"},
        {"sigma_max": 40.0},
        {"phase_iterations": 1},
    ):
        other = generator.generate(REQUEST.model_copy(update=change)).audio
        assert not torch.allclose(audio, other, atol=1e-4), change


def test_only_the_ratios_of_the_weights_matter(generator: Generator) -> None:
    scaled = REQUEST.model_copy(update={"games": {"Castle": 7.0, "Cave": 3.0}})
    assert torch.allclose(generator.generate(REQUEST).audio, generator.generate(scaled).audio, atol=1e-4)


def test_progress_rises_to_one_and_previews_are_pictures(generator: Generator) -> None:
    reports: list[StepReport] = []
    sizes = set()

    def on_step(report: StepReport) -> None:
        reports.append(report)
        sizes.add(report.preview().size)

    generator.generate(REQUEST, on_step=on_step)
    fractions = [report.fraction for report in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [report.text for report in reports][:3] == [f"sampling {step}/3" for step in (1, 2, 3)]
    count = len(reports) - 3  # iterations of phase recovery, most of them coarse ones
    assert count > 3 and reports[-2].text == f"recovering phase {count - 1}/{count}"
    assert len(sizes) == 1


def test_a_callback_can_cancel_within_a_step(generator: Generator) -> None:
    steps = 0

    def on_step(report: StepReport) -> None:
        nonlocal steps
        steps += 1
        raise Cancelled

    with pytest.raises(Cancelled):
        generator.generate(REQUEST, on_step=on_step)
    assert steps == 1


def test_a_saved_clip_carries_its_request_and_is_never_overwritten(generator: Generator, tmp_path: Path) -> None:
    result = generator.generate(REQUEST)
    first, second = save(result, tmp_path), save(result, tmp_path)
    assert [first.name, second.name] == ["Castle+Cave-seed7.flac", "Castle+Cave-seed7 (2).flac"]
    request, settings = read_settings(first)
    assert request == REQUEST
    assert settings["fingerprint"] == generator.fingerprint
    assert same_audio(result, first)
    assert len(list(tmp_path.iterdir())) == 2  # no temporaries


def test_file_names_are_safe_whatever_a_game_is_called() -> None:
    from sampling.output.clips import file_stem

    for name in ("../../etc/passwd", "a/b\\c", "", "ゲーム", 'x"y\n', "." * 300):
        stem = file_stem(Request(games={name: 1.0}))
        assert re.fullmatch(r"[\w+-]{1,60}", stem), stem


def test_file_names_of_long_names_in_any_script_fit_the_file_system() -> None:
    from sampling.output.clips import file_stem

    names = [first + "ゲーム" * 60 for first in "abc"]
    assert len(f"{file_stem(Request(games=dict.fromkeys(names, 1.0), seed=2**52))} (999).flac".encode()) < 240


def test_a_spectrogram_is_a_picture_of_the_clips_length() -> None:
    image = spectrogram_image(torch.randn(2, 16000), 16000)
    assert image.size == (100, 128)


def test_the_command_writes_a_clip_and_makes_it_again_bit_for_bit(model: ModelFolder, tmp_path: Path) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    base = ["-m", "sampling", "--model", tmp_path / "model", "--out", tmp_path / "out"]
    options = ["--seed", 3, "--seconds", 1, "--steps", 2, "--cfg-scale", 1.5]
    made = run(*base, "--game", "Castle=0.7", "--game", "Cave=-0.3", *options)
    assert made.returncode == 0, made.stderr
    path = Path(made.stdout.strip().splitlines()[-1])
    request, _ = read_settings(path)
    assert request.games == {"Castle": 0.7, "Cave": -0.3}
    again = run("-m", "sampling", "--from", path, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert "identical to" in again.stdout
    copy = next((tmp_path / "again").iterdir())
    assert (soundfile.read(copy)[0] == soundfile.read(path)[0]).all()


def test_a_request_file_and_set_go_through_the_same_checks(model: ModelFolder, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(
        json.dumps(
            {"description": "x", "model": str(model.path), "games": {"Cave": 1}, "seconds": 0.5, "steps": 1, "seed": 1}
        )
    )
    base = ["-m", "sampling", "--request", file, "--out", tmp_path]
    made = run(*base, "--set", "seed=9", "--count", 2, "--latents", "--spectrogram")
    assert made.returncode == 0, made.stderr
    written = sorted(path.name for path in tmp_path.glob("Cave*"))
    assert written == [f"Cave-seed{seed}.{kind}" for seed in (10, 9) for kind in ("flac", "png", "safetensors")]
    assert_one_line_error(run(*base, "--set", "stps=1"), "request.json: stps: unknown key; did you mean steps?")


def test_each_game_makes_what_is_missing_and_nothing_twice(model: ModelFolder, tmp_path: Path) -> None:
    command = ["-m", "sampling", "--model", model.path, "--each-game", "--seconds", 0.5, "--steps", 1]
    assert run(*command, "--out", tmp_path).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{game}-seed0.flac" for game in tiny.GAMES]
    (tmp_path / "Cave-seed0.flac").unlink()
    assert run(*command, "--out", tmp_path).stdout.strip().endswith("Cave-seed0.flac")
    assert "already" in run(*command, "--out", tmp_path).stdout
    assert len(list(tmp_path.iterdir())) == len(tiny.GAMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--game", "Castel=1"], ["unknown game 'Castel'", "nearest: Castle"]),
        (["--game", "Castle=much"], ["must be a number"]),
        (["--game", "Castle=0"], ["at least one game"]),
        ([], ["no game is asked for"]),
        (["--game", "Castle", "--steps", "0"], ["steps", "greater than or equal to 1"]),
        (["--game", "Castle", "--seconds", "1e9"], ["seconds", "600"]),
        (["--game", "Castle", "--seconds", "nan"], ["seconds"]),
        (["--game", "Castle", "--sampler", "huen"], ["did you mean heun"]),
        (["--game", "Castle", "--ema", "ema_9"], ["has no EMA 'ema_9'"]),
        (["--game", "Castle", "--count", "0"], ["--count"]),
        (["--game", "Castle", "--device", "tpu9"], ["--device tpu9"]),
        (["--from", "missing.flac"], ["missing.flac: no such file"]),
        (["--from", "README.md"], ["README.md: is not a flac, wav, mp3, ogg or json file"]),
        (["--request", "missing.json"], ["missing.json: no such file"]),
        (["--gaem", "Castle"], ["--gaem", "--help"]),
    ],
)
def test_wrong_requests_are_one_line_with_exit_code_2(model: ModelFolder, options: list[str], words: list[str]) -> None:
    assert_one_line_error(run("-m", "sampling", "--model", model.path, *options), *words)


def test_what_is_not_a_model_folder_is_told_so(tmp_path: Path) -> None:
    result = run("-m", "sampling", "--model", tmp_path, "--game", "Castle")
    assert_one_line_error(result, "is not a model folder", "make demo-model")
    with pytest.raises(UserError):
        Generator.load(ModelFolder(tmp_path))


def test_a_batch_that_does_not_fit_the_memory_is_halved_and_nothing_is_made_twice(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [REQUEST.model_copy(update={"seed": seed}) for seed in range(5)]
    sizes: list[int] = []

    class Small(generator_module.Batch):
        def _sample(self) -> torch.Tensor:
            sizes.append(len(self.requests))
            if len(self.requests) > 2:
                raise torch.OutOfMemoryError("too many")
            return super()._sample()

    monkeypatch.setattr(generator_module, "Batch", Small)
    monkeypatch.setattr(Generator, "_batches", lambda self, requests: iter([list(requests)]))
    made = list(generator.generate_many(requests))
    assert [result.request.seed for result in made] == [0, 1, 2, 3, 4]
    assert sizes == [5, 3, 2, 1, 2]
    monkeypatch.setattr(Small, "_sample", lambda self: (_ for _ in ()).throw(torch.OutOfMemoryError("none at all")))
    with pytest.raises(UserError, match=r"out of memory at 1 s \(none at all\); ask for a shorter clip"):
        next(generator.generate_many(requests[:1]))


def test_a_fingerprint_is_that_of_the_weights_a_request_names_weaker_ones_too(
    model: ModelFolder, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    folder = ModelFolder(tmp_path / "model")
    shutil.copy(folder.weights_path("unet"), folder.weights_path("unet", "ema_0.100"))
    named = REQUEST.model_copy(update={"ema": "ema_0.100"})
    weak = REQUEST.model_copy(update={"guidance": Guidance(weak_ema="ema_0.100", weak_scale=2.0)})
    before = [model_fingerprint(folder, request) for request in (REQUEST, named, weak)]
    assert before[0] == model_fingerprint(folder) != before[2]
    save_weights(folder.weights_path("unet", "ema_0.100"), tiny.make_denoiser(seed=5).state_dict())
    after = [model_fingerprint(folder, request) for request in (REQUEST, named, weak)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False]


def test_the_default_network_and_the_last_other_ones_are_kept(model: ModelFolder, tmp_path: Path) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    folder = ModelFolder(tmp_path / "model")
    for name in ("ema_0.050", "ema_0.100"):
        shutil.copy(folder.weights_path("unet"), folder.weights_path("unet", name))
    generator = Generator.load(folder)
    default, first = generator.unet(None), generator.unet("ema_0.050")
    assert generator.unet("ema_0.050") is first
    generator.unet("ema_0.100")
    assert generator.unet("ema_0.050") is not first
    weak = [generator.weak_unet(Guidance(weak_ema="ema_0.050", weak_scale=scale)) for scale in (1.5, 3.0)]
    assert weak[0] is weak[1]
    generator.free_memory()
    assert generator.unet(None) is default
    assert generator.weak_unet(Guidance(weak_ema="ema_0.050", weak_scale=2.0)) is not weak[0]


def test_a_weaker_model_of_other_games_is_refused(model: ModelFolder, tmp_path: Path) -> None:
    shutil.copytree(model.path, tmp_path / "other")
    other = ModelFolder(tmp_path / "other")
    guidance = Guidance(weak_model=other.path, weak_scale=2.0)
    assert load_weak(guidance, model) is not None
    games = [Game(game.id, name, 1) for game, name in zip(model.labels().games, ("Castle", "Sea", "Cave"), strict=True)]
    Labels(tuple(games)).save(other.labels_path)
    with pytest.raises(UserError, match=r"its game 1 is 'Sea', but .* has 'Cave' there"):
        load_weak(guidance, model)


def test_a_clip_tells_the_weights_that_made_it_also_where_training_has_replaced_the_files(
    model: ModelFolder, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    folder = ModelFolder(tmp_path / "model")
    shutil.copy(folder.weights_path("unet"), folder.weights_path("unet", "ema_0.100"))
    named = REQUEST.model_copy(update={"ema": "ema_0.100"})
    weak = REQUEST.model_copy(update={"guidance": Guidance(weak_ema="ema_0.100", weak_scale=2.0)})
    generator, before = Generator.load(folder, "cpu"), model_fingerprint(folder)
    other = tiny.make_denoiser(seed=5).state_dict()
    save_weights(folder.weights_path("unet"), other)
    assert generator.generate(REQUEST).fingerprint == generator.fingerprint == before != model_fingerprint(folder)
    # What is loaded only now has the fingerprint of now, and keeps it.
    first = [generator.generate(request).fingerprint for request in (named, weak)]
    assert first == [model_fingerprint(folder, named), f"{before}-{folder.fingerprint('unet', 'ema_0.100')}"]
    save_weights(folder.weights_path("unet", "ema_0.100"), other)
    assert [generator.generate(request).fingerprint for request in (named, weak)] == first


def test_weights_that_are_replaced_while_they_are_read_are_read_again(
    model: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model.path, tmp_path / "model")
    folder, newer = ModelFolder(tmp_path / "model"), tiny.make_denoiser(seed=5).state_dict()
    load_module, publications = loaded.load_module, iter([newer])

    def load_while_training_publishes(folder: ModelFolder, name: str, **options: Any) -> Any:
        module = load_module(folder, name, **options)
        if name == "unet":
            for weights in publications:
                save_weights(folder.weights_path("unet"), weights)
        return module

    monkeypatch.setattr(loaded, "load_module", load_while_training_publishes)
    generator = Generator.load(folder, "cpu")
    assert generator.fingerprint == model_fingerprint(folder)
    weights = generator.unet(None).state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in newer.items())


@pytest.mark.parametrize("seconds", [1e-9, 1 / tiny.SAMPLE_RATE, 63 / tiny.SAMPLE_RATE])
@pytest.mark.parametrize("loop", [False, True])
def test_what_is_shorter_than_a_frame_is_refused_before_anything_is_made(
    generator: Generator, seconds: float, loop: bool
) -> None:
    short = REQUEST.model_copy(update={"seconds": seconds, "loop": loop})
    with pytest.raises(UserError, match=r"seconds: .* is too short for this model, which makes 0.008 s or more"):
        next(generator.generate_many([REQUEST, short]))


def test_the_shortest_clip_can_be_made(generator: Generator) -> None:
    audio = generator.generate(REQUEST.model_copy(update={"seconds": generator.least_seconds})).audio
    assert audio.shape == (2, 64)
    assert bool(audio.isfinite().all())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has a total capacity of 8 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 20 GiB"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_is_one_line_whoever_asks_and_holds_no_tensors(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    generator = Generator.load(model, "cpu")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("sampling.batch.Batch.results", fail)
    with pytest.raises(
        UserError, match=r"^out of memory at 1 s \(.+\); ask for a shorter clip, .*--device cpu"
    ) as told:
        generator.generate(REQUEST)
    assert "\n" not in str(told.value)
    assert told.value.__context__ is None  # whose frames would keep what filled the memory
    monkeypatch.setattr(generator_module, "load_model", fail)
    with pytest.raises(UserError, match=r"^out of memory while loading .*tiny \("):
        Generator.load(model, "cpu")


def test_other_faults_of_the_code_are_not_taken_for_too_little_memory(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("sampling.batch.Batch.results", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        generator.generate(REQUEST)


def test_a_device_that_is_not_there_is_one_line_in_python_too(model: ModelFolder) -> None:
    for device in ("tpu9", "cuda:99"):
        with pytest.raises(UserError, match=rf"^--device {device}: .*; take cpu") as told:
            Generator.load(model, device)
        assert "\n" not in str(told.value)
