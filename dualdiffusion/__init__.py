"""The library of Dual Diffusion; imports none of the programs beside it.

`dualdiffusion.load("chiptune")` gives a model in memory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualdiffusion.loaded_model import LoadedModel

__version__ = "0.1.0"


def load(model: str | os.PathLike[str], *, ema: str | None = None, device: str = "cpu") -> LoadedModel:
    """Loads a model: a folder, or one of those that come with the package.

    Args:
        model: a path, such as "models/mine", or a name, such as "chiptune".
        ema: weights of the denoiser: the name of an EMA, `raw`, or None for the model's default.
        device: "cpu", "cuda", ...

    Raises:
        UserError: no such model or weights.
    """
    # Torch takes a second, which commands that only want the version or --help need not wait for.
    from pathlib import Path

    from dualdiffusion.loaded_model import load_model
    from dualdiffusion.shipped import find_model

    return load_model(find_model(Path(model)), ema=ema, device=device)
