"""What the page's server is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from dualdiffusion.errors import UserError

MIN_TOKEN_LENGTH = 8


def is_loopback(host: str) -> bool:
    """Whether an address to bind is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Settings:
    """Everything the server needs to know; nothing is read from the environment."""

    model: Path
    """The model folder."""
    outputs: Path = Path("outputs")
    """Where audio, the history's database and the bin lie."""
    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    """What every visitor must show; None lets everybody on this machine in."""
    loader: str = "webui.worker:load_model"
    """`module:function` that the model's process calls with the model folder."""
    queue_limit: int = 100
    """Jobs that may wait or run at one time."""

    def check(self) -> None:
        """Refuses what would be unsafe.

        Raises:
            UserError: an address that other machines can reach without a token, or a token too short to be one.
        """
        if self.token is None and not is_loopback(self.host):
            raise UserError(f"--host {self.host}: other machines can reach this address; choose a --token for visitors")
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise UserError(f"--token: must have at least {MIN_TOKEN_LENGTH} characters")
