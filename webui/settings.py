"""What the page's server is started with."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dualdiffusion.errors import UserError

MIN_TOKEN_LENGTH = 8
ROOT_PATH = re.compile(r"(?:https?://(?P<host>[^/?#\s@]+)(?=/|$))?(?P<path>[^?#\s\\:]*)")


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
    cpu_loader: str = "webui.worker:load_model_on_cpu"
    """The same, for as long as a training has the GPU."""
    music: tuple[Path, ...] = ()
    """Folders of music from which new generators may be made; nothing else of the machine can be chosen."""
    work: Path = Path()
    """Where new generators are made: in its folders `generators`, `datasets` and `models`."""
    presets: Path = Path(__file__).resolve().parent.parent / "config" / "generators"
    """The ways to make a generator, a JSON file each."""
    root_path: str = ""
    """Where a proxy shows the page: a path such as /music, or the whole address https://example.org/music."""

    @property
    def prefix(self) -> str:
        """The path of `root_path`, decoded, with a slash before it and none after it; empty for none."""
        path = ROOT_PATH.fullmatch(self.root_path)["path"] if ROOT_PATH.fullmatch(self.root_path) else ""
        return f"/{unquote(path).strip('/')}".rstrip("/")

    @property
    def public_host(self) -> str | None:
        """The host of a whole address in `root_path`, with its port if it has one, as the Host header names it."""
        match = ROOT_PATH.fullmatch(self.root_path)
        return match["host"].lower() if match and match["host"] else None

    def check(self) -> None:
        """Refuses what would be unsafe.

        Raises:
            UserError: an address that other machines can reach without a token, a token too short to be one, or a
                folder of music that is none.
        """
        for folder in self.music:
            if not folder.is_dir():
                raise UserError(f"--music {folder}: no such folder")
        if self.token is None and not is_loopback(self.host):
            raise UserError(f"--host {self.host}: other machines can reach this address; choose a --token for visitors")
        if not ROOT_PATH.fullmatch(self.root_path) or {".", ".."} & set(self.prefix.split("/")):
            raise UserError(
                f"--root-path {self.root_path}: must be a path such as /music, or https://example.org/music"
            )
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise UserError(f"--token: must have at least {MIN_TOKEN_LENGTH} characters")
