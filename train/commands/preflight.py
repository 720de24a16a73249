"""`python -m train preflight`: do these runs fit the memory of this machine? As JSON, for other programs to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dualdiffusion.errors import UserError
from train.memory.auto_batch import USABLE_SHARE, device_memory, divisors, largest_fit
from train.memory.preflight import predict
from train.startup.initial_weights import load_train_config
from train.startup.precision import local_device_type


def preflight(paths: Sequence[Path], overrides: Sequence[str], memory_gib: float | None = None) -> dict[str, Any]:
    """What runs would need, one after another, and what there is.

    Args:
        paths: module configs.
        overrides: `key.path=value` changes, of each.
        memory_gib: memory there is; None: what the device has free.

    Returns:
        "device" ("cuda" or "cpu"), its "name", its "room" in bytes, and "runs": for each config its "config", "module",
        "total_samples", predicted "need" in bytes, whether it "fits", and the "micro_batch_size" with which it does, if
        that has to be smaller than the config's. A config that cannot be used has "error" instead.
    """
    device = local_device_type()
    room = device_memory(device, memory_gib)
    name = torch.cuda.get_device_name() if device == "cuda" else "the processor"
    return {
        "device": device,
        "name": name,
        "room": room,
        "runs": [_run(path, overrides, device, room) for path in paths],
    }


def _run(path: Path, overrides: Sequence[str], device: str, room: int) -> dict[str, Any]:
    try:
        config = load_train_config(path, overrides)
        need = predict(config, device_type=device).need
    except UserError as error:
        return {"config": str(path), "error": str(error)}
    fits, size = need <= room * USABLE_SHARE, None
    if not fits:
        now = config.micro_batch_size or config.batch_size
        smaller = largest_fit(config, [size for size in divisors(config) if size < now], room, device_type=device)
        if smaller and smaller.fits:
            need, size = smaller.bytes, smaller.micro_batch_size
    return {
        "config": str(path),
        "module": config.module_trainer.cls.module_name,
        "total_samples": config.total_samples,
        "need": need,
        "fits": fits or size is not None,
        "micro_batch_size": size,
    }
