"""Does the model do what it is told? `python -m tests.benchmarks.telling [--samples N] [--json FILE]`.

Trains the tiny UNet twice on latents of the built-in corpus, with and without controls, by the real commands. Then asks
the one with controls for tempi, places, loudness curves and keys, listens with what describes tracks too, and has it
mend gaps in held-out music with and without being told what is around them. What the same ears make of the corpus
stands beside it: of places and keys even real excerpts do not tell everything. It goes on where it was stopped.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
from rich.console import Console
from torch import Tensor

from dualdiffusion import audio
from dualdiffusion.command_line import CommandParser, positive_int, run_command
from dualdiffusion.data.dataset_folder import DatasetFolder, Track
from dualdiffusion.dsp.beat import find_beat
from dualdiffusion.dsp.curves import curves_of_part, interpolated, loudness
from dualdiffusion.dsp.key import KEYS, key_of, keys_of_mode, pitch_classes
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model
from sampling.evaluation.embeddings.mel_statistics import MelStatistics
from sampling.generator import Generator
from sampling.request import Request

ROOT = Path(__file__).resolve().parents[2]
RUNS = {"told": "config/experiments/unet_tiny_telling.json", "games alone": "config/train/unet_tiny.json"}
TEMPI = (88.0, 168.0)  # within an octave, into which what is found is folded
GAP_SECONDS = 1.0
KNOWN = {"known": 2.5}
"""Guidance by what is around a gap, as the model recommends it."""
QUARTERS = 4
PITCH_SHIFTS = (-4, -2, 2, 4)
"""Semitones, beside 0. A few tracks have few keys; so shifted, those of each game have nearly all."""


def make_dataset(options: Any) -> Path:
    """The corpus as the VAE takes it, with latents and facts."""
    music, path = options.work / "music", options.work / "dataset"
    corpus = ("--tracks", options.tracks, "--seconds", options.track_seconds)
    call("-m", "dataset_processing", "synth", music, *corpus)
    config = read_json(ROOT / "config/dataset/demo.json")
    config["steps"][-2] |= {"model": str(options.model.path), "pitch_shifts": PITCH_SHIFTS}
    config |= {"extends": str(ROOT / "config/dataset/default.json"), "source": str(music), "dataset": str(path)}
    write_json(options.work / "dataset.json", config)
    call("-m", "dataset_processing", "run", options.work / "dataset.json", "--wait")
    return path


def overrides(run: str, dataset: Path, options: Any) -> list[str]:
    """What a training differs in from its config."""
    folder = options.work / f"{run.replace(' ', '_')}-{options.samples}"
    given = {"model": folder, "dataset": dataset, "module_trainer.autoencoder": options.model.path}
    given |= {"total_samples": options.samples, "demo_every_samples": "null", "module_trainer.demo_games": 0}
    return [f"{key}={value}" for key, value in given.items()]


def train(run: str, dataset: Path, options: Any) -> ModelFolder:
    """Trains once, or finds what an earlier call has trained."""
    settings = overrides(run, dataset, options)
    call("train.py", ROOT / RUNS[run], "--wait", "--set", *settings)
    return ModelFolder(Path(settings[0].partition("=")[2]))


def call(*words: object) -> None:
    """Runs a command of the project.

    Raises:
        UserError: it failed; its own message is above.
    """
    if subprocess.run([sys.executable, *map(str, words)], cwd=ROOT).returncode:
        raise UserError(f"{' '.join(map(str, words[:3]))}: failed")


class PlaceEar:
    """Tells which of two clips is the start and which the end of a track.

    What separates both is found in the corpus: the difference of the means of its tracks' starts and ends in the mel
    bands of each quarter of the clip, each in units of its variance. All of the clip at once would not do: there, most
    of what is heard of an end is that the bands vary more, for the last second of a track is silent.
    """

    def __init__(self, tracks: Sequence[Track], seconds: float, rate: int) -> None:
        self._statistics, self.seconds = MelStatistics(rate), seconds
        edges = [[self._heard(edge) for edge in self.edges(track)] for track in tracks]
        start, end = (torch.stack([edge[place] for edge in edges]) for place in (0, 1))
        deviation = torch.cat([start, end]).std(0).clamp(min=1e-6)
        self._direction = (end.mean(0) - start.mean(0)) / deviation**2

    def edges(self, track: Track) -> tuple[Tensor, Tensor]:
        """A track's first and last seconds."""
        last = max(track.seconds - self.seconds, 0.0)
        return excerpt(track, 0.0, self.seconds), excerpt(track, last, self.seconds)

    def in_order(self, start: Tensor, end: Tensor) -> bool:
        """Whether the second of two clips (C, N) sounds more like an end than the first.

        Two of one game: what games sound like differs more than their tracks' starts and ends do.
        """
        return float((self._heard(end) - self._heard(start)) @ self._direction) > 0

    def _heard(self, clip: Tensor) -> Tensor:
        """(C, N) -> (QUARTERS * 64,), independent of the clip's level."""
        return torch.cat([part.mean(dim=1) for part in self._statistics.log_mel(clip).tensor_split(QUARTERS, dim=1)])

    def of_corpus(self, tracks: Sequence[Track]) -> float:
        """Share of the tracks whose own start and end are told right."""
        return sum(self.in_order(*self.edges(track)) for track in tracks) / len(tracks)


def excerpt(track: Track, start: float, seconds: float) -> Tensor:
    """(C, N), so many seconds of a track."""
    with soundfile.SoundFile(track.path) as file:
        rate = file.samplerate
    return audio.read(track.path, start=round(start * rate), frames=round(seconds * rate))[0]


def is_in(clip: Tensor, rate: int, key: str) -> bool:
    """Whether a clip (C, N) fits a key best of the twelve keys of its mode.

    Of all 24 keys, the ear cannot tell a key from its relative one: they have the same notes.
    """
    heard = key_of(pitch_classes(clip, rate), keys_of_mode(key))
    return heard is not None and heard.name == key


def key_of_corpus(tracks: Sequence[Track], seconds: float, rate: int) -> float:
    """Share of excerpts, one of each track, that are heard in their track's key, as clips have to be."""
    right = known = 0
    for track in tracks:
        if "key" in track.all_facts:
            known += 1
            right += is_in(excerpt(track, track.seconds / 3, seconds), rate, track.all_facts["key"]["name"])
    return right / max(known, 1)


class Listener:
    """Asks a model for clips of all games in turn, and hears whether they are as asked."""

    def __init__(self, generator: Generator, clips: int, **said: object) -> None:
        self.generator, self.clips = generator, clips
        self.said = {"seconds": 8.0, "phase_iterations": 10, **said}
        self.games = itertools.cycle(generator.labels.names)

    def clip(self, seed: int, game: str, **controls: object) -> Tensor:
        """(C, N)."""
        asked = {**self.said, "games": {game: 1.0}, "seed": seed, "controls": controls}
        return self.generator.generate(Request.from_json(asked)).audio

    @property
    def rate(self) -> int:
        """Of the audio, in Hz."""
        return self.generator.sample_rate

    def tempo(self) -> float:
        """Rank correlation of asked and found tempi, both within one octave; clips without a beat count as 0 BPM."""
        asked, found = torch.linspace(*TEMPI, self.clips).tolist(), []
        for seed, bpm in enumerate(asked):
            beat = find_beat(self.clip(seed, next(self.games), tempo=bpm), self.rate)
            low = TEMPI[0] * 0.97
            found.append(low * 2 ** (math.log2(beat.whole.bpm / low) % 1) if beat else 0.0)
        return rank_correlation(asked, found)

    def place(self, ear: PlaceEar) -> float:
        """Share of pairs of clips, one told to be a start and one an end, that are heard so; chance is one half."""
        right = 0
        for seed in range(self.clips):
            game = next(self.games)
            # Other seeds too: beside the same clip, the least leaning towards an end would do.
            right += ear.in_order(*(self.clip(2 * seed + end, game, place=float(end)) for end in (0, 1)))
        return right / self.clips

    def loudness(self) -> float:
        """Mean correlation of asked and found loudness curves: rising, falling, up and down."""
        shapes = ((-18.0, 6.0), (6.0, -18.0), (-18.0, 6.0, -18.0))
        found = []
        for seed in range(self.clips):
            shape = shapes[seed % len(shapes)]
            curve = loudness(curves_of_part(self.clip(seed, next(self.games), loudness=shape), self.rate))
            place = (torch.arange(len(curve), dtype=torch.float64) + 0.5) / len(curve) * (len(shape) - 1)
            asked = interpolated(torch.tensor(shape, dtype=torch.float64), place)
            found.append(float(torch.corrcoef(torch.stack([asked, curve]))[0, 1].nan_to_num()))
        return sum(found) / len(found)

    def key(self) -> float:
        """Share of clips that are heard in the key asked for, of the twelve of its mode; chance is 1 in 12."""
        asked = [KEYS[seed * 7 % len(KEYS)] for seed in range(self.clips)]
        clips = (self.clip(seed, next(self.games), key=key) for seed, key in enumerate(asked))
        return sum(is_in(clip, self.rate, key) for clip, key in zip(clips, asked, strict=True)) / self.clips

    def gaps(self, tracks: Sequence[Track], scales: dict[str, float] | None = None) -> float:
        """Squared error of mended latents when told what is around the gap, over that when not told.

        Args:
            scales: of guidance, where it is told.
        """
        seconds = float(self.said["seconds"])
        length = min(GAP_SECONDS, seconds / 2)
        gap = [(seconds - length) / 2, (seconds + length) / 2]
        errors = {"told": 0.0, "untold": 0.0}
        for seed, track in zip(range(self.clips), itertools.cycle(tracks)):
            source = {"path": str(track.path), "start": track.seconds / 3, "seconds": seconds}
            asked = {**self.said, "games": {track.game: 1.0}, "seed": seed}
            truth = self._latents({**asked, "source": {**source, "strength": 0.0}})
            asked |= {"source": source, "inpaint": [gap]}
            told, untold = {"guidance": {"scales": scales or {}}}, {"controls": {"known": None}}
            for name, said in (("told", told), ("untold", untold)):
                made = self._latents({**asked, **said})
                errors[name] += float((made - truth).square().sum())
        return errors["told"] / max(errors["untold"], 1e-12)

    def _latents(self, asked: dict[str, Any]) -> Tensor:
        return self.generator.generate(Request.from_json(asked)).latents


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's; 0 where all values are alike."""
    values = torch.tensor([a, b], dtype=torch.float64)
    # Equal values share a rank: in the order of their places, a model that does always the same would follow anything.
    ranks = (values[:, :, None] > values[:, None]).sum(2) + 0.5 * (values[:, :, None] == values[:, None]).sum(2)
    return float(torch.corrcoef(ranks)[0, 1].nan_to_num())


def listen(listener: Listener, dataset: DatasetFolder) -> dict[str, float]:
    """All figures of a model that is told, but for the class control."""
    seconds = float(listener.said["seconds"])
    held_out = [track for track in dataset.tracks("validation") if track.seconds > 1.5 * seconds]
    training = [track for track in dataset.tracks("train") if track.seconds > 2 * seconds]
    ear = PlaceEar(training, seconds, listener.rate)
    return {
        "tempo_correlation": listener.tempo(),
        "place_accuracy": listener.place(ear),
        "place_accuracy_of_corpus": ear.of_corpus(held_out or training),
        "loudness_correlation": listener.loudness(),
        "key_accuracy": listener.key(),
        "key_accuracy_of_corpus": key_of_corpus([*training, *held_out], seconds, listener.rate),
        "inpaint_ratio": listener.gaps(held_out or training, KNOWN),
        "inpaint_ratio_guided_as_all": listener.gaps(held_out or training),
    }


def class_control(model: ModelFolder, dataset: Path, options: Any) -> float:
    """Share of clips that are told right; see `tests.benchmarks.class_control`."""
    path = options.work / f"class_control-{model.path.name}.json"
    words = ("--model", model.path, "--dataset", dataset, "--clips", options.class_clips, "--steps", options.steps)
    call("-m", "tests.benchmarks.class_control", *words, "--json", path)
    return read_json(path)["generated_accuracy"]


def main() -> int:
    """Trains what is missing, prints the figures and, where asked, writes them as JSON."""
    parser = CommandParser(prog="python -m tests.benchmarks.telling", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("chiptune"), help="whose VAE is used (default chiptune)")
    parser.add_argument("--samples", type=positive_int, default=9600, help="length of each training (default 9600)")
    parser.add_argument("--tracks", type=positive_int, default=8, help="of each game of the corpus (default 8)")
    parser.add_argument("--track-seconds", type=positive_int, default=60, help="their length (default 60)")
    parser.add_argument("--clips", type=positive_int, default=24, help="for each figure (default 24)")
    parser.add_argument(
        "--class-clips", type=positive_int, default=4, help="of each game, for class control (default 4)"
    )
    parser.add_argument("--steps", type=positive_int, default=20, help="of sampling (default 20)")
    parser.add_argument("--work", type=Path, default=Path("models/telling"), help="folder of all that is made")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.model = ModelFolder(find_model(options.model).path.resolve())
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(options)
    told, alone = (train(run, dataset, options) for run in RUNS)
    listener = Listener(Generator.load(told), options.clips, steps=options.steps, sampler="euler", cfg_scale=1.6)
    figures = listen(listener, DatasetFolder(dataset))
    figures["class_control"] = class_control(told, dataset, options)
    figures["class_control_without"] = class_control(alone, dataset, options)
    console = Console()
    for name, value in figures.items():
        console.print(f"{name}: {value:.3f}", markup=False)
    if options.json:
        write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    run_command(main)
