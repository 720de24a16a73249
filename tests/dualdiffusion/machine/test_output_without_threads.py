"""What is printed where the system starts no further thread, such as below a container's --pids-limit."""

from __future__ import annotations

import os
import threading

import pytest

from dualdiffusion.machine.output import Outlet


def test_what_is_printed_comes_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    reader, writer = os.pipe()
    outlet = Outlet()
    outlet.write(writer, b"first\n")
    outlet.put(writer, b"second\n")
    outlet.settle(1)
    assert os.read(reader, 100) == b"first\nsecond\n"
    monkeypatch.undo()  # as soon as there may be one, there is one
    outlet.write(writer, b"third\n")
    assert os.read(reader, 100) == b"third\n"
    os.close(writer)
    os.close(reader)
