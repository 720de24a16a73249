"""What has been done: one line per finished record, appended at once, so that a killed run loses nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from dataset_processing.step import JsonData, Record
from dualdiffusion.files import write_text


def key_of(step: str, version: int, identity: JsonData, record: Record) -> str:
    """The key of a step's result: it changes with the step's settings and with anything that came before."""
    text = json.dumps([step, version, identity, record.to_json()], sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


class Journal:
    """The finished records of one step: `<state>/<step>.jsonl`, and `<step>.rank<k>.jsonl` of launched processes."""

    def __init__(self, state: Path, step: str, rank: int | None = None) -> None:
        self._state, self._step = state, step
        self._path = state / (f"{step}.jsonl" if rank is None else f"{step}.rank{rank}.jsonl")
        self._owner: dict[str, str] = {}
        self.entries: dict[str, Record] = {}
        self.used: set[str] = set()
        self.reload()

    def reload(self) -> None:
        """Reads the lines of all processes. A torn last line, left by a kill, is ignored."""
        for path in self._files():
            for line in path.read_bytes().split(b"\n"):
                try:
                    data = json.loads(line)
                    self._hold(data["key"], Record.from_json(data["record"]))
                except (ValueError, KeyError, TypeError):
                    continue

    def _files(self) -> list[Path]:
        return [path for path in [self._state / f"{self._step}.jsonl", *self._ranks()] if path.exists()]

    def _ranks(self) -> list[Path]:
        return sorted(self._state.glob(f"{self._step}.rank*.jsonl"))

    def _hold(self, key: str, record: Record) -> None:
        # A file belongs to the last record that wrote it: an older one would be taken for up to date.
        for path in record.outputs:
            older = self._owner.get(path)
            if older is not None and older != key and path in self.entries[older].outputs:
                self.entries.pop(older)
                for other in [name for name, owner in self._owner.items() if owner == older]:
                    del self._owner[other]
            self._owner[path] = key
        self.entries[key] = record

    def get(self, key: str) -> Record | None:
        """The result of that key, or None; it counts as used, and so stays when the journal is compacted."""
        record = self.entries.get(key)
        if record is not None:
            self.used.add(key)
        return record

    def put(self, key: str, record: Record) -> None:
        """Remembers a finished record; it is on its way to the disk when this returns."""
        self._hold(key, record)
        self.used.add(key)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "record": record.to_json()}).encode("ascii")
        # The break before the line ends one that a kill has torn.
        with open(self._path, "ab", buffering=0) as file:
            file.write((b"\n" if file.tell() else b"") + line)

    def drop(self, key: str) -> None:
        """Forgets a result, in memory: the next `compact` writes that."""
        self.entries.pop(key, None)

    def files(self) -> set[str]:
        """The source files that have an entry."""
        return {record.file for record in self.entries.values()}

    def compact(self, keep: set[str]) -> None:
        """Rewrites the journal with only the entries in `keep`, in the order of their files."""
        entries = sorted((record.file, key) for key, record in self.entries.items() if key in keep)
        lines = [json.dumps({"key": key, "record": self.entries[key].to_json()}) for _, key in entries]
        text = "\n".join(lines)
        main = self._state / f"{self._step}.jsonl"
        if (main.exists() or text) and (not main.exists() or main.read_text("ascii", "replace") != text):
            write_text(main, text)
        for path in self._ranks():
            path.unlink()
