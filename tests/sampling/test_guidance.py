"""Guidance by closed form: every option is an identity at its neutral value and does exactly what its paper says."""

from __future__ import annotations

import copy
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dualdiffusion.conditioning import Conditioning
from dualdiffusion.config import validate
from dualdiffusion.diffusion.preconditioning import Denoiser
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.randomness import SeededNoise
from sampling.guidance import (
    Guidance,
    PassCounter,
    Projection,
    check_scales,
    conditional,
    guided,
    load_weak,
    parallel_part,
    rescaled,
)
from sampling.solvers.samplers import SAMPLERS
from sampling.solvers.schedules import SCHEDULES
from tests import tiny
from tests.tiny import all_untold, run

SIGMA = 1.5
DENOISER, WEAK = tiny.make_denoiser(0), tiny.make_denoiser(1)
# Two clips with mixes of their own, one with a negative weight.
LABELS = Conditioning(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6]]))
X = torch.randn(2, 4, 4, 8, generator=torch.Generator().manual_seed(0))
APG = Guidance(projected_parallel=0.0, projected_threshold=0.05, projected_momentum=-0.5)
ALL = Guidance(
    interval=(0.1, 5.0),
    rescale=0.7,
    projected_parallel=0.2,
    projected_threshold=0.5,
    projected_momentum=-0.5,
    weak_ema="ema_0.1",
    weak_scale=2.0,
)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def estimates(sigma: float = SIGMA) -> tuple[Tensor, Tensor, Tensor]:
    """D, D_uncond and D_weak of X."""
    return (
        conditional(DENOISER, LABELS, position=None)(X, sigma),
        conditional(DENOISER, all_untold(LABELS), position=None)(X, sigma),
        conditional(WEAK, LABELS, position=None)(X, sigma),
    )


def guide(
    cfg_scale: float = 3.0, sigma: float = SIGMA, counter: PassCounter | None = None, **options: object
) -> Tensor:
    guidance = Guidance(**options)
    closure = guided(
        DENOISER, LABELS, cfg_scale=cfg_scale, position=None, guidance=guidance, weak=WEAK, counter=counter
    )
    return closure(X, sigma)


def std(x: Tensor) -> Tensor:
    return x.std(dim=(1, 2, 3))


def rms(x: Tensor) -> Tensor:
    return x.square().mean(dim=(1, 2, 3)).sqrt()


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_guidance_is_the_linear_extrapolation_of_two_passes(scale: float) -> None:
    estimate, unconditional, _ = estimates()
    assert not torch.allclose(estimate, unconditional, atol=1e-3)
    expected = unconditional + scale * (estimate - unconditional)
    assert torch.allclose(guide(scale), expected, atol=1e-5)


def test_scale_one_is_the_conditional_estimate_in_one_pass_whatever_the_options() -> None:
    counter = PassCounter()
    options = {"rescale": 1.0, "projected_parallel": 0.0, "projected_threshold": 0.01}
    assert torch.equal(guide(1.0, counter=counter, **options), estimates()[0])
    assert (counter.passes, counter.guided, counter.saved) == (1, 0, 0)


def test_without_labels_there_is_nothing_to_guide() -> None:
    counter = PassCounter()
    closure = guided(DENOISER, Conditioning(), cfg_scale=3.0, position=None, counter=counter)
    assert torch.equal(closure(X, SIGMA), conditional(DENOISER, Conditioning(), position=None)(X, SIGMA))
    assert counter.passes == 1


def test_both_passes_are_one_call_of_the_network() -> None:
    sizes = []
    hook = DENOISER.register_forward_pre_hook(lambda module, arguments: sizes.append(len(arguments[0])))
    guide(3.0)
    guide(3.0, interval=(2.0, 3.0))
    hook.remove()
    assert sizes == [4, 2]


@pytest.mark.parametrize("item", [0, 1])
def test_each_clip_of_a_batch_is_guided_as_if_it_were_alone(item: int) -> None:
    options = {"guidance": ALL, "weak": WEAK, "cfg_scale": 4.0, "position": None}
    one = Conditioning(LABELS.labels[item : item + 1])
    batch, alone = guided(DENOISER, LABELS, **options), guided(DENOISER, one, **options)
    for sigma in (4.0, 2.0, 1.0):
        assert torch.allclose(batch(X, sigma)[item], alone(X[item : item + 1], sigma)[0], atol=1e-5)


def test_outside_the_interval_only_the_conditional_pass_runs_and_the_rest_is_saved() -> None:
    for sigma, inside in ((5.1, False), (5.0, True), (1.0, True), (0.1, False), (0.05, False)):
        counter = PassCounter()
        result = guide(3.0, sigma, counter, interval=(0.1, 5.0))
        estimate, unconditional, _ = estimates(sigma)
        expected = unconditional + 3 * (estimate - unconditional) if inside else estimate
        assert torch.allclose(result, expected, atol=1e-5), sigma
        assert (counter.passes, counter.guided) == ((2, 1) if inside else (1, 0)), sigma
        assert counter.saved == pytest.approx(0 if inside else 0.5)


def test_a_counter_tells_what_a_whole_run_saved() -> None:
    counter = PassCounter()
    levels = SCHEDULES["edm"](10, sigma_min=0.02, sigma_max=80.0, rho=7.0)
    guidance = Guidance(interval=(0.1, 5.0))
    closure = guided(DENOISER, LABELS, cfg_scale=2.0, position=None, guidance=guidance, counter=counter)
    SAMPLERS["euler"](closure, X * levels[0], levels, generator=SeededNoise([0, 1]), callback=None)
    inside = sum(0.1 < sigma <= 5 for sigma in levels)
    assert 0 < inside < 10
    assert (counter.evaluations, counter.guided, counter.passes) == (10, inside, 10 + inside)
    assert counter.saved == pytest.approx((10 - inside) / 20)
    assert str(counter) == f"guided {inside} of 10 evaluations, {(10 - inside) / 20:.0%} of the network's work saved"


# A scale for each thing that is told


@pytest.fixture(scope="module")
def told() -> tuple[Denoiser, Conditioning]:
    """A denoiser that is told games and a beat, and what two clips are told."""
    torch.manual_seed(0)
    backbone = {"type": "conditioned.Conditioned", "backbone": tiny.UNET, "input_concat_ids": ["tempo"]}
    backbone |= {"conditioners": {"tempo": {"type": "beats.Beats"}}}
    denoiser = Denoiser(Denoiser.Config(backbone=backbone)).eval()
    for name, parameter in denoiser.named_parameters():
        if name.endswith("gain"):
            torch.nn.init.constant_(parameter, 0.5)
    values = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(4))
    return denoiser, Conditioning(LABELS.labels, values={"tempo": values})


def guide_told(
    told: tuple[Denoiser, Conditioning], cfg_scale: float, scales: dict[str, float], **options: object
) -> tuple[Tensor, PassCounter]:
    denoiser, conditioning = told
    counter = PassCounter()
    more = {"guidance": Guidance(scales=scales, **options), "weak": WEAK, "counter": counter}
    return guided(denoiser, conditioning, cfg_scale=cfg_scale, position=None, **more)(X, SIGMA), counter


def less(told: tuple[Denoiser, Conditioning], *untold: str) -> Tensor:
    """The estimate of X under what is told but for some ids."""
    denoiser, conditioning = told
    return conditional(denoiser, conditioning.without(untold), position=None)(X, SIGMA)


def test_what_has_scale_one_is_told_in_both_passes_and_only_the_rest_is_pushed(
    told: tuple[Denoiser, Conditioning],
) -> None:
    result, counter = guide_told(told, 3.0, {"tempo": 1.0})
    full, without_games = less(told), less(told, "games")
    assert not torch.allclose(without_games, less(told, "games", "tempo"), atol=1e-3)
    assert torch.allclose(result, full + 2 * (full - without_games), atol=1e-5)
    assert counter.passes == 2
    same, _ = guide_told(told, 1.0, {"games": 3.0})
    assert torch.equal(result, same)


def test_each_scale_of_its_own_takes_a_pass_and_the_strongest_is_untold_first(
    told: tuple[Denoiser, Conditioning],
) -> None:
    full, neither = less(told), less(told, "games", "tempo")
    for scales, first in (({"tempo": 2.0}, "games"), ({"games": 1.5}, "tempo")):
        result, counter = guide_told(told, 3.0, scales)
        (weaker,) = scales.values()
        one = less(told, first)
        assert torch.allclose(result, full + 2 * (full - one) + (weaker - 1) * (one - neither), atol=1e-5)
        assert counter.passes == 3


def test_scales_that_come_together_give_what_one_scale_gives(told: tuple[Denoiser, Conditioning]) -> None:
    together, counter = guide_told(told, 3.0, {})
    full, neither = less(told), less(told, "games", "tempo")
    assert torch.allclose(together, full + 2 * (full - neither), atol=1e-5)
    assert counter.passes == 2
    for scales in ({"games": 3.0}, {"games": 3.0, "tempo": 3.0}):
        same, counter = guide_told(told, 3.0, scales)
        assert torch.equal(same, together)
        assert counter.passes == 2
    assert torch.allclose(guide_told(told, 3.0, {"tempo": 3.0001})[0], together, atol=1e-3)
    alone, counter = guide_told(told, 3.0, {"games": 1.0, "tempo": 1.0})
    assert torch.equal(alone, full)
    assert counter.passes == 1


def test_scales_of_their_own_go_with_every_other_option(told: tuple[Denoiser, Conditioning]) -> None:
    options = ALL.model_dump(exclude={"scales"})
    full, weak = less(told), estimates()[2]
    result = full
    for better, worse, scale in (
        (full, less(told, "games"), 4.0),
        (less(told, "games"), less(told, "games", "tempo"), 2.5),
        (full, weak, 2.0),
    ):
        difference = better - worse
        difference = difference * (0.5 / rms(difference).clamp(min=0.5))[:, None, None, None]
        result = result + (scale - 1) * (difference - 0.8 * parallel_part(difference, full))
    made, counter = guide_told(told, 2.5, {"games": 4.0}, **options)
    assert torch.allclose(made, rescaled(result, full, 0.7), atol=1e-5)
    assert counter.passes == 4
    outside, counter = guide_told(told, 2.5, {"games": 4.0}, interval=(2.0, 3.0))
    assert torch.equal(outside, full)
    assert counter.passes == 1


def test_a_scale_of_something_that_a_model_is_not_told_is_one_line() -> None:
    check_scales(Guidance(scales={"games": 2.0, "tempo": 1.0}), ["games", "tempo"])
    with pytest.raises(UserError, match=r"^guidance\.scales\.tempi: this model is not told tempi; it is told: tempo$"):
        check_scales(Guidance(scales={"tempi": 2.0}), ["games", "tempo"])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rescale_brings_each_clips_deviation_back_to_that_of_the_conditional_estimate(share: float) -> None:
    estimate, plain = estimates()[0], guide(5.0)
    assert not torch.allclose(std(plain), std(estimate), rtol=0.01)
    assert not torch.allclose(std(estimate)[0], std(estimate)[1], rtol=0.001)
    result = guide(5.0, rescale=share)
    assert torch.allclose(std(result), (1 - share) * std(plain) + share * std(estimate), rtol=1e-4)
    assert torch.allclose(result / std(result)[:, None, None, None], plain / std(plain)[:, None, None, None], atol=1e-4)


def test_projected_guidance_that_keeps_everything_is_plain_guidance() -> None:
    assert torch.allclose(guide(4.0, projected_parallel=1.0), guide(4.0), atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_projection_removes_exactly_the_part_along_the_estimate(share: float) -> None:
    estimate, unconditional, _ = estimates()
    plain, update = estimate - unconditional, (guide(4.0, projected_parallel=share) - estimate) / 3
    along = parallel_part(plain, estimate)
    assert rms(along).min() > 1e-4
    assert torch.allclose(parallel_part(update, estimate), share * along, atol=1e-5)
    assert torch.allclose(update - parallel_part(update, estimate), plain - along, atol=1e-5)


def test_the_parallel_part_and_the_rest_are_at_right_angles() -> None:
    x, direction = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    along = parallel_part(x, direction)
    assert torch.allclose(((x - along) * direction).sum(dim=(1, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(parallel_part(along, direction), along, atol=1e-5)
    assert torch.equal(parallel_part(x, torch.zeros_like(x)), torch.zeros_like(x))


def test_the_threshold_bounds_the_update_of_each_clip_and_leaves_smaller_ones_alone() -> None:
    estimate, unconditional, _ = estimates()
    sizes = rms(estimate - unconditional)
    low, between, high = float(sizes.min()) / 2, float(sizes.mean()), float(sizes.max()) * 2
    for threshold in (low, between, high):
        update = (guide(4.0, projected_parallel=1.0, projected_threshold=threshold) - estimate) / 3
        assert torch.allclose(rms(update), sizes.clamp(max=threshold), rtol=1e-3)


def test_momentum_adds_the_differences_of_earlier_levels() -> None:
    change = Projection(1.0, momentum=-0.5)
    a, b, c = torch.randn(3, 1, 2, 3, 4, generator=torch.Generator().manual_seed(2))
    direction = torch.ones_like(a)
    assert torch.allclose(change(a, direction, 3.0), a, atol=1e-6)
    assert torch.allclose(change(b, direction, 2.0), b - 0.5 * a, atol=1e-6)
    assert torch.allclose(change(c, direction, 1.0), c - 0.5 * (b - 0.5 * a), atol=1e-6)


def test_momentum_counts_a_level_once_and_forgets_what_lies_below_a_level_that_is_gone_back_to() -> None:
    change = Projection(1.0, momentum=-0.5)
    a, first, second, again = torch.randn(4, 1, 2, 3, 4, generator=torch.Generator().manual_seed(3))
    direction = torch.ones_like(a)
    change(a, direction, 3.0)
    change(first, direction, 2.0)  # such as Heun's correction at the next level ...
    assert torch.allclose(change(second, direction, 2.0), second - 0.5 * a, atol=1e-6)  # ... and the next step itself
    assert torch.allclose(change(again, direction, 2.5), again - 0.5 * a, atol=1e-6)  # noise was added
    assert torch.equal(change(again, direction, 4.0), again)


def test_momentum_is_the_runs_own() -> None:
    def two_levels() -> Tensor:
        closure = guided(DENOISER, LABELS, cfg_scale=3.0, position=None, guidance=APG)
        closure(X, 2.0)
        return closure(X, 1.0)

    assert torch.equal(two_levels(), two_levels())
    fresh = guided(DENOISER, LABELS, cfg_scale=3.0, position=None, guidance=APG)
    assert not torch.allclose(fresh(X, 1.0), two_levels(), atol=1e-4)


def test_autoguidance_adds_the_difference_to_the_weak_network() -> None:
    estimate, unconditional, weak = estimates()
    options = {"weak_ema": "ema_0.1", "weak_scale": 2.5}
    assert torch.allclose(guide(1.0, **options), estimate + 1.5 * (estimate - weak), atol=1e-5)
    both = estimate + 2 * (estimate - unconditional) + 1.5 * (estimate - weak)
    counter = PassCounter()
    assert torch.allclose(guide(3.0, counter=counter, **options), both, atol=1e-5)
    assert counter.passes == 3


def test_a_weak_network_equal_to_the_strong_one_is_off_and_itself_costs_nothing() -> None:
    guidance = Guidance(weak_ema="raw", weak_scale=3.0)
    for weak, passes in ((copy.deepcopy(DENOISER), 2), (DENOISER, 1)):
        counter = PassCounter()
        options = {"guidance": guidance, "weak": weak, "counter": counter}
        closure = guided(DENOISER, LABELS, cfg_scale=1.0, position=None, **options)
        assert torch.allclose(closure(X, SIGMA), estimates()[0], atol=1e-5)
        assert counter.passes == passes


def test_a_weak_network_that_is_named_but_not_given_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the network"):
        guided(DENOISER, LABELS, cfg_scale=2.0, position=None, guidance=ALL)


def test_all_options_together_are_each_of_them_in_the_documented_order() -> None:
    estimate, unconditional, weak = estimates()
    result = estimate
    for other, scale in ((unconditional, 3.0), (weak, 2.0)):
        difference = estimate - other
        difference = difference * (0.5 / rms(difference).clamp(min=0.5))[:, None, None, None]
        result = result + (scale - 1) * (difference - 0.8 * parallel_part(difference, estimate))
    expected = rescaled(result, estimate, 0.7)
    assert torch.allclose(guide(3.0, **ALL.model_dump()), expected, atol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_everything_stays_finite_at_extreme_scales_with_every_sampler(sampler: str) -> None:
    levels = SCHEDULES["edm"](6, sigma_min=0.01, sigma_max=80.0, rho=7.0)
    guidance = ALL.model_copy(update={"weak_scale": 100.0, "interval": None})
    one = Conditioning(LABELS.labels[1:])  # dpm_adaptive takes no more at a time
    closure = guided(DENOISER, one, cfg_scale=100.0, position=None, guidance=guidance, weak=WEAK)
    options = {"rtol": 10.0, "atol": 100.0} if sampler == "dpm_adaptive" else {}  # else it takes hundreds of steps
    noise = SeededNoise([0])
    samples = SAMPLERS[sampler](closure, X[1:] * levels[0], levels, generator=noise, callback=None, **options)
    assert bool(samples.isfinite().all())
    flat = torch.zeros_like(X)
    assert bool(rescaled(flat, flat, 1.0).isfinite().all())


def test_all_combinations_of_options_run_and_differ() -> None:
    changes = [
        {"rescale": 0.5},
        {"projected_parallel": 0.0, "projected_threshold": 0.05},
        {"weak_ema": "raw", "weak_scale": 2.0},
        {"interval": (1.0, 2.0)},
    ]
    results = []
    for chosen in itertools.product([False, True], repeat=len(changes)):
        options = {
            key: value for use, change in zip(chosen, changes, strict=True) if use for key, value in change.items()
        }
        results.append(torch.cat([guide(3.0, sigma, **options) for sigma in (SIGMA, 3.0)]))
    for a, b in itertools.combinations(results, 2):
        assert not torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interval": [5.0, 0.1]}, "interval: 5 must be below 0.1"),
        ({"rescale": 1.5}, "guidance: rescale: input should be less than or equal to 1"),
        ({"projected_threshold": 1.0}, "need projected_parallel"),
        ({"projected_parallel": 0.0, "projected_momentum": -1.0}, "projected_momentum: .*greater than -1"),
        ({"weak_scale": 2.0}, "weak_scale: needs weak_ema or weak_model"),
        ({"weak_ema": "ema_0.1"}, "weak_scale: 1 is off"),
        ({"weak_scael": 2.0}, "did you mean weak_scale"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        validate(Guidance, options, "guidance")
    with pytest.raises(ValidationError):
        Guidance.from_json(options)


def test_settings_survive_json_and_importing_them_needs_no_torch() -> None:
    everything = ALL.model_copy(update={"weak_model": Path("models/small")})
    assert Guidance.from_json(everything.to_json()) == everything
    assert run("-c", "import sys, sampling.guidance; sys.exit('torch' in sys.modules)").returncode == 0


def test_the_weak_network_is_another_ema_or_a_model_with_the_same_vae(model: ModelFolder, tmp_path: Path) -> None:
    assert load_weak(Guidance(), model) is None
    other = ModelFolder(tmp_path / "weak")
    shutil.copytree(model.path, other.path)
    shutil.copy(other.weights_path("unet"), other.weights_path("unet", "ema_0.1"))
    guidance = Guidance(weak_ema="ema_0.1", weak_scale=2.0)
    assert load_weak(guidance, other) is not None
    with pytest.raises(UserError, match=r"has no EMA 'ema_0\.1'"):
        load_weak(guidance, model)
    named = Guidance(weak_model=other.path, weak_scale=2.0)
    assert load_weak(named, model).label_dim == len(tiny.GAMES)
    stranger = tiny.make_model(tmp_path / "stranger", seed=5)
    with pytest.raises(UserError, match="has another VAE"):
        load_weak(named.model_copy(update={"weak_model": stranger.path}), model)
