"""A network that is told where the beats fall, from the dataset to the clip."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from dualdiffusion import audio
from dualdiffusion.conditioners.beats import Beats
from dualdiffusion.conditioners.regions import Known
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config
from dualdiffusion.controls import read_controls
from dualdiffusion.data.audio_crops import Batch, collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.data.latent_crops import LatentCrops, read_header, write_latents
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_jsonl, write_jsonl
from dualdiffusion.model.export import export
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module, save_module
from dualdiffusion.randomness import StepRandom
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny
from tests.benchmarks.telling import RUNS, Listener, overrides
from tests.dualdiffusion.dsp.test_beat import clicks, regular
from tests.train.test_training import assert_equal, digest, fresh_model, train_until
from train.denoiser.telling import told_of, unknown
from train.module_trainers.unet import UNetTrainer
from train.train_config import TrainConfig

COLUMN = 64 * 8 / tiny.SAMPLE_RATE
TOLD = {
    "type": "conditioned.Conditioned",
    "conditioners": {
        "tempo": {"type": "beats.Beats"},
        "known": {"type": "regions.Known"},
        "place": {"type": "numbers.Number"},
        "who": {"type": "mixes.Mix", "fact": "game"},
        "loudness": {"type": "curves.Curve"},
    },
    "input_concat_ids": ["tempo", "known"],
    "global_cond_ids": ["place", "who"],
    "cross_attention_cond_ids": ["loudness"],
    "token_channels": 8,
    "backbone": {**tiny.UNET, "label_dim": None},
}
TEMPI = {"Castle": (100.0, 110.0), "Cave": (150.0, 160.0)}  # nothing is known of Circuit's


@pytest.fixture(scope="module")
def described(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset with beats for two of its games, and variations of which one is played higher."""
    path = tmp_path_factory.mktemp("described") / "dataset"
    shutil.copytree(dataset, path)
    for split in ("train", "validation"):
        records = read_jsonl(path / f"{split}.jsonl")
        for number, record in enumerate(records):
            bpm = TEMPI.get(record["game"], (None,))[number % len(TEMPI.get(record["game"], (None,)))]
            grid = {"bpm": bpm, "first": 0.1, "clarity": 0.5, "parts": [None]}
            curve = {"step": 0.5, "values": [-12.0, 0.0, 3.0]}
            record["facts"] = {} if bpm is None else {"beat": grid, "loudness": curve}
        write_jsonl(path / f"{split}.jsonl", records)
    for file in (path / "latents").rglob("*.safetensors"):
        header = read_header(file)
        tensor = load_file(file)["latents"]
        played = ({"offset": 0, "pitch": 0.0}, {"offset": 512, "pitch": 12.0})
        write_latents(file, tensor, replace(header, variations=played))
    return path


@pytest.fixture(scope="module")
def trained(model: ModelFolder, described: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """A model that was trained on it by the real command."""
    path = tmp_path_factory.mktemp("told")
    folder = ModelFolder(fresh_model(model, path / "model", "unet"))
    run = tiny.run("train.py", config_for(path / "config.json", folder.path, described))
    assert run.returncode == 0, run.stdout + run.stderr
    unet = load_module(folder, "unet")
    for name, parameter in unet.named_parameters():  # hardly trained: what it is told must be heard all the same
        if name.endswith("gain"):
            torch.nn.init.constant_(parameter, 0.5)
    save_module(folder, "unet", unet)
    return folder


def config_for(path: Path, model: Path, dataset: Path, **changes: object) -> Path:
    tiny.write_train_config(path, "unet", model, dataset, **changes)
    config = json.loads(path.read_text())
    config["module_trainer"]["denoiser"]["backbone"] = TOLD
    path.write_text(json.dumps(config))
    return path


def crops(described: Path, model: ModelFolder, seed: int | None = 0) -> LatentCrops:
    dataset = DatasetFolder(described)
    told = {"tempo": Beats.Config()}
    fingerprint = model.fingerprint("vae")
    tracks = dataset.tracks("train")
    return LatentCrops(dataset, tracks, 16, vae_fingerprint=fingerprint, seed=seed, told=told, column_seconds=COLUMN)


def test_a_crop_is_told_the_beats_of_its_own_place_and_of_how_it_is_played(described: Path, model: ModelFolder) -> None:
    data = crops(described, model)
    seen = set()
    for index in range(24):
        item, variation, start = data.place(index)
        values = data[index].values["tempo"]
        facts = data.tracks[item].facts
        if not facts:
            assert values is None
            continue
        speed = (1.0, 2.0)[variation]
        times = ((0.0, 512 / tiny.SAMPLE_RATE)[variation] + (start + torch.arange(16) + 0.5) * COLUMN) * speed
        beats = (times - facts["beat"]["first"]) * facts["beat"]["bpm"] / 60
        assert torch.allclose(values[0], 2**0.5 * torch.cos(2 * torch.pi * beats), atol=1e-3)
        seen.add(variation)
    assert seen == {0, 1}


def test_what_is_not_known_of_some_samples_of_a_batch_is_untold_for_them(described: Path, model: ModelFolder) -> None:
    data = crops(described, model)
    batch = collate([data[index] for index in range(12)])
    known = torch.tensor([float(bool(data.tracks[data.place(i)[0]].facts)) for i in range(12)])
    assert torch.equal(batch.known["tempo"], known)
    assert 0 < known.sum() < 12
    assert not batch.values["tempo"][known == 0].any()


def test_a_sample_without_its_label_is_told_nothing_and_others_lack_the_beat_now_and_then(
    model: ModelFolder, described: Path, tmp_path: Path
) -> None:
    path = config_for(tmp_path / "c.json", fresh_model(model, tmp_path / "m", "unet"), described)
    trainer = trainer_for(path)
    many, known = 400, torch.ones(400)
    batch = Batch(torch.zeros(many, 4, 4, 16), torch.zeros(many).long(), torch.arange(many))
    batch = replace(batch, values={"tempo": torch.ones(many, 4, 16)}, known={"tempo": known})
    told = told_of(batch, trainer.module, 0.3, StepRandom(0, first=0, batch_size=many, indices=list(range(many))))
    assert not told.kept["tempo"][told.labels_kept == 0].any()
    assert float(told.labels_kept.mean()) == pytest.approx(0.7, abs=0.08)
    assert float(told.kept["tempo"][told.labels_kept == 1].mean()) == pytest.approx(0.9, abs=0.05)


def test_what_is_known_of_a_sample_is_drawn_at_random_and_told_whatever_else_is_dropped(
    model: ModelFolder, described: Path, tmp_path: Path
) -> None:
    trainer = trainer_for(config_for(tmp_path / "c.json", fresh_model(model, tmp_path / "m", "unet"), described))
    batch = Batch(torch.randn(64, 4, 4, 16), torch.zeros(64).long(), torch.arange(64))
    told = told_of(batch, trainer.module, 0.1, StepRandom(0, first=0, batch_size=64, indices=list(range(64))))
    mask = told.values["known"][:, -1]
    assert torch.equal(told.values["known"][:, :4], batch.data * mask[:, None])
    assert 0.2 < float(mask.mean()) < 0.8
    assert told.kept["known"].all()
    assert not told.labels_kept.all()
    assert told.ids == ("games", "known")


def trainer_for(path: Path, **changes: object) -> UNetTrainer:
    config = load_config(TrainConfig, path)
    settings = config.module_trainer.config.model_copy(update=changes)
    dataset = DatasetFolder(config.dataset)
    return config.module_trainer.cls(settings, model=ModelFolder(config.model), dataset=dataset, seed=0)


def test_in_the_loss_what_is_told_of_the_latents_does_not_count_and_the_rest_counts_the_more() -> None:
    mask = torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    values = {"known": torch.cat([torch.randn(3, 4, 2, 4), mask[:, None, None].expand(-1, 1, 2, -1)], dim=1)}
    kept = {"known": torch.tensor([1.0, 0.0, 1.0])}
    counted = unknown(Conditioning(values=values, kept=kept), {"known": Known.Config()})
    assert counted.shape == (3, 1, 2, 4)
    assert counted[:, 0, 0].tolist() == [[0, 0, 4, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert unknown(Conditioning(), {}) is None


def test_a_training_step_counts_what_is_not_told_alone(
    model: ModelFolder, described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_for(config_for(tmp_path / "c.json", fresh_model(model, tmp_path / "m", "unet"), described))
    batch = collate([trainer.validation_data()[index] for index in range(2)])

    def loss() -> torch.Tensor:
        return trainer.step(batch, generator=StepRandom(0, first=0, batch_size=2, indices=[0, 1])).loss.detach()

    found = loss()
    assert torch.equal(found, loss()), "the same samples know the same"
    monkeypatch.setattr("train.module_trainers.unet.unknown", lambda conditioning, told: None)
    assert not torch.equal(found, loss())


def test_the_model_folder_lists_the_control_with_what_is_usual(trained: ModelFolder) -> None:
    control = read_controls(trained.module_entry("unet"), "index")["tempo"]
    assert set(control.usual) == {"Castle", "Cave"}
    assert min(control.usual["Castle"]) >= 100
    assert max(control.usual["Cave"]) <= 160


def test_the_tempo_that_is_asked_for_changes_the_clip_and_nothing_said_means_a_usual_one(trained: ModelFolder) -> None:
    generator = Generator.load(trained, "cpu")

    def clip(seed: int = 0, **asked: object) -> torch.Tensor:
        fields = {"games": {"Castle": 1.0}, "seconds": 1.0, "steps": 3, "phase_iterations": 1, "seed": seed, **asked}
        return generator.generate(Request.from_json(fields)).latents

    usual = clip()
    assert torch.equal(usual, clip())
    slow, fast, untold = (clip(controls={"tempo": value}) for value in (100.0, 200.0, None))
    for one, other in ((slow, fast), (slow, untold), (usual, untold)):
        assert not torch.allclose(one, other, atol=1e-4)
    # Nothing is usual for Circuit: that is untold, as null is.
    circuit = {"games": {"Circuit": 1.0}}
    assert torch.equal(clip(**circuit), clip(**circuit, controls={"tempo": None}))
    # Long clips in windows, loops and variations go the same way.
    for fields in ({"seconds": 3.0}, {"loop": True}, {"games_end": {"Cave": 1.0}}):
        assert clip(**fields, controls={"tempo": 120.0}).isfinite().all()


def test_place_names_and_curves_are_asked_for_like_the_tempo(trained: ModelFolder) -> None:
    generator = Generator.load(trained, "cpu")
    controls = read_controls(trained.module_entry("unet"), "index")
    assert set(controls) == {"tempo", "known", "place", "who", "loudness"}
    assert controls["who"].names == tuple(sorted(tiny.GAMES))
    base = {"games": {"Circuit": 1.0}, "seconds": 1.0, "steps": 2, "phase_iterations": 1}

    def clip(**asked: object) -> torch.Tensor:
        return generator.generate(Request.from_json({**base, "controls": asked})).latents

    untold = clip()
    for name, values in (
        ("place", (0.0, 1.0)),
        ("who", ("Castle", {"Castle": 1.0, "Cave": -1.0})),
        ("loudness", (-12.0, [-12.0, 6.0])),
    ):
        one, other = (clip(**{name: value}) for value in values)
        assert not torch.equal(one, untold), name
        assert not torch.equal(one, other), name
        assert torch.equal(clip(**{name: None}), untold), name
    with pytest.raises(UserError, match=r"controls\.who: must be among Castle"):
        clip(who="Castel")


def test_what_is_kept_of_a_source_is_told_and_stays_exact(trained: ModelFolder, tmp_path: Path) -> None:
    generator = Generator.load(trained, "cpu")
    source = tmp_path / "clicks.flac"
    audio.write_flac(source, clicks(regular(104, 0.2, 2), 2, tiny.SAMPLE_RATE), tiny.SAMPLE_RATE)
    asked = {"games": {"Circuit": 1.0}, "steps": 3, "phase_iterations": 1, "source": {"path": str(source)}}
    asked |= {"inpaint": [[0.5, 1.5]]}
    told, untold, pushed = (
        generator.generate(Request.from_json({**asked, **more})).latents
        for more in ({}, {"controls": {"known": None}}, {"guidance": {"scales": {"known": 4.0}}})
    )
    inside = torch.zeros(told.shape[-1], dtype=torch.bool)
    inside[int(0.5 / COLUMN) : int(1.5 / COLUMN) + 1] = True
    for other in (untold, pushed):
        same = (told == other).flatten(0, 1).all(0)
        assert same[~inside].all(), "what is kept is exact with all"
        assert not same[inside].any(), "what is made listens to it, as much as one asks for"


def test_demos_are_requests_and_each_is_what_the_command_makes_of_it(
    trained: ModelFolder, described: Path, tmp_path: Path
) -> None:
    path = config_for(tmp_path / "c.json", trained.path, described)
    fields = {"steps": 2, "seconds": 1.0, "phase_iterations": 1, "cfg_scale": 2.0}
    asked = ({**fields, "games": {"Cave": 1.0}, "controls": {"tempo": 90.0}}, {**fields, "controls": {"place": 0.0}})
    trainer = trainer_for(path, demos=asked)
    trainer.module.eval()
    demos = trainer.demos()
    assert [demo.name for demo in demos] == ["1/Cave", "2/Castle"]
    saved = ModelFolder(tmp_path / "saved")
    shutil.copytree(trained.path, saved.path)
    save_module(saved, "unet", trainer.module)
    generator = Generator.load(saved, "cpu")
    for demo, said in zip(demos, asked, strict=True):
        request = Request.from_json({"games": {"Castle": 1.0}, **said})
        # A loaded network lies in memory in another order than one in training: the last bits may differ.
        assert torch.allclose(demo.audio, generator.generate(request).audio, atol=1e-4)
        assert float(demo.audio.abs().max()) > 0.01
    config = json.loads(path.read_text())
    config["module_trainer"]["demos"] = [{"stepz": 3}]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"demos.*stepz.*steps"):
        load_config(TrainConfig, path)


def test_the_benchmark_hears_that_a_model_is_told_what_is_known_and_its_trainings_are_as_they_should_be(
    trained: ModelFolder, described: Path
) -> None:
    listener = Listener(Generator.load(trained, "cpu"), 1, seconds=1.0, steps=1, phase_iterations=1)
    ratio = listener.gaps(DatasetFolder(described).tracks("train")[:1])
    assert ratio != pytest.approx(1, abs=1e-4), "a model that is not told it makes the same of both"
    options = SimpleNamespace(work=Path("work"), model=trained, samples=10)
    for run, config in RUNS.items():
        load_config(TrainConfig, tiny.ROOT / config, overrides(run, described, options))


def test_a_clip_from_audio_goes_on_in_the_beat_of_its_source(trained: ModelFolder, tmp_path: Path) -> None:
    generator = Generator.load(trained, "cpu")
    source = tmp_path / "clicks.flac"
    audio.write_flac(source, clicks(regular(104, 0.2, 8), 8, tiny.SAMPLE_RATE), tiny.SAMPLE_RATE)
    asked = {"games": {"Circuit": 1.0}, "steps": 3, "phase_iterations": 1, "source": {"path": str(source)}}
    asked |= {"extend_after": 1.0}
    of_source, untold = (
        generator.generate(Request.from_json({**asked, **more})).latents for more in ({}, {"controls": {"tempo": None}})
    )
    assert not torch.allclose(of_source, untold, atol=1e-4)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("controls.tempi=100", "controls.tempi: this model has no such control; it has: tempo"),
        ("controls.tempo=20", "controls.tempo: must be from 55 to 205 BPM, not 20"),
        ("controls.tempo=fast", "controls.tempo"),
        ("guidance.scales.known=101", "guidance.scales.known"),
        ("guidance.scales.tempi=1", "guidance.scales.tempi: this model is not told tempi; it is told: tempo"),
    ],
)
def test_the_command_takes_controls_and_says_what_is_wrong_in_one_line(
    trained: ModelFolder, tmp_path: Path, said: str, told: str
) -> None:
    words = ["-m", "sampling", "--model", trained.path, "--game", "Castle", "--seconds", 1, "--out", tmp_path / "out"]
    refused = tiny.run(*words, "--set", said)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_clip_remembers_the_controls_and_a_model_that_is_told_games_alone_refuses_them(
    trained: ModelFolder, model: ModelFolder, tmp_path: Path
) -> None:
    words = ["--game", "Castle", "--seconds", 1, "--set", "steps=2", "controls.tempo=120", "guidance.scales.tempo=1"]
    made = tiny.run("-m", "sampling", "--model", trained.path, "--out", tmp_path / "out", *words)
    assert made.returncode == 0, made.stderr
    (clip,) = (tmp_path / "out").glob("*.flac")
    again = tiny.run("-m", "sampling", "--model", trained.path, "--from", clip, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    (other,) = (tmp_path / "again").glob("*.flac")
    assert digest_of_audio(clip) == digest_of_audio(other)
    refused = tiny.run("-m", "sampling", "--model", model.path, "--out", tmp_path / "out", *words)
    assert refused.returncode == 2
    assert "told games alone" in refused.stderr


def digest_of_audio(path: Path) -> bytes:
    return soundfile.read(path)[0].tobytes()


def test_a_dataset_without_facts_is_one_line_that_says_what_to_add(
    model: ModelFolder, dataset: Path, tmp_path: Path
) -> None:
    config = config_for(tmp_path / "c.json", fresh_model(model, tmp_path / "m", "unet"), dataset)
    refused = tiny.run("train.py", config)
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()
    assert "no track has facts" in line
    assert "describe.Describe" in line


def test_damaged_facts_are_one_line(described: Path, model: ModelFolder) -> None:
    data = crops(described, model, seed=None)
    broken = [replace(track, facts={"beat": {"bpm": "fast"}}) for track in data.tracks]
    data.tracks = broken
    with pytest.raises(UserError, match=r"damaged facts .*--steps describe"):
        data[0]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(model: ModelFolder, described: Path, tmp_path: Path) -> None:
    optimizer = {"type": "Muon", "learning_rate": 0.02}
    paths = [fresh_model(model, tmp_path / name, "unet") for name in ("straight", "stopped")]
    straight, stopped = (config_for(p.with_suffix(".json"), p, described, optimizer=optimizer) for p in paths)
    assert tiny.run("train.py", straight).returncode == 0
    train_until(stopped, paths[1] / "runs/unet", 16, signal.SIGTERM)
    assert tiny.run("train.py", stopped).returncode == 0
    assert_equal(*(digest(path, "unet") for path in paths))


def test_a_run_goes_on_when_a_track_of_a_new_composer_has_come(
    model: ModelFolder, described: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(described, dataset)

    def written_by(*composers: str) -> None:
        records = read_jsonl(dataset / "train.jsonl")
        for number, record in enumerate(records):
            record["facts"]["composer"] = composers[number % len(composers)]
        write_jsonl(dataset / "train.jsonl", records)

    written_by("Ada", "Bo")
    folder = ModelFolder(fresh_model(model, tmp_path / "model", "unet"))
    path = config_for(tmp_path / "c.json", folder.path, dataset, total_samples=8)
    config = json.loads(path.read_text())
    config["module_trainer"]["denoiser"]["backbone"]["conditioners"]["who"]["fact"] = "composer"
    path.write_text(json.dumps(config))
    for composers, samples in ((("Ada", "Bo"), 8), (("Ada", "Bo", "Cy"), 16)):
        written_by(*composers)
        run = tiny.run("train.py", path, "--set", f"total_samples={samples}")
        assert run.returncode == 0, run.stdout + run.stderr
        assert read_controls(folder.module_entry("unet"), "index")["who"].names == ("Ada", "Bo")


def test_an_exported_model_lists_its_controls_and_makes_the_same_kind_of_clip(
    trained: ModelFolder, tmp_path: Path
) -> None:
    exported = ModelFolder(export(trained, tmp_path / "out").path)
    assert read_controls(exported.module_entry("unet"), "") == read_controls(trained.module_entry("unet"), "")
    request = Request.from_json({"games": {"Castle": 1.0}, "seconds": 1.0, "steps": 2, "phase_iterations": 1})
    one, other = (Generator.load(folder, "cpu").generate(request).latents for folder in (trained, exported))
    assert torch.allclose(one, other, atol=0.005 * float(one.std()))  # float16 weights
