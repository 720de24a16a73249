"""What differs from the last run of the same training: settings, and the data that it learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.module import config_differences
from train.train_config import TrainConfig


def store(run_path: Path, config: TrainConfig, vae_fingerprint: str | None) -> list[str]:
    """Writes config.json and dataset.json of a run; returns what differs from those that were there."""
    dataset, differences = describe_dataset(DatasetFolder(config.dataset), vae_fingerprint), []
    parts = (("config", config.to_json(), config_differences), ("dataset", dataset, dataset_differences))
    for name, new, compare in parts:
        path = run_path / f"{name}.json"
        old = _last(path)
        differences += compare(old, new) if old else []
        if old != new:
            write_json(path, new)
    return differences


def describe_dataset(folder: DatasetFolder, vae_fingerprint: str | None) -> dict[str, Any]:
    """What a run learns from: the tracks with their lengths in seconds, and the VAE of the latents, if there is one."""
    tracks = {track.file_name: track.seconds for track in folder.tracks("train")}
    return {"vae": vae_fingerprint, "tracks": tracks}


def dataset_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """How two answers of `describe_dataset` differ, in few words each."""
    before, now = old["tracks"], new["tracks"]
    counts = {
        "added": len(now.keys() - before.keys()),
        "removed": len(before.keys() - now.keys()),
        "of another length": sum(before[name] != now[name] for name in before.keys() & now.keys()),
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    differences = [f"dataset: {len(before)} tracks, now {len(now)}: {', '.join(told)}"] if told else []
    if old["vae"] != new["vae"]:
        differences.append(f"latents: of VAE {old['vae']}, now of {new['vae']}: the network has to learn them anew")
    return differences


def _last(path: Path) -> Any:
    """What the last run wrote; None where there was none, or its file is damaged: it only serves to tell."""
    try:
        return read_json(path)
    except UserError:
        return None
