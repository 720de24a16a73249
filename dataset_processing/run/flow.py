"""One pass of all records through all steps: what is up to date is reused, the rest is done and remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dataset_processing.run.journal import Journal, key_of
from dataset_processing.run.manifest import write_dataset
from dataset_processing.run.names import Names
from dataset_processing.run.pool import Finished, run_one, run_pool
from dataset_processing.run.sources import list_records
from dataset_processing.step import Paths, Record
from dualdiffusion.component import Component, type_name
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_text
from dualdiffusion.machine.threads import usable_cpus

if TYPE_CHECKING:
    from dataset_processing.run.runner import RunConfig


@dataclass(frozen=True)
class Ranks:
    """This process among those that were launched together. `wait` returns when all have called it."""

    rank: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None


@dataclass
class StepCount:
    """What one step did in a run, or would do: numbers of records."""

    step: str
    done: int = 0
    changed: int = 0
    up_to_date: int = 0


@dataclass(frozen=True)
class Result:
    """What a run comes to. complete: every step that the dataset needs has been done for all files."""

    records: list[Record]
    steps: list[StepCount]
    complete: bool
    waiting_for: str = ""
    changed_files: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[Record]:
        """Files that looked like audio and were refused."""
        return [record for record in self.records if record.audio and not record.kept]


class View(Protocol):
    """Shows progress."""

    def start(self, step: str, total: int) -> None: ...
    def advance(self) -> None: ...


def step_name(step: Component) -> str:
    """The name of a step in `--steps` and in journals: its file."""
    return type_name(step.cls).partition(".")[0]


class Flow:
    """One pass of all records through all steps."""

    def __init__(self, config: RunConfig, selected: Sequence[str], ranks: Ranks, view: View | None) -> None:
        self.config, self.selected, self.ranks, self.view = config, list(selected), ranks, view
        self.paths = Paths(config.source, config.dataset)
        self.names_path = self.paths.state / "names.json"
        self.names = Names.load(self.names_path)
        self.steps = [(step_name(part), part.cls(part.config, paths=self.paths)) for part in config.steps]
        self.journals = {name: self._journal(name, step) for name, step in self.steps}
        self.counts = {name: StepCount(name) for name, _ in self.steps}
        self.before: dict[str, Record] = {}  # tracks that came to the first distributed step

    def _journal(self, name: str, step: Any) -> Journal:
        own = self.ranks.rank if step.distributed and self.ranks.count > 1 else None
        return Journal(self.paths.state, name, own)

    def plan(self) -> Result:
        records = self._sources()
        pending: set[str] = set()
        for name, step in self.steps:
            if step.collective and not step.optional:
                records = records if pending else step.run_all(records, _Work(self, name, step, dry=True))
                continue
            if name not in self.selected:
                records, pending = self._plan_reuse(name, step, records, pending)
                continue
            kept = [record for record in records if record.kept]
            ready = [record for record in kept if record.file not in pending]
            try:
                fresh, todo = self._up_to_date(name, step, ready)
            except UserError:  # no model yet: everything is to do
                fresh, todo = {}, ready
            todo += [record for record in kept if record.file in pending]
            todo += [record for record in fresh.values() if self._missing(record)]
            pending |= {record.file for record in todo}
            seen = self.journals[name].files()
            changed = sum(record.file in seen for record in todo)
            self.counts[name] = StepCount(name, len(todo) - changed, changed, len(kept) - len(todo))
            records = [fresh.get(record.file, record) for record in records]
        return Result(records, self._shown_counts(), not pending)

    def _plan_reuse(self, name: str, step: Any, records: list[Record], pending: set[str]) -> tuple[list, set[str]]:
        if step.optional:
            return self._reuse(name, step, records), pending
        known, todo = self._up_to_date(name, step, [record for record in records if record.kept])
        return [known.get(record.file, record) for record in records], pending | {record.file for record in todo}

    def run(self) -> Result:
        records = self._sources()
        split_at = next((i for i, (_, step) in enumerate(self.steps) if step.distributed), len(self.steps))
        if self.ranks.rank == 0:
            self.names.save(self.names_path)
            before, waiting_for = self._pass(records, self.steps[:split_at])
            lost = {record.file for record in before if record.kept and self._missing(record)}
            if lost and not waiting_for:
                # A file of the dataset was deleted or damaged: what wrote it is forgotten, and done again.
                self._forget(lost)
                before, waiting_for = self._pass(records, self.steps[:split_at])
            if waiting_for:
                return self._finish(before, waiting_for)
        self.ranks.wait()
        if self.ranks.rank > 0:
            self.names = Names.load(self.names_path)
            records = self._sources()
            for journal in self.journals.values():
                journal.reload()
            before, _ = self._pass(records, self.steps[:split_at], replay=True)
        self.before = {record.file: record for record in before if record.kept}
        try:
            after, waiting_for = self._pass(before, self.steps[split_at:])
        except UserError:
            # A model that is missing must not cost what has been converted: the dataset is complete without latents.
            if self.ranks.rank == 0:
                self._finish(before, "")
            raise
        return self._finish(after, waiting_for) if self.ranks.rank == 0 else Result(after, [], True)

    def _sources(self) -> list[Record]:
        return list_records(self.paths.source, self.names)

    def _pass(self, records: list[Record], steps: list[tuple[str, Any]], *, replay: bool = False) -> tuple[list, str]:
        """All records through `steps`; stops before a step that is needed, not selected, and not up to date."""
        for position, (name, step) in enumerate(steps):
            chosen = name in self.selected and not replay
            if step.collective:
                if chosen or not step.optional:
                    records = step.run_all(records, _Work(self, name, step))
                else:
                    records = self._reuse(name, step, records)
                continue
            reused, todo = self._up_to_date(name, step, [record for record in records if record.kept])
            if todo and not chosen and not step.optional and not replay:
                later = [other for other, _ in steps[position + 1 :] if other in self.selected]
                if later:
                    files = "1 file is" if len(todo) == 1 else f"{len(todo)} files are"
                    raise UserError(f"--steps {later[0]}: {files} not up to date for {name}; run that step first")
                return records, name
            done = self._work_pool(name, step, todo) if chosen and todo else {}
            self.counts[name].up_to_date = len(reused)
            records = [done.get(record.file) or reused.get(record.file) or record for record in records]
        return records, ""

    def _up_to_date(self, name: str, step: Any, records: list[Record]) -> tuple[dict[str, Record], list[Record]]:
        """(Results that are known, by file; records that the step has yet to do)."""
        identity, known, todo = step.identity(), {}, []
        for record in records:
            result = self.journals[name].get(key_of(name, step.version, identity, record))
            if result is None:
                todo.append(record)
            else:
                known[record.file] = result
        return known, todo

    def _reuse(self, name: str, step: Any, records: list[Record]) -> list[Record]:
        """Records with the results of an optional step that was not asked for, where they are known and still there."""
        try:
            known, _ = self._up_to_date(name, step, [record for record in records if record.kept])
        except UserError:  # no model yet
            return records
        return [
            known[record.file] if record.file in known and not self._missing(known[record.file]) else record
            for record in records
        ]

    def _work_pool(self, name: str, step: Any, todo: list[Record]) -> dict[str, Record]:
        processes = self.config.processes or usable_cpus()
        if self.view:
            self.view.start(name, len(todo))
        # The largest files first: no worker then starts on a long one when the others have finished.
        ordered = sorted(todo, key=lambda record: (-_cost(record), record.file))
        done = {}
        for finished in run_pool(partial(_apply, step), ordered, processes):
            done[finished.before.file] = self._finished(name, step, finished)
        return done

    def _finished(self, name: str, step: Any, finished: Finished) -> Record:
        """Remembers one result."""
        count, journal = self.counts[name], self.journals[name]
        count.done += 1
        result = replace(finished.after, identity=())
        key = key_of(name, step.version, step.identity(), finished.before)
        if finished.final:
            journal.put(key, result)
        elif self.ranks.count > 1:  # the first process must hear of it; the next run tries again
            journal.put(_UNSURE + key, result)
        if self.view:
            self.view.advance()
        return result

    def _missing(self, record: Record) -> bool:
        """Whether a file that was written for this record is gone or has another size."""
        for output, size in record.outputs.items():
            try:
                if os.stat(self.paths.dataset / output).st_size != size:
                    return True
            except OSError:
                return True
        return False

    def _forget(self, files: set[str]) -> None:
        for journal in self.journals.values():
            for key, record in list(journal.entries.items()):
                if record.file in files and self._missing(record):
                    journal.drop(key)

    def _shown_counts(self) -> list[StepCount]:
        return [
            self.counts[name]
            for name, step in self.steps
            if name in self.selected and (step.optional or not step.collective)
        ]

    def _finish(self, records: list[Record], waiting_for: str) -> Result:
        """Writes what the dataset is now, then removes what is no longer part of it."""
        changed = write_dataset(self.config, records, complete=not waiting_for)
        if not waiting_for:
            self._clean(records)
        return Result(records, self._shown_counts(), not waiting_for, waiting_for, changed)

    def _clean(self, records: list[Record]) -> None:
        # What a distributed step refuses keeps its audio, or that would be made again in every run.
        staying = [*self.before.values(), *(record for record in records if record.kept)]
        current = {output for record in staying for output in record.outputs}
        kept = {record.file for record in staying}
        stale = {f"audio/{name}.flac" for name in self.names.tracks.values()}
        stale |= {f"audio/{name}.flac" for name in self.names.forget({record.file for record in records})}
        for name, step in self.steps:
            journal = self.journals[name]
            # Results of an optional step are kept for other settings too: latents of another model stay good.
            keep = {
                key
                for key, record in journal.entries.items()
                if not key.startswith(_UNSURE) and (key in journal.used or (step.optional and record.file in kept))
            }
            for key, record in journal.entries.items():
                if key not in keep or record.file not in kept:
                    stale |= set(record.outputs)
            journal.compact(keep)
        for output in sorted(stale - current):
            self._remove(self.paths.dataset / output)
        for _, step in self.steps:
            step.tidy(records)
        self.names.save(self.names_path)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


_UNSURE = "unsure "  # begins the keys of results of launched processes that shall not be remembered


def _cost(record: Record) -> float:
    return record.measured.get("seconds", record.identity[0] if record.identity else 0)


def _apply(step: Any, record: Record) -> Record:
    return step.run(record)


class _Work:
    """What the runner does for a collective step: see `step.Work`."""

    def __init__(self, flow: Flow, name: str, step: Any, *, dry: bool = False) -> None:
        self._flow, self._name, self._step, self._dry = flow, name, step, dry
        self.processes = flow.ranks.count

    def remembered(self, name: str, key: Any, compute: Callable[[], Any]) -> Any:
        path = self._flow.paths.state / f"{self._name}.{name}.json"
        digest = hashlib.sha256(json.dumps([self._step.version, key]).encode()).hexdigest()
        with suppress(UserError, KeyError, TypeError):  # not there yet, or damaged: computed again
            known = read_json(path)
            if known["key"] == digest:
                return known["value"]
        value = compute()
        if not self._dry and self._flow.ranks.rank == 0:
            write_text(path, json.dumps({"key": digest, "value": value}))
        return value

    def each(self, records: list[Record], function: Callable[[Record], Record]) -> list[Record]:
        flow, ranks = self._flow, self._flow.ranks
        known, todo = flow._up_to_date(self._name, self._step, [record for record in records if record.kept])
        lost = {file for file, record in known.items() if flow._missing(record)}
        todo = [record for record in records if record.kept and (record.file in lost or record.file not in known)]
        # Shares follow from the place among all records, not from what is left: another process may already have
        # finished some of its share when this one looks.
        places = {record.file: place for place, record in enumerate(record for record in records if record.kept)}
        flow.counts[self._name].up_to_date = len(known) - len(lost)
        mine = [record for record in todo if places[record.file] % ranks.count == ranks.rank]
        if flow.view and mine:
            flow.view.start(self._name, len(mine))
        done = {}
        for record in mine:
            done[record.file] = flow._finished(self._name, self._step, run_one(function, record))
        if ranks.count > 1:
            ranks.wait()
            flow.journals[self._name].reload()
            others, lacking = flow._up_to_date(self._name, self._step, [r for r in todo if r.file not in done])
            done = {**self._unsure(lacking), **others, **done}
            ranks.wait()
        return [done.get(record.file) or known.get(record.file) or record for record in records]

    def _unsure(self, records: list[Record]) -> dict[str, Record]:
        """What other processes could not settle in this run."""
        entries, step = self._flow.journals[self._name].entries, self._step
        keys = {record.file: _UNSURE + key_of(self._name, step.version, step.identity(), record) for record in records}
        return {file: entries[key] for file, key in keys.items() if key in entries}
