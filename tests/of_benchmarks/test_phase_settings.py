"""Settings of phase recovery: what one half of the excerpts chooses is told by the other half."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.dsp import phase_recovery
from tests.benchmarks.phase_settings import MEASURES, cross_validated, recovered


def test_what_is_good_for_one_half_alone_is_told_by_the_other() -> None:
    by_setting = {"shipped": [1.0, 1.0, 1.0, 1.0], "of the first": [0.5, 0.7, 1.5, 1.3], "a little": [0.9] * 4}
    ratios = {name: dict.fromkeys(MEASURES, values) for name, values in by_setting.items()}
    first, second = cross_validated(ratios, [0, 0, 1, 1])
    assert (first["chosen"], first["on_its_half"]) == ("of the first", pytest.approx(0.6))
    assert first["on_the_other"] == pytest.approx(dict.fromkeys(MEASURES, 1.4))
    assert second["chosen"] == "a little" and second["on_the_other"]["all"] == pytest.approx(0.9)


def test_constants_are_other_ones_for_one_recovery_alone() -> None:
    audio, shipped = torch.randn(2, 16384, generator=torch.Generator().manual_seed(0)) / 10, phase_recovery.QUARTER
    few = recovered(audio, {"phase_iterations": 4})
    assert torch.equal(recovered(audio, {"phase_iterations": 4, "QUARTER": shipped}), few)
    assert not torch.equal(recovered(audio, {"phase_iterations": 4, "QUARTER": 2 * shipped}), few)
    assert shipped == phase_recovery.QUARTER
