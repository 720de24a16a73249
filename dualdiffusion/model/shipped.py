"""Models that come with the package: found by their name wherever a model folder is taken, and never written to.

They are folders in `dualdiffusion/pretrained` as `python -m dualdiffusion export` writes them. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from dualdiffusion.config import nearest
from dualdiffusion.errors import UserError
from dualdiffusion.files import from_home
from dualdiffusion.model.folder import ModelFolder

SHIPPED = Path(__file__).resolve().parent.parent / "pretrained"


def shipped_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/model_index.json"))


def find_model(name: Path | str) -> ModelFolder:
    """The model folder that a path or a name means: a path that exists, else a shipped model of this name.

    Raises:
        UserError: there is neither, or no such home folder; the message gives the shipped names, the nearest first.
    """
    try:
        path = from_home(Path(name))
    except ValueError as error:
        raise UserError(f"model: {error}") from None
    if path.exists():
        return ModelFolder(path)
    shipped = shipped_names()
    if str(path) in shipped:
        return ModelFolder(SHIPPED / path)
    near = nearest(path.name, shipped, count=len(shipped)) if shipped else []
    known = [*near, *(other for other in shipped if other not in near)]
    models = f", and no model of that name comes with the program (there is: {', '.join(known)})" if known else ""
    raise UserError(
        f"{path}: no such model folder{models}; train one: make demo-model, or accelerate launch train.py "
        f"config/train/vae_tiny.json --set model={path}"
    )


def is_shipped(path: Path) -> bool:
    """Whether a path, or a name where no such path exists, means a shipped model or a part of one."""
    if not path.exists() and str(path) in shipped_names():
        return True
    return path.resolve().is_relative_to(SHIPPED.resolve())


def reference(folder: ModelFolder) -> str:
    """What `find_model` finds a model folder by: its path; of a shipped one its name, which holds on every machine."""
    return folder.path.name if folder.path.resolve().parent == SHIPPED.resolve() else str(folder.path)
