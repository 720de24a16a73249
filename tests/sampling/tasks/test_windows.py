"""Windows by closed form: what windows make together is what one pass over the whole would make."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from dualdiffusion.randomness import SeededNoise
from sampling.solvers.samplers import SAMPLERS, Denoise
from sampling.solvers.schedules import SCHEDULES
from sampling.tasks.variations import PLATEAU, between, mix_weights
from sampling.tasks.windows import Windows, windowed

SIGMAS = SCHEDULES["edm"](4, sigma_min=0.1, sigma_max=10.0, rho=7.0)
LAYOUTS = [
    Windows.over(columns, length, circular=circular)
    for columns, length, circular in [
        (8, 8, False),
        (9, 8, False),
        (16, 8, False),
        (53, 8, False),
        (100, 64, False),
        (53, 8, True),
        (16, 8, True),
        (5, 8, True),
        (1, 2, True),
        (3, 16, True),
    ]
]
every_layout = pytest.mark.parametrize("windows", LAYOUTS, ids=lambda w: f"{w.columns}-{w.length}-{w.circular}")


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pointwise(x: Tensor, sigma: float) -> Tensor:
    return torch.tanh(x) / (1 + sigma)


def blurring(x: Tensor, sigma: float) -> Tensor:
    """Sees a column to each side, and zeros beyond the edges of what it is given, as convolutions do."""
    padded = torch.nn.functional.pad(x, (1, 1))
    return torch.tanh((padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]) / (4 + sigma))


@every_layout
def test_the_weights_of_a_column_sum_to_one_and_are_positive(windows: Windows) -> None:
    total = torch.zeros(windows.columns).index_put_((windows.indices,), windows.weights, accumulate=True)
    assert torch.allclose(total, torch.ones(windows.columns), atol=1e-6)
    assert float(windows.weights.min()) > 0
    assert windows.indices.shape == (len(windows), windows.length)


@every_layout
def test_windows_of_a_pointwise_denoiser_are_that_denoiser(windows: Windows) -> None:
    x = unit(2, 3, 4, windows.columns)
    for together in (1, 2, 100):
        blend = windowed(lambda numbers: pointwise, windows, together=together)(x, 1.5)
        assert torch.allclose(blend, pointwise(x, 1.5), atol=1e-6)


def test_a_clip_that_fits_into_a_window_is_denoised_whole_and_untouched() -> None:
    windows = Windows.over(12, 16)
    assert (windows.length, windows.starts, windows.is_whole) == (12, (0,), True)
    assert windowed(lambda numbers: pointwise, windows) is pointwise


def test_windows_cover_the_clip_and_overlap_by_half() -> None:
    windows = Windows.over(1000, 64)
    assert windows.starts[0] == 0 and windows.starts[-1] == 1000 - 64
    assert all(0 < b - a <= 32 for a, b in itertools.pairwise(windows.starts))


def test_batched_windows_are_those_one_after_the_other() -> None:
    windows, x = Windows.over(53, 8), unit(2, 3, 4, 53)
    alone = windowed(lambda numbers: blurring, windows, together=1)(x, 1.0)
    assert torch.allclose(alone, windowed(lambda numbers: blurring, windows, together=5)(x, 1.0), atol=1e-6)


def test_each_window_has_a_closure_of_its_own_that_it_meets_at_every_level() -> None:
    asked: list[list[int]] = []
    called: list[int] = []

    def build(numbers: range) -> Denoise:
        asked.append(list(numbers))

        def denoise(x: Tensor, sigma: float) -> Tensor:
            called.append(numbers[0])
            return x

        return denoise

    denoise = windowed(build, Windows.over(20, 8), together=2)
    for sigma in (2.0, 1.0):
        denoise(unit(1, 1, 1, 20), sigma)
    assert asked == [[0, 1], [2, 3]]
    assert called == [0, 2, 0, 2]


def test_a_window_is_asked_for_before_it_is_made_so_that_a_cancel_waits_for_one_only() -> None:
    events: list[str] = []

    def build(numbers: range) -> Denoise:
        def denoise(x: Tensor, sigma: float) -> Tensor:
            events.append(f"made {numbers[0]}")
            return x

        return denoise

    def on_window(done: int, total: int) -> None:
        events.append(f"asked {done}/{total}")
        if done == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        windowed(build, Windows.over(20, 8), on_window=on_window)(unit(1, 1, 1, 20), 1.0)
    assert events == ["asked 0/4", "made 0", "asked 1/4"]


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize(("columns", "length"), [(24, 8), (8, 8), (6, 12), (4, 16)])
def test_shifting_the_noise_of_a_loop_by_a_stride_shifts_the_loop(sampler: str, columns: int, length: int) -> None:
    windows = Windows.over(columns, length, circular=True)
    stride = columns // len(windows)
    denoise = windowed(lambda numbers: blurring, windows)
    noise = unit(1, 2, 3, columns) * SIGMAS[0]
    runs = [
        SAMPLERS[sampler](denoise, x, SIGMAS, generator=SeededNoise([0]), callback=None)
        for x in (noise, noise.roll(stride, -1))
    ]
    assert not torch.allclose(runs[0], runs[0].roll(stride, -1), atol=1e-3) or stride % columns == 0
    assert torch.allclose(runs[0].roll(stride, -1), runs[1], atol=1e-5)


def test_the_ends_of_a_loop_see_each_other_and_those_of_a_clip_do_not() -> None:
    x, changed = unit(1, 1, 2, 24), unit(1, 1, 2, 24)
    changed[..., -1] += 1
    for circular in (False, True):
        denoise = windowed(lambda numbers: blurring, Windows.over(24, 8, circular=circular))
        difference = (denoise(changed, 1.0) - denoise(x, 1.0)).abs().amax(dim=(0, 1, 2))
        assert (float(difference[0]) > 1e-3) == circular
        assert float(difference[-2]) > 1e-3
        assert float(difference[10:14].max()) == 0


def test_two_mixes_are_blended_along_time_and_a_pass_without_weight_is_not_made() -> None:
    def never(x: Tensor, sigma: float) -> Tensor:
        raise AssertionError

    def twos(x: Tensor, sigma: float) -> Tensor:
        return torch.full_like(x, 2.0)

    x, weight = unit(1, 2, 3, 40), mix_weights(40, circular=False)
    assert torch.allclose(between(pointwise, twos, weight)(x, 1.0), pointwise(x, 1.0) * (1 - weight) + 2 * weight)
    plateau = int(40 * PLATEAU)
    assert weight[:plateau].eq(0).all() and weight[-plateau:].eq(1).all() and weight.diff().ge(0).all()
    assert between(twos, never, weight[:plateau])(x, 1.0).eq(2).all()
    assert between(never, twos, weight[-plateau:])(x, 1.0).eq(2).all()
    circle = mix_weights(40, circular=True)
    assert torch.allclose(circle, circle.flip(0), atol=1e-6)
    assert float((circle - circle.roll(1)).abs().max()) < 0.1
