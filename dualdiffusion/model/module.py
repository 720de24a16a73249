"""What every part of a model shares: a typed config, and saving and loading as safetensors and JSON."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import safetensors
import torch
from pydantic import JsonValue
from torch import Tensor, nn

from dualdiffusion.component import Component, component_from_json, type_name
from dualdiffusion.config import Config, InvalidPartError, explain
from dualdiffusion.errors import UserError, one_line
from dualdiffusion.files import read_json, write_json, write_tensors
from dualdiffusion.model.folder import FORMAT_VERSION, RAW, ModelFolder
from dualdiffusion.model.label_growth import build_for
from dualdiffusion.tensor_files import read_tensors

# The kind folders whose classes a model folder may name; nothing else is importable through a file on disk.
MODULE_KINDS = {
    "formats": "dualdiffusion.formats",
    "models": "dualdiffusion.models",
    "diffusion": "dualdiffusion.diffusion",
}
HALVES = (torch.float16, torch.bfloat16)
# Without a GPU, Triton is not installed, and torch would say so whenever it counts operations or compiles.
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


class Module(nn.Module):
    """A network or format with a typed config. Subclasses take `(config)` and declare `Config` inside."""

    Config: ClassVar[type[Config]] = Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.index_notes: dict[str, Any] = {}  # JSON values that a model's index is to tell when this module is saved

    @property
    def device(self) -> torch.device:
        """Where its parameters and buffers are; the CPU for a module without any."""
        # Not of the state_dict, which is built anew each time: this is asked for in every step.
        first = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    def enable_compile(self) -> None:
        """Compiles what is called in every training step; without a working compiler it says so and stays as it is."""
        if compiler_works(self.device):
            self._compile()

    def _compile(self) -> None:
        self.compile()

    def before_update(self) -> None:
        """Called on accumulated gradients before every optimizer step."""

    def after_update(self) -> None:
        """Called after every change of the weights by an optimizer."""


def compiler_works(device: torch.device) -> bool:
    """Whether torch.compile makes code for a device, forward and backward; prints one line where it does not.

    From here on, a part that cannot be compiled runs as it is, with a warning of torch's.
    """

    def small(x: Tensor) -> Tensor:
        return (x.sin() * x).sum()

    # Off for the trial, whose error is the answer; on afterwards, so that one odd part does not end a training.
    torch._dynamo.config.suppress_errors = False
    try:
        torch.compile(small)(torch.ones(8, device=device, requires_grad=True)).backward()
    except Exception as error:  # of many kinds: no C++ compiler, no Triton, no headers of Python
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        print(f"compile: does not work on this machine ({one_line(reason)}); going on without")
        return False
    torch._dynamo.config.suppress_errors = True
    return True


def registered_type(cls: type[Any]) -> str:
    """The name of a module class in model_index.json: `<kind>/<file>.<Class>`."""
    kind = next((kind for kind, package in MODULE_KINDS.items() if cls.__module__.startswith(package + ".")), None)
    if kind is None:
        raise ValueError(f"{cls.__module__}.{cls.__name__} lies in none of {', '.join(MODULE_KINDS.values())}")
    return f"{kind}/{type_name(cls)}"


def registered_component(type: str, config: JsonValue, source: Path) -> Component:
    """The class and validated config that a model folder's JSON names.

    Raises:
        UserError: unknown type, or settings that do not fit it.
    """
    kind, _, name = type.partition("/")
    if kind not in MODULE_KINDS:
        raise UserError(f"{source}: type {type!r}: must start with one of {', '.join(MODULE_KINDS)} and a slash")
    try:
        return component_from_json(MODULE_KINDS[kind], {**config, "type": name})
    except InvalidPartError as error:
        raise UserError(f"{source}: {explain(error.config, error.error)}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {error}") from None


def save_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes tensors as safetensors, atomically."""
    write_tensors(path, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def load_weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Reads safetensors; halves, as exported models store them, become float32.

    Raises:
        UserError: missing or damaged file.
    """
    try:
        tensors = read_tensors(path, device)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged weights: {error}") from None
    return {name: tensor.float() if tensor.dtype in HALVES else tensor for name, tensor in tensors.items()}


def save_module(folder: ModelFolder, name: str, module: Module, *, ema: str = RAW) -> None:
    """Writes a module's config and raw weights into a model folder and registers it.

    The weights are one file put in place by one rename, so a kill at any moment leaves the old or the new ones whole.
    """
    type = registered_type(module.__class__)
    save_weights(folder.weights_path(name), module.state_dict())
    config = {"format_version": FORMAT_VERSION, "type": type, "config": module.config.to_json()}
    if not folder.config_path(name).exists() or read_json(folder.config_path(name)) != config:
        write_json(folder.config_path(name), config)
    folder.register(name, type, ema, **module.index_notes)


def module_component(folder: ModelFolder, name: str) -> Component:
    """A stored module's class and config, without its weights.

    Raises:
        UserError: the folder has no such module, or its files are damaged.
    """
    entry = folder.module_entry(name)
    path = folder.config_path(name)
    stored = read_json(path)
    if not isinstance(stored, dict) or stored.get("type") != entry["type"]:
        raise UserError(f"{path}: does not describe a module of type {entry['type']}")
    return registered_component(entry["type"], stored.get("config"), path)


def load_module(folder: ModelFolder, name: str, *, ema: str | None = None, device: torch.device | str = "cpu") -> Any:
    """Builds a module from a model folder, in evaluation mode.

    How many games it knows is what its weights say: while the files of a module that has made room for new games are
    replaced one by one, the config may still tell the number before.

    Args:
        ema: the EMA to load, `raw`, or None for the model's default.

    Raises:
        UserError: missing module or EMA, damaged or mismatched weights.
    """
    component = module_component(folder, name)
    path = folder.weights_path(name, folder.chosen_ema(name, ema))
    state = load_weights(path)
    module = build_for(component, state)
    load_state(module, state, path)
    return module.to(device, memory_format=torch.channels_last).eval()


def load_state(module: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    """Puts weights into a module, all of them or none.

    Raises:
        UserError: names the first missing, unexpected or differently shaped tensor.
    """
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise UserError(f"{source}: has no tensor {name!r}; it belongs to another architecture")
        if state[name].shape != tensor.shape:
            raise UserError(
                f"{source}: {name} is {tuple(state[name].shape)}, but the config says {tuple(tensor.shape)}"
            )
    extra = sorted(set(state) - set(expected))
    if extra:
        raise UserError(f"{source}: tensor {extra[0]!r} has no place in this architecture")
    module.load_state_dict(state)


def describe(module: nn.Module) -> dict[str, int]:
    """Number of parameters by top-level part, and their "total"."""
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    return {
        **{name: count for name, count in counts.items() if count},
        "total": sum(p.numel() for p in module.parameters()),
    }


def config_differences(old: JsonValue, new: JsonValue) -> list[str]:
    """Key paths at which two JSON values differ, each as `key: old, now new`."""
    return [difference(*each) for each in differing_keys(old, new)]


def difference(path: str, old: JsonValue, new: JsonValue) -> str:
    """`key: old, now new`."""
    return f"{path}: {json.dumps(old)}, now {json.dumps(new)}"


def differing_keys(old: JsonValue, new: JsonValue, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Key paths at which two JSON values differ, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        return [d for key in keys for d in differing_keys(old.get(key), new.get(key), f"{prefix}{key}.")]
    return [] if old == new else [(prefix.rstrip("."), old, new)]
