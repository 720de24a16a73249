"""One step in a run: which of its results are up to date, what it has done, and what it leaves behind."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dataset_processing.run.journal import Journal, key_of
from dataset_processing.run.pool import Finished
from dataset_processing.run.result import Ranks, StepCount, View
from dataset_processing.step import CollectiveStep, Paths, Record, Step

_UNSURE = "unsure "  # begins the keys of results of launched processes that shall not be remembered


def outputs_missing(record: Record, dataset: Path) -> bool:
    """Whether a file that was written for this record is gone or has another size."""
    for output, size in record.outputs.items():
        try:
            if os.stat(dataset / output).st_size != size:
                return True
        except OSError:
            return True
    return False


class Stage:
    """A step of the config with its journal and its count of records.

    Attributes:
        name: the step's file, as in `--steps` and in the names of its journals.
        journal: what the step has done, in this run and before.
        count: what it does in this run.
    """

    def __init__(self, name: str, step: Step | CollectiveStep, paths: Paths, ranks: Ranks, view: View | None) -> None:
        self.name, self.step, self.paths, self.ranks, self.view = name, step, paths, ranks, view
        # Processes that share the work write a journal each: lines of several in one file would tear one another.
        own = ranks.rank if step.distributed and ranks.count > 1 else None
        self.journal = Journal(paths.state, name, own)
        self.count = StepCount(name)

    def up_to_date(self, records: Iterable[Record]) -> tuple[dict[str, Record], list[Record]]:
        """(Results that are known, by file; records that the step has yet to do), of the kept ones among `records`.

        Raises:
            UserError: the step's model is not there yet.
        """
        identity, known, todo = self.step.identity(), {}, []
        for record in records:
            if not record.kept:
                continue
            result = self._known(key_of(self.name, self.step.version, identity, record))
            if result is None:
                todo.append(record)
            else:
                known[record.file] = result
        return known, todo

    def _known(self, key: str) -> Record | None:
        """What the journal has for a key; refusals of software that took fewer files do not count."""
        if not self.step.refusals:
            return self.journal.get(key)
        older = self.journal.entries.get(key)
        return self.journal.get(key) if older is not None and older.kept else self.journal.get(self._refused(key))

    def _refused(self, key: str) -> str:
        """The key of a refusal."""
        return f"{key} {self.step.refusals}" if self.step.refusals else key

    def start(self, total: int) -> None:
        """Shows that the step begins, with so many records to do."""
        if self.view:
            self.view.start(self.name, total)

    def remember(self, finished: Finished) -> Record:
        """Writes one result into the journal at once, and returns it."""
        self.count.done += 1
        result = replace(finished.after, identity=())
        key = self._key(finished.before)
        if finished.final:
            self.journal.put(key if result.kept else self._refused(key), result)
        elif self.ranks.count > 1:  # the first process must hear of it; the next run tries again
            self.journal.put(_UNSURE + key, result)
        if self.view:
            self.view.advance()
        return result

    def unsettled(self, records: Iterable[Record]) -> dict[str, Record]:
        """What other processes could not settle in this run, by file."""
        keys = {record.file: _UNSURE + self._key(record) for record in records}
        entries = self.journal.entries
        return {file: entries[key] for file, key in keys.items() if key in entries}

    def forget(self, files: set[str]) -> None:
        """Forgets the results for `files` whose outputs are missing, so that they are done again."""
        for key, record in list(self.journal.entries.items()):
            if record.file in files and outputs_missing(record, self.paths.dataset):
                self.journal.drop(key)

    def compact(self, kept: set[str]) -> set[str]:
        """Keeps in the journal what this run has used, and returns the outputs of everything else.

        Args:
            kept: the files that are part of the dataset.
        """
        entries = self.journal.entries
        # Results of an optional step are kept for other settings too: latents of another model stay good.
        keep = {
            key
            for key, record in entries.items()
            if not key.startswith(_UNSURE)
            and (key in self.journal.used or (self.step.optional and record.file in kept))
        }
        stale: set[str] = set()
        for key, record in entries.items():
            if key not in keep or record.file not in kept:
                stale |= set(record.outputs)
        self.journal.compact(keep)
        return stale

    def _key(self, record: Record) -> str:
        return key_of(self.name, self.step.version, self.step.identity(), record)
