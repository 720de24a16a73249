"""When half precision is chosen: where the hardware has it, and where it was measured to be faster."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.machine.precision import WORTH, choose_precision, may_be_half, measure_speedup


def never() -> float:
    raise AssertionError("nothing is to be measured")


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A CPU without bfloat16."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return monkeypatch


def test_a_cpu_without_it_stays_at_float32_and_nothing_is_measured(cpu: pytest.MonkeyPatch) -> None:
    choice = choose_precision("cpu", never)
    assert not choice.half
    assert "neither AVX512-BF16 nor AMX" in choice.reason
    assert not may_be_half("cpu")


@pytest.mark.parametrize(
    ("flag", "unit"), [("_is_amx_tile_supported", "AMX"), ("_is_avx512_bf16_supported", "AVX512-BF16")]
)
def test_a_cpu_that_has_it_takes_it_where_a_convolution_is_really_faster(
    cpu: pytest.MonkeyPatch, flag: str, unit: str
) -> None:
    cpu.setattr(torch.cpu, flag, lambda: True)
    fast, slow = choose_precision("cpu", lambda: 1.8), choose_precision("cpu", lambda: 0.9 * WORTH)
    assert (fast.half, slow.half) == (True, False)
    assert unit in fast.reason and "1.8 times as fast" in fast.reason
    assert may_be_half("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_takes_it_where_it_has_it(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has or including_emulation)
    assert choose_precision("cuda", never).half is may_be_half("cuda") is has


def test_on_other_devices_it_is_never_chosen() -> None:
    assert not choose_precision("mps", never).half


def test_the_measurement_compares_the_same_work_and_leaves_random_numbers_and_gradients_alone() -> None:
    before = torch.random.get_rng_state()
    assert 0 < measure_speedup() < 1000
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.is_autocast_enabled("cpu")
