"""What a person sees of a run in the terminal: one progress bar, and tables at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from dataset_processing.report import report
from dataset_processing.run.result import Result
from dataset_processing.run.system_folders import LEFT_OUT
from dataset_processing.step import Record
from dualdiffusion.progress_bar import progress_bar

MOST_ROWS = 30
MOST_FAULTS = 10


class ProgressView:
    """Shows the step at work in one progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("looking", total=None)

    def start(self, step: str, total: int) -> None:
        """Begins a step of `total` records."""
        self._progress.reset(self._task, description=step, total=total)

    def advance(self) -> None:
        """One more record is done."""
        self._progress.advance(self._task)


@contextmanager
def progress_view(console: Console) -> Iterator[ProgressView]:
    """A view that is shown while the block runs, and gone afterwards."""
    with progress_bar(console) as progress:
        yield ProgressView(progress)


def print_line(console: Console, text: str, style: str = "") -> None:
    """One line as it is: it is not wrapped, so that a path in it can be copied whole."""
    console.print(Text(text, style=style), soft_wrap=True)


def print_plan(console: Console, plan: Result) -> None:
    """What a run would do, per step, and what it would remove."""
    table = Table("step", "new", "changed", "up to date", title="what would be done (nothing is written)")
    for count in plan.steps:
        table.add_row(count.step, str(count.done), str(count.changed), str(count.up_to_date))
    console.print(table)
    _print_left_out(console, plan.records)
    for loss in plan.losses:
        needs = "; unless they are found under another name, that needs --prune" if loss.large else ""
        print_line(console, f"would be removed, as the source has it no more: {loss}{needs}")


def print_result(console: Console, result: Result, dataset: str) -> None:
    """The worst first: faults of ours, why files were refused, games, and what the run did. Long tables are cut."""
    summary = report.summary_of(result.records)
    _print_faults(console, result.records)
    _print_left_out(console, result.records)
    _print_reasons(console, summary["reasons"])
    _print_games(console, result.records)
    for loss in result.losses if result.complete else ():
        print_line(console, f"removed from the dataset, as the source has it no more: {loss}", style="yellow")
    work = ", ".join(f"{count.step} {count.done}" for count in result.steps if count.done)
    up_to_date = "nothing to do: everything is up to date" if not work and not result.changed_files else ""
    print_line(console, up_to_date or f"done: {work or 'no track had to be read'}")
    print_line(
        console,
        f"{summary['kept']} tracks kept ({summary['hours']:.2f} h), {summary['refused']} refused, "
        f"{summary['not_audio']} files that are not audio; see {dataset}/report.html",
    )
    _print_not_held_out(console, result.records)
    if result.waiting_for:
        print_line(console, f"the dataset's manifests are written when {result.waiting_for} has run too")


def _print_not_held_out(console: Console, records: Sequence[Record]) -> None:
    """The games of which nothing is held out though they have several tracks, as a share of few tracks may be none."""
    splits: dict[str, list[str]] = {}
    for record in records:
        if record.kept and "split" in record.fields:
            splits.setdefault(record.game, []).append(record.fields["split"])
    games = sorted(game for game, of in splits.items() if len(of) > 1 and "validation" not in of)
    if games:
        some = ", ".join(report.shown(game) for game in games[:3]) + (", ..." if len(games) > 3 else "")
        print_line(
            console,
            f"no track is held out of {len(games)} of {len(splits)} games ({some}), so how well those are learned will "
            "not be told; validation_tracks=1 of the split step holds one of each out",
        )


def _print_faults(console: Console, records: Sequence[Record]) -> None:
    faults = [record for record in records if not record.kept and report.is_fault_of_ours(record.reason)]
    for record in faults[:MOST_FAULTS]:
        print_line(console, f"{report.shown(record.file)}: {report.shown(record.reason)}", style="red")
    if len(faults) > MOST_FAULTS:
        print_line(console, f"and {len(faults) - MOST_FAULTS} more such faults: see report.json", style="red")


def _print_left_out(console: Console, records: Sequence[Record]) -> None:
    """The folders in which nothing was read, with an example of each kind: some devices put one into every folder."""
    kinds: dict[str, list[str]] = {}
    for record in records:
        if record.reason.startswith(LEFT_OUT):
            kinds.setdefault(record.reason, []).append(record.file)
    for reason, files in sorted(kinds.items()):
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        print_line(console, report.shown(f"{files[0]}{more}: {reason}"))


def _print_reasons(console: Console, reasons: dict[str, int]) -> None:
    if not reasons:
        return
    table = Table("files", "why they were refused")
    table.columns[0].justify = "right"
    ordered = sorted(reasons.items(), key=lambda item: (not report.is_fault_of_ours(item[0]), -item[1], item[0]))
    for reason, count in ordered[:MOST_ROWS]:
        table.add_row(str(count), Text(report.shown(reason)))
    others = ordered[MOST_ROWS:]
    if others:
        table.add_row(str(sum(count for _, count in others)), f"for {len(others)} other reasons: see report.html")
    console.print(table)


def _print_games(console: Console, records: Sequence[Record]) -> None:
    table = Table(
        Column("game", overflow="ellipsis", no_wrap=True, max_width=48),
        Column("tracks", justify="right", no_wrap=True),
        Column("hours", justify="right", no_wrap=True),
        Column("refused", justify="right", no_wrap=True),
    )
    ordered = sorted(report.games_of(records), key=lambda game: (-game[3], game[0]))
    # One row more is better than a row that says that one is left out.
    cut = MOST_ROWS if len(ordered) > MOST_ROWS + 1 else len(ordered)
    for game, tracks, hours, refused in ordered[:cut]:
        table.add_row(Text(report.shown(game)), str(tracks), f"{hours:.2f}", str(refused) if refused else "")
    if others := ordered[cut:]:
        tracks, hours, refused = (sum(game[place] for game in others) for place in (1, 2, 3))
        rest = str(refused) if refused else ""
        table.add_row(f"and {len(others)} more games", str(tracks), f"{hours:.2f}", rest, style="italic")
    console.print(table)
