"""Formats, autoencoders, backbones and denoisers keep their contracts: all that the kind folders hold."""

from __future__ import annotations

import ast
import importlib
import re

import pytest
import torch

from dualdiffusion.component import Component, list_files
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import Config
from dualdiffusion.contracts import Autoencoder, Backbone, Denoiser, Format, Posterior, SpectrogramFormat
from dualdiffusion.diffusion import preconditioning
from dualdiffusion.errors import UserError
from dualdiffusion.randomness import SeededNoise
from tests.tiny import ROOT, all_untold

GAMES = 3
# Taken where a config has such fields, so that networks are small; a part without them is tested as it is by default.
SMALL = {"model_channels": 16, "label_dim": GAMES, "phase_iterations": 2, "noise_channels": 16, "channels_per_head": 16}
SMALL |= {"width": 32, "depth": 2, "heads": 2, "depths": [1, 1], "widths": [16, 32], "d_head": 16, "mapping_width": 32}
SMALL |= {"level_channels": [16, 16]}

ADAPTED = {
    "backbone": {"type": "unet_edm2.UNet", **{key: SMALL[key] for key in ("model_channels", "label_dim")}},
    "conditioners": {"tempo": {"type": "beats.Beats"}},
    "input_concat_ids": ["tempo"],
}
# Arguments of networks of other packages.
OF_OTHERS = {
    "diffusers_model": {
        "settings": {
            "block_out_channels": [16, 32],
            "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "attention_head_dim": 16,
            "resnet_time_scale_shift": "scale_shift",
        }
    }
}


def parts(kind: str) -> list[Component]:
    """Every class of a kind folder, with the smallest config that can be said without knowing it."""
    found = []
    for file in list_files(kind):
        module = importlib.import_module(f"{kind}.{file}")
        for cls in vars(module).values():
            own = isinstance(cls, type) and cls.__module__ == module.__name__ and hasattr(cls, "Config")
            if own and issubclass(cls.Config, Config):
                settings = {key: value for key, value in SMALL.items() if key in cls.Config.model_fields}
                settings |= ADAPTED if "backbone" in cls.Config.model_fields else {}
                settings |= OF_OTHERS.get(file, {})
                found.append(Component(cls, cls.Config.from_json(settings)))
    return [part for part in found if _is_installed(part)]


def _is_installed(part: Component) -> bool:
    """False for a part of a package that is an extra, and not there."""
    try:
        part.build()
    except UserError as error:
        return "install" not in str(error)  # nor in this version
    return True


FORMATS, NETWORKS = parts("dualdiffusion.formats"), parts("dualdiffusion.models")
AUTOENCODERS = [part for part in NETWORKS if isinstance(part.build(), Autoencoder)]
BACKBONES = [part for part in NETWORKS if isinstance(part.build(), Backbone)]


def each(found: list[Component]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("part", found, ids=lambda part: part.name)


def _awake(network: torch.nn.Module) -> torch.nn.Module:
    """The network with its gains away from where they start, at which conditions may do nothing yet."""
    for parameter in network.parameters():
        if parameter.ndim == 0:
            torch.nn.init.constant_(parameter, 0.5)
    return network.eval()


def mixes(batch: int) -> Conditioning:
    return Conditioning(torch.nn.functional.normalize(torch.rand(batch, GAMES), dim=1))


def test_there_is_no_network_of_neither_kind() -> None:
    assert FORMATS
    assert len(AUTOENCODERS) + len(BACKBONES) == len(NETWORKS)
    assert AUTOENCODERS
    assert BACKBONES


@each(FORMATS)
def test_a_format_counts_frames_as_it_makes_them(part: Component) -> None:
    format = part.build()
    assert isinstance(format, Format)
    assert format.frames_per_second == pytest.approx(format.sample_rate / format.hop_length)
    frames = 40
    samples = format.num_samples(frames)
    assert samples == frames * format.hop_length
    assert format.num_frames(samples + format.hop_length - 1) == frames
    x = format.encode(0.1 * torch.randn(2, format.num_channels, samples))
    assert x.shape == (2, *format.sample_shape(frames))
    told = []
    audio = format.decode(x, iterations=2, seeds=[0, 1], callback=lambda *done: told.append(done))
    assert audio.shape == (2, format.num_channels, samples)
    assert told[-1][0] == told[-1][1]
    assert torch.equal(audio, format.decode(x, iterations=2, seeds=[0, 1]))


@each(FORMATS)
def test_a_formats_frames_depend_on_no_audio_beyond_their_context(part: Component) -> None:
    format = part.build()
    reach = format.context_frames
    audio = 0.1 * torch.randn(1, format.num_channels, format.num_samples(2 * reach + 20))
    x = format.encode(audio)
    changed = audio.clone()
    first = format.num_samples(reach + 10)
    changed[..., first:] = 0
    same = format.encode(changed)[..., : 10 - 1] == x[..., : 10 - 1]
    assert bool(same.all())


@each(FORMATS)
def test_a_fitted_format_has_zero_mean_and_unit_variance_over_the_clips(part: Component) -> None:
    format = part.build()
    clips = [level * torch.randn(format.num_channels, format.num_samples(60)) for level in (0.02, 0.2)]
    format.fit(clips)
    values = torch.cat([format.encode(clip[None]).flatten() for clip in clips])
    assert float(values.mean()) == pytest.approx(0, abs=1e-3)
    assert float(values.std()) == pytest.approx(1, abs=1e-3)


@each([part for part in FORMATS if isinstance(part.build(), SpectrogramFormat)])
def test_a_spectrogram_format_tells_its_rows(part: Component) -> None:
    format = part.build()
    assert format.sample_shape(8) == (format.num_channels, format.rows, 8)
    centers, position = format.centers(), format.position()
    assert centers.shape == position.shape == (format.rows,)
    assert bool((centers.diff() > 0).all())
    assert float(position.mean()) == pytest.approx(0, abs=1e-5)
    assert float(position.std()) == pytest.approx(1, abs=1e-5)


@each(AUTOENCODERS)
@torch.inference_mode()
def test_an_autoencoder_goes_both_ways(part: Component) -> None:
    vae = _awake(part.build())
    shape = (vae.in_channels, 4 * vae.downsampling, 6 * vae.downsampling)
    x, position, conditioning = torch.randn(2, *shape), torch.linspace(-1.5, 1.5, shape[1]), mixes(2)
    posterior = vae.encode(x, position=position, conditioning=conditioning)
    assert isinstance(posterior, Posterior)
    assert posterior.mode.shape == (2, *vae.latent_shape(shape)) == (2, vae.latent_channels, 4, 6)
    assert posterior.noise_std == vae.noise_std
    assert torch.equal(posterior.sample(SeededNoise([1, 2])), posterior.sample(SeededNoise([1, 2])))
    assert bool((posterior.kl() >= 0).all())
    assert vae.latent_position(position).shape == (4,)
    decoded = vae.decode(posterior.mode, position=position, conditioning=conditioning)
    assert decoded.shape == x.shape
    unconditional = vae.decode(posterior.mode, position=position, conditioning=Conditioning())
    assert torch.equal(decoded, unconditional) == (vae.label_dim == 0)


@each(AUTOENCODERS)
@torch.inference_mode()
def test_an_autoencoders_latents_are_normalised_by_its_statistics(part: Component) -> None:
    vae = part.build()
    assert bool((vae.latents_std == 1).all())  # nothing has been measured
    vae.latents_mean.copy_(torch.arange(vae.latent_channels))
    vae.latents_std.fill_(2)
    latents = 2 * torch.randn(1, vae.latent_channels, 64, 64) + vae.latents_mean[:, None, None]
    normalised = vae.normalize_latents(latents)
    assert torch.allclose(normalised.mean(dim=(0, 2, 3)), torch.zeros(vae.latent_channels), atol=0.1)
    assert torch.allclose(normalised.std(dim=(0, 2, 3)), torch.ones(vae.latent_channels), atol=0.1)
    assert torch.allclose(vae.denormalize_latents(normalised), latents, atol=1e-5)


@each(AUTOENCODERS)
def test_a_frozen_encoder_leaves_only_what_latents_do_not_depend_on(part: Component) -> None:
    vae = part.build()
    vae.freeze_encoder()
    x, position = torch.randn(1, vae.in_channels, *[2 * vae.downsampling] * 2), torch.zeros(2 * vae.downsampling)
    assert not vae.encode(x, position=position, conditioning=mixes(1)).mode.requires_grad
    assert any(parameter.requires_grad for parameter in vae.parameters()) or not list(vae.parameters())


@each(BACKBONES)
@torch.inference_mode()
def test_a_backbone_takes_every_multiple_of_its_size_and_games_or_none(part: Component) -> None:
    backbone = part.build().eval()
    for columns in (1, 3):
        x = torch.randn(2, backbone.in_channels, backbone.size_multiple, columns * backbone.size_multiple)
        position = torch.zeros(x.shape[2])
        for conditioning in (Conditioning(), mixes(2), all_untold(mixes(2))):
            output = backbone(x, torch.zeros(2), conditioning=conditioning, position=position)
            assert output.shape == x.shape
            assert bool(output.isfinite().all())
    backbone.before_update()
    backbone.after_update()


@each(BACKBONES)
@torch.inference_mode()
def test_a_denoiser_around_every_backbone_keeps_its_contract(part: Component) -> None:
    denoiser = preconditioning.Denoiser(preconditioning.Denoiser.Config(backbone=part, sigma_data=0.5)).eval()
    assert isinstance(denoiser, Denoiser)
    assert denoiser.sigma_data == 0.5
    backbone = denoiser.backbone
    said = (denoiser.in_channels, denoiser.size_multiple, denoiser.label_dim)
    assert said == (backbone.in_channels, backbone.size_multiple, backbone.label_dim)
    size = (denoiser.rows or 2 * denoiser.size_multiple, 2 * denoiser.size_multiple)
    clean = 0.5 * torch.randn(2, denoiser.in_channels, *size)
    sigma = torch.full((2,), 1e-3)
    noisy = clean + 1e-3 * torch.randn_like(clean)
    estimate = denoiser(noisy, sigma, mixes(2))
    assert estimate.dtype == torch.float32
    assert torch.allclose(estimate, clean, atol=0.02)  # with hardly any noise, every denoiser is right
    assert denoiser.log_variance(sigma).shape == (2,)


@pytest.mark.parametrize("part", [part for part in NETWORKS if "label_dim" in part.cls.Config.model_fields])
def test_a_network_whose_number_of_games_is_open_is_not_taken_for_an_unconditional_one(part: Component) -> None:
    open_config = part.config.model_copy(update={"label_dim": None})
    with pytest.raises(UserError, match="label_dim: null") as error:
        Component(part.cls, open_config).build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("package", ["train", "sampling", "dataset_processing", "webui"])
def test_nobody_reaches_through_a_part_into_its_config(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for found in re.findall(
            r"\b(?:format|vae|backbone|denoiser|unet|module)\.config\.(?!to_json)\w+", path.read_text()
        )
    ]
    assert wrong == []


def test_every_public_name_of_the_library_says_what_it_is() -> None:
    silent = []
    for path in sorted((ROOT / "dualdiffusion").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef):
                silent += [
                    f"{path.relative_to(ROOT)}:{part.lineno} {part.name}"
                    for part in node.body
                    if isinstance(part, ast.FunctionDef | ast.ClassDef)
                    and not part.name.startswith("_")
                    and ast.get_docstring(part) is None
                ]
    assert silent == []


@each(AUTOENCODERS)
def test_a_latent_column_depends_on_no_more_columns_than_the_autoencoder_says(part: Component) -> None:
    vae = _awake(part.build())
    size, context = vae.downsampling, vae.context_columns
    columns = 2 * context + 3
    middle, position = context + 1, torch.zeros(size)
    x = torch.randn(1, vae.in_channels, size, columns * size, requires_grad=True)
    mode = vae.encode(x, position=position, conditioning=mixes(1)).mode
    mode[..., middle].square().sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1, 2)).unflatten(0, (columns, size)).sum(dim=1)
    assert not seen[[0, -1]].any(), "beyond the context"
    assert bool((seen[1:-1] > 0).all()), "and it says no more than is true"
