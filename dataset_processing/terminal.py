"""What a person sees of a run in the terminal: one progress bar, and tables at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dataset_processing import report
from dataset_processing.flow import Result, StepCount


def make_progress(console: Console) -> Progress:
    """The progress bar of all commands here; nothing but the final tables goes to a file or pipe."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class ProgressView:
    """Shows the step at work in one progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("looking", total=None)

    def start(self, step: str, total: int) -> None:
        self._progress.reset(self._task, description=step, total=total)

    def advance(self) -> None:
        self._progress.advance(self._task)


@contextmanager
def progress_view(console: Console) -> Iterator[ProgressView]:
    with make_progress(console) as progress:
        yield ProgressView(progress)


def print_plan(console: Console, steps: Sequence[StepCount]) -> None:
    """What a run would do, per step."""
    table = Table("step", "new", "changed", "up to date", title="what would be done (nothing is written)")
    for count in steps:
        table.add_row(count.step, str(count.done), str(count.changed), str(count.up_to_date))
    console.print(table)


def print_result(console: Console, result: Result, dataset: str) -> None:
    """Games, refusals with reasons, and what the run did."""
    games = Table("game", "tracks", "hours", "refused")
    for game, tracks, hours, refused in report.games_of(result.records):
        games.add_row(Text(report.shown(game)), str(tracks), f"{hours:.2f}", str(refused) if refused else "")
    console.print(games)
    for record in result.records:
        if "internal error" in record.reason or "crashed" in record.reason:
            console.print(Text(f"{report.shown(record.file)}: {record.reason}", style="red"))
    summary = report.to_json(result.records)["summary"]
    if summary["reasons"]:
        reasons = Table("files", "why they were refused")
        for reason, count in summary["reasons"].items():
            reasons.add_row(str(count), Text(report.shown(reason)))
        console.print(reasons)
    work = ", ".join(f"{count.step} {count.done}" for count in result.steps if count.done)
    up_to_date = "nothing to do: everything is up to date" if not work and not result.changed_files else ""
    console.print(Text(up_to_date or f"done: {work or 'no track had to be read'}"))
    console.print(
        Text(
            f"{summary['kept']} tracks kept ({summary['hours']:.2f} h), {summary['refused']} refused, "
            f"{summary['not_audio']} files that are not audio; see {dataset}/report.html"
        )
    )
    if result.waiting_for:
        console.print(Text(f"the dataset's manifests are written when {result.waiting_for} has run too"))
