"""Running out of memory is told apart from other errors, wherever it happens."""

from __future__ import annotations

import pytest
import torch

from dualdiffusion.machine.memory import allocation_text, is_out_of_memory
from tests.tiny import run

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has 8 GiB.\nMore.")


def too_much_for_the_cpu() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize("error", [GPU, MemoryError(), too_much_for_the_cpu()], ids=["gpu", "python", "cpu"])
def test_a_failed_allocation_is_recognised_wherever_it_happens(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError("out of memory"), KeyboardInterrupt()])
def test_other_errors_are_not_taken_for_one(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_the_text_is_one_line_without_advice_and_never_empty() -> None:
    assert allocation_text(GPU) == "CUDA out of memory. Tried to allocate 20 GiB"
    assert allocation_text(too_much_for_the_cpu()) == f"can't allocate memory: you tried to allocate {2**62} bytes"
    assert allocation_text(MemoryError()) == "MemoryError"


def test_asking_needs_no_torch() -> None:
    result = run("-c", "import sys, dualdiffusion.machine.memory; sys.exit('torch' in sys.modules)")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("error", ["MemoryError()", "RuntimeError('DefaultCPUAllocator: not enough memory')"])
def test_a_command_that_runs_out_of_memory_ends_with_one_line(error: str) -> None:
    code = f"from dualdiffusion.command_line import run_command\ndef main(): raise {error}\nrun_command(main)"
    result = run("-c", code)
    assert result.returncode == 2
    assert result.stderr.startswith("error: out of memory: ") and result.stderr.count("\n") == 1
