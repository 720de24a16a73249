"""The progress bar of every command: on a terminal one live line, elsewhere nothing."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


def progress_bar(
    console: Console,
    *,
    prefix: str = "",
    columns: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),),
    transient: bool = True,
    speed_estimate_period: float = 30.0,
) -> Progress:
    """A bar between the description of what is being done and the time left.

    It is disabled where `console` is no terminal: a bar in a log file would be a line for each of its steps.

    Args:
        console: where it is shown.
        prefix: stands before the description of each task.
        columns: what is shown between the bar and the time left.
        transient: the line vanishes when the work is done.
        speed_estimate_period: seconds of the past from which the time left follows.
    """
    text = TextColumn(f"{prefix}{{task.description}}")
    return Progress(
        text,
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=transient,
        disable=not console.is_terminal,
        speed_estimate_period=speed_estimate_period,
    )
