"""Rotary embedding: attention knows distances, and nothing else of positions."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.nn.blocks import BlockSettings, CosineAttention
from dualdiffusion.nn.rotary import rotated


def test_inner_products_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(1, 64, dtype=torch.float64), torch.randn(1, 64, dtype=torch.float64)

    def logit(at: int, other: int) -> float:
        return float((rotated(q, torch.tensor([at])) * rotated(k, torch.tensor([other]))).sum())

    assert abs(logit(3, 10) - logit(103, 110)) < 1e-4
    assert abs(logit(3, 10) - logit(3, 11)) > 1e-2


def test_lengths_are_kept_and_position_0_changes_nothing() -> None:
    x = torch.randn(2, 5, 32)
    assert torch.allclose(rotated(x, torch.arange(5)).norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert torch.equal(rotated(x, torch.zeros(5)), x)


def test_rotary_attention_knows_the_time_between_columns_but_neither_rows_nor_the_absolute_time() -> None:
    torch.manual_seed(0)
    attention = CosineAttention(32, BlockSettings(emb_channels=0, channels_per_head=32, rotary=True))
    plain = CosineAttention(32, BlockSettings(emb_channels=0, channels_per_head=32))
    plain.load_state_dict(attention.state_dict())
    x = torch.randn(1, 32, 4, 8)
    order = torch.tensor([0, 2, 1, 3, 4, 5, 6, 7])
    assert torch.allclose(plain(x, None)[..., order], plain(x[..., order], None), atol=1e-5)
    assert not torch.allclose(attention(x, None)[..., order], attention(x[..., order], None), atol=1e-2)
    rows = torch.tensor([3, 1, 0, 2])
    assert torch.allclose(attention(x, None)[:, :, rows], attention(x[:, :, rows], None), atol=1e-5)


@torch.inference_mode()
def test_attention_along_both_axes_is_joint_attention_where_there_is_one_row_and_sees_all_where_there_are_more() -> (
    None
):
    torch.manual_seed(0)
    joint, both = (
        CosineAttention(32, BlockSettings(emb_channels=0, channels_per_head=16, rotary=True, attention_axes=axes))
        for axes in ("joint", "alternate")
    )
    both.load_state_dict(joint.state_dict())
    one_row, plane = torch.randn(2, 32, 1, 8), torch.randn(1, 32, 4, 8)
    assert torch.equal(joint(one_row, None), both(one_row, None))
    before = both(plane, None)
    assert not torch.allclose(before, joint(plane, None), atol=1e-2)
    plane[..., 3, 7] += 3
    assert not torch.isclose(both(plane, None)[0, :, 0, 0], before[0, :, 0, 0], atol=1e-5).any()


@pytest.mark.parametrize("rotary", [False, True])
@torch.inference_mode()
def test_attention_may_be_told_intervals_between_rows(rotary: bool) -> None:
    torch.manual_seed(0)
    attention = CosineAttention(32, BlockSettings(emb_channels=0, rotary=rotary, row_position=True))
    x, rows, order = torch.randn(1, 32, 4, 6), torch.tensor([-1.4, -0.3, 0.5, 1.2]), torch.tensor([3, 1, 0, 2])
    y = attention(x, None, rows=rows)
    assert torch.allclose(attention(x, None, rows=rows + 2), y, atol=1e-4)  # intervals alone
    assert torch.allclose(attention(x[:, :, order], None, rows=rows[order]), y[:, :, order], atol=1e-5)
    assert not torch.allclose(attention(x[:, :, order], None, rows=rows), y[:, :, order], atol=1e-2)
    moved = attention(x.roll(1, -1), None, rows=rows)
    assert torch.allclose(moved, y.roll(1, -1), atol=1e-5) != rotary
