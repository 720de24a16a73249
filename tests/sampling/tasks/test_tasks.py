"""Clips from sources, in-painting and extension, end to end on the tiny model; and what requests are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy
import pytest
import soundfile
import torch
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.config import validate
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from sampling.batch import limited, noise_of
from sampling.generator import Generator
from sampling.output.clips import read_settings, same_audio, save
from sampling.request import Request, Source
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from sampling.tasks.canvas import Grid, plan_canvas
from sampling.tasks.known_regions import FADE_SECONDS, keep_known, known_frames, known_weight
from sampling.tasks.source import load_source
from tests import tiny
from tests.benchmarks.sampling_tasks import border_steps
from tests.dataset_processing.sounds import tune
from tests.dataset_processing.test_decode import by_ffmpeg
from tests.tiny import assert_one_line_error, run

RATE = tiny.SAMPLE_RATE
COLUMN = 8 * tiny.FORMAT["hop_length"]  # samples
REQUEST = Request(games={"Castle": 0.7, "Cave": 0.3}, seed=7, seconds=1.0, steps=2, sampler="euler", cfg_scale=1.5)
FADE = round(FADE_SECONDS * RATE)
GRID = Grid(sample_rate=RATE, hop_length=64, column_samples=COLUMN, size_multiple=2, window_columns=16)


@pytest.fixture(scope="module")
def generator(model: ModelFolder) -> Generator:
    return Generator.load(model)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_music(tmp_path_factory.mktemp("source") / "music.flac")


def write_music(path: Path) -> Path:
    """1.5 s of quiet tones at the model's rate."""
    time = torch.arange(RATE * 3 // 2) / RATE
    tones = torch.stack([torch.sin(2 * math.pi * f * time) for f in (220, 330)])
    audio.write_flac(path, 0.1 * tones, RATE)
    return path


def changed(request: Request = REQUEST, **changes: object) -> Request:
    return validate(Request, {**request.to_json(), **changes}, "test")


def from_source(path: Path, request: Request = REQUEST, **changes: object) -> Request:
    source = {"path": str(path), **changes.pop("source", {})}
    return changed(request, source=source, **changes)


def steps_of(samples: Tensor) -> Tensor:
    return samples.diff().abs().amax(dim=0)


# -- what is known ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["white", "brownian"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_known_columns_end_exactly_as_they_are_with_every_sampler(sampler: str, noise: str) -> None:
    levels = SCHEDULES["edm"](5, sigma_min=0.05, sigma_max=80.0, rho=7.0)
    latents, known = torch.randn(1, 2, 3, 12, generator=torch.Generator().manual_seed(3)), torch.arange(12) % 5 < 2
    random = noise_of([REQUEST.model_copy(update={"noise": noise, "sigma_min": 0.05})])
    x = random.randn((2, 3, 12)) * levels[0] + latents * known
    seen: list[Tensor] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        seen.append((x - latents)[..., known] / sigma)
        return torch.tanh(x / (1 + sigma))

    result = SAMPLERS[sampler](keep_known(denoise, latents, known), x, levels, generator=random, callback=None)
    assert torch.allclose(result[..., known], latents[..., known], atol=1e-4)
    assert not torch.allclose(result[..., ~known], latents[..., ~known], atol=0.1)
    # At every level the network sees what it was trained on there: the known latents with unit noise times sigma.
    assert all(0.6 < float(ratio.std()) < 1.5 for ratio in seen)


def test_a_clip_is_kept_outside_of_regions_but_for_a_fade() -> None:
    weight = known_weight(100, [(30, 50), (95, 100)], 8)
    assert weight[30:50].eq(0).all() and weight[95:].eq(0).all()
    assert weight[:22].eq(1).all() and weight[58:87].eq(1).all()
    assert weight[22:30].diff().lt(0).all() and weight[50:58].diff().gt(0).all()
    assert torch.allclose(weight[50:58], weight[22:30].flip(0), atol=1e-6)


def test_frames_are_known_as_far_as_their_samples_are() -> None:
    weight = known_weight(4 * 30, [(40, 60)], 8)
    frames = known_frames(weight, 4)
    assert frames[10:15].eq(0).all() and frames[:8].eq(1).all() and frames[17:].eq(1).all()
    assert torch.allclose(frames[8:10], torch.stack([weight[32:36].mean(), weight[36:40].mean()]))


@pytest.mark.parametrize("regions", [[[0.4, 0.7]], [[0.0, 0.2], [0.9, 1.1]], [[1.2, 1.5]]])
def test_inpainting_keeps_the_source_to_the_sample_outside_of_its_regions(
    generator: Generator, music: Path, regions: list[list[float]]
) -> None:
    source, _ = audio.read(music)
    result = generator.generate(from_source(music, inpaint=regions))
    assert result.audio.shape == source.shape
    assert result.request.seconds == 1.5
    kept = torch.ones(source.shape[-1], dtype=torch.bool)
    inside = ~kept
    for start, end in regions:
        kept[max(0, round(start * RATE) - FADE) : round(end * RATE) + FADE] = False
        inside[round(start * RATE) : round(end * RATE)] = True
    assert torch.equal(result.audio[:, kept], source[:, kept])
    assert not torch.allclose(result.audio[:, inside], source[:, inside], atol=1e-2)


def test_no_click_is_heard_where_a_region_begins_or_ends(generator: Generator, music: Path) -> None:
    source, _ = audio.read(music)
    start, end = round(0.4 * RATE), round(0.7 * RATE)
    beside, elsewhere, ours, pasted = [], [], [], []
    for seed in range(8):
        samples = generator.generate(from_source(music, inpaint=[[0.4, 0.7]], seed=seed)).audio
        steps = samples.diff().abs()
        edges, zones = border_steps(samples, start, end, FADE)
        beside += edges
        elsewhere += zones
        ours += [float(steps[:, border - 1].mean()) for border in (start, end)]
        # A hard cut from the source to what was made is a click, which this would tell.
        pasted += [float((samples[:, border] - source[:, border - 1]).abs().mean()) for border in (start, end)]
    assert median(beside) <= median(elsewhere)
    assert median(ours) < 0.7 * median(pasted)


def test_an_extension_has_the_exact_length_and_the_source_in_its_place(generator: Generator, music: Path) -> None:
    source, _ = audio.read(music)
    count = source.shape[-1]
    for before, after in [(0.3, 0.0), (0.0, 0.41), (0.25, 0.333)]:
        result = generator.generate(from_source(music, extend_before=before, extend_after=after))
        first, last = round(before * RATE), round(after * RATE)
        assert result.audio.shape == (2, first + count + last)
        fade_in, fade_out = FADE * (before > 0), FADE * (after > 0)
        assert torch.equal(
            result.audio[:, first + fade_in : first + count - fade_out], source[:, fade_in : count - fade_out]
        )
        for made in (result.audio[:, :first], result.audio[:, first + count :]):
            assert made.numel() == 0 or float(made.square().mean()) > 1e-6
        assert result.request.seconds == pytest.approx(result.audio.shape[-1] / RATE)


def test_a_region_can_be_made_anew_while_the_source_is_extended(generator: Generator, music: Path) -> None:
    result = generator.generate(from_source(music, extend_before=0.2, inpaint=[[0.5, 0.8]]))
    source, _ = audio.read(music)
    kept = slice(round(0.9 * RATE), round(1.4 * RATE))
    assert torch.equal(result.audio[:, round(0.2 * RATE) :][:, kept], source[:, kept])


def test_what_a_source_is_beside_a_region_decides_what_comes_there(
    generator: Generator, music: Path, tmp_path: Path
) -> None:
    samples, _ = audio.read(music)
    audio.write_flac(tmp_path / "loud.flac", samples * 4, RATE)
    first, second = (
        generator.generate(from_source(path, inpaint=[[0.5, 0.8]])) for path in (music, tmp_path / "loud.flac")
    )
    columns = slice(round(0.5 * RATE) // COLUMN, round(0.8 * RATE) // COLUMN)
    assert not torch.allclose(first.latents[..., columns], second.latents[..., columns], atol=1e-3)


# -- from audio to audio ------------------------------------------------------------------------------------------


def test_noise_levels_start_where_the_strength_says() -> None:
    whole = changed(steps=9).noise_levels()
    for strength in (0.25, 0.5, 0.75, 1.0):
        levels = changed(steps=9, source={"path": "x", "strength": strength}).noise_levels()
        assert levels == pytest.approx(whole[round(8 * (1 - strength)) :])


def test_strength_goes_from_nothing_changed_to_nothing_of_the_source(generator: Generator, music: Path) -> None:
    source, _ = audio.read(music)
    plain = generator.generate(changed(seconds=1.5))
    request = from_source(music, steps=6)
    results = [
        generator.generate(from_source(music, request, source={"strength": strength})) for strength in (0, 0.1, 0.5, 1)
    ]
    assert torch.equal(results[0].audio, source)
    assert torch.equal(results[3].audio, generator.generate(changed(request, source=None, seconds=1.5)).audio)
    assert plain.audio.shape == results[1].audio.shape
    distances = [float((result.latents - results[0].latents).square().mean()) for result in results]
    assert distances == sorted(distances) and distances[0] == 0 < distances[1]


def test_a_source_of_another_rate_and_channel_count_is_brought_to_the_models(
    generator: Generator, tmp_path: Path
) -> None:
    time = torch.arange(22050) / 22050
    audio.write_flac(tmp_path / "mono.flac", 0.1 * torch.sin(2 * math.pi * 440 * time)[None], 22050)
    result = generator.generate(from_source(tmp_path / "mono.flac", source={"strength": 0.0, "start": 0.2}))
    assert result.audio.shape == (2, 6400)
    expected = 0.1 * torch.sin(2 * math.pi * 440 * (torch.arange(6400) / RATE + 0.2))
    assert float((result.audio - expected)[:, 200:-200].abs().max()) < 2e-3


def test_the_command_makes_a_clip_from_a_source_again_and_another_file_is_refused(
    model: ModelFolder, generator: Generator, music: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.flac"
    copy.write_bytes(music.read_bytes())
    base = ["-m", "sampling", "--model", model.path, "--game", "Castle", "--steps", 1, "--out", tmp_path / "out"]
    made = run(*base, "--set", f"source.path={copy}", "--set", "inpaint=[[0.4, 0.8]]")
    assert made.returncode == 0, made.stderr
    path = Path(made.stdout.strip().splitlines()[-1])
    request, _ = read_settings(path)
    assert request.inpaint == ((0.4, 0.8),) and len(request.source.sha256) == 64
    assert same_audio(generator.generate(request), path)
    audio.write_flac(copy, torch.zeros(2, RATE), RATE)
    assert_one_line_error(run("-m", "sampling", "--from", path, "--model", model.path), "source.path", "has changed")


# -- requests -----------------------------------------------------------------------------------------------------


def test_a_request_of_before_means_what_it_meant() -> None:
    old = {"games": {"Castle": 1.0}, "seed": 3, "seconds": 2.0, "steps": 4, "cfg_scale": 2.0, "sampler": "heun"}
    request = validate(Request, old, "old")
    assert request.noise_levels() == SCHEDULES["edm"](4, sigma_min=0.01, sigma_max=80.0, rho=7.0)
    assert request.strength == 1 and not request.keeps_source
    assert validate(Request, json.loads(json.dumps(request.to_json())), "again") == request


def test_a_saved_loop_is_made_again_from_its_tags(generator: Generator, tmp_path: Path) -> None:
    result = generator.generate(changed(loop=True, seconds=0.77, noise="brownian", sampler="euler_ancestral"))
    path = save(result, tmp_path)
    request, _ = read_settings(path)
    assert same_audio(generator.generate(request), path)


SOURCE = {"path": "music.flac"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variation_strength": 0.5}, "needs a variation_seed"),
        ({"variation_strength": 1.5, "variation_seed": 1}, "variation_strength: .*less than or equal to 1"),
        ({"inpaint": [[0.1, 0.2]]}, "need a source"),
        ({"extend_after": 2}, "need a source"),
        ({"source": SOURCE, "loop": True}, "loop: cannot be made from a source"),
        ({"source": SOURCE, "inpaint": [[1, 1]]}, "from 1 to 1 s ends before it starts"),
        ({"source": SOURCE, "inpaint": [[1, 2], [1.5, 3]]}, "from 1.5 to 3 s begins in the one before it"),
        ({"source": {**SOURCE, "seconds": 2}, "inpaint": [[1, 3]]}, "leaves the source, which has 2 s"),
        ({"source": {**SOURCE, "strength": 0.5}, "extend_after": 1}, "must be 1 or null with extend"),
        ({"source": {**SOURCE, "strength": 2}}, "source.strength: .*less than or equal to 1"),
        ({"source": {**SOURCE, "strength": math.nan}}, "source.strength"),
        ({"source": {**SOURCE, "sha256": "x"}}, "source.sha256"),
        ({"source": {"pth": "x"}}, "source.path"),
        ({"source": SOURCE, "extend_before": 400, "extend_after": 400}, "must not be longer than 600 s"),
        ({"games_end": {"Castle": 0}}, "games_end: at least one game"),
        ({"window_seconds": 0}, "window_seconds: .*greater than 0"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        changed(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inpaint": [[1.0, 1.6]]}, "from 1 to 1.6 s leaves the source, which has 1.5 s"),
        ({"inpaint": [[1.0, 1.03]]}, "is shorter than a latent column, 0.064 s"),
        ({"source": {"start": 1.45}}, "source: has 0.05 s; it must have 0.064"),
        ({"source": {"start": 2}}, "lies behind the end"),
        ({"source": {"start": 1, "seconds": 1}}, "has 1.5 s, not 1 from 1 s on"),
        ({"source": {"path": "missing.flac"}}, "source.path: missing.flac: no such file"),
        ({"source": {"path": "README.md"}}, "source.path: README.md: cannot be read as audio: plain text, not audio"),
        ({"source": {"path": "docs"}}, "source.path: docs: is a folder; name one audio file in it"),
        ({"source": {"sha256": "0" * 64}}, "has changed since"),
        ({"extend_after": 599}, "longer than 600 s"),
        ({"window_seconds": 0.05}, "window_seconds: must be 0.128 or more"),
        ({"source": None, "loop": True, "seconds": 0.02}, "a loop must have 0.064 s or more"),
    ],
)
def test_what_only_the_file_or_the_model_can_tell_is_one_line_too(
    generator: Generator, music: Path, changes: dict[str, object], words: str
) -> None:
    own = changes.get("source", {})
    source = None if own is None else {"path": str(music), **own}
    with pytest.raises(UserError, match=words) as caught:
        generator.generate(changed(**{**changes, "source": source}))
    assert "\n" not in str(caught.value)


def test_a_canvas_has_columns_for_all_and_the_source_on_a_column() -> None:
    request = changed(source=SOURCE, extend_before=0.1, extend_after=0.2, inpaint=[[0.5, 0.7]])
    canvas = plan_canvas(request, GRID, 10000)
    assert canvas.source % COLUMN == 0 and canvas.source - canvas.first == 800
    assert canvas.samples == 800 + 10000 + 1600
    assert canvas.columns * COLUMN >= canvas.first + canvas.samples
    known = canvas.known_columns(COLUMN)
    for column in range(canvas.columns):
        touched = any(start < (column + 1) * COLUMN and column * COLUMN < end for start, end in canvas.made)
        assert known[column] != touched


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("half.wav", lambda data: data[: len(data) // 2]),
        ("half.flac", lambda data: data[: len(data) // 2]),
        ("nan.wav", None),
    ],
)
def test_a_source_that_would_be_read_short_or_is_no_music_is_refused(
    name: str, spoil: Callable[[bytes], bytes] | None, tmp_path: Path
) -> None:
    path, samples = tmp_path / name, numpy.zeros((32000, 2), numpy.float32)
    samples[:, 0] = 0.2 * numpy.sin(numpy.arange(32000) / 5)
    samples[7] = 0.0 if spoil else math.nan
    soundfile.write(path, samples, 16000, subtype=None if spoil else "FLOAT")
    if spoil:
        assert load_source(Source(path=str(path)), sample_rate=16000, channels=2)[0].shape == (2, 32000)
        path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=r"can be read|damaged|cannot be read"):
        load_source(Source(path=str(path)), sample_rate=16000, channels=2)


ALL_KINDS = {
    "x.m4a": ("aac", "ipod"), "alac.m4a": ("alac", "ipod"), "x.mka": ("flac", "matroska"), "x.wv": ("wavpack", "wv"),
    "x.wma": ("wmav2", "asf"), "x.tta": ("tta", "tta"), "x.aac": ("aac", "adts"), "x.ac3": ("ac3", "ac3"),
    "x.mp3": ("libmp3lame", "mp3"), "x.aiff": ("pcm_s16be", "aiff"), "x.caf": ("alac", "caf"),
    "x.w64": ("pcm_s16le", "w64"), "x.opus": ("libopus", "ogg"), "no extension": ("flac", "ogg"),
    "misnamed.wav": ("aac", "ipod"),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL_KINDS)
def test_every_audio_that_a_dataset_reads_can_be_a_source(name: str, tmp_path: Path) -> None:
    codec, container = ALL_KINDS[name]
    sound = tune(2, rate=48000 if codec == "libopus" else 44100)
    rate = 48000 if codec == "libopus" else 44100
    (tmp_path / name).write_bytes(by_ffmpeg(codec, container, sound, rate=rate))
    samples, *_ = load_source(Source(path=str(tmp_path / name)), sample_rate=rate, channels=2)
    assert samples.shape[1] == pytest.approx(2 * rate, abs=0.06 * rate)
    part, *_ = load_source(Source(path=str(tmp_path / name), start=0.5, seconds=1), sample_rate=rate, channels=2)
    assert torch.equal(part, samples[:, rate // 2 : rate // 2 + rate])


@pytest.mark.parametrize("name", ["twice.ogg", "twice.mp3"])
def test_a_source_of_several_files_in_one_is_read_whole(name: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / name, tune(2, rate=16000), 16000)
    once, *_ = load_source(Source(path=str(tmp_path / name)), sample_rate=16000, channels=2)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() * 2)
    twice, *_ = load_source(Source(path=str(tmp_path / name)), sample_rate=16000, channels=2)
    assert twice.shape[1] == pytest.approx(2 * once.shape[1], abs=16)


def test_of_a_very_long_source_a_part_can_be_taken(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", numpy.tile(tune(1, rate=8000), (602, 1)), 8000)
    with pytest.raises(UserError, match=r"has more than 600 s; take at most as much with source\.seconds"):
        load_source(Source(path=str(tmp_path / "long.flac")), sample_rate=8000, channels=2)
    source = Source(path=str(tmp_path / "long.flac"), start=1.5, seconds=600)
    assert load_source(source, sample_rate=8000, channels=2)[0].shape == (2, 600 * 8000)


def test_what_is_not_finite_is_told_and_not_passed_off_as_silence() -> None:
    audio = torch.full((2, 100), 0.5)
    assert torch.equal(limited(audio, None), audio)
    audio[0, 3] = math.nan
    with pytest.raises(UserError, match="not finite"):
        limited(audio, None)


def test_what_is_odd_about_a_source_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tune(1, rate=16000), 16000)
    data = (tmp_path / "x.wav").read_bytes()
    at = data.find(b"data") + 4
    (tmp_path / "x.wav").write_bytes(data[:at] + b"\xff" * 4 + data[at + 4 :])
    loaded = load_source(Source(path=str(tmp_path / "x.wav")), sample_rate=16000, channels=2)
    assert loaded.samples.shape == (2, 16000)
    assert "does not state a length" in loaded.notes[0]
    (tmp_path / "x.mid").write_bytes(b"MThd" + bytes(100))
    with pytest.raises(UserError, match=r"a MIDI file without tracks"):
        load_source(Source(path=str(tmp_path / "x.mid")), sample_rate=16000, channels=2)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("https://example.org/a.mp3", "is an address"),
        ("file:///music/a.flac", "is an address"),
        ("/dev/zero", "no regular file"),
        ("link.wav", "a link that leads nowhere"),
        ("none.wav", "no such file"),
        ("empty.wav", "holds no audio data"),
    ],
)
def test_what_cannot_be_a_source_says_what_it_is(path: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to("nowhere.wav")
    soundfile.write(tmp_path / "empty.wav", numpy.zeros((0, 2)), 16000)
    path = path if "/" in path else str(tmp_path / path)
    with pytest.raises(UserError, match=f"source.path: .*{told}"):
        load_source(Source(path=path), sample_rate=16000, channels=2)
