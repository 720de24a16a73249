"""The model folder: what modules a model has, which games it knows, and where its runs lie. Imports no torch.

<model>/model_index.json        modules and their types, format version, chosen EMA per module, and what else playing
                                needs, as a model may be moved without its runs
<model>/labels.json             the games
<model>/request.json            what to ask of the model where nothing is said (sampling/recommended.py); may be missing
<model>/<module>/<module>.json, <module>.safetensors, ema_<std>.safetensors
<model>/runs/<module>/          TensorBoard events, resolved config, metrics.csv, checkpoints
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from dualdiffusion.errors import UserError
from dualdiffusion.files import read_json, sha256_of, write_json
from dualdiffusion.labels import Labels

FORMAT_VERSION = 1
RAW = "raw"  # the name, among EMA names, of the weights as the optimizer left them


@dataclass(frozen=True)
class ModelFolder:
    """Paths and JSON files of one model. Weights are loaded by `dualdiffusion.model.module.load_module`."""

    path: Path

    @property
    def index_path(self) -> Path:
        """model_index.json: which modules there are, of which type, with which weights by default."""
        return self.path / "model_index.json"

    @property
    def labels_path(self) -> Path:
        """labels.json: the games."""
        return self.path / "labels.json"

    @property
    def request_path(self) -> Path:
        """request.json: what the model recommends to ask of it."""
        return self.path / "request.json"

    def module_path(self, name: str) -> Path:
        """The folder of a module."""
        return self.path / name

    def run_path(self, name: str) -> Path:
        """What the training of a module leaves: checkpoints, metrics, its config."""
        return self.path / "runs" / name

    def weights_path(self, name: str, ema: str = RAW) -> Path:
        """The weights of a module, raw or of one of its EMAs."""
        return self.module_path(name) / f"{name if ema == RAW else ema}.safetensors"

    def config_path(self, name: str) -> Path:
        """A module's type and settings."""
        return self.module_path(name) / f"{name}.json"

    def read_index(self) -> dict[str, Any]:
        """The index, or an empty one for a model that does not exist yet.

        Raises:
            UserError: the index is damaged or of a newer format version.
        """
        if not self.index_path.exists():
            return {"format_version": FORMAT_VERSION, "modules": {}}
        index = read_json(self.index_path)
        if not isinstance(index, dict) or not isinstance(index.get("modules"), dict):
            raise UserError(f"{self.index_path}: is not a model index")
        if index.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{self.index_path}: format version {index.get('format_version')!r}; this software reads "
                f"version {FORMAT_VERSION}"
            )
        return index

    def register(self, name: str, type: str, ema: str = RAW, **notes: Any) -> None:
        """Records a module's type and the weights to use by default (`raw` or the name of an EMA).

        Args:
            notes: what else its entry is to tell, as JSON values; what is not named stays as it was.
        """
        index = self.read_index()
        entry = {**index["modules"].get(name, {}), "type": type, "ema": ema, **notes}
        if index["modules"].get(name) != entry:
            index["modules"][name] = entry
            write_json(self.index_path, index)

    def module_names(self) -> list[str]:
        """The modules that the index names."""
        return list(self.read_index()["modules"])

    def module_entry(self, name: str) -> dict[str, Any]:
        """The index entry of a module: {"type", "ema"}, and of a denoiser also "window_columns".

        Raises:
            UserError: the model has no such module; the message says how to make it.
        """
        modules = self.read_index()["modules"]
        if name not in modules:
            has = ", ".join(modules) or "none yet"
            raise UserError(
                f"{self.path}: has no module {name!r} (it has: {has}); train one: accelerate launch train.py "
                f"config/train/{name}_tiny.json --set model={self.path}"
            )
        return modules[name]

    def emas(self, name: str) -> list[str]:
        """Names of the weights a module can be loaded with: its EMAs, then `raw`."""
        names = sorted(path.stem for path in self.module_path(name).glob("ema_*.safetensors"))
        return names + ([RAW] if self.weights_path(name).exists() else [])

    def chosen_ema(self, name: str, ema: str | None = None) -> str:
        """`ema`, or the module's default where it is None.

        Raises:
            UserError: the module has no such weights.
        """
        chosen = ema or self.module_entry(name)["ema"]
        if not self.weights_path(name, chosen).exists():
            raise UserError(f"{self.path}: module {name} has no EMA {chosen!r}; it has: {', '.join(self.emas(name))}")
        return chosen

    def labels(self) -> Labels:
        """The games this model knows.

        Raises:
            UserError: the model has no labels yet.
        """
        if not self.labels_path.exists():
            raise UserError(f"{self.path}: is not a model folder (no labels.json); train one first: make demo-model")
        return Labels.load(self.labels_path)

    def asks_for_games(self) -> bool:
        """Whether a clip is one of some games; an unconditional model is asked for none.

        Raises:
            UserError: the denoiser's config is damaged.
        """
        path = self.config_path("unet")
        return not path.exists() or not _is_unconditional(read_json(path))

    def fingerprint(self, name: str, ema: str | None = None) -> str:
        """16 hex digits that identify a module's config and weights, and of a VAE also its format's.

        Latents carry the fingerprint of the VAE that made them; one from another VAE is refused.
        """
        self.module_entry(name)
        digest = hashlib.sha256()
        digest.update(json.dumps(read_json(self.config_path(name)), sort_keys=True).encode())
        weights = self.weights_path(name, self.chosen_ema(name, ema))
        digest.update(bytes.fromhex(sha256_of(weights)))
        if name == "vae":
            digest.update(self.fingerprint("format").encode())
        return digest.hexdigest()[:16]


def _is_unconditional(config: JsonValue) -> bool:
    """Whether a denoiser's settings, with the parts that they hold, say that it is told no game, nor anything else.

    One that is told a tempo alone is still asked for games, as they say which tempo is usual.
    """
    if not isinstance(config, dict):
        return True
    told = config.get("label_dim", 0) != 0 or bool(config.get("conditioners"))
    return not told and all(_is_unconditional(part) for part in config.values())
