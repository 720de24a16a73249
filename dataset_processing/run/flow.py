"""One pass of all records through all steps: what is up to date is reused, the rest is done and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dataset_processing.run.manifest import write_dataset
from dataset_processing.run.names import Names
from dataset_processing.run.pool import run_pool
from dataset_processing.run.removal import Loss, check, find_losses
from dataset_processing.run.result import Ranks, Result, StepCount, View
from dataset_processing.run.run_config import RunConfig, step_name
from dataset_processing.run.shared_work import SharedWork
from dataset_processing.run.sources import list_records
from dataset_processing.run.stage import Stage, outputs_missing
from dataset_processing.step import Paths, Record, Step
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json
from dualdiffusion.machine.threads import usable_cpus


class Flow:
    """One pass of all records through all steps.

    Args:
        config: the dataset.
        selected: names of the steps that are to run.
        ranks: this process among launched ones.
        view: shows progress; None shows nothing.
        prune: whether much of a game may be removed because its files are gone.
    """

    def __init__(
        self, config: RunConfig, selected: Sequence[str], ranks: Ranks, view: View | None, *, prune: bool = False
    ) -> None:
        self.config, self.selected, self.ranks = config, list(selected), ranks
        self.paths = Paths(config.source, config.dataset)
        self.names_path = self.paths.state / "names.json"
        self.names = Names.load(self.names_path)
        self.stages = [
            Stage(step_name(part), part.cls(part.config, paths=self.paths), self.paths, ranks, view)
            for part in config.steps
        ]
        self.before: dict[str, Record] = {}  # tracks that came to the first distributed step
        self.prune = prune
        self.unread: dict[str, str] = {}  # why files and folders could not be read, refused before any step judged
        self.losses: list[Loss] = []

    def plan(self) -> Result:
        """What `run` would do, without writing anything."""
        records = self._sources()
        pending: set[str] = set()  # files that an earlier step has yet to do: what follows cannot be known
        for stage in self.stages:
            if stage.step.collective and not stage.step.optional:
                records = records if pending else stage.step.run_all(records, SharedWork(stage, dry=True))
            elif stage.step.optional and stage.name not in self.selected:
                records = _reuse(stage, records)
            else:
                records, todo = self._plan_stage(stage, records, pending)
                pending |= todo
        self.losses = find_losses(self._present(), records, self.unread)
        return Result(records, self._shown_counts(), not pending, losses=self.losses)

    def _plan_stage(self, stage: Stage, records: list[Record], pending: set[str]) -> tuple[list[Record], set[str]]:
        """(The records with what is known of them; the files that the step has yet to do)."""
        if stage.name in self.selected:
            known, todo = self._plan_selected(stage, records, pending)
        else:
            results, lacking = stage.up_to_date(records)
            known = [results.get(record.file, record) for record in records]
            todo = {record.file for record in lacking}
        parts = self._parts(stage, records, known)
        if parts:
            stage.count.up_to_date -= len(parts)
            songs, of_songs = self._plan_stage(stage, [part for group in parts.values() for part in group], pending)
            known, todo = _replaced(known, parts, songs), todo | of_songs
        return known, todo

    def _plan_selected(self, stage: Stage, records: list[Record], pending: set[str]) -> tuple[list[Record], set[str]]:
        """(The records with what is known of them; the files that the step would do), and counts both."""
        kept = [record for record in records if record.kept]
        ready = [record for record in kept if record.file not in pending]
        try:
            known, todo = stage.up_to_date(ready)
        except UserError:  # no model yet: everything is to do
            known, todo = {}, ready
        todo = {record.file for record in todo} | {record.file for record in kept if record.file in pending}
        todo |= {file for file, record in known.items() if outputs_missing(record, self.paths.dataset)}
        changed = len(todo & stage.journal.files())
        count = stage.count
        count.done, count.changed = count.done + len(todo) - changed, count.changed + changed
        count.up_to_date += len(kept) - len(todo)
        return [known.get(record.file, record) for record in records], todo

    def run(self) -> Result:
        """Does what is missing, and writes the dataset.

        Raises:
            UserError: a selected step whose predecessors are not done, or a model that cannot be loaded.
        """
        records = self._sources()
        split_at = next((i for i, stage in enumerate(self.stages) if stage.step.distributed), len(self.stages))
        if self.ranks.rank == 0:
            self._check_before_work(records)
            self.names.save(self.names_path)
            before, waiting_for = self._pass(records, self.stages[:split_at])
            lost = {record.file for record in before if record.kept and outputs_missing(record, self.paths.dataset)}
            if lost and not waiting_for:
                # A file of the dataset was deleted or damaged: what wrote it is forgotten, and done again.
                for stage in self.stages:
                    stage.forget(lost)
                before, waiting_for = self._pass(records, self.stages[:split_at])
            if waiting_for:
                return self._finish(before, waiting_for)
            self._check_losses(before)
        self.ranks.wait()
        if self.ranks.rank > 0:
            before = self._as_first_process(self.stages[:split_at])
        self.before = {record.file: record for record in before if record.kept}
        try:
            # What processes do not share is the first one's to do.
            following = [s for s in self.stages[split_at:] if s.step.distributed or self.ranks.rank == 0]
            after, waiting_for = self._pass(before, following)
        except UserError:
            # A model that is missing must not cost what has been converted: the dataset is complete without latents.
            if self.ranks.rank == 0:
                self._finish(before, "")
            raise
        return self._finish(after, waiting_for) if self.ranks.rank == 0 else Result(after, [], True)

    def _as_first_process(self, stages: list[Stage]) -> list[Record]:
        """The records as the first process has left them before the distributed steps."""
        self.names = Names.load(self.names_path)
        for stage in self.stages:
            stage.journal.reload()
        return self._pass(self._sources(), stages, replay=True)[0]

    def _sources(self) -> list[Record]:
        records = list_records(self.paths.source, self.names, self.paths.dataset)
        self.unread = {record.file: record.reason for record in records if not record.kept}
        return records

    def _present(self) -> list[str]:
        """The source files whose tracks are in the dataset now."""
        audio = self.paths.dataset / "audio"
        return [file for file, name in self.names.tracks.items() if (audio / f"{name}.flac").exists()]

    def _check_before_work(self, records: list[Record]) -> None:
        """Raises UserError for what is known to be out of reach before anything is read, where all would be done."""
        needed = {stage.name for stage in self.stages if not stage.step.optional}
        present = self._present()
        losses = [loss for loss in find_losses(present, records, self.unread) if loss.away]
        if needed <= set(self.selected):
            check(losses, len(present), prune=self.prune)

    def _check_losses(self, records: list[Record]) -> None:
        """Finds what is in the dataset and no longer in the source; raises UserError where too much would go."""
        present = self._present()
        self.losses = find_losses(present, records, self.unread, self._moved(records))
        check(self.losses, len(present), prune=self.prune)

    def _moved(self, records: list[Record]) -> list[str]:
        """Files whose contents are in a file that the last run did not know: renamed since, or moved."""
        report = self.paths.dataset / "report.json"
        old = {file["file"] for file in read_json(report)["files"]} if report.exists() else set()
        new = {record.fields.get("source_sha256") for record in records if record.file not in old} - {None}
        entries = (record for stage in self.stages for record in stage.journal.entries.values())
        return [record.file for record in entries if record.fields.get("source_sha256") in new]

    def _pass(self, records: list[Record], stages: list[Stage], *, replay: bool = False) -> tuple[list[Record], str]:
        """All records through `stages`; stops before a step that is needed, not selected, and not up to date.

        Returns:
            The records, and the name of the step before which it stopped, or "".
        """
        for position, stage in enumerate(stages):
            chosen = stage.name in self.selected and not replay
            if stage.step.collective:
                if chosen or not stage.step.optional:
                    records = stage.step.run_all(records, SharedWork(stage))
                else:
                    records = _reuse(stage, records)
                continue
            stage.count.up_to_date, before = 0, records
            records, lacking = self._through(stage, records, chosen, replay)
            if lacking:
                self._check_none_follows(stage, stages[position + 1 :], lacking)
                return records, stage.name
            self._note_unread(before, records)
        return records, ""

    def _note_unread(self, before: list[Record], after: list[Record]) -> None:
        """Keeps why a step that looks at one file at a time has refused files: it could not read them."""
        ready = {record.file for record in before if record.kept}
        self.unread |= {r.file: r.reason for r in after if not r.kept and {r.file, r.source_file} & ready}

    def _through(self, stage: Stage, records: list[Record], chosen: bool, replay: bool) -> tuple[list[Record], int]:
        """(The records after one step; how many are not up to date though the step was not chosen)."""
        reused, todo = stage.up_to_date(records)
        if todo and not chosen and not stage.step.optional and not replay:
            return records, len(todo)
        done = self._run_in_pool(stage, todo) if chosen and todo else {}
        stage.count.up_to_date += len(reused)
        after = [done.get(record.file) or reused.get(record.file) or record for record in records]
        parts = self._parts(stage, records, after)
        if not parts:
            return after, 0
        if not replay:
            self.names.save(self.names_path)
        stage.count.up_to_date -= len(parts.keys() & reused.keys())
        stage.count.done -= len(parts.keys() & done.keys())
        songs, lacking = self._through(stage, [part for group in parts.values() for part in group], chosen, replay)
        return _replaced(after, parts, songs), lacking

    def _parts(self, stage: Stage, before: list[Record], after: list[Record]) -> dict[str, list[Record]]:
        """For files that a step found to hold songs: their records, named, on which it is yet to run."""
        parts: dict[str, list[Record]] = {}
        for record, result in zip(before, after, strict=True):
            if result.songs:
                parts[record.file] = [self._named(part, record) for part in stage.step.parts(record, result)]
        return parts

    def _named(self, part: Record, whole: Record) -> Record:
        """A song with its output name; the only one of its file has the name of the file."""
        mark = "" if part.file == whole.file else part.track
        folder, track = self.names.assign(part.file, part.game, mark)
        return replace(part, folder=folder, track=track)

    def _check_none_follows(self, stage: Stage, following: list[Stage], count: int) -> None:
        """Raises UserError where a step is selected that needs `stage`, which is not up to date for `count` files."""
        later = [other.name for other in following if other.name in self.selected]
        if later:
            files = "1 file is" if count == 1 else f"{count} files are"
            raise UserError(f"--steps {later[0]}: {files} not up to date for {stage.name}; run that step first")

    def _run_in_pool(self, stage: Stage, todo: list[Record]) -> dict[str, Record]:
        stage.start(len(todo))
        # The largest files first: no worker then starts on a long one when the others have finished.
        ordered = sorted(todo, key=lambda record: (-_cost(record), record.file))
        processes = self.config.processes or usable_cpus()
        results = run_pool(partial(_apply, stage.step), ordered, processes)
        return {finished.before.file: stage.remember(finished) for finished in results}

    def _shown_counts(self) -> list[StepCount]:
        shown = (stage for stage in self.stages if stage.step.optional or not stage.step.collective)
        return [stage.count for stage in shown if stage.name in self.selected]

    def _finish(self, records: list[Record], waiting_for: str) -> Result:
        """Writes what the dataset is now, then removes what is no longer part of it."""
        changed = write_dataset(self.config, records, complete=not waiting_for)
        if not waiting_for:
            self._clean(records)
        return Result(records, self._shown_counts(), not waiting_for, waiting_for, changed, self.losses)

    def _clean(self, records: list[Record]) -> None:
        # What a distributed step refuses keeps its audio, or that would be made again in every run.
        staying = [*self.before.values(), *(record for record in records if record.kept)]
        current = {output for record in staying for output in record.outputs}
        kept = {record.file for record in staying}
        stale = {f"audio/{name}.flac" for name in self.names.tracks.values()}
        present = {record.file for record in records} | {record.source_file for record in records}
        stale |= {f"audio/{name}.flac" for name in self.names.forget(present)}
        for stage in self.stages:
            stale |= stage.compact(kept)
        for output in sorted(stale - current):
            _remove(self.paths.dataset / output)
        for stage in self.stages:
            stage.step.tidy(records)
        self.names.save(self.names_path)


def _reuse(stage: Stage, records: list[Record]) -> list[Record]:
    """Records with the results of an optional step that was not asked for, where they are known and still there."""
    try:
        known, _ = stage.up_to_date(records)
    except UserError:  # no model yet
        return records
    there = {file: record for file, record in known.items() if not outputs_missing(record, stage.paths.dataset)}
    return [there.get(record.file, record) for record in records]


def _replaced(records: list[Record], parts: dict[str, list[Record]], songs: list[Record]) -> list[Record]:
    """`records` with the finished `songs` in the place of their files."""
    finished = {song.file: song for song in songs}
    groups = ([finished[part.file] for part in parts.get(record.file, [])] or [record] for record in records)
    return [record for group in groups for record in group]


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _cost(record: Record) -> float:
    """Seconds of audio, or bytes until those are known: what takes longer comes out larger."""
    known = record.measured.get("seconds") or record.song.get("seconds")
    return known or (record.identity[0] if record.identity else 0)


def _apply(step: Step, record: Record) -> Record:
    return step.run(record)
