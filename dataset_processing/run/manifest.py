"""The files that make a folder of FLAC a dataset: manifests, games and their ids, and the report on every file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from dataset_processing.report import page as report_page
from dataset_processing.report import report
from dataset_processing.report.preview import previews
from dataset_processing.run.names import readable
from dataset_processing.run.run_config import RunConfig
from dataset_processing.step import JsonData, Paths, Record
from dualdiffusion import __version__
from dualdiffusion.files import read_json, write_text
from dualdiffusion.labels import Labels

FORMAT_VERSION = 1
_MANIFEST_FIRST = (
    "file_name", "game", "game_id", "title", "artist", "seconds", "sample_rate", "channels", "loudness_lufs", "peak",
    "source_sha256", "source_file",
)  # fmt: skip

# Columns of metadata.jsonl. None but the first may end in `_file_name`: Hugging Face `datasets` reads such columns as
# further files. Every line has all of them, because the first lines decide on the types.
_METADATA = (
    "file_name", "game", "game_id", "split", "title", "artist", "seconds", "sample_rate", "channels", "loudness_lufs",
    "peak", "source_sha256", "source_file",
)  # fmt: skip


def write_dataset(config: RunConfig, records: list[Record], *, complete: bool) -> list[str]:
    """Writes the dataset's JSON files and the report; returns the names of those that changed.

    Equal records give equal bytes, and a file whose contents would be the same is not touched. The games with their
    ids come first: a run that is killed in between finds them again, so that no id ever moves.

    Args:
        config: the dataset, as its info tells it.
        records: every file of the source.
        complete: whether all steps were done; if not, only the report is written and the old dataset stays.
    """
    folder: Path = config.dataset
    texts: dict[str, str] = {}
    if complete:
        info = _info(config, records, folder / "dataset_info.json")
        ids = {game["name"]: game["id"] for game in info["games"]}
        texts["dataset_info.json"] = json.dumps(info, indent=1) + "\n"
        for split in ("train", "validation"):
            chosen = [record for record in _tracks(records) if record.fields.get("split", "train") == split]
            texts[f"{split}.jsonl"] = "".join(json.dumps(_line(record, ids)) + "\n" for record in chosen)
        texts["metadata.jsonl"] = "".join(json.dumps(_metadata(record, ids)) + "\n" for record in _tracks(records))
    data = report.to_json(records)
    texts["report.json"] = json.dumps(data, indent=1) + "\n"
    heard = previews(records, Paths(config.source, config.dataset))
    texts["report.html"] = report_page.to_html(data, report_page.about(config), heard)
    changed = [name for name, text in texts.items() if not _holds(folder / name, text)]
    for name in changed:
        write_text(folder / name, texts[name])
    return changed


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _tracks(records: list[Record]) -> list[Record]:
    """Kept tracks that have been converted, in the order of their output names."""
    tracks = [record for record in records if record.kept and "file_name" in record.fields]
    return sorted(tracks, key=lambda record: record.fields["file_name"])


def _line(record: Record, ids: dict[str, int]) -> dict[str, JsonData]:
    values = {**record.fields, "game": record.game, "game_id": ids[record.game]}
    rest = [key for key in values if key not in (*_MANIFEST_FIRST, "split", "tags")]
    return {key: values[key] for key in (*_MANIFEST_FIRST, *rest) if key in values}


def _metadata(record: Record, ids: dict[str, int]) -> dict[str, JsonData]:
    """A line of metadata.jsonl, with which the folder loads as a Hugging Face AudioFolder; all text is valid UTF-8."""
    values = {**record.fields, "game": record.game, "game_id": ids[record.game]}
    line = {key: values.get(key) for key in _METADATA}
    line["split"] = values.get("split", "train")
    return {key: _text(value) if isinstance(value, str) else value for key, value in line.items()}


def _text(value: str) -> str:
    return readable(value).encode("utf-8", "replace").decode()


def _info(config: RunConfig, records: list[Record], path: Path) -> dict[str, JsonData]:
    tracks = _tracks(records)
    train = Counter(record.game for record in tracks if record.fields.get("split", "train") == "train")
    held_out = Counter(record.game for record in tracks if record.fields.get("split", "train") == "validation")
    seconds: Counter[str] = Counter()
    for record in tracks:
        seconds[record.game] += record.fields["seconds"]
    games = [
        {
            "id": number,
            "name": name,
            "tracks": train[name],
            "validation_tracks": held_out[name],
            "seconds": round(seconds[name], 3),
        }
        for name, number in _game_ids(path, sorted({record.game for record in tracks})).items()
    ]
    return {
        "format_version": FORMAT_VERSION,
        "description": config.description,
        "games": games,
        "tracks": len(tracks),
        "training_tracks": train.total(),
        "validation_tracks": held_out.total(),
        "seconds": round(sum(seconds.values()), 3),
        "settings": config.to_json()["steps"],
        "software": {"dualdiffusion": __version__},
    }


def _game_ids(path: Path, names: list[str]) -> dict[str, int]:
    """Name -> id. Known games keep theirs, also when none of their tracks is left; new ones follow in name order.

    Raises:
        UserError: the present dataset_info.json is damaged: guessing would give games new ids.
    """
    ids = {}
    if path.exists():
        ids = {game.name: game.id for game in Labels.from_json(read_json(path), path).games}
    following = max(ids.values(), default=-1) + 1
    for name in names:
        if name not in ids:
            ids[name] = following
            following += 1
    return ids
