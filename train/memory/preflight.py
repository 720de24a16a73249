"""How much memory a training step and a validation need, found by running them on tensors that have no memory.

A whole step (forward, backward, optimizer, averages) runs on the meta device, where every tensor has a shape, a type
and a lifetime, but no contents. What is alive is summed as it comes and goes: the peak is that of an allocator without
rounding. Not seen are the scratch memory inside kernels and what a GPU's context takes beside torch. A compiled
step keeps less for the backward pass than this, which is of the step as it is written.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.labels import Game, Labels
from dualdiffusion.model.folder import ModelFolder
from train.averages.ema import ema_name
from train.memory.meta_operations import KnownOperations, operate
from train.module_trainer import Plan
from train.optimization.parts import Parts
from train.startup.precision import in_half
from train.startup.setup import check_labels
from train.train_config import TrainConfig

UNKNOWN_GAME = "(no dataset yet)"


@dataclass(frozen=True)
class Memory:
    """Predicted need in bytes.

    Attributes:
        peak: the most at any moment of a training step.
        weights, gradients, optimizer, averages, beside: what stays through the backward pass of a step; `beside` are
            modules that are not trained, such as the VAE while the UNet trains.
        activations: what a micro batch's forward pass keeps for the backward pass.
        validation: the most while a batch is validated, between two updates: gradients of the one before are still
            there, and the weights twice, as averages are put in their place for a while.
    """

    peak: int
    weights: int
    gradients: int
    optimizer: int
    averages: int
    beside: int
    activations: int
    validation: int = 0

    @property
    def need(self) -> int:
        """The most at any moment of a run. Demos are not counted: they ask for their own length and precision."""
        return max(self.peak, self.validation)


class MemoryTracker(TorchDispatchMode):
    """Inside the block, sums the storages that operations make until they are freed, on any one device.

    Attributes:
        live: bytes now.
        peak: the most bytes at once so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Collection[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        result = operate(func, args, kwargs or {})
        self.count(result)
        return result

    def count(self, tensors: object) -> None:
        """Takes in the storages of tensors, in whatever they are nested, that are not yet counted."""
        for tensor in tree_iter(tensors):
            if isinstance(tensor, Tensor):
                self._count_storage(tensor.untyped_storage())

    def _count_storage(self, storage: torch.UntypedStorage) -> None:
        # By the storage's own address: views share it, and would else be counted again.
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return

        def on_freed(_: object) -> None:
            del self._storages[key]
            self.live -= size

        self._storages[key] = weakref.ref(storage, on_freed)
        self.live += size
        self.peak = max(self.peak, self.live)


class TargetDevice(TorchFunctionMode):
    """Makes the meta device do what the device of the run would: its half precision, layout and attention kernels.

    Half precision is where autocast is on, for the CPU, as meta tensors have none of their own.

    Args:
        device_type: "cuda" or "cpu".
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self._device_type = device_type

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if func in _IN_HALF and torch.is_autocast_enabled("cpu"):
            args = tuple(_to_half(argument) for argument in args)
            kwargs = {name: _to_half(argument) for name, argument in kwargs.items()}
        if func is torch.conv2d:
            args = (args[0].contiguous(memory_format=torch.channels_last), *args[1:])
        plain = func is F.scaled_dot_product_attention and len(args) == 3 and kwargs.keys() <= {"attn_mask"}
        if plain and args[0].stride(-1) == 1:
            return self._attention(*args, kwargs.get("attn_mask"))
        return func(*args, **kwargs)

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The meta device would hold all pairs of positions; the kernels of a GPU and of the CPU do not."""
        if mask is not None:  # they take it as numbers, of which each layer keeps its own
            mask = torch.zeros_like(mask, dtype=q.dtype)
        if self._device_type == "cpu":
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=mask)[0]
        if q.dtype == torch.float32 or mask is not None:  # flash attention takes none
            mask = None if mask is None else mask.expand(*q.shape[:3], k.shape[2])
            return torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, mask, True)[0]
        return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0]


_IN_HALF = {
    F.linear,
    F.scaled_dot_product_attention,
    torch.bmm,
    torch.conv1d,
    torch.conv2d,
    torch.matmul,
    Tensor.__matmul__,
    Tensor.matmul,
}


def _to_half(value: object) -> object:
    return value.bfloat16() if isinstance(value, Tensor) and value.is_floating_point() else value


def make_plan(config: TrainConfig, micro_batch_size: int) -> tuple[Plan, Labels]:
    """The module trainer's plan of one micro batch, and the games it is made for."""
    model, dataset = ModelFolder(config.model), DatasetFolder(config.dataset)
    labels = _labels(model, dataset)
    part = config.module_trainer
    with KnownOperations():
        return part.cls.plan(part.config, model=model, labels=labels, batch_size=micro_batch_size), labels


def _labels(model: ModelFolder, dataset: DatasetFolder) -> Labels:
    if model.labels_path.exists():
        return check_labels(model, dataset) if dataset.info_path.exists() else model.labels()
    if dataset.info_path.exists():
        return dataset.labels()
    return Labels((Game(0, UNKNOWN_GAME, 0),))


def predict(config: TrainConfig, *, device_type: str, processes: int = 1, validated: int | None = None) -> Memory:
    """What a run with this config needs at the peaks of a training step and of a validation, on each device.

    Args:
        device_type: "cuda" or "cpu".
        processes: over which the batch is spread.
        validated: what `validated_bytes` gives, where that is known: it is the same for every micro batch.

    Raises:
        UserError: as for the run itself.
    """
    share = config.batch_size // processes
    micro_batch = config.micro_batch_size or share
    plan, _ = make_plan(config, micro_batch)
    memory = _simulate(plan, config, device_type, accumulates=share > micro_batch, several=processes > 1)
    validated = validated_bytes(config, device_type) if validated is None else validated
    held = 2 * memory.weights + memory.gradients + memory.optimizer + memory.averages + memory.beside
    return replace(memory, validation=held + validated)


def _simulate(plan: Plan, config: TrainConfig, device_type: str, *, accumulates: bool, several: bool) -> Memory:
    module, tracker = plan.module.to(memory_format=torch.channels_last).train(), MemoryTracker()
    tracker.count(list(module.state_dict(keep_vars=True).values()))
    weights = tracker.live
    beside = sum(_bytes(part.state_dict(keep_vars=True).values()) for part in plan.beside)
    beside += sum(_bytes(b for n, b in part.named_buffers() if n not in part.state_dict()) for part in plan.beside)
    half = in_half(config, device_type)
    with tracker, TargetDevice(device_type):
        names = {ema_name(std) for std in (*config.ema_stds, *config.ema_snapshots.stds)}
        emas = [{key: value.detach().clone() for key, value in module.state_dict().items()} for _ in names]
        averages = tracker.live - weights
        optimizer = _warm_optimizer(config, module, device_type)
        state = tracker.live - weights - averages - _bytes(p.grad for p in module.parameters())
        if not accumulates:  # else the gradients of the micro batches before are there
            optimizer.zero_grad(set_to_none=True)
        tracker.peak = before = tracker.live
        with torch.autocast("cpu", torch.bfloat16, enabled=half):  # meta tensors take part
            loss = plan.forward()
        activations = tracker.live - before
        _backward(loss)
        del loss
        gradients = _bytes(p.grad for p in module.parameters() if p.grad is not None)
        # Before and after the step all gradients and weights are changed, which takes copies: they count too.
        module.before_update()
        _step(optimizer)
        module.after_update()
        del emas
    buckets = gradients if several else 0  # in which processes exchange their gradients
    peak = tracker.peak + beside + buckets
    return Memory(peak, weights, gradients + buckets, state, averages, beside, activations)


def _backward(loss: Tensor) -> None:
    """loss.backward(), inside TargetDevice: it may compute activations again. The method itself is a function that a
    mode takes over, and is left to do all of its work without."""
    one = torch.ones_like(loss)
    _engine_run_backward((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def validated_bytes(config: TrainConfig, device_type: str) -> int:
    """The most bytes that a batch takes in validation, beside the module: in the precision of training."""
    plan, _ = make_plan(config, min(config.validation.batch_size, config.validation.samples))
    half = in_half(config, device_type)
    module, tracker = plan.module.to(memory_format=torch.channels_last).eval(), MemoryTracker()
    tracker.count(list(module.state_dict(keep_vars=True).values()))
    weights = tracker.live
    with tracker, TargetDevice(device_type), torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        plan.forward()
    return tracker.peak - weights


def _warm_optimizer(config: TrainConfig, module: nn.Module, device_type: str) -> torch.optim.Optimizer:
    """The optimizer as it is after its first step, which makes its state; the gradients are still there."""
    optimizer = config.optimizer.build_for(module)
    for group in optimizer.param_groups if device_type == "cuda" else ():
        if "foreach" in group:  # as torch chooses there: quicker, and with copies of all weights
            group["foreach"] = group["foreach"] is not False and not group.get("fused")
    for parameter in module.parameters():
        parameter.grad = torch.empty_like(parameter)
    _step(optimizer)
    return optimizer


def _step(optimizer: torch.optim.Optimizer) -> None:
    for each in optimizer.optimizers if isinstance(optimizer, Parts) else (optimizer,):
        try:
            each.step()
        except RuntimeError as error:
            if "meta tensors" not in str(error):
                raise
            # It looks at values, which are not there; by then it has made its state.


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())
