"""The library of Dual Diffusion; imports none of the programs beside it.

`dualdiffusion.load("chiptune")` gives a model in memory, and its `generate(games={"Castle": 1})` a clip.

audio/           Audio files, tags, channels and levels
conditioners/    Conditioners: what a network is told beside games
data/            Reading a finished dataset
diffusion/       Diffusion itself
dsp/             Signal processing that formats are made of
formats/         Formats
latent_report/   `python -m dualdiffusion latent-report`
machine/         What the machine is and can do
model/           A model on disk and in memory
models/          Backbones and autoencoders
nn/              Layers and blocks that networks are made of
pictures/        Pictures for reports
transforms/      Transforms: changes of training samples
codec.py         Between audio and latents
command_line.py  What every command shares: an argument parser with one-line errors, and exit codes
component.py     Parts chosen by name in a config: `{"type": "unet_edm2.UNet", ...}`
conditioning.py  What a network may be told besides its input
contracts.py     What the parts of a model promise one another: format, autoencoder, backbone, conditioner and denoiser
controls.py      What a person may ask of a model beside games: controls, which a model folder lists. Imports no torch
config.py        Strict configuration
errors.py        Errors that a user can mend: one line with what, where and the remedy; commands exit with 2
files.py         Writing that survives being killed: everything is written aside, synced, and renamed into place
labels.py        The games: class ids, names, and weighted mixes of them
odd_json.py      What people and their editors write for JSON, and what to write instead
progress_bar.py  The progress bar of every command: on a terminal one live line, elsewhere nothing
programs.py      The programs above the library, by name
randomness.py    Randomness without state: every random number is a function of what it is for
tensor_files.py  Reading safetensors, also from file systems that map no files into memory
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualdiffusion.model.loaded import LoadedModel

__version__ = "0.1.0"


def load(model: str | os.PathLike[str], *, ema: str | None = None, device: str | None = None) -> LoadedModel:
    """Loads a model: a folder, or one of those that come with the package.

    Args:
        model: a path, such as "models/mine", or a name, such as "chiptune".
        ema: weights of the denoiser: the name of an EMA, `raw`, or None for the model's default.
        device: "cpu", "cuda", ...; None is a GPU where there is one, as for the commands.

    Raises:
        UserError: no such model or weights.
    """
    # Torch takes a second, which commands that only want the version or --help need not wait for.
    from pathlib import Path

    from dualdiffusion.model.loaded import load_model
    from dualdiffusion.model.shipped import find_model

    return load_model(find_model(Path(model)), ema=ema, device=device)
