"""`--plot-schedule`: a picture of the noise levels that a request would go through."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from dualdiffusion.config import validate
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.files import atomic_path
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.module import load_module
from sampling.command.schedule_picture import schedule_picture
from sampling.recommended import Asked, Recommended, read_recommended
from sampling.request import Request
from sampling.solvers.schedules import NEED_ERROR, SCHEDULES, ErrorOf


def plot_schedule(arguments: argparse.Namespace, asked: Asked, folder: ModelFolder | None) -> int:
    """Draws the schedule that is asked for by name, or all of them; with a model, also what it errs at each level.

    Raises:
        UserError: not a .png, an impossible request, or a schedule that needs a model where there is none.
    """
    path: Path = arguments.plot_schedule
    if path.suffix.lower() != ".png":
        raise UserError(f"--plot-schedule {path}: must end in .png")
    data = asked.over(read_recommended(folder) if folder else Recommended())
    request = validate(
        Request, {**data, "games": data.get("games") or {"any": 1.0}}, str(arguments.request or "request")
    )
    error = None
    if folder:
        error = error_of(load_module(folder, "unet", ema=request.ema, device="cpu"))
    names = [request.schedule] if "schedule" in asked.said() else list(SCHEDULES)
    if error is None:
        if names[0] in NEED_ERROR:
            raise UserError(f"--plot-schedule: the schedule {names[0]} depends on a model; give one with --model")
        names = [name for name in names if name not in NEED_ERROR]
    schedules = {name: request.model_copy(update={"schedule": name}).noise_levels(error) for name in names}
    with atomic_path(path) as temporary:
        schedule_picture(schedules, error).save(temporary, "PNG")
    print(path)
    return 0


def error_of(denoiser: Denoiser) -> ErrorOf:
    """The error that a denoiser has learned to expect at each noise level: the exponential of its log-variance."""

    @torch.inference_mode()
    def error(sigmas: list[float]) -> list[float]:
        return denoiser.log_variance(torch.tensor(sigmas, device=denoiser.device)).exp().flatten().tolist()

    return error
