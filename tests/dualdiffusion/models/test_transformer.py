"""Transformers: what their positions see of one another, how they are told things, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dualdiffusion.conditioning import Conditioning, Tokens
from dualdiffusion.models.dit import DiT
from dualdiffusion.models.hourglass import Hourglass
from dualdiffusion.nn.neighbourhood import neighbourhood_attention, window
from dualdiffusion.nn.rotary import axial_angles, turned
from dualdiffusion.nn.transformer import Place, SelfAttention, TransformerSettings, patches, unpatched


def awake(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network with what is zero at initialisation at random values, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if not parameter.is_meta and not bool(parameter.any()):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def dit(**changes: object) -> DiT:
    torch.manual_seed(0)
    return awake(DiT(DiT.Config(**{"label_dim": 3, "width": 32, "depth": 2, "heads": 2, **changes})))


def hourglass(**changes: object) -> Hourglass:
    torch.manual_seed(0)
    small = {"label_dim": 3, "depths": (1, 1), "widths": (16, 32), "d_head": 16, "mapping_width": 16}
    return awake(Hourglass(Hourglass.Config(**{**small, **changes})))


def brute_force(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, size: tuple[int, int], kernel: tuple[int, int]):
    """Every position on its own: its window, moved inwards at edges, and the softmax over it."""
    result = torch.empty_like(q)
    places = [(row, column) for row in range(size[0]) for column in range(size[1])]
    for at, place in enumerate(places):
        first = [max(0, min(p - n // 2, length - n)) for p, length, n in zip(place, size, kernel, strict=True)]
        seen = [
            index
            for index, other in enumerate(places)
            if all(f <= o < f + n for f, o, n in zip(first, other, kernel, strict=True))
        ]
        weights = (q[:, :, at, None] @ k[:, :, seen].mT / q.shape[-1] ** 0.5).softmax(-1)
        result[:, :, at] = (weights @ v[:, :, seen])[:, :, 0]
    return result


@pytest.mark.parametrize("kernel", [(7, 7), (5, 3), (1, 7)])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (4, 17), (8, 16), (9, 8), (10, 11), (3, 26), (5, 13)])
def test_a_neighbourhood_is_the_window_of_each_position_also_at_edges(
    size: tuple[int, int], kernel: tuple[int, int]
) -> None:
    q, k, v = torch.randn(3, 2, 2, size[0] * size[1], 4, dtype=torch.float64)
    y = neighbourhood_attention(q, k, v, window(*size, kernel, q.device))
    assert float((y - brute_force(q, k, v, size, kernel)).abs().max()) < 1e-12


def test_at_most_four_times_the_pairs_of_a_window_are_computed() -> None:
    mask = window(64, 64, (7, 7), torch.device("cpu")).mask
    assert mask.numel() == 4 * 49 * 64 * 64
    assert mask.sum() == 49 * 64 * 64


@pytest.mark.parametrize("rows", [1, 6])
def test_self_attention_is_what_its_equations_say(rows: int) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(16, TransformerSettings(16, channels_per_head=8)).double()
    attention.norm_q.gain.data = torch.tensor([1.5, 0.5], dtype=torch.float64)
    x = torch.randn(2, rows * 5, 16, dtype=torch.float64)
    angle = axial_angles(torch.linspace(-1, 1, rows), 5, 4).double()
    q, k, v = attention.qkv(x).view(2, -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
    q, k = (part / (part.square().mean(-1, keepdim=True).sqrt() + 1e-4) for part in (q, k))
    q = q * torch.tensor([1.5, 0.5])[:, None, None]
    logits = turned(q, angle) @ turned(k, angle).mT / 8**0.5
    expected = attention.out((logits.softmax(-1) @ v).transpose(1, 2).reshape(2, -1, 16))
    assert torch.allclose(attention(x, Place(angle)), expected, rtol=0, atol=1e-6)


def test_logits_depend_on_intervals_and_times_alone() -> None:
    q, k = torch.randn(2, 1, 32, dtype=torch.float64)
    rows = torch.tensor([-1.2, -0.7, 0.3, 0.8])

    def logits(shift: float, column: int) -> torch.Tensor:
        """Of all pairs of rows, the query in a column and the key two columns later."""
        angle = axial_angles(rows + shift, 8, 16).unflatten(0, (4, 8))
        return turned(q.expand(4, -1), angle[:, column]) @ turned(k.expand(4, -1), angle[:, column + 2]).T

    assert torch.allclose(logits(0, 0), logits(0.4, 5), atol=1e-5)
    assert torch.allclose(logits(0, 0)[0, 1], logits(0, 0)[2, 3], atol=1e-5)  # the same interval
    assert float((logits(0, 0)[0, 1] - logits(0, 0)[0, 2]).abs()) > 1e-3


@pytest.mark.parametrize("size", [(1, 4), (2, 2), (4, 2)])
def test_patches_there_and_back_are_the_identity(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 4, 8)
    assert patches(x, size).shape == (2, 32 // (size[0] * size[1]), 3 * size[0] * size[1])
    assert torch.equal(unpatched(patches(x, size), 4, size), x)


@pytest.mark.parametrize("cls", [DiT, Hourglass])
def test_the_untrained_network_gives_zero_and_all_of_it_learns(cls: type) -> None:
    small = {"width": 32, "heads": 2} if cls is DiT else {"widths": (16, 32), "depths": (1, 1), "d_head": 16}
    torch.manual_seed(0)
    network = cls(cls.Config(**{"label_dim": 3, "depth": 1, **small} if cls is DiT else {"label_dim": 3, **small}))
    x, told = torch.randn(2, 4, 4, 8), Conditioning(torch.eye(3)[:2])
    assert not bool(network(x, torch.zeros(2), conditioning=told).any())
    (awake(network)(x, torch.zeros(2), conditioning=told) - x).square().mean().backward()
    assert all(bool(p.grad.any()) for name, p in network.named_parameters() if "label" not in name)


@pytest.mark.parametrize("network", [dit(patch=(8,)), hourglass(patch_size=(4,))], ids=["DiT", "Hourglass"])
@torch.inference_mode()
def test_latents_with_a_single_row_are_one_sequence(network: torch.nn.Module) -> None:
    x = torch.randn(2, 4, 1, 48)
    y = network(x, torch.zeros(2), conditioning=Conditioning())
    assert y.shape == x.shape
    moved = network(x.roll(8, -1), torch.zeros(2), conditioning=Conditioning())
    assert not torch.allclose(moved, y.roll(8, -1), atol=1e-3)  # the order counts


@torch.inference_mode()
def test_the_transformer_is_told_rows_by_their_frequency() -> None:
    for network in (dit(), hourglass()):
        x, position = torch.randn(1, 4, 4, 8), torch.linspace(-1.5, 1.5, 4)
        outputs = [
            network(x, torch.zeros(1), conditioning=Conditioning(), position=p) for p in (position, -position, None)
        ]
        assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)
        assert not torch.allclose(outputs[0], outputs[2], atol=1e-3)


@torch.inference_mode()
def test_tokens_before_the_sequence_that_do_not_hold_are_as_none() -> None:
    network = dit(prepend_channels=8, memory_tokens=2)
    x, values = torch.randn(2, 4, 4, 8), torch.randn(2, 3, 8)
    mask = torch.tensor([[True, True, False]]).expand(2, -1)

    def told(tokens: Tokens | None) -> torch.Tensor:
        return network(x, torch.zeros(2), conditioning=Conditioning(prepend=tokens))

    without = told(None)
    assert torch.allclose(told(Tokens(values, torch.zeros_like(mask))), without, atol=1e-6)
    seen = told(Tokens(values, mask))
    assert not torch.allclose(seen, without, atol=1e-3)
    changed = values.clone()
    changed[:, 2] += 5
    assert torch.equal(told(Tokens(changed, mask)), seen)
    turned_round = told(Tokens(values[:, [1, 0, 2]], mask))
    assert torch.allclose(turned_round, seen, atol=1e-5)  # they have no place, and so no order


@torch.inference_mode()
def test_memory_tokens_are_seen() -> None:
    network = dit(memory_tokens=2)
    x = torch.randn(1, 4, 4, 8)
    before = network(x, torch.zeros(1), conditioning=Conditioning())
    network.memory += 3
    assert not torch.allclose(network(x, torch.zeros(1), conditioning=Conditioning()), before, atol=1e-3)


@torch.inference_mode()
def test_an_hourglass_sees_everything_at_the_top_and_its_window_below() -> None:
    """What changes far away reaches a position through the top alone."""
    seeing, blind = hourglass(), hourglass(self_attns=({"type": "neighborhood", "d_head": 16},) * 2)
    blind.load_state_dict(seeing.state_dict())
    x = torch.randn(1, 4, 2, 64)
    far = x.clone()
    far[..., 56:] += 1
    differences = [
        (net(x, torch.zeros(1), conditioning=Conditioning()) - net(far, torch.zeros(1), conditioning=Conditioning()))
        for net in (seeing, blind)
    ]
    # Before and after the top 3 columns each way, there 3 of two columns, and one more as patches of two are merged.
    reach = 56 - 3 - 3 - 2 * 3 - 2
    assert bool(differences[0][..., :reach].abs().amax() > 1e-6)
    assert not bool(differences[1][..., :reach].any())
    assert bool(differences[1][..., reach:56].any())


@torch.inference_mode()
def test_null_is_the_rule_of_k_diffusion_and_the_global_top_is_full_attention() -> None:
    said = [("neighborhood", 5), ("global", 7)]
    written = tuple({"type": kind, "d_head": 16, "kernel_size": size} for kind, size in said)
    rule, named = hourglass(kernel_size=5), hourglass(kernel_size=5, self_attns=written)
    named.load_state_dict(rule.state_dict())
    x = torch.randn(1, 4, 8, 12)
    answers = [net(x, torch.zeros(1), conditioning=Conditioning()) for net in (rule, named)]
    assert torch.equal(*answers)
    small = torch.randn(1, 4, 4, 6)  # less than a window: a neighbourhood is all there is
    full = hourglass(self_attns=({"type": "global", "d_head": 16},) * 2)
    full.load_state_dict(rule.state_dict())
    seven = hourglass()
    seven.load_state_dict(rule.state_dict())
    answers = [net(small, torch.zeros(1), conditioning=Conditioning()) for net in (full, seven)]
    assert torch.allclose(*answers, atol=1e-5)


def flops(columns: int, *kinds: str) -> int:
    """Of an hourglass whose levels see what `kinds` says."""
    with torch.device("meta"):
        network = hourglass(self_attns=tuple({"type": kind, "d_head": 16} for kind in kinds))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, 4, 16, columns), torch.zeros(1), conditioning=Conditioning())
    return counter.get_total_flops()


def test_below_the_top_the_cost_is_linear_in_the_length() -> None:
    assert flops(256, "neighborhood", "none") <= 2.2 * flops(128, "neighborhood", "none")
    assert flops(256, "global", "none") > 3 * flops(128, "global", "none")


@pytest.mark.parametrize(
    ("cls", "settings", "words"),
    [
        (DiT, {"width": 30, "heads": 4}, "heads"),
        (Hourglass, {"depths": (1, 1)}, "widths: has 3 entries, but depths has 2 levels"),
        (Hourglass, {"d_head": 48}, "d_head: must be a multiple of 4 that divides each width; 128 / 48"),
    ],
)
def test_settings_that_do_not_go_together_are_told(cls: type, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cls.Config(**settings)


@torch.inference_mode()
def test_tokens_are_looked_at_by_every_block_of_an_hourglass() -> None:
    network = hourglass(cross_channels=8)
    x, tokens = torch.randn(1, 4, 4, 8), Tokens(torch.randn(1, 2, 8), torch.ones(1, 2, dtype=torch.bool))
    told = network(x, torch.zeros(1), conditioning=Conditioning(cross=tokens))
    assert not torch.allclose(told, network(x, torch.zeros(1), conditioning=Conditioning()), atol=1e-4)
    half = replace(tokens, mask=torch.tensor([[True, False]]))
    changed = replace(half, values=tokens.values + torch.tensor([0.0, 9.0])[:, None])
    outputs = [network(x, torch.zeros(1), conditioning=Conditioning(cross=t)) for t in (half, changed)]
    assert torch.equal(*outputs)
