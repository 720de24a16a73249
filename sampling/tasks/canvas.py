"""Where a clip lies: its samples on latent columns, what is made and what is known, and the windows over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dualdiffusion.errors import UserError
from sampling.request import MAX_SECONDS, Request
from sampling.tasks.windows import Windows


@dataclass(frozen=True)
class Grid:
    """What a model's latents are in time.

    Attributes:
        sample_rate: in Hz.
        hop_length: samples of a frame.
        column_samples: samples of a latent column.
        size_multiple: the UNet takes multiples of so many columns.
        window_columns: as it was trained on, or None where that is not known.
    """

    sample_rate: int
    hop_length: int
    column_samples: int
    size_multiple: int
    window_columns: int | None = None

    def samples(self, seconds: float) -> int:
        """Length in samples, rounded."""
        return round(seconds * self.sample_rate)

    @property
    def least_seconds(self) -> float:
        """Length of a frame, below which there is nothing to decode."""
        return self.hop_length / self.sample_rate

    def rounded_up(self, columns: int) -> int:
        """The next number of columns that the UNet takes."""
        return max(1, math.ceil(columns / self.size_multiple)) * self.size_multiple


@dataclass(frozen=True)
class Canvas:
    """Latent columns and the clip on them; all numbers but `columns` are samples from the first column's start.

    Attributes:
        columns: T.
        first: where the clip begins: what is made before a source begins at a column.
        samples: length of the clip.
        source: where the source begins.
        made: regions (start, end) that are made anew; None where nothing is kept.
        windows: over the columns.
    """

    columns: int
    first: int
    samples: int
    source: int
    made: tuple[tuple[int, int], ...] | None
    windows: Windows

    def known_columns(self, column_samples: int) -> list[bool]:
        """Of each column, whether nothing of it is made anew."""
        known = [self.made is not None] * self.columns
        for start, end in self.made or ():
            for column in range(start // column_samples, min(math.ceil(end / column_samples), self.columns)):
                known[column] = False
        return known


def check_length(request: Request, grid: Grid) -> None:
    """Refuses what no model can make, before anything is loaded or computed for it.

    Raises:
        UserError: shorter than a frame.
    """
    if request.source is None and grid.samples(request.seconds) < grid.hop_length:
        raise UserError(
            f"seconds: {request.seconds:g} is too short for this model, which makes {grid.least_seconds:.4g} s or more "
            f"(a frame of {grid.hop_length} samples at {grid.sample_rate} Hz)"
        )


def plan_canvas(request: Request, grid: Grid, source_samples: int | None) -> Canvas:
    """
    Args:
        source_samples: length of the source at the model's rate; None without one.

    Raises:
        UserError: lengths that cannot be made.
    """
    check_length(request, grid)
    if request.loop:
        return _plan_loop(request, grid)
    first = source = 0
    made = None
    if source_samples is None:
        samples = grid.samples(request.seconds)
        end = math.ceil(request.seconds * (grid.sample_rate / grid.hop_length)) * grid.hop_length
    else:
        before, after = grid.samples(request.extend_before), grid.samples(request.extend_after)
        source = math.ceil(before / grid.column_samples) * grid.column_samples
        first, samples = source - before, before + source_samples + after
        end = first + samples
        if samples > MAX_SECONDS * grid.sample_rate:
            raise UserError(f"source: with what is made around it, the clip would be longer than {MAX_SECONDS:g} s")
        if request.keeps_source:
            made = _made(request, grid, source, source_samples, end)
    columns = math.ceil(end / grid.column_samples)
    window = _window_columns(request, grid)
    whole = grid.rounded_up(columns)
    if window is None or whole <= window:
        columns = window = whole
    return Canvas(columns, first, samples, source, made, Windows.over(columns, window))


def most_columns(request: Request, grid: Grid) -> int:
    """Latent columns of one pass over one clip, at most."""
    longest = request.seconds if request.source is None else MAX_SECONDS
    whole = grid.rounded_up(math.ceil(grid.samples(longest) / grid.column_samples))
    return min(_window_columns(request, grid) or whole, whole)


def _plan_loop(request: Request, grid: Grid) -> Canvas:
    samples = grid.samples(request.seconds)
    columns = round(samples / grid.column_samples)
    if columns < 1:
        least = grid.column_samples / grid.sample_rate
        raise UserError(f"seconds: a loop must have {least:.3g} s or more, one latent column, not {request.seconds:g}")
    window = _window_columns(request, grid) or grid.rounded_up(columns)
    return Canvas(columns, 0, samples, 0, None, Windows.over(columns, window, circular=True))


def _window_columns(request: Request, grid: Grid) -> int | None:
    if request.window_seconds is None:
        return grid.window_columns
    least = grid.size_multiple * grid.column_samples / grid.sample_rate
    columns = round(request.window_seconds / least) * grid.size_multiple
    if columns < 2:
        raise UserError(f"window_seconds: must be {least:.3g} or more for this model, not {request.window_seconds:g}")
    return columns


def _made(request: Request, grid: Grid, source: int, length: int, end: int) -> tuple[tuple[int, int], ...]:
    """What is made anew around and in a source of `length` samples on a canvas of `end` samples."""
    column, rate = grid.column_samples, grid.sample_rate
    made = [(0, source)] if source else []
    for start_seconds, end_seconds in sorted(request.inpaint):
        start, stop = grid.samples(start_seconds), grid.samples(end_seconds)
        name = f"inpaint: the region from {start_seconds:g} to {end_seconds:g} s"
        if stop > length:
            raise UserError(f"{name} leaves the source, which has {length / rate:.6g} s")
        if stop - start < column:
            raise UserError(f"{name} is shorter than a latent column, {column / rate:.3g} s; make it longer")
        made.append((source + start, source + stop))
    if source + length < end:
        made.append((source + length, end))
    return tuple(made)
