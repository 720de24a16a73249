"""`python -m train ema`: writes an EMA of another length, or of an earlier time, into a model folder."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dualdiffusion.config import validate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, write_json
from dualdiffusion.model.folder import RAW, ModelFolder
from dualdiffusion.model.module import Module, load_module, load_state, save_weights
from sampling.recommended import check_recommended, read_recommended
from train.averages.ema import ema_name, normalize
from train.averages.post_hoc import Snapshots, reconstruct
from train.module_trainer import FinishMeasures
from train.train_config import TrainConfig


def write_ema(
    model: ModelFolder,
    module: str,
    std: float,
    name: str | None = None,
    at: int | None = None,
    guide: float | None = None,
) -> Path:
    """Writes the EMA of relative width `std`, for sampling and the page to pick.

    Args:
        name: of the EMA; None: ema_<std>_posthoc, or ema_<std>_at_<at>. "ema_" is put before one that does not begin
            with it.
        at: samples seen where it ends, or the snapshot nearest to that: the network as it was then, such as one to
            guide away from. None: the newest snapshot.
        guide: has the model recommend to be guided away from these weights of its own, by this scale, in place of the
            network that is told nothing (autoguidance: Karras et al. 2024, "Guiding a diffusion model with a bad
            version of itself"); None: changes nothing of what it recommends.

    Returns:
        The file.

    Raises:
        UserError: unknown module, no snapshots, a width that they do not cover, a name that is no file name,
            guidance of another module than the denoiser, or a scale that is none.
    """
    model.module_entry(module)
    if guide is not None and module != "unet":
        raise UserError(f"--guide: it is the unet that is guided, not {module}")
    config_path = model.run_path(module) / "config.json"
    folder = model.run_path(module) / "ema_snapshots"
    if not config_path.exists():
        raise UserError(f"{folder}: no snapshots: {module} was not trained in this model folder")
    stored = {**read_json(config_path), "model": str(model.path)}
    config = validate(TrainConfig, stored, str(config_path))
    snapshots = Snapshots(folder, config.ema_snapshots.keep)
    if at is not None:
        at = snapshots.nearest(at)
    name = name or f"{ema_name(std)}_{'posthoc' if at is None else f'at_{at}'}"
    path = model.weights_path(module, _file_stem(name))
    recommended = None if guide is None else _guided_by(model, path.stem, guide)  # wrong ones end it here
    network, finish = _trained(model, module, config)
    load_state(network, reconstruct(snapshots, std, network, config.seed, at), folder)
    normalize(network)
    finish()
    save_weights(path, network.state_dict())
    if recommended is not None:
        write_json(model.request_path, recommended)
    return path


def _guided_by(model: ModelFolder, ema: str, scale: float) -> dict[str, Any]:
    """What the model recommends, but guided away from its weights `ema`."""
    fields = read_recommended(model).fields
    guidance = {**fields.get("guidance", {}), "weak_ema": ema, "weak_scale": scale}
    return check_recommended({**fields, "cfg_scale": 1.0, "guidance": guidance}, f"--guide {scale:g}").fields


def _trained(model: ModelFolder, name: str, config: TrainConfig) -> tuple[Module, Callable[[], None]]:
    """The module, and what its trainer does before weights are published."""
    part = config.module_trainer
    if isinstance(part.cls, FinishMeasures) and not part.cls.finish_measures:
        return load_module(model, name, ema=RAW), lambda: None
    # Statistics of the data belong to each set of weights: without the dataset they cannot be measured.
    trainer = part.cls(part.config, model=model, dataset=DatasetFolder(config.dataset), seed=config.seed)
    trainer.module.eval()
    return trainer.module, trainer.finish


def _file_stem(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise UserError(
            f"--name {name!r}: must be letters, digits, dots, dashes and underscores, and begin with a letter or digit"
        )
    return name if name.startswith("ema_") else f"ema_{name}"
