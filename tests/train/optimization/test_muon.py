"""Muon: what its steps are, and that a run with it goes on bit for bit (test_optimizer.py)."""

from __future__ import annotations

import pytest
import torch

from train.optimization.muon import ADAM_RMS, Muon, batches_of_one_shape, orthogonalised
from train.optimization.optimizer import OptimizerConfig


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def half(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether matrices are multiplied in bfloat16, on whatever machine this is."""
    monkeypatch.setattr("train.optimization.muon.may_be_half", lambda device: request.param)
    return request.param


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16)])
def test_all_singular_values_are_near_1_and_the_directions_stay(shape: tuple[int, int], half: bool) -> None:
    torch.manual_seed(0)
    less = min(shape)
    left, right = (torch.linalg.qr(torch.randn(size, less))[0] for size in shape)
    matrix = left @ torch.diag(torch.linspace(0.5, 5, less)) @ right.mT
    made = orthogonalised(matrix[None])[0]
    assert bool(((torch.linalg.svdvals(made) > 0.6) & (torch.linalg.svdvals(made) < 1.3)).all())
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    along = (u.mT @ made @ v.mT).diagonal()
    assert torch.allclose(along, torch.linalg.svdvals(made).mean().expand_as(along), atol=0.4)
    assert torch.equal(orthogonalised(torch.zeros(2, *shape)), torch.zeros(2, *shape))


def test_a_step_does_not_depend_on_the_gradients_size_and_is_as_large_as_adams(half: bool) -> None:
    for shape in ((16, 8, 3, 3), (24, 8)):
        steps = []
        for size in (1e-3, 1e3):
            weight = torch.nn.Parameter(torch.zeros(shape))
            weight.grad = size * torch.randn(shape, generator=torch.Generator().manual_seed(1))
            Muon([weight], lr=0.1).step()
            steps.append(weight.detach())
        assert torch.allclose(*steps, rtol=1e-3, atol=1e-3 if half else 1e-6)
        rms = float(steps[0].square().mean().sqrt())
        assert rms == pytest.approx(0.1 * ADAM_RMS, rel=0.25)


def test_weights_of_one_shape_are_stepped_together_as_each_alone(half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(16, 8, 3, 3), (24, 8), (16, 8, 3, 3), (8, 24), (5,), (24, 8), (16, 8, 3, 3)]
    results = []
    for limit in (0, 2 * 16 * 8 * 9, 2**20):
        monkeypatch.setattr("train.optimization.muon.BATCH_ELEMENTS", limit)
        generator = torch.Generator().manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
        optimizer = Muon(weights, lr=0.1, weight_decay=0.1)
        for _ in range(3):
            for weight in weights[:-1]:  # the last one gets no gradient, and stays
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        results.append(weights)
    sizes = [len(batch) for batch in batches_of_one_shape(weights)]
    assert sorted(sizes) == [1, 1, 2, 3]
    for alone, *together in zip(*results, strict=True):
        for weight in together:
            assert torch.allclose(weight, alone, rtol=1e-4, atol=3e-3 if half else 1e-5)


def test_bfloat16_changes_a_step_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients, steps = torch.randn(2, 24, 72, generator=torch.Generator().manual_seed(0)), []
    for half in (False, True):
        monkeypatch.setattr("train.optimization.muon.may_be_half", lambda device, half=half: half)
        steps.append(orthogonalised(gradients))
    assert [step.dtype for step in steps] == [torch.float32] * 2
    assert 0 < float((steps[0] - steps[1]).norm() / steps[0].norm()) < 0.03


def test_what_has_one_axis_at_most_is_adams() -> None:
    ours, theirs = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    muon = Muon([ours], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    adam = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1)
    for step in range(4):
        for parameter, optimizer in ((ours, muon), (theirs, adam)):
            parameter.grad = torch.tensor([0.3, -0.1]) * (step + 1)
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_a_badly_scaled_problem_is_solved_in_fewer_steps_than_by_adam() -> None:
    torch.manual_seed(0)
    target, scales = torch.randn(16, 16), torch.logspace(-2, 0, 16)
    mixing = torch.linalg.qr(torch.randn(16, 16))[0]
    losses = {}
    for name in ("Muon", "AdamW"):
        weight = torch.nn.Parameter(torch.zeros(16, 16))
        optimizer = OptimizerConfig(type=name, learning_rate=0.1).build([weight])
        for _ in range(100):
            optimizer.zero_grad()
            (((weight - target) @ mixing) * scales).square().sum().backward()
            optimizer.step()
        losses[name] = float((weight - target).detach().square().mean())
    assert losses["Muon"] < 0.5 * losses["AdamW"]


def test_settings_that_make_no_sense_are_one_line() -> None:
    from dualdiffusion.errors import UserError

    for settings, key in (({"momentum": 1.5}, "momentum"), ({"betas": [0.9, 1.0]}, "betas"), ({"speed": 1}, "speed")):
        with pytest.raises(UserError, match=rf"^optimizer\.settings: Muon: .*{key}"):
            OptimizerConfig(type="Muon", settings=settings).build([torch.nn.Parameter(torch.zeros(2, 2))])
