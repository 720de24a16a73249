"""What every backbone of the kind folder can do, whatever it is made of: routes, dropped games, growth, compilation."""

from __future__ import annotations

import importlib.metadata
import sys
from types import ModuleType

import pytest
import torch

from dualdiffusion.component import Component, component_from_json
from dualdiffusion.conditioning import Conditioning
from dualdiffusion.diffusion.loss import denoising_loss
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.model.extras import extra
from dualdiffusion.model.label_growth import grown_weights
from dualdiffusion.models.conditioned import ROUTES
from tests.dualdiffusion.test_contracts import BACKBONES, GAMES
from tests.tiny import all_untold

# So that a compiler, too, is done soon.
SMALLER = {
    "unet_edm2.UNet": {"channel_mult": (1,), "attn_levels": (0,), "num_layers_per_block": 1, "mlp_groups": 1},
    "dit.DiT": {"depth": 1},
    "unet_1d.UNet1D": {"channel_mult": (1, 2), "strides": (2,), "attn_levels": (1,)},
}
NETWORKS = [
    Component(part.cls, part.config.model_copy(update=SMALLER.get(part.name, {})))
    for part in BACKBONES
    if "backbone" not in part.cls.Config.model_fields
]
ADAPTER = {
    "type": "conditioned.Conditioned",
    "conditioners": {"place": {"type": "numbers.Number"}, "loudness": {"type": "curves.Curve"}},
    "token_channels": 8,
}


def each(*fields: str) -> pytest.MarkDecorator:
    """Every network whose config has such fields."""
    found = [part for part in NETWORKS if set(fields) <= set(part.cls.Config.model_fields)]
    return pytest.mark.parametrize("part", found, ids=lambda part: part.name)


def built(part: Component, seed: int = 0, **changes: object) -> torch.nn.Module:
    """A network whose parameters are all away from zero, where conditions would do nothing yet."""
    torch.manual_seed(seed)
    network = Component(part.cls, part.config.model_copy(update=changes)).build()
    return awake(network)


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """What is zero at initialisation is random; in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if not bool(parameter.any()):
            random = 0.1 * torch.randn(parameter.shape, generator=generator)
            parameter.data = random if parameter.ndim else random + 0.5
    return network.eval()


def inputs(network: torch.nn.Module, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """x of a few rows and columns, and noise levels."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = getattr(network, "row_multiple", network.size_multiple), network.size_multiple
    given = getattr(network, "rows", None)  # of a network that takes no other number of them
    size = (given or rows * max(1, 4 // rows), columns * max(1, 8 // columns))
    return torch.randn(batch, network.in_channels, *size, generator=generator), torch.linspace(-1, 1, batch)


@each()
@pytest.mark.parametrize("route", ROUTES)
@torch.inference_mode()
def test_by_every_route_what_is_told_counts_and_what_is_untold_does_not(part: Component, route: str) -> None:
    """Or the backbone has no such route, and says so, with those that have it."""
    config = {**ADAPTER, "backbone": part.to_json(), route: ["place", "loudness"]}
    if ROUTES[route] not in part.cls.Config.model_fields:
        with pytest.raises(UserError, match=f"{part.name} has no such route; .+ has"):
            component_from_json("dualdiffusion.models", config).build()
        return
    torch.manual_seed(0)
    adapted = awake(component_from_json("dualdiffusion.models", config).build())
    x, c_noise = inputs(adapted)
    values = {"place": torch.rand(2, 1, 1).expand(-1, -1, x.shape[-1]), "loudness": torch.randn(2, 1, x.shape[-1])}
    silent = adapted(x, c_noise, conditioning=Conditioning())
    told = adapted(x, c_noise, conditioning=Conditioning(values=values))
    assert not torch.allclose(told, silent, atol=1e-4)
    changed = {**values, "loudness": values["loudness"] + 5}
    without = [
        adapted(x, c_noise, conditioning=Conditioning(values=of).without(["loudness"])) for of in (values, changed)
    ]
    assert torch.equal(*without), "bit for bit: what is untold is not looked at"
    assert not torch.allclose(without[0], told, atol=1e-4)
    assert torch.allclose(adapted(x, c_noise, conditioning=all_untold(Conditioning(values=values))), silent, atol=1e-6)


@pytest.mark.slow
@each("label_dim")
def test_dropped_games_train_the_unconditional_model(part: Component) -> None:
    """Two games are constants of either sign. Told, the network says which; untold, it knows the mean of both alone."""
    torch.manual_seed(0)
    denoiser = Denoiser(Denoiser.Config(backbone=part)).train()
    rate = {"unet_edm2.UNet": 0.03, "unet_1d.UNet1D": 0.002}.get(part.name, 0.01)
    optimizer = torch.optim.Adam(denoiser.parameters(), rate, betas=(0.9, 0.99))
    x, _ = inputs(denoiser.backbone, 8)
    game = torch.arange(8) % 2
    clean = (2.0 * game - 1)[:, None, None, None].expand_as(x)
    kept = (torch.arange(8) // 2 % 2).float()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        noise, sigma = torch.randn(x.shape, generator=generator), torch.full((8,), 20.0)
        told = Conditioning(torch.eye(GAMES)[game], kept)
        optimizer.zero_grad()
        denoising_loss(denoiser, clean, noise, sigma, told).learned.mean().backward()
        denoiser.before_update()
        optimizer.step()
        denoiser.after_update()
    with torch.no_grad():
        noisy = 20 * torch.randn(4, *x.shape[1:], generator=generator)

        def said(conditioning: Conditioning) -> torch.Tensor:
            return denoiser.eval()(noisy, torch.full((4,), 20.0), conditioning).mean(dim=(1, 2, 3))

        labels = [torch.eye(GAMES)[[index] * 4] for index in (0, 1)]
        low, high = (said(Conditioning(of)) for of in labels)
        between = said(Conditioning())
        assert bool((low + 0.3 < between).all()) and bool((between < high - 0.3).all()), (low, between, high)
        assert torch.allclose(said(all_untold(Conditioning(labels[0]))), between, atol=1e-5)


@each("label_dim")
@torch.inference_mode()
def test_new_games_leave_old_ones_and_no_label_as_they_were(part: Component) -> None:
    old, grown = built(part), built(part, seed=5, label_dim=GAMES + 2)
    grown.load_state_dict(grown_weights(old.state_dict(), grown, seed=0))
    x, c_noise = inputs(old, GAMES)
    before = [old(x, c_noise, conditioning=c) for c in (Conditioning(torch.eye(GAMES)), Conditioning())]
    padded = torch.eye(GAMES + 2)[:GAMES]
    after = [grown(x, c_noise, conditioning=c) for c in (Conditioning(padded), Conditioning())]
    assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(before, after, strict=True))
    new = grown(x[:1], c_noise[:1], conditioning=Conditioning(torch.eye(GAMES + 2)[GAMES:][:1]))
    assert not torch.allclose(new, after[1][:1], atol=1e-4)


@pytest.mark.slow
@each("channels")  # the transformers; UNets take a compiler twice as long, and are compiled by tests/gpu
def test_it_compiles_without_a_break_to_the_same(part: Component) -> None:
    network = built(part)
    x, c_noise = inputs(network)
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    conditioning = Conditioning(torch.eye(GAMES)[:2], torch.ones(2))
    expected = network(x, c_noise, conditioning=conditioning)
    assert torch.allclose(compiled(x, c_noise, conditioning=conditioning), expected, atol=1e-5)


@each("activation_checkpointing")
def test_activation_checkpointing_changes_no_gradient(part: Component) -> None:
    gradients = []
    for saving in (False, True):
        network = built(part, activation_checkpointing=saving, dropout=0.2).train()
        torch.manual_seed(1)  # of the dropout
        x, c_noise = inputs(network)
        network(x, c_noise, conditioning=Conditioning(torch.eye(GAMES)[:2])).square().mean().backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    assert len(gradients[0]) > 5
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("name", "package"),
    [("diffusers_model.DiffusersModel", "diffusers"), ("x_transformers.XTransformer", "x-transformers")],
)
def test_a_network_of_another_package_is_one_line_without_it_or_with_another_version(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = component_from_json("dualdiffusion.models", {"type": name, "label_dim": 0, "version": "0.1"})
    if package not in {distribution.name for distribution in importlib.metadata.distributions()}:
        with pytest.raises(UserError, match=f"{package} is not installed; install it: pip install {package}==0.1$"):
            part.build()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.2")
    with pytest.raises(UserError, match=f"is of {package} 0.1, but 0.2 is installed: pip install {package}==0.1$"):
        part.build()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.1")
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)  # an import of it fails
    with pytest.raises(UserError, match=rf"{package} cannot be imported \(.*\); .*pip install {package}==0.1$"):
        part.build()


def test_a_part_that_a_package_cannot_import_when_it_is_asked_for_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError(f"Failed to import {name}:\nno hub")

    late = ModuleType("late_package")
    late.__getattr__ = fail  # a module's own, as diffusers has one
    monkeypatch.setitem(sys.modules, "late_package", late)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.1")
    assert extra("late-package", "0.1") is late
    with pytest.raises(
        ValueError, match=r"^late-package cannot be imported \(Failed to import Net:\\nno hub\); "
    ) as error:
        extra("late-package", "0.1", "Net")
    assert "\n" not in str(error.value)
