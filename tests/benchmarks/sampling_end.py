"""Part `end` of the sampling benchmark: what stopping at the noise of the latents themselves saves."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from torch import Tensor

if TYPE_CHECKING:
    from tests.benchmarks.sampling import Case

SAMPLERS = ("heun", "euler", "dpmpp_2m")
FEWEST_STEPS, MOST_STEPS = 3, 64
ENDS = ("to 0", "to the noise")


def end(case: Case, options: Any, console: Console) -> dict[str, Any]:
    """By sampler and distance from one's own limit, the fewest steps of both ends, and how many the later one saves.

    None: more than MOST_STEPS.
    """
    noise = case.generator.noise_of_latents
    sigmas = dict(zip(ENDS, (None, noise), strict=True))
    limits = {name: case.until(sigma, "heun", options.reference_steps) for name, sigma in sigmas.items()}
    found: dict[str, Any] = {}
    for sampler in SAMPLERS:
        steps = [steps_within(case, sampler, sigmas[name], limits[name], options.distances) for name in ENDS]
        found[sampler] = {}
        for distance, whole, stopped in zip(options.distances, *steps, strict=True):
            saved = None if whole is None or stopped is None else whole - stopped
            found[sampler][f"{distance:g}"] = {**dict(zip(ENDS, (whole, stopped), strict=True)), "saved": saved}
        console.print(f"{sampler}: {found[sampler]}", markup=False)
    apart = relative(limits[ENDS[1]], limits[ENDS[0]])
    return {"end_noise_of_latents": noise, "end_distance_of_the_ends": apart, "end": found}


def steps_within(
    case: Case, sampler: str, sigma: float | None, limit: Tensor, distances: list[float]
) -> list[int | None]:
    """For each distance the fewest steps that end no farther from the limit, by halving, as more steps come nearer."""

    @cache
    def away(steps: int) -> float:
        return relative(case.until(sigma, sampler, steps), limit)

    def fewest(distance: float) -> int | None:
        too_few, enough = FEWEST_STEPS - 1, FEWEST_STEPS
        while away(enough) > distance:
            if enough == MOST_STEPS:
                return None
            too_few, enough = enough, min(2 * enough, MOST_STEPS)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if away(middle) <= distance else (middle, enough)
        return enough

    return [fewest(distance) for distance in distances]


def relative(x: Tensor, reference: Tensor) -> float:
    """RMS difference, as a share of the reference's RMS."""
    return float((x - reference).square().mean().sqrt() / reference.square().mean().sqrt())


def show(result: dict[str, Any], console: Console) -> None:
    """The table."""
    table = Table("sampler", "distance", *ENDS, "saved")
    for sampler, rows in result["end"].items():
        for distance, row in rows.items():
            table.add_row(sampler, distance, *("more" if value is None else str(value) for value in row.values()))
    console.print(table)
