"""`python -m sampling recommend MODEL`: shows, stores or removes what a model recommends to ask of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dualdiffusion.command_line import add_set_option
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from sampling.recommended import RECOMMENDABLE, Asked, Recommended, check_recommended, read_recommended


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `recommend`; without any, it shows what is stored."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder, such as models/demo")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--from", type=Path, dest="source", metavar="CLIP", help="store how this clip was made")
    start.add_argument("--clear", action="store_true", help="forget what was stored before")
    add_set_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stores what `--from` or `--set` say and prints what is recommended now.

    Raises:
        UserError: no model, no clip, or what no model can recommend.
    """
    folder = ModelFolder(arguments.model)
    folder.labels()  # a folder that is no model is refused
    changes = arguments.clear or arguments.source or arguments.overrides
    recommended = read_recommended(folder) if not changes else _changed(folder, arguments)
    if changes:
        _store(folder, recommended)
    for name, value in recommended.fields.items():
        print(f"{name}: {json.dumps(value)}")
    if not recommended.fields:
        print(f"{folder.path}: recommends nothing; clips are made with the defaults of sampling/request.py")
    return 0


def _changed(folder: ModelFolder, arguments: argparse.Namespace) -> Recommended:
    before = Recommended()
    if arguments.source:
        before = Recommended(_manner_of(arguments.source))
    elif not arguments.clear:
        before = read_recommended(folder)
    asked = Asked(overrides=tuple(arguments.overrides)).over(before)
    recommended = check_recommended(asked, "recommend")
    weak_ema = (asked.get("guidance") or {}).get("weak_ema")
    if weak_ema is not None:
        folder.chosen_ema("unet", weak_ema)
    return recommended


def _manner_of(clip: Path) -> dict[str, Any]:
    """How a clip was made; null stands for what follows from the model or from other fields, and is left out."""
    from sampling.output.clips import read_settings

    request, _ = read_settings(clip)
    data = request.to_json()
    return {name: data[name] for name in RECOMMENDABLE if data[name] is not None}


def _store(folder: ModelFolder, recommended: Recommended) -> None:
    if recommended.fields:
        write_json(folder.request_path, recommended.fields)
    else:
        folder.request_path.unlink(missing_ok=True)
