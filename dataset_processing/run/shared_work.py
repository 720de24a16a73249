"""What the runner does for a collective step: remembers its results, and shares its records out to processes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress

from dataset_processing.run.pool import run_one
from dataset_processing.run.stage import Stage, outputs_missing
from dataset_processing.step import JsonData, Record
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_text


class SharedWork:
    """The `Work` of one collective step; see `dataset_processing.step.Work`. dry: nothing is written."""

    def __init__(self, stage: Stage, *, dry: bool = False) -> None:
        self._stage, self._dry = stage, dry
        self.processes = stage.ranks.count

    def remembered(self, name: str, key: JsonData, compute: Callable[[], JsonData]) -> JsonData:
        """See `Work.remembered`: `<state>/<step>.<name>.json`."""
        stage = self._stage
        path = stage.paths.state / f"{stage.name}.{name}.json"
        digest = hashlib.sha256(json.dumps([stage.step.version, key]).encode()).hexdigest()
        with suppress(UserError, KeyError, TypeError):  # not there yet, or damaged: computed again
            known = read_json(path)
            if known["key"] == digest:
                return known["value"]
        value = compute()
        if not self._dry and stage.ranks.rank == 0:
            write_text(path, json.dumps({"key": digest, "value": value}))
        return value

    def each(self, records: list[Record], function: Callable[[Record], Record]) -> list[Record]:
        """See `Work.each`."""
        stage, ranks = self._stage, self._stage.ranks
        kept = [record for record in records if record.kept]
        known, _ = stage.up_to_date(kept)
        lost = {file for file, record in known.items() if outputs_missing(record, stage.paths.dataset)}
        stage.count.up_to_date = len(known) - len(lost)
        # Shares follow from the place among all records, not from what is left: another process may already have
        # finished some of its share when this one looks.
        places = {record.file: place for place, record in enumerate(kept)}
        todo = [record for record in kept if record.file in lost or record.file not in known]
        mine = [record for record in todo if places[record.file] % ranks.count == ranks.rank]
        if mine:
            stage.start(len(mine))
        done = {record.file: stage.remember(run_one(function, record)) for record in mine}
        if ranks.count > 1:
            done = {**self._of_others([record for record in todo if record.file not in done]), **done}
        return [done.get(record.file) or known.get(record.file) or record for record in records]

    def _of_others(self, todo: list[Record]) -> dict[str, Record]:
        """What the other processes have made of their shares, by file."""
        stage = self._stage
        stage.ranks.wait()  # until all have written what is read here
        stage.journal.reload()
        done, lacking = stage.up_to_date(todo)
        others = {**stage.unsettled(lacking), **done}
        stage.ranks.wait()  # until all have read it: what comes next may rewrite the journals
        return others
