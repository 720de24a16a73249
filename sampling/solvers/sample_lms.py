"""Linear multistep: the slopes of earlier steps instead of further evaluations.

Imports no torch: tensors are used by operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampling.solvers.maths import Callback, Denoise, Order, adams_bashforth_weights, derivative
from sampling.solvers.renoising import Reinjection, intervals, renoising_of
from sampling.solvers.sample_dpmpp_multistep import sample_dpmpp_2m

if TYPE_CHECKING:
    from torch import Tensor

    from sampling.solvers.noise import NoiseSource


# A step so much longer than the one before it is not extrapolated: the slopes' rounding errors would grow with it.
LMS_SHORTEST = 0.01


def sample_lms(
    denoise: Denoise,
    x: Tensor,
    sigmas: list[float],
    *,
    generator: NoiseSource,
    callback: Callback | None = None,
    reinjection: Reinjection = 0.0,
    order: Order = 4,
) -> Tensor:
    """Adams and Bashforth's linear multistep method: the polynomial through the last slopes is integrated exactly.

    One evaluation a step. The first steps have fewer slopes to go by: their error is what is left when steps are many,
    so that it is of second order in the limit, whatever its own. With re-injection or restarts it is dpmpp_2m, a
    multistep method on the estimates: slopes hold the noise itself, and after each step that would be another one.
    """
    if not renoising_of(reinjection).is_off:
        return sample_dpmpp_2m(denoise, x, sigmas, generator=generator, callback=callback, reinjection=reinjection)
    slopes: list[Tensor] = []
    levels: list[float] = []
    for interval in intervals(sigmas, generator, callback, reinjection):
        denoised = denoise(x, interval.sigma)
        slopes, levels = [*slopes, derivative(x, interval.sigma, denoised)][-order:], [*levels, interval.sigma][-order:]
        if len(levels) > 1 and levels[-2] - levels[-1] < LMS_SHORTEST * (levels[-1] - interval.sigma_next):
            slopes, levels = slopes[-1:], levels[-1:]
        weights = adams_bashforth_weights(levels, interval.sigma_next)
        x = interval.end(sum((w * slope for w, slope in zip(weights, slopes, strict=True)), x), denoised)
    return x
