"""Weights of Dance Diffusion networks from elsewhere, under the names that they have here.

Harmonai's own checkpoints and those of Stable Audio Tools nest one level in another: `net.0` to `net.2` are the blocks
of the finest level on the way down, `net.3` the levels below it, and `net.4` to `net.6` the blocks on the way up. In
`net.3`, `main.1`, `main.3` and `main.5` are blocks on the way down, each followed by its attention, `main.7` is the
next level, and `main.8`, `main.10` and `main.12` are the blocks on the way up. diffusers has them in lists; what is the
coarsest level here is its middle block. No checkpoint says which levels have attention: its tensors do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiffusion.errors import UserError
from dualdiffusion.models.dance_diffusion import CUBIC, DanceDiffusion

Tensors = Mapping[str, Tensor]
# In nested names, the number of a part of `main` to the block that it is, or the attention that follows it.
DOWN, UP = {1: 0, 3: 1, 5: 2}, {8: 0, 10: 1, 12: 2}
NESTED_BLOCK = {
    "skip.weight": "project.weight",
    **{f"main.{old}.{kind}": f"{new}.{kind}" for old, new in
       ((0, "conv_in"), (1, "norm_in"), (3, "conv_out"), (4, "norm_out")) for kind in ("weight", "bias")},
}  # fmt: skip
NESTED_ATTENTION = {
    f"{old}.{kind}": f"attention.{new}.{kind}"
    for old, new in (("norm", "norm"), ("qkv_proj", "qkv"), ("out_proj", "out"))
    for kind in ("weight", "bias")
}
DIFFUSERS_PARTS = {
    "conv_skip": "project",
    "conv_1": "conv_in",
    "group_norm_1": "norm_in",
    "conv_2": "conv_out",
    "group_norm_2": "norm_out",
}
DIFFUSERS_ATTENTION = {"group_norm": "norm", "proj_attn": "out"}
FIXED = ".kernel"  # of the filters between levels, which are not learned


@dataclass(frozen=True)
class Foreign:
    """A network from elsewhere: its settings, and its weights under the names of `DanceDiffusion`."""

    config: DanceDiffusion.Config
    weights: dict[str, Tensor]


def from_nested(tensors: Tensors, source: object) -> Foreign:
    """Of the state dict of a DiffusionAttnUnet1D, `timestep_embed.weight` and `net. ...`.

    Raises:
        UserError: a part of it has no place here.
    """
    found = {"frequencies": tensors["timestep_embed.weight"].flatten()}
    depth = 1 + max(name.count("main.7.") for name in tensors if name.startswith("net.3."))
    for name, tensor in tensors.items():
        if name.endswith(FIXED):
            _check_filter(name, tensor, source)
        elif name != "timestep_embed.weight":
            found[_nested_name(name, source)] = tensor
    return _described(found, depth + 1, source)


def _nested_name(name: str, source: object) -> str:
    match = re.fullmatch(r"net\.([0-24-6])\.(.+)", name)
    if match:
        number = int(match[1])
        way, block = ("encoder", number) if number < 3 else ("decoder", number - 4)
        return f"{way}.0.{block}.{_part(NESTED_BLOCK, match[2], name, source)}"
    match = re.fullmatch(r"net\.3\.((?:main\.7\.)*)main\.(\d+)\.(.+)", name)
    if match is None:
        raise _no_place(name, source)
    level, number, rest = 1 + match[1].count("main.7."), int(match[2]), match[3]
    for way, numbers in (("encoder", DOWN), ("decoder", UP)):
        if number in numbers:
            return f"{way}.{level}.{numbers[number]}.{_part(NESTED_BLOCK, rest, name, source)}"
        if number - 1 in numbers:
            return f"{way}.{level}.{numbers[number - 1]}.{_part(NESTED_ATTENTION, rest, name, source)}"
    raise _no_place(name, source)


def from_diffusers(tensors: Tensors, source: object, *, cosines_first: bool) -> Foreign:
    """Of the state dict of a UNet1DModel.

    Args:
        cosines_first: `flip_sin_to_cos` of its config.

    Raises:
        UserError: a part of it has no place here.
    """
    found, levels = {"frequencies": tensors["time_proj.weight"].flatten()}, _count(tensors, r"down_blocks\.(\d+)\.")
    projections: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.endswith(FIXED):
            _check_filter(name, tensor, source)
            continue
        match = re.fullmatch(r"(\w+?)(?:\.(\d+))?\.(resnets|attentions)\.(\d)\.(\w+)\.(weight|bias)", name)
        if match is None:
            if name != "time_proj.weight":
                raise _no_place(name, source)
            continue
        place = _diffusers_block(match[1], int(match[2] or 0), int(match[4]), levels)
        if place is None:
            raise _no_place(name, source)
        if match[3] == "resnets":
            found[f"{place}.{_part(DIFFUSERS_PARTS, match[5], name, source)}.{match[6]}"] = tensor
        elif match[5] in ("query", "key", "value"):
            projections.setdefault(f"{place}.attention.qkv.{match[6]}", {})[match[5]] = tensor
        else:
            part = _part(DIFFUSERS_ATTENTION, match[5], name, source)
            found[f"{place}.attention.{part}.{match[6]}"] = _as_convolution(tensor, part)
    for name, parts in projections.items():
        found[name] = _as_convolution(torch.cat([parts[part] for part in ("query", "key", "value")]), "qkv")
    if not cosines_first:
        _swap_features(found)
    return _described(found, levels + 1, source)


def _diffusers_block(kind: str, number: int, block: int, levels: int) -> str | None:
    if kind == "mid_block":
        return f"{'encoder' if block < 3 else 'decoder'}.{levels}.{block % 3}"
    if kind == "down_blocks":
        return f"encoder.{number}.{block}"
    return f"decoder.{levels - 1 - number}.{block}" if kind == "up_blocks" else None


def _as_convolution(tensor: Tensor, part: str) -> Tensor:
    """The matrix of a linear layer as that of a convolution over one column."""
    return tensor[..., None] if tensor.ndim == 2 and part != "norm" else tensor


def _swap_features(found: dict[str, Tensor]) -> None:
    """Here cosines come before sines: the columns of the first layers that see them change places."""
    half = len(found["frequencies"])
    for name in ("encoder.0.0.conv_in.weight", "encoder.0.0.project.weight"):
        if name in found:
            x = found[name]
            found[name] = torch.cat([x[:, : -2 * half], x[:, -half:], x[:, -2 * half : -half]], dim=1)


def _described(found: dict[str, Tensor], levels: int, source: object) -> Foreign:
    """The settings that the shapes of the tensors say."""
    try:
        widths = [len(found[f"encoder.{level}.2.conv_out.bias"]) for level in range(levels)]
        first, last = found["encoder.0.0.conv_in.weight"], found["decoder.0.2.conv_out.bias"]
    except KeyError as error:
        raise UserError(f"{source}: is no whole Dance Diffusion network; it lacks what is {error} here") from None
    features = 2 * len(found["frequencies"])
    if told := first.shape[1] - len(last) - features:
        raise UserError(f"{source}: the network is told {told} channels of something else, which is not read")
    attention = sum(f"encoder.{level}.0.attention.qkv.weight" in found for level in range(levels))
    config = DanceDiffusion.Config(
        in_channels=len(last),
        level_channels=tuple(widths),
        attn_levels=attention,
        noise_channels=features,
        kernel_size=first.shape[2],
    )
    return Foreign(config, {name: tensor.float() for name, tensor in found.items()})


def _count(tensors: Tensors, pattern: str) -> int:
    """How many numbers a place in the names has."""
    return 1 + max((int(match[1]) for name in tensors if (match := re.match(pattern, name))), default=-1)


def _part(names: Mapping[str, str], part: str, name: str, source: object) -> str:
    if part not in names:
        raise _no_place(name, source)
    return names[part]


def _check_filter(name: str, kernel: Tensor, source: object) -> None:
    expected = torch.tensor([*reversed(CUBIC), *CUBIC])
    # Those on the way up may be stored doubled.
    if kernel.shape != expected.shape or not any(torch.allclose(kernel.float(), k * expected) for k in (1, 2)):
        raise UserError(f"{source}: {name} is no cubic filter of 8 columns; networks with others are not read")


def _no_place(name: str, source: object) -> UserError:
    return UserError(f"{source}: tensor {name!r} has no place in a Dance Diffusion network")
