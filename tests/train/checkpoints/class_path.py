"""What training and sampling a class-conditional UNet gave before the code was rearranged, stored to compare with.

    python -m tests.train.checkpoints.class_path     stores it anew; only for a change that is meant to change results

Stored are a model folder with a checkpoint in the middle of a training, the dataset with its latents, and what came
out: the weights at the end, and the latents of a clip.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny

STORED = Path(__file__).parent / "class_path.zip"
MODEL, DATASET, CONFIG, CAME_OUT = "model", "dataset", "train.json", "came_out.safetensors"
MACHINE = "machine.json"
SETTINGS = {"ema_stds": [0.1], "ema_snapshots": {"every_samples": 1000, "stds": []}}


def machine() -> dict[str, str]:
    """What the last bits of a computation on the CPU depend on."""
    return {"torch": torch.__version__.split("+")[0], "cpu": torch.backends.cpu.get_cpu_capability()}


def train_and_sample(folder: Path) -> dict[str, torch.Tensor]:
    """Goes on from the checkpoint in `folder` to the end of its training, and samples a clip."""
    result = tiny.run("train.py", folder / CONFIG)
    assert result.returncode == 0, result.stderr
    model = ModelFolder(folder / MODEL)
    raw, ema = (load_file(model.weights_path("unet", name)) for name in ("raw", "ema_0.100"))
    found = {f"raw/{name}": tensor for name, tensor in raw.items()}
    found["ema/first"] = next(tensor for name, tensor in sorted(ema.items()) if tensor.ndim == 4)
    torch.set_num_threads(1)  # as the tests have it, and more would add up in another order
    request = Request(games={"Castle": 0.7, "Cave": 0.3}, seconds=1, seed=1, steps=4, ema="raw")
    with torch.inference_mode():
        found["clip"] = Generator.load(model, "cpu").generate(request).latents.contiguous()
    return found


def unpack(folder: Path) -> Path:
    """The stored files, in a folder, with a config that names them."""
    shutil.unpack_archive(STORED, folder)
    return placed(folder)


def placed(folder: Path) -> Path:
    """Lets the config in a folder name the model and the dataset beside it."""
    config = json.loads((folder / CONFIG).read_text())
    write_json(folder / CONFIG, {**config, "model": str(folder / MODEL), "dataset": str(folder / DATASET)})
    return folder


def store() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "stored"
        model = tiny.make_model(folder / MODEL)
        dataset = tiny.make_dataset(folder / DATASET)
        tiny.make_latents(dataset, model)
        shutil.rmtree(dataset / "audio")  # training a UNet reads latents alone
        shutil.rmtree(model.path / "unet")
        index = json.loads(model.index_path.read_text())
        index["modules"].pop("unet")
        write_json(model.index_path, index)
        config = tiny.write_train_config(folder / CONFIG, "unet", model.path, dataset, total_samples=16, **SETTINGS)
        result = tiny.run("train.py", config)
        assert result.returncode == 0, result.stderr
        write_json(config, {**json.loads(config.read_text()), "total_samples": 32})
        shutil.copytree(folder, Path(name) / "copy")
        came_out = train_and_sample(placed(Path(name) / "copy"))
        save_file(came_out, folder / CAME_OUT)
        write_json(folder / MACHINE, machine())
        for needless in [*folder.rglob("events.out*"), *folder.rglob("pid"), *folder.rglob("unet/ema_*")]:
            needless.unlink()
        STORED.parent.mkdir(exist_ok=True)
        shutil.make_archive(str(STORED.with_suffix("")), "zip", folder)


if __name__ == "__main__":
    store()
