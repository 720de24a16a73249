"""The peer of the objectives benchmark: diffusers' estimates of the clean data, and its discrete noise levels.

Its schedulers are given the same answers of a network that knows the data (see tests/gaussian.py) as our predictors
are. They compute in units of the data's standard deviation, in which x is scaled to unit variance (Flow: to
(1 - t) x0 + t noise), and keep their tables in float32.
"""

from __future__ import annotations

import importlib.util
import logging

import torch
from torch import Tensor

from dualdiffusion.diffusion.levels import Betas, Discrete
from dualdiffusion.diffusion.predictors import Clean, Flow, Noise, Predictor, Velocity
from tests.gaussian import DATA, PREDICTORS, best_answer, estimate, points

STEPS = 1000
INDICES = range(0, STEPS, 37)
# What diffusers calls what the networks of DDPM are asked for, and betas.
ASKED_FOR: dict[type[Predictor], str] = {Noise: "epsilon", Velocity: "v_prediction", Clean: "sample"}
BETAS: dict[Betas, str] = {"linear": "linear", "compvis": "scaled_linear", "cosine": "squaredcos_cap_v2"}


def largest_difference() -> float | None:
    """Between diffusers and us, of all predictors' estimates and of the discrete levels; None: it is not installed.

    In units of 1 + sigma, the scale of noisy data.
    """
    if importlib.util.find_spec("diffusers") is None:
        return None
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    return max(*(difference(cls) for cls in PREDICTORS), *(difference_of_levels(betas) for betas in BETAS))


def difference(cls: type[Predictor]) -> float:
    """Of the estimates of one predictor, at some of the linear betas' levels.

    Raises:
        ImportError: diffusers is missing.
    """
    largest = 0.0
    for index in INDICES:
        sigma = DATA * Discrete(Discrete.Config(betas="linear", steps=STEPS)).sigma(torch.tensor([index]))
        x = points(sigma)
        theirs, ours = _theirs(cls, x, sigma, index), estimate(cls, x, sigma)
        largest = max(largest, float(((theirs - ours).abs() / (1 + sigma)).max()))
    return largest


def _theirs(cls: type[Predictor], x: Tensor, sigma: Tensor, index: int) -> Tensor:
    """diffusers' estimate of the clean data, in the shape of x; sigma: (1,)."""
    from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler

    ratio = sigma / DATA
    scaled = x / DATA / (1 + ratio if cls is Flow else (1 + ratio**2).sqrt())
    answer = best_answer(cls.__name__, scaled, sigma)
    if cls is Flow:  # one step from t to 0, which ends at the estimate
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=(ratio / (1 + ratio)).tolist())
        return DATA * scheduler.step(answer, scheduler.timesteps[0], scaled).prev_sample
    if cls in ASKED_FOR:
        scheduler = DDIMScheduler(clip_sample=False, prediction_type=ASKED_FOR[cls], num_train_timesteps=STEPS)
        scheduler.set_timesteps(STEPS)
        return DATA * scheduler.step(answer, index, scaled).pred_original_sample
    return EDMEulerScheduler(sigma_data=DATA).precondition_outputs(x, answer, sigma)


def difference_of_levels(betas: Betas) -> float:
    """Of the discrete noise levels of some betas.

    Raises:
        ImportError: diffusers is missing.
    """
    from diffusers import DDIMScheduler

    config = Discrete.Config(betas=betas, steps=STEPS)
    ends = {} if betas == "cosine" else dict(zip(("beta_start", "beta_end"), config.ends, strict=True))
    kept = DDIMScheduler(num_train_timesteps=STEPS, beta_schedule=BETAS[betas], **ends).alphas_cumprod.double()
    ours = Discrete(config).sigma(torch.arange(STEPS))
    return float(((((1 - kept) / kept).sqrt() - ours).abs() / (1 + ours)).max())
