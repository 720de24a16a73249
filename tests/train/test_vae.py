"""The VAE's training: its losses, their names and weights, and the options, whose defaults change nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dualdiffusion.component import component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import load_config
from dualdiffusion.data.audio_crops import Batch, collate
from dualdiffusion.data.dataset_folder import DatasetFolder
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.models.vae_edm2 import VAE
from dualdiffusion.randomness import SeededNoise, StepRandom
from tests import tiny
from train.losses.multiscale_spectral import MultiscaleSpectral
from train.module_trainer import StepOutput
from train.module_trainers.vae import VAETrainer
from train.trainer import TrainConfig

EXPERIMENTS = sorted((tiny.ROOT / "config" / "experiments").glob("vae_*.json"))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_trainer(folder: Path, dataset: Path, **changes: Any) -> VAETrainer:
    """The tiny trainer, with `changes` laid over its module_trainer config."""
    config = load_config(TrainConfig, tiny.write_train_config(folder / "train.json", "vae", folder / "model", dataset))
    data = config.module_trainer.to_json()
    data["vae"] |= changes.pop("vae", {})
    data |= changes
    part = component_from_json("train.module_trainers", data)
    return part.cls(part.config, model=ModelFolder(folder / "model"), dataset=DatasetFolder(dataset), seed=0)


def first_batch(trainer: VAETrainer) -> Batch:
    data = trainer.train_data(0)
    return collate([data[index] for index in range(4)])


def step(trainer: VAETrainer, batch: Batch) -> StepOutput:
    return trainer.step(batch, generator=StepRandom(0, first=0, batch_size=4, indices=range(4)))


def test_the_learned_log_variance_of_fixed_weights_comes_to_rest_at_the_log_of_the_loss(
    tmp_path: Path, dataset: Path
) -> None:
    trainer = make_trainer(tmp_path, dataset)
    batch = first_batch(trainer)
    optimizer = torch.optim.Adam([trainer.module.loss_logvar], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        output = step(trainer, batch)
        output.loss.mean().backward()
        optimizer.step()
    # loss / exp(u) + u is least where u = ln(loss).
    assert float(trainer.module.loss_logvar.detach()) == pytest.approx(
        math.log(float(output.score.detach().mean())), abs=0.01
    )


def test_every_part_of_the_loss_is_logged_and_weighted_by_one_name(tmp_path: Path, dataset: Path) -> None:
    weights = {"spectral/real": 2.0, "spectral/imag": 0.3, "point": 0.7, "shift": 0.4, "kl": 0.05}
    trainer = make_trainer(tmp_path, dataset, loss_weights=weights)
    output = step(trainer, first_batch(trainer))
    parts = {name: output.metrics[f"loss/{name}"] for name in weights}
    reconstruction = sum(weights[name] * parts[name] for name in ("spectral/real", "spectral/imag", "point"))
    assert torch.allclose(output.score, reconstruction, atol=1e-6)
    logvar = output.metrics["loss/logvar"]
    others = sum(weights[name] * parts[name] for name in ("shift", "kl"))
    assert torch.allclose(output.loss, reconstruction * torch.exp(-logvar) + logvar + others, atol=1e-6)
    assert all(float(part.mean()) > 0 for part in parts.values())


def test_weights_that_are_not_named_have_their_defaults_which_the_stored_config_shows(
    tmp_path: Path, dataset: Path
) -> None:
    weights = make_trainer(tmp_path, dataset, loss_weights={"point": 1.0}).config.loss_weights
    assert weights == {"spectral/real": 1.0, "spectral/imag": 0.5, "point": 1.0, "shift": 0.0, "kl": 0.1}


def test_a_weight_for_a_part_that_does_not_exist_is_refused_with_the_nearest_name(
    tmp_path: Path, dataset: Path
) -> None:
    path = tiny.write_train_config(tmp_path / "train.json", "vae", tmp_path / "model", dataset)
    with pytest.raises(UserError, match=r"loss_weights: no part 'spectral/reel'; nearest: spectral/real"):
        load_config(TrainConfig, path, ["module_trainer.loss_weights.spectral/reel=1"])


def test_a_step_in_bfloat16_gives_nearly_the_loss_of_float32_and_gradients_for_every_weight(
    tmp_path: Path, dataset: Path
) -> None:
    trainer = make_trainer(tmp_path, dataset, loss_weights={"point": 1.0, "shift": 0.1})
    batch = first_batch(trainer)
    exact = step(trainer, batch)
    with torch.autocast("cpu", torch.bfloat16):
        output = step(trainer, batch)
    assert output.loss.dtype == torch.float32
    assert torch.allclose(output.loss, exact.loss, rtol=0.05)
    output.loss.mean().backward()
    parameters = dict(trainer.module.named_parameters())
    assert [name for name, p in parameters.items() if p.grad is None or not p.grad.isfinite().all()] == []
    assert all(p.dtype == torch.float32 for p in parameters.values())


def test_the_defaults_of_the_options_reproduce_the_network_and_loss_from_before_the_options() -> None:
    """The numbers were written down with the version before them."""
    torch.manual_seed(0)
    vae = component_from_json("dualdiffusion.models", tiny.VAE).build()
    x, position = noise(2, 2, 32, 64), torch.linspace(-1.7, 1.7, 32)
    arguments = {"position": position, "conditioning": Conditioning()}
    mode = vae.encode(x, **arguments).mode
    output = vae.decode(mode, **arguments).detach()
    assert float(mode.detach().abs().mean()) == pytest.approx(0.5391632, abs=1e-5)
    assert float(output.abs().mean()) == pytest.approx(0.8155942, abs=1e-5)
    for random in (None, SeededNoise([0, 1])):  # which the defaults do not use
        parts = MultiscaleSpectral(MultiscaleSpectral.Config())(output, x, random=random)
        assert parts["spectral/real"].tolist() == pytest.approx([0.3857102, 0.3949400], abs=1e-5)
        assert (0.5 * parts["spectral/imag"]).tolist() == pytest.approx([0.1068865, 0.1153918], abs=1e-5)


def test_random_offsets_move_the_blocks_of_each_sample_and_change_nothing_for_equal_spectrograms() -> None:
    config = MultiscaleSpectral.Config(block_widths=(7, 13), random_offsets=True)
    loss, x, y = MultiscaleSpectral(config), noise(2, 2, 32, 32), noise(2, 2, 32, 32, seed=1)
    one, same, other = (loss(x, y, random=SeededNoise(seeds))["spectral/real"] for seeds in ([0, 1], [0, 1], [0, 2]))
    assert torch.equal(one, same)
    assert one[0] == other[0]  # of the same stream
    assert one[1] != other[1]
    assert all(float(part.abs().max()) < 1e-4 for part in loss(x, x, random=SeededNoise([0, 1])).values())
    # The offset is no matter of size: noise has the same statistics everywhere.
    fixed = loss(x, y)["spectral/real"]
    assert torch.allclose(one, fixed, rtol=0.1)


@pytest.mark.parametrize("supersampling", [2, 4])
def test_a_supersampled_encoder_averages_finer_latents_of_the_same_final_shape(supersampling: int) -> None:
    config = component_from_json("dualdiffusion.models", tiny.VAE).config
    torch.manual_seed(0)
    plain = VAE(config)
    fine = VAE(config.model_copy(update={"latent_supersampling": supersampling}))
    fine.load_state_dict(plain.state_dict())  # the same weights: nothing is added
    x, arguments = noise(1, 2, 32, 64), {"position": torch.linspace(-1.7, 1.7, 32), "conditioning": Conditioning()}
    seen = []
    fine.to_latents.register_forward_hook(lambda module, inputs, output: seen.append(output))
    mode = fine.encode(x, **arguments).mode
    assert seen[0].shape == (1, 4, 4 * supersampling, 8 * supersampling)
    assert torch.allclose(mode, torch.nn.functional.avg_pool2d(seen[0], supersampling))
    assert mode.shape == plain.encode(x, **arguments).mode.shape == (1, 4, 4, 8)
    assert not torch.allclose(mode, plain.encode(x, **arguments).mode)


def test_supersampling_beyond_the_encoders_own_factor_is_refused() -> None:
    component = component_from_json(
        "dualdiffusion.models", {**tiny.VAE, "channel_mult": [1, 1], "latent_supersampling": 4}
    )
    with pytest.raises(UserError, match="latent_supersampling: at most 2"):
        component.build()


def test_the_shift_term_is_zero_for_an_autoencoder_that_does_not_care_where_a_clip_begins(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tmp_path, dataset, loss_weights={"shift": 1.0})
    batch = first_batch(trainer)
    assert float(step(trainer, batch).metrics["loss/shift"].min()) > 1e-3
    x = trainer.format.encode(batch.data)
    random = StepRandom(0, first=0, batch_size=4, indices=range(4))

    class Mode:
        def __init__(self, mode: torch.Tensor) -> None:
            self.mode = mode

    monkeypatch.setattr(trainer.module, "encode", lambda x, **_: Mode(x))
    monkeypatch.setattr(trainer.module, "decode", lambda z, **_: z)
    assert float(trainer._shift_difference(x, x, Conditioning(), random).abs().max()) == 0


def test_the_shift_term_of_a_crop_that_is_too_short_is_one_line(tmp_path: Path, dataset: Path) -> None:
    trainer = make_trainer(tmp_path, dataset, crop_seconds=0.128, loss_weights={"shift": 1.0, "spectral/imag": 0})
    with pytest.raises(UserError, match=r"crop_seconds: the term shift needs 32 frames, not 16"):
        step(trainer, first_batch(trainer))


@pytest.mark.parametrize("loss", ["point.L1", "point.L2"])
def test_the_plain_losses_are_their_formulas_and_can_stand_in_for_the_full_one(
    loss: str, tmp_path: Path, dataset: Path
) -> None:
    trainer = make_trainer(tmp_path, dataset, loss={"type": loss}, loss_weights={})
    x, y = noise(3, 2, 8, 8), noise(3, 2, 8, 8, seed=1)
    power = int(loss[-1])
    expected = (x - y).abs().pow(power).mean(dim=(1, 2, 3))
    assert torch.allclose(trainer.loss(x, y)[f"l{power}"], expected)
    output = step(trainer, first_batch(trainer))
    assert torch.allclose(output.score, output.metrics[f"loss/l{power}"])


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_vae_experiment_is_a_few_lines_that_load_and_build(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 12
    config = load_config(TrainConfig, path)
    base = load_config(TrainConfig, tiny.ROOT / "config" / "train" / "vae_tiny.json")
    assert config.description != base.description
    assert config.model != base.model
    assert config.module_trainer.config != base.module_trainer.config
    vae = config.module_trainer.config.vae.to_json()
    with torch.device("meta"):
        component_from_json("dualdiffusion.models", {**vae, "label_dim": vae["label_dim"] or 0}).build()
    config.module_trainer.config.loss.build()


def test_a_decoder_trained_alone_leaves_every_latent_as_it_was(tmp_path: Path, dataset: Path) -> None:
    trainer = make_trainer(tmp_path, dataset, trained="decoder")
    batch = first_batch(trainer)
    x = trainer.format.encode(batch.data)

    def modes_and_outputs() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            mode = trainer.module.encode(x, position=trainer.position, conditioning=Conditioning()).mode
            return mode, trainer.module.decode(mode, position=trainer.position, conditioning=Conditioning())

    mode, output = modes_and_outputs()
    optimizer = torch.optim.AdamW(trainer.module.parameters(), lr=0.01, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        step(trainer, batch).loss.mean().backward()
        trainer.module.before_update()
        optimizer.step()
        trainer.module.after_update()
    mode_after, output_after = modes_and_outputs()
    assert torch.equal(mode_after, mode)
    assert float((output_after - output).abs().mean()) > 1e-3


def test_without_a_wavelength_exponent_short_waves_count_as_much_as_long_ones() -> None:
    target = torch.zeros(1, 1, 16, 16)
    wave = torch.arange(16) * 2 * math.pi / 16

    def ratio(exponent: float) -> float:
        loss = MultiscaleSpectral(
            MultiscaleSpectral.Config(block_widths=(16,), overlap=1, wavelength_exponent=exponent)
        )
        long, short = (loss((cycles * wave).sin().expand(1, 1, 16, 16), target)["spectral/real"] for cycles in (2, 6))
        return float(short / long)

    assert ratio(0.0) == pytest.approx(1, abs=0.01)
    assert ratio(0.5) == pytest.approx(math.sqrt(3 / 7), abs=0.1)  # ((1 + 2) / (1 + 6))^0.5
    assert ratio(1.0) < ratio(0.5) < ratio(0.0)
