"""Running the web server until a signal ends it."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn

from dualdiffusion.machine.stopping import Stopped, stopped_by
from dualdiffusion.machine.system import HANGUP


def run_until_stopped(config: uvicorn.Config, listener: socket.socket) -> None:
    """Serves on a bound socket. A terminal that is closed ends that in order, as Ctrl-C does.

    Raises:
        Stopped: by a closed terminal, or a request to end.
    """
    server = uvicorn.Server(config)
    hangups: list[int] = []

    def hang_up(number: int, frame: FrameType | None) -> None:
        hangups.append(number)
        server.should_exit = True

    with stopped_by(hang_up, HANGUP):
        server.run(sockets=[listener])
    if hangups:
        raise Stopped(hangups[0])
