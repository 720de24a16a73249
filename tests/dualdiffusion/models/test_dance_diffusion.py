"""Dance Diffusion: against the network written a second time, nested and in float64, and from checkpoint to clip."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import dualdiffusion
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.errors import UserError
from dualdiffusion.files import write_json
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.importing import import_dance_diffusion
from dualdiffusion.model.loaded import LoadedModel
from sampling.generator import Generator
from sampling.request import Request
from tests import tiny

WIDTHS, ATTENTION, CHANNELS, RATE = (32, 64, 64), (2,), 2, 8000
QKV = {"q": "query", "k": "key", "v": "value"}
FILTER = (-0.01171875, -0.03515625, 0.11328125, 0.43359375, 0.43359375, 0.11328125, -0.03515625, -0.01171875)


class Residual(nn.Module):
    def __init__(self, before: int, width: int, after: int, last: bool = False) -> None:
        super().__init__()
        layers = [nn.Conv1d(before, width, 5, padding=2), nn.GroupNorm(1, width), nn.GELU()]
        layers += [nn.Conv1d(width, after, 5, padding=2)]
        self.main = nn.Sequential(*layers, *([] if last else [nn.GroupNorm(1, after), nn.GELU()]))
        self.skip = nn.Identity() if before == after else nn.Conv1d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.skip(x)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.GroupNorm(1, width), width // 32
        self.qkv_proj, self.out_proj = nn.Conv1d(width, 3 * width, 1), nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(self.norm(x)).unflatten(1, (3 * self.heads, -1)).chunk(3, dim=1)
        weights = (torch.einsum("bhcs,bhct->bhst", q, k) / math.sqrt(q.shape[2])).softmax(dim=-1)
        return x + self.out_proj(torch.einsum("bhst,bhct->bhcs", weights, v).flatten(1, 2))


class Resample(nn.Module):
    """Every output is a weighted sum of columns, of which those beyond the ends are mirror images."""

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        self.register_buffer("kernel", torch.tensor(FILTER) * (2 if up else 1))

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[-1]
        matrix = torch.zeros(count, 2 * count if self.up else count // 2, dtype=x.dtype)
        for place in range(matrix.shape[1]):
            for tap in range(8):
                offset = place + tap - 3
                if self.up and offset % 2 == 0:
                    continue
                column = (offset - 1) // 2 if self.up else 2 * place + tap - 3
                column = abs(column) if column < count else 2 * (count - 1) - column
                matrix[column, place] += self.kernel[tap]
        return x @ matrix


class Joined(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.main(x), x], dim=1)


class Nested(nn.Module):
    """As Harmonai's checkpoints name their tensors: each level inside of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        inner: nn.Module = nn.Identity()
        for level in range(len(WIDTHS) - 1, 0, -1):
            above, width, coarsest = WIDTHS[level - 1], WIDTHS[level], level == len(WIDTHS) - 1

            def attention(width: int, level: int = level) -> nn.Module:
                return Attention(width) if level in ATTENTION else nn.Identity()

            down = [Residual(above, width, width), attention(width)]
            down += [part for _ in range(2) for part in (Residual(width, width, width), attention(width))]
            up = [Residual(width if coarsest else 2 * width, width, width), attention(width)]
            up += [Residual(width, width, width), attention(width), Residual(width, width, above), attention(above)]
            inner = Joined(Resample(up=False), *down, inner, *up, Resample(up=True))
        first = WIDTHS[0]
        self.timestep_embed = nn.Linear(1, 8, bias=False)
        self.net = nn.Sequential(
            Residual(CHANNELS + 16, first, first),
            *(Residual(first, first, first) for _ in range(2)),
            inner,
            Residual(2 * first, first, first),
            Residual(first, first, first),
            Residual(first, first, CHANNELS, last=True),
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angle = 2 * math.pi * self.timestep_embed(t[:, None])
        planes = torch.cat([angle.cos(), angle.sin()], dim=1)[..., None].expand(-1, -1, x.shape[-1])
        return self.net(torch.cat([x, planes], dim=1))


@pytest.fixture(scope="module")
def reference() -> Nested:
    torch.manual_seed(0)
    return Nested()


def checkpoint(reference: Nested) -> dict:
    """As Lightning writes it: with an average beside the weights, which is what is played."""
    own = reference.state_dict()
    both = {f"diffusion.{name}": torch.zeros_like(x) for name, x in own.items() if "kernel" not in name}
    return {"epoch": 1, "state_dict": {**both, **{f"diffusion_ema.{name}": x for name, x in own.items()}}}


@pytest.fixture(scope="module")
def imported(reference: Nested, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp("dance")
    torch.save(checkpoint(reference), folder / "a.ckpt")
    words = ["--sample-rate", RATE, "--sample-size", 4096]
    done = tiny.run("-m", "dualdiffusion", "import", "dance-diffusion", folder / "a.ckpt", folder / "model", *words)
    assert done.returncode == 0, done.stderr
    assert "diffusion_ema" in done.stdout and f"{RATE} Hz, 2 channels, 0.51 s" in done.stdout
    return dualdiffusion.load(folder / "model", device="cpu")


def difference(model: LoadedModel, reference: Nested) -> float:
    x, t = torch.randn(2, CHANNELS, 64, generator=torch.Generator().manual_seed(1)), torch.tensor([0.1, 0.9])
    ours = model.denoiser.backbone(x[:, :, None], t, conditioning=Conditioning())[:, :, 0]
    return float((ours - reference.double()(x.double(), t.double())).abs().max())


@torch.inference_mode()
def test_an_imported_network_is_the_one_that_was_trained(imported: LoadedModel, reference: Nested) -> None:
    assert imported.denoiser.backbone.config.level_channels == WIDTHS
    assert imported.denoiser.backbone.config.attn_levels == len(ATTENTION)
    assert difference(imported, reference) < 1e-5


@torch.inference_mode()
def test_its_denoiser_is_the_estimate_that_velocity_means(imported: LoadedModel, reference: Nested) -> None:
    """With x scaled to cos x0 + sin noise and v = cos noise - sin x0, the estimate is cos x - sin v."""
    t = torch.tensor([0.3], dtype=torch.float64)
    cos, sin = (math.pi / 2 * t).cos(), (math.pi / 2 * t).sin()
    scaled = torch.randn(1, CHANNELS, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    estimate = cos * scaled - sin * reference.double()(scaled, t)
    ours = imported.denoiser((scaled / cos)[:, :, None].float(), (sin / cos).float(), Conditioning())[:, :, 0]
    assert (ours - estimate).abs().max() < 1e-5


def test_it_plays_without_games_as_any_other_model(imported: LoadedModel, tmp_path: Path) -> None:
    generator = Generator.of(imported)
    assert generator.is_unconditional and generator.window_columns == 4096
    short = {"games": {}, "steps": 2, "sampler": "euler"}
    clip = generator.generate(Request(**short, seconds=1.2))
    assert clip.audio.shape == (CHANNELS, round(1.2 * RATE)) and clip.audio.abs().max() > 0
    assert clip.spectrogram.shape[1:] == (128, 120), "a picture of the audio, as there are no rows to show"
    assert generator.generate(Request(**short, seconds=0.3, loop=True)).audio.shape == (CHANNELS, round(0.3 * RATE))
    words = ["--model", imported.folder.path, "--steps", 2, "--seconds", 0.5, "--out", tmp_path]
    done = tiny.run("-m", "sampling", *words)
    assert done.returncode == 0, done.stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".flac"]


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="diffusers is not installed")
@torch.inference_mode()
def test_a_folder_of_diffusers_gives_what_diffusers_gives(tmp_path: Path) -> None:
    import diffusers

    for flipped in (True, False):
        net = diffusers.UNet1DModel(
            sample_rate=RATE,
            sample_size=4096,
            extra_in_channels=16,
            time_embedding_dim=16,
            flip_sin_to_cos=flipped,
            block_out_channels=(32, 64, 64),
        ).eval()
        net.save_pretrained(tmp_path / f"{flipped}/unet")
        done = tiny.run("-m", "dualdiffusion", "import", "dance-diffusion", tmp_path / f"{flipped}", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        model = dualdiffusion.load(tmp_path / "out", device="cpu")
        x, t = torch.randn(2, 2, 64), torch.tensor([0.1, 0.9])
        ours = model.denoiser.backbone(x[:, :, None], t, conditioning=Conditioning())[:, :, 0]
        assert (ours - net(x, t).sample).abs().max() < 1e-5
        (tmp_path / "out").rename(tmp_path / f"out-{flipped}")


def diffusers_names(reference: Nested) -> dict[str, Tensor]:
    """The reference's tensors as a UNet1DModel has them: a list of levels, matrices, and q, k and v apart."""
    found = {"time_proj.weight": reference.timestep_embed.weight[:, 0]}
    parts = {"main.0": "conv_1", "main.1": "group_norm_1", "main.3": "conv_2", "main.4": "group_norm_2"}

    def take(place: str, number: int, residual: Residual, attention: nn.Module) -> None:
        for name, x in residual.state_dict().items():
            part, kind = name.rsplit(".", 1)
            found[f"{place}.resnets.{number}.{parts.get(part, 'conv_skip')}.{kind}"] = x
        own = f"{place}.attentions.{number}"
        for name, x in attention.state_dict().items():
            part, kind = name.split(".")
            matrix = x[..., 0] if x.ndim == 3 else x
            if part == "qkv_proj":
                found.update({f"{own}.{QKV[part]}.{kind}": m for part, m in zip("qkv", matrix.chunk(3), strict=True)})
            else:
                found[f"{own}.{'group_norm' if part == 'norm' else 'proj_attn'}.{kind}"] = matrix

    net, level = reference.net, reference.net[3].main
    for number in range(3):
        take("down_blocks.0", number, net[number], nn.Identity())
        take("up_blocks.1", number, net[4 + number], nn.Identity())
        take("down_blocks.1", number, level[1 + 2 * number], level[2 + 2 * number])
        take("up_blocks.0", number, level[8 + 2 * number], level[9 + 2 * number])
        deepest = level[7].main
        take("mid_block", number, deepest[1 + 2 * number], deepest[2 + 2 * number])
        take("mid_block", 3 + number, deepest[8 + 2 * number], deepest[9 + 2 * number])
    return {name: x.contiguous() for name, x in found.items()}


@torch.inference_mode()
def test_names_of_diffusers_mean_the_same_network(reference: Nested, tmp_path: Path) -> None:
    folder = tmp_path / "pipeline" / "unet"
    folder.mkdir(parents=True)
    save_file(diffusers_names(reference.float()), folder / "diffusion_pytorch_model.safetensors")
    config = {"_class_name": "UNet1DModel", "sample_rate": 16000, "sample_size": 4096, "flip_sin_to_cos": True}
    write_json(folder / "config.json", config)
    done = tiny.run("-m", "dualdiffusion", "import", "dance-diffusion", tmp_path / "pipeline", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    model = dualdiffusion.load(tmp_path / "out", device="cpu")
    assert (model.format.sample_rate, model.window_columns) == (16000, 4096)
    assert difference(model, reference) < 1e-5


def without(state: dict[str, Tensor], *parts: str) -> dict[str, Tensor]:
    return {name: x for name, x in state.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {"layer.weight": torch.zeros(2)}, ["is no Dance Diffusion checkpoint", "timestep_embed"]),
        (lambda state: without(state, "net.3."), ["is no Dance Diffusion network"]),
        (lambda state: without(state, "net.5.main.0.weight"), ["a.ckpt", "has no tensor 'decoder.0.1.conv_in.weight'"]),
        (lambda state: {**state, "net.7.x": torch.zeros(1)}, ["tensor 'net.7.x' has no place"]),
        (
            lambda state: {**state, "net.3.main.0.kernel": torch.ones(8) / 8},
            ["net.3.main.0.kernel is no cubic filter"],
        ),
        (
            lambda state: {**state, "net.0.main.0.weight": torch.zeros(32, 20, 5)},
            ["told 2 channels of something else"],
        ),
        (lambda state: {"path": Path("a"), **state}, ["cannot be read as tensors"]),
    ],
)
def test_what_is_no_such_checkpoint_is_one_line_and_nothing_is_written(
    change, words: list[str], reference: Nested, tmp_path: Path
) -> None:
    torch.save({"state_dict": change(reference.float().state_dict())}, tmp_path / "a.ckpt")
    with pytest.raises(UserError) as refused:
        import_dance_diffusion(tmp_path / "a.ckpt", tmp_path / "out", sample_rate=RATE)
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("data", [{0: torch.zeros(1)}, {"state_dict": [1]}, [1], torch.zeros(1)])
def test_a_file_of_something_else_is_one_line(data: object, tmp_path: Path) -> None:
    torch.save(data, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="is no Dance Diffusion checkpoint"):
        import_dance_diffusion(tmp_path / "a.ckpt", tmp_path / "out", sample_rate=RATE)


def test_an_import_needs_a_sample_rate_and_a_folder_of_its_own(reference: Nested, model: ModelFolder, tmp_path) -> None:
    torch.save(checkpoint(reference), tmp_path / "a.ckpt")
    words = ("-m", "dualdiffusion", "import", "dance-diffusion")
    done = tiny.run(*words, tmp_path / "a.ckpt", tmp_path / "out")
    tiny.assert_one_line_error(done, "does not say its sample rate", "--sample-rate")
    done = tiny.run(*words, tmp_path / "a.ckpt", model.path, "--sample-rate", 8000)
    tiny.assert_one_line_error(done, "is there already")
    tiny.assert_one_line_error(tiny.run(*words, tmp_path / "b.ckpt", tmp_path / "out"), "b.ckpt: no such file")
