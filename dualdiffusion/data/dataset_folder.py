"""A finished dataset on disk: its tracks, its games, and where its latents lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, read_jsonl
from dualdiffusion.labels import Labels


@dataclass(frozen=True)
class Track:
    """One line of train.jsonl or validation.jsonl, as far as training uses it."""

    path: Path
    file_name: str
    game: str
    game_id: int
    seconds: float
    sample_rate: int
    channels: int
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What training may tell a network of it; see `dualdiffusion.data.facts`."""

    @property
    def all_facts(self) -> dict[str, Any]:
        """The facts, and what is known of every track: `seconds` and `game`."""
        return {"seconds": self.seconds, "game": self.game, **self.facts}


@dataclass(frozen=True)
class DatasetFolder:
    """Reads what `python -m dataset_processing run` has written."""

    path: Path

    @property
    def info_path(self) -> Path:
        """The games and how the dataset was made."""
        return self.path / "dataset_info.json"

    def labels(self) -> Labels:
        """The games of the dataset.

        Raises:
            UserError: the folder holds no finished dataset.
        """
        self._check()
        return Labels.from_json(read_json(self.info_path), self.info_path)

    def tracks(self, split: str) -> list[Track]:
        """The tracks of "train" or "validation", in the order of the manifest.

        Raises:
            UserError: the folder holds no finished dataset, or its manifest is damaged.
        """
        self._check()
        path = self.path / f"{split}.jsonl"
        return [self._track(record, path) for record in read_jsonl(path)]

    def latents_path(self, track: Track, vae_fingerprint: str) -> Path:
        """Where the latents of a track lie, made by the VAE of this fingerprint."""
        return self.path / latents_file_name(track.file_name, vae_fingerprint)

    def _track(self, record: dict[str, Any], source: Path) -> Track:
        try:
            return Track(
                path=self.path / record["file_name"],
                file_name=record["file_name"],
                game=record["game"],
                game_id=int(record["game_id"]),
                seconds=float(record["seconds"]),
                sample_rate=int(record["sample_rate"]),
                channels=int(record["channels"]),
                facts=dict(record.get("facts", {})),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source}: a record lacks or misstates {error}; run dataset_processing again") from None

    def _check(self) -> None:
        if not self.info_path.is_file():
            raise UserError(
                f"{self.path}: is not a finished dataset (no dataset_info.json); make one: "
                "python -m dataset_processing run config/dataset/demo.json"
            )


def latents_file_name(file_name: str, vae_fingerprint: str) -> str:
    """Where the latents of `audio/<game>/<track>.flac` lie, relative to the dataset folder."""
    relative = Path(file_name).relative_to("audio")
    return str(Path("latents") / vae_fingerprint / relative.with_name(f"{relative.stem}.safetensors"))
