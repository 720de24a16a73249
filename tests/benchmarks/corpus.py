"""The built-in corpus as a dataset, when no other is named: composed and prepared by the commands.

To judge a model by, its training tracks are composed from the seed that models are trained on, and its validation
tracks from another one: music in the same styles that no model has heard, whatever tracks of the first its training
held out. To train on, it has latents too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_processing.synth.games import GAMES
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, read_jsonl, write_json, write_jsonl

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "config" / "dataset" / "demo.json"
STEPS = "scan,convert,filter,split"
WITH_LATENTS = ROOT / "config" / "dataset" / "chiptune.json"
HELD_OUT_TRACKS = 2


def built_in_dataset(
    games: Sequence[str],
    sample_rate: int,
    work: Path,
    *,
    seed: int,
    held_out_seed: int,
    tracks: int,
    held_out_tracks: int = HELD_OUT_TRACKS,
    track_seconds: float = 60.0,
) -> Path:
    """A dataset folder below `work`; what lies there already, from an earlier call, is not made again.

    Args:
        games: names; those that the corpus does not have are left out.
        sample_rate: in Hz.
        seed, held_out_seed: of the training and the validation tracks.
        tracks, held_out_tracks: of each game.

    Raises:
        UserError: no game is one of the corpus, or a command failed; its own message is above.
    """
    if seed == held_out_seed:
        raise UserError(f"--held-out-seed {held_out_seed}: must differ from --corpus-seed, or nothing is held out")
    work, known = work.resolve(), [game.name for game in GAMES]
    count = max((known.index(name) + 1 for name in games if name in known), default=0)
    if not count:
        raise UserError(f"the model knows none of the built-in games ({', '.join(known)}); name its music: --dataset")
    parts = {"train": (seed, tracks), "validation": (held_out_seed, held_out_tracks)}
    folder = work / f"{sample_rate}Hz-{'-'.join(f'{split}{s}x{n}' for split, (s, n) in parts.items())}"
    for split, (of_split, number) in parts.items():
        source, dataset = work / f"synth-{of_split}", folder / split
        _run("synth", source, "--games", count, "--tracks", number, "--seed", of_split, "--seconds", track_seconds)
        overrides = (f"source={source}", f"dataset={dataset}", f"steps.1.sample_rate={sample_rate}")
        _run("run", CONFIG, "--steps", STEPS, "--set", *overrides)
        write_jsonl(folder / f"{split}.jsonl", _records(dataset, split))
    write_json(folder / "dataset_info.json", read_json(DatasetFolder(folder / "train").info_path))
    return folder


def latents_dataset(
    model: str | Path, work: Path, *, games: int = 8, tracks: int = 12, track_seconds: float = 40.0
) -> Path:
    """A dataset with latents below `work`, to train on; what lies there from an earlier call is not made again.

    Args:
        model: model folder with the VAE, or the name of a shipped one.
        tracks: of each game, one of them for validation.

    Raises:
        UserError: a command failed; its own message is above.
    """
    music, dataset = work.resolve() / "music", work.resolve() / "dataset"
    _run("synth", music, "--games", games, "--tracks", tracks, "--seconds", track_seconds)
    # By their places in the config's list: what splits, and what encodes.
    changes = (f"source={music}", f"dataset={dataset}", "steps.3.validation_tracks=1", f"steps.4.model={model}")
    _run("run", WITH_LATENTS, "--set", *changes)
    return dataset


def _records(dataset: Path, split: str) -> list[dict[str, Any]]:
    """All tracks of a dataset, seen from the folder above it: here both of its splits are one."""
    records = [record for name in ("train", "validation") for record in read_jsonl(dataset / f"{name}.jsonl")]
    records.sort(key=lambda record: (record["game_id"], record["file_name"]))
    return [{**record, "file_name": f"{split}/{record['file_name']}", "split": split} for record in records]


def _run(*words: object) -> None:
    command = [sys.executable, "-m", "dataset_processing", *map(str, words)]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise UserError(f"the command failed: python -m dataset_processing {' '.join(map(str, words))}")
