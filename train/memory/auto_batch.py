"""What a device's memory has room for: `--auto-batch`, and what to do where a run needs more than there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from dualdiffusion.config import apply_overrides
from dualdiffusion.errors import UserError
from dualdiffusion.machine.memory import allocation_text
from dualdiffusion.machine.threads import control_groups
from train.memory.preflight import predict, validated_bytes
from train.train_config import TrainConfig

# The rest is for what prediction does not see: scratch memory inside kernels, and gaps between blocks.
USABLE_SHARE = 0.9


@dataclass(frozen=True)
class Fit:
    """A micro batch, the bytes that its training step needs, and whether the device has them."""

    micro_batch_size: int
    bytes: int
    fits: bool


def fits(config: TrainConfig, room: int, *, device_type: str, processes: int = 1) -> list[Fit]:
    """Every micro batch that divides a process's share of the batch, largest first."""
    validated = validated_bytes(config, device_type)
    return [_fit(config, size, room, device_type, processes, validated) for size in divisors(config, processes)]


def choose_micro_batch(config: TrainConfig, room: int, *, device_type: str, processes: int = 1) -> Fit:
    """The largest micro batch that fits `room` bytes, found by halving the list of divisors.

    Raises:
        UserError: not even one sample at a time fits.
    """
    found = largest_fit(config, divisors(config, processes), room, device_type=device_type, processes=processes)
    if not found.fits:
        settings = with_changes(config, ["micro_batch_size=1"])
        raise UserError(
            f"--auto-batch: one sample at a time needs {_gib(found.bytes)}, and {_gib(room)} are there, of which a "
            f"tenth is kept free; {remedies(settings, device_type=device_type, processes=processes)}"
        )
    return found


def largest_fit(
    config: TrainConfig, sizes: Sequence[int], room: int, *, device_type: str, processes: int = 1
) -> Fit | None:
    """The first of falling micro batches that fits `room` bytes, else the last of them; None of none."""
    low, high, found, last = 0, len(sizes), None, None
    validated = validated_bytes(config, device_type) if sizes else 0
    while low < high:
        middle = (low + high) // 2
        last = _fit(config, sizes[middle], room, device_type, processes, validated)
        if last.fits:
            found, high = last, middle
        else:
            low = middle + 1
    return found or last


def divisors(config: TrainConfig, processes: int = 1) -> list[int]:
    """The micro batches that divide a process's share of the batch, largest first.

    Raises:
        UserError: the batch does not divide into the processes.
    """
    share, rest = divmod(config.batch_size, processes)
    if rest:
        raise UserError(f"batch_size: {config.batch_size} does not divide into {processes} processes")
    return [size for size in range(share, 0, -1) if share % size == 0]


def _fit(config: TrainConfig, size: int, room: int, device_type: str, processes: int, validated: int) -> Fit:
    config = with_micro_batch(config, size)
    need = predict(config, device_type=device_type, processes=processes, validated=validated).need
    return Fit(size, need, need <= room * USABLE_SHARE)


def with_micro_batch(config: TrainConfig, size: int) -> TrainConfig:
    """The same run with another micro batch; its result differs in rounding alone, but for dropout."""
    return config.model_copy(update={"micro_batch_size": size})


def with_changes(config: TrainConfig, changes: list[str]) -> TrainConfig:
    """The config with `key.path=value` changes."""
    return TrainConfig.from_json(apply_overrides(config.to_json(), changes))


def device_memory(device_type: str, memory_gib: float | None = None) -> int:
    """Bytes to use: the given number of GiB, or what is free on the GPU, or available on the machine."""
    if memory_gib is not None:
        return int(memory_gib * 2**30)
    return torch.cuda.mem_get_info()[0] if device_type == "cuda" else available_memory()


def available_memory(system: Path = Path("/")) -> int:
    """Bytes of main memory that a process can have: the machine's, or less where one of its control groups says so."""
    try:
        known = [line.split() for line in (system / "proc/meminfo").read_text().splitlines()]
        available = next(int(words[1]) * 1024 for words in known if words[0] == "MemAvailable:")
    except OSError:  # not told so by this system
        available = psutil.virtual_memory().available
    return min([available, *(room for group in control_groups(system) if (room := _room(group)) is not None)])


def _room(group: Path) -> int | None:
    """Bytes that a control group still allows; None where it sets no limit, or is not there."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    return None if limit == "max" else max(0, int(limit) - int(used) + int(counts.get("inactive_file", 0)))


def remedies(config: TrainConfig, *, device_type: str, processes: int = 1) -> str:
    """The settings that reduce a run's memory, each with the need that is then predicted."""
    parts = []
    now = predict(config, device_type=device_type, processes=processes).need
    for change in _reductions(config, processes):
        need = predict(with_changes(config, [change]), device_type=device_type, processes=processes).need
        if need < now:  # a smaller validation helps only where it is what needs most, and so does a smaller micro batch
            parts.append(f"{change} ({_gib(need)})")
    return f"needed with --set {', or '.join(parts)}" if parts else "take a smaller network or a shorter crop"


def _reductions(config: TrainConfig, processes: int) -> Iterator[str]:
    data, micro = config.to_json(), config.micro_batch_size or config.batch_size // processes
    if micro > 1:
        yield f"micro_batch_size={next(size for size in divisors(config, processes) if size < micro)}"
    if config.validation.batch_size > 1:
        yield f"validation.batch_size={config.validation.batch_size // 2}"
    for path, value in _settings(data):
        if path.endswith(".activation_checkpointing") and not value:
            yield f"{path}=true"
    if config.mixed_precision == "no" and torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        yield "mixed_precision=bf16"
    crop = getattr(config.module_trainer.config, "crop_seconds", None)
    if crop:
        yield f"module_trainer.crop_seconds={crop / 2:g}"


def _settings(data: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths of all values in JSON objects."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def warn_if_too_large(config: TrainConfig, free: int, *, processes: int = 1) -> None:
    """One line before any work, where a GPU's free memory is less than the predicted need.

    It goes on all the same: a prediction can be wrong, and compiled steps need less. If it was right, the first step
    ends with one line and nothing is lost.
    """
    need = predict(config, device_type="cuda", processes=processes).need
    if need > free:
        print(
            f"predicted to need {_gib(need)} of GPU memory, and {_gib(free)} are free: this will probably run out; "
            f"{remedies(config, device_type='cuda', processes=processes)}",
            flush=True,
        )


def out_of_memory(config: TrainConfig, error: BaseException, *, device_type: str, processes: int) -> UserError:
    """What to tell when memory ran out in training: how much was in use, and what would need less."""
    used = f", with {_gib(torch.cuda.max_memory_allocated())} in use at most" if device_type == "cuda" else ""
    need = predict(config, device_type=device_type, processes=processes).need
    return UserError(
        f"out of memory{used} ({allocation_text(error)}); the last checkpoint is whole. A training step is predicted "
        f"to need {_gib(need)}; {remedies(config, device_type=device_type, processes=processes)}"
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB"
