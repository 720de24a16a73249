"""A proxy as people put before the page: below a prefix, with another Host header, or without WebSocket."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress

from tests.webui.conftest import free_port


class Proxy:
    """Relays each connection's one request; what it does may be changed while it runs."""

    def __init__(self, upstream: int, *, prefix: str = "", strip: bool = True, host: str | None = None) -> None:
        """Args:
        upstream: the server's port.
        prefix: a path that requests must begin with.
        strip: whether the prefix is taken away.
        host: what the Host header becomes; None leaves it.
        """
        self.upstream, self.prefix, self.strip, self.host = upstream, prefix, strip, host
        self.refuses_sockets = False
        self.sockets = 0  # let through so far
        self.requests: list[str] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{prefix}"
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = client.recv(65536)
                if not part:
                    return
                head += part
            answer = self._answer(head)
            if answer is not None:
                client.sendall(answer)
                return
            with socket.create_connection(("127.0.0.1", self.upstream)) as server:
                server.sendall(self._changed(head))
                threading.Thread(target=_relay, args=(client, server), daemon=True).start()
                _relay(server, client)

    def _answer(self, head: bytes) -> bytes | None:
        """What the proxy says itself."""
        path = head.split(b" ", 2)[1].decode()
        self.requests.append(path)
        is_socket = b"upgrade: websocket" in head.lower()
        if self.prefix and not path.startswith(self.prefix):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        if is_socket and self.refuses_sockets:
            return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.sockets += is_socket
        return None

    def _changed(self, head: bytes) -> bytes:
        if b"upgrade: websocket" not in head.lower():
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
            head = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        if self.host:
            head = re.sub(rb"(?i)\r\nhost: [^\r]*", b"\r\nHost: " + self.host.encode(), head)
        if self.prefix and self.strip:
            method, path, rest = head.split(b" ", 2)
            path = path.removeprefix(self.prefix.encode())
            head = b" ".join([method, path if path.startswith(b"/") else b"/" + path, rest])
        return head


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
