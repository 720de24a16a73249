"""Reading values off a device: each reading waits until all that was asked of the device is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor


def to_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same values on the CPU, detached, of the same shapes and types, in one transfer for each device and type."""
    result = [tensor.detach() for tensor in tensors]
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for place, tensor in enumerate(result):
        if tensor.device.type != "cpu":
            groups[tensor.device, tensor.dtype].append(place)
    for places in groups.values():
        joined = torch.cat([result[place].reshape(-1) for place in places]).cpu()
        parts = joined.split([result[place].numel() for place in places])
        for place, part in zip(places, parts, strict=True):
            result[place] = part.reshape(result[place].shape)
    return result
