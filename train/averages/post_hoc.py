"""EMAs of any length after training, from stored snapshots of a few (Karras et al. 2023, section 3.2).

A power-function EMA of exponent gamma that ends at time T weights the past, up to T, by the profile
p(t) = (gamma + 1) t^gamma / T^(gamma + 1). Snapshots of one or two EMAs, taken during training, are such profiles
of many ends; the wanted profile is written as the sum of them that comes nearest to it, and the same sum of the
snapshots is the wanted EMA.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor, nn

from dualdiffusion.config import Config
from dualdiffusion.errors import UserError
from dualdiffusion.files import sweep, write_tensors
from dualdiffusion.model.label_growth import grown_weights
from dualdiffusion.tensor_files import OpenTensors, open_tensors
from train.averages.ema import MAX_STD, PowerEMA, exponent_of

PREFIX = "samples-"
# A profile that differs by more than this from the wanted one, relative to it, is refused.
MAX_PROFILE_ERROR = 0.1


class SnapshotConfig(Config):
    """Snapshots of averaged weights, from which `python -m train ema` makes an EMA of another length."""

    stds: tuple[Annotated[float, Field(gt=0, lt=MAX_STD)], ...] = (0.05, 0.1)
    """Widths of the averages that are stored; two cover more lengths than one. Empty: none are stored."""
    every_samples: Annotated[int, Field(gt=0)] | None = None
    """Samples between snapshots; null: a 32nd of the training."""
    keep: Annotated[int, Field(ge=16)] = 64
    """So many points in time are kept; then those go that are closest to their neighbours. A point takes two bytes of
    disk for each parameter and width. Fewer than 16 would not be enough to make other widths of."""


@dataclass(frozen=True)
class Profile:
    """The averaging profile of a power-function EMA of relative width `std` that ends at `end` samples."""

    std: float
    end: float


def inner_product(a: Profile, b: Profile) -> float:
    """The integral of the product of two profiles over time, in closed form."""
    x, y = exponent_of(a.std), exponent_of(b.std)
    ends = sorted((a.end, b.end))
    ratio = ends[0] / ends[1]
    later = y if a.end <= b.end else x
    return (x + 1) * (y + 1) / (x + y + 1) * ratio**later / ends[1]


def solve(wanted: Profile, known: Sequence[Profile]) -> tuple[np.ndarray, float]:
    """Coefficients of the known profiles whose sum comes nearest to the wanted one, and what is left.

    Least squares, with the coefficients' sum held at 1, so that weights that do not move are what they are.

    Returns:
        Coefficients of shape (len(known),), and the distance between the sum and the wanted profile, relative to the
        norm of the wanted one.
    """
    # Unit norms, because profiles of early snapshots are far higher than late ones, and bad for the rounding.
    norms = np.array([inner_product(p, p) ** 0.5 for p in known])
    products = np.array([[inner_product(p, q) for q in known] for p in known]) / np.outer(norms, norms)
    towards = np.array([inner_product(p, wanted) for p in known]) / norms
    system = np.zeros((len(known) + 1, len(known) + 1))
    system[:-1, :-1], system[-1, :-1], system[:-1, -1] = products, 1 / norms, 1 / norms
    scale = np.abs(system[-1]).max()
    system[-1] /= scale
    system[:, -1] /= scale
    solution = np.linalg.lstsq(system, np.append(towards, 1 / scale), rcond=1e-11)[0][:-1]
    # The squared distance, multiplied out; rounding can take it below 0 where the sum is all but exact.
    own = inner_product(wanted, wanted)
    left = own - 2 * solution @ towards + solution @ products @ solution
    return solution / norms, float(max(left, 0.0) / own) ** 0.5


class Snapshots:
    """The snapshots of one run: a file for each point in time, with all averages, as 16-bit floats.

    Half precision halves the disk that dozens of copies of a network need. It rounds each weight by at most 2^-11 of
    it. Coefficients of both signs enlarge that, but little: of 32 snapshots of the widths 0.05 and 0.1, the absolute
    values of the coefficients sum to about 2 for widths from 0.05 to 0.25, and to 28 for 0.02.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def list(self) -> list[tuple[int, Path]]:
        """Samples seen and file of each, oldest first."""
        found = [(path.stem.removeprefix(PREFIX), path) for path in self.folder.glob(f"{PREFIX}*.safetensors")]
        return sorted((int(digits), path) for digits, path in found if digits.isdigit())

    def save(self, emas: Sequence[PowerEMA], samples: int) -> None:
        """Stores the averages as they are after so many samples, then thins out.

        Raises:
            OSError: such as a full disk; older snapshots are untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        tensors = {f"{ema.name}/{name}": _small(tensor) for ema in emas for name, tensor in ema.state.items()}
        stds = json.dumps({ema.name: ema.std for ema in emas})
        write_tensors(self.folder / f"{PREFIX}{samples:012d}.safetensors", tensors, {"stds": stds})
        for path in redundant(self.list(), self.keep):
            path.unlink(missing_ok=True)

    def nearest(self, samples: int) -> int:
        """Samples seen at the snapshot nearest to a time.

        Raises:
            UserError: there are no snapshots.
        """
        found = [time for time, _ in self.list()]
        if not found:
            raise _no_snapshots(self.folder)
        return min(found, key=lambda time: abs(time - samples))

    def drop_after(self, samples: int) -> None:
        """Removes snapshots of a future that training goes back from."""
        for time, path in self.list():
            if time > samples:
                path.unlink(missing_ok=True)

    def stds(self, path: Path) -> dict[str, float]:
        """Names and widths of the averages in a snapshot.

        Raises:
            UserError: the file is damaged, or was removed by a training that thinned out.
        """
        with _opened(path) as file:
            return json.loads(file.metadata()["stds"])

    def read(self, path: Path, ema: str) -> dict[str, Tensor]:
        """One average of a snapshot; floating-point tensors are float32."""
        with _opened(path) as file:
            names = [key for key in file.keys() if key.startswith(f"{ema}/")]  # noqa: SIM118 (it has no __iter__)
            tensors = {key.removeprefix(f"{ema}/"): file.get_tensor(key) for key in names}
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def redundant(snapshots: Sequence[tuple[int, Path]], keep: int) -> list[Path]:
    """Which snapshots go, such that `keep` are left: each time that with the closest neighbours, the older of equals.

    What is left is spread evenly over the training, and denser towards its end, where most of the weight of an average
    lies. The first and the last stay.
    """
    left, gone = list(snapshots), []
    while len(left) > keep:
        gaps = [left[i + 1][0] - left[i - 1][0] for i in range(1, len(left) - 1)]
        gone.append(left.pop(1 + int(np.argmin(gaps)))[1])
    return gone


@torch.no_grad()
def reconstruct(
    snapshots: Snapshots, std: float, module: nn.Module, seed: int, at: int | None = None
) -> dict[str, Tensor]:
    """The weights of an EMA of relative width `std`.

    Args:
        module: of the shapes to make; snapshots that know fewer games get room for the others.
        seed: of the run, from which new games' values follow.
        at: samples seen at the snapshot where it ends, as if training had been stopped there; None: the newest.

    Raises:
        UserError: no snapshots, damaged ones, or a width that they do not cover.
    """
    points = [
        (Profile(width, samples), path, ema)
        for samples, path in snapshots.list()
        if at is None or samples <= at
        for ema, width in snapshots.stds(path).items()
    ]
    if not points:
        raise _no_snapshots(snapshots.folder)
    known, end = [point[0] for point in points], points[-1][0].end
    coefficients, error = _checked(std, end, known, snapshots.folder)
    total: dict[str, Tensor] = {}
    for coefficient, (_, path, ema) in zip(coefficients, points, strict=True):
        for name, tensor in grown_weights(snapshots.read(path, ema), module, seed).items():
            if not tensor.is_floating_point():
                total[name] = tensor
            elif name in total:
                total[name].add_(tensor, alpha=float(coefficient))
            else:
                total[name] = tensor * float(coefficient)
    print(f"{len(points)} averages, profile within {error:.2%} of the wanted one")
    return total


def _checked(std: float, end: float, known: list[Profile], folder: Path) -> tuple[np.ndarray, float]:
    if not 0 < std < MAX_STD:
        raise UserError(f"--std {std:g}: must be above 0 and below {MAX_STD}, the widest that a power function can be")
    coefficients, error = solve(Profile(std, end), known)
    if error > MAX_PROFILE_ERROR:
        grid = [0.01 * i for i in range(1, 28)]
        able = [width for width in grid if solve(Profile(width, end), known)[1] <= MAX_PROFILE_ERROR]
        covered = f"they cover {min(able):.2f} to {max(able):.2f}" if able else "they cover none yet"
        raise UserError(f"--std {std:g}: not to be made of the snapshots in {folder}; {covered}; train on for more")
    return coefficients, error


def _no_snapshots(folder: Path) -> UserError:
    return UserError(f"{folder}: no snapshots of averaged weights; train with ema_snapshots.stds that are not empty")


def _small(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor


def _opened(path: Path) -> OpenTensors:
    try:
        return open_tensors(path)
    except FileNotFoundError:
        raise UserError(f"{path}: was thinned out by a running training; run the command again") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged snapshot: {error}; remove it") from None
