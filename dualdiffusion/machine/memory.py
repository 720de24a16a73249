"""Did memory run out? On a GPU or in main memory. Imports no torch: commands ask before they need it."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in main memory."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    # torch's own class, told by its name; its CPU allocator has no class of its own and is told by its message.
    on_gpu = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return on_gpu or "DefaultCPUAllocator" in str(error) or "can't allocate memory" in str(error)


def allocation_text(error: BaseException) -> str:
    """How much was asked for in vain, without torch's advice and places in its code: one line, never empty."""
    text = str(error).partition("\n")[0].rpartition("DefaultCPUAllocator: ")[2]
    return text.split(". GPU")[0].split(". Error code")[0] or type(error).__name__
