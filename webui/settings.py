"""What the page's server is started with."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dualdiffusion.errors import UserError

REPOSITORY = Path(__file__).resolve().parent.parent
"""The program's folder, in which its own processes are started."""
MIN_TOKEN_LENGTH = 8
ROOT_PATH = re.compile(r"(?:https?://(?P<host>[^/?#\s@]+)(?=/|$))?(?P<path>[^?#\s\\:]*)")


def read_token(path: Path) -> str:
    """The token in a file; where there is none, a new one is written, which its owner alone can read.

    Raises:
        UserError: the file cannot be read or written, or is empty.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(secrets.token_urlsafe(24) + "\n")
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise UserError(f"--token-file {path}: {reason}") from None
    if not token:
        raise UserError(f"--token-file {path}: is empty; remove it to have a token made, or write one into it")
    return token


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
    loader: str = "webui.models.worker:load_model"
    """`module:function` that the model's process calls with the model folder."""
    cpu_loader: str = "webui.models.worker:load_model_on_cpu"
    """The same, for as long as a training has the GPU."""
    queue_limit: int = 100
    """Jobs that may wait or run at one time."""
    music: tuple[Path, ...] = ()
    """Folders of music from which new generators may be made; nothing else of the machine can be chosen."""
    work: Path = Path()
    """Where new generators are made: in its folders `generators` and `datasets`, and `models` where none is said."""
    presets: Path = REPOSITORY / "config" / "generators"
    """The ways to make a generator, a JSON file each."""
    models: Path | None = None
    """A folder whose folders are models, too, among which visitors may choose; None for that of the start alone, and
    those that come with the program."""
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
            raise UserError(
                f"--host {self.host}: other machines can reach this address; choose a --token-file for visitors' token"
            )
        if not ROOT_PATH.fullmatch(self.root_path) or {".", ".."} & set(self.prefix.split("/")):
            raise UserError(
                f"--root-path {self.root_path}: must be a path such as /music, or https://example.org/music"
            )
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise UserError(f"--token: must have at least {MIN_TOKEN_LENGTH} characters")
