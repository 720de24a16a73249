"""Running the web server until a signal ends it; clients that open a connection and say nothing are sent away."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from dualdiffusion.machine.stopping import Stopped, stopped_by
from dualdiffusion.machine.system import HANGUP

HEAD_PATIENCE = 15.0  # seconds for the head of a request, from the connection or its first byte on


class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """HTTP as uvicorn speaks it, but without end of patience for heads that never become whole."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come, and is given time to say what it wants."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Something was said. It may be the beginning of another head, which has its own time."""
        super().data_received(data)
        if not self._is_idle():
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_PATIENCE, self._send_away)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _send_away(self) -> None:
        self._waiting = None
        # A WebSocket has taken the connection over, and has pings of its own.
        is_ours = self.transport is not None and self.transport.get_protocol() is self
        if is_ours and self._is_idle():
            self.transport.close()


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
