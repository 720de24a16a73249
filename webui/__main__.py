"""`python -m webui --model models/demo`: the page to play with a model."""

from __future__ import annotations

import argparse
import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dualdiffusion.command_line import CommandParser, run_command
from dualdiffusion.errors import UserError
from dualdiffusion.model.folder import ModelFolder
from dualdiffusion.model.shipped import find_model, is_shipped, reference
from webui.settings import Settings, read_token

# What a system says of addresses, or kinds of addresses, that it does not have.
NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def _parser(program: str) -> argparse.ArgumentParser:
    parser = CommandParser(prog=program, description="Play with a trained model in the browser.")
    parser.add_argument(
        "--model", type=Path, required=True, help="model folder, e.g. models/demo, or the name of a shipped one"
    )
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), metavar="FOLDER", help="default: %(default)s")
    parser.add_argument(
        "--music",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder of music of which the page may make new generators; may be given several times",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="where it makes them: in its folders generators and datasets; the models where --models says; default: "
        "where it is started",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: %(default)s")
    parser.add_argument("--port", type=int, default=7860, help="default: %(default)s; 0 for any free one")
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FOLDER",
        help="whose models the page offers, too; default: the folder that --model lies in, or models",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="holds what visitors must show, and is written with a new token if it is missing; this or --token is "
        "required where other machines can reach the page",
    )
    token.add_argument(
        "--token", help="the same, said here, where others on this machine can see it in the list of processes"
    )
    parser.add_argument(
        "--root-path",
        default="",
        metavar="PATH",
        help="where a proxy shows the page: /music or https://example.org/music",
    )
    return parser


def bind(host: str, port: int) -> socket.socket:
    """Raises:
    UserError: the port is taken, or the address is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: must be from 0 to 65535")
    try:
        *others, last = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in others:
            try:
                return _listener(family, kind, protocol, address)
            except OSError as error:
                # "localhost" may stand for an address of IPv6 first, on a machine that has none.
                if error.errno not in NOT_HERE:
                    raise
        return _listener(*last[:3], last[4])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"--port {port}: is in use by another program; choose another, e.g. --port {port + 1}"
            ) from None
        raise UserError(f"--host {host} --port {port}: cannot listen there: {error.strerror}") from None


def _listener(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(socket.socket(family, kind, protocol))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        closing.pop_all()
    return listener


def main(words: Sequence[str] | None = None, program: str = "python -m webui") -> None:
    """Serves until Ctrl-C.

    Args:
        words: None for those of the command line.
        program: what is typed before them, for --help and errors.
    """
    options = _parser(program).parse_args(words)
    model = find_model(options.model).path
    settings = Settings(
        model,
        options.outputs,
        options.host,
        options.port,
        read_token(options.token_file) if options.token_file else options.token,
        models=models_root(options.models, model),
        root_path=options.root_path,
        music=tuple(options.music),
        work=options.work,
    )
    settings.check()
    with bind(options.host, options.port) as listener:
        serve(settings, listener)


def models_root(said: Path | None, model: Path) -> Path:
    """The folder whose models are offered: what was said, else where the model lies; `models` beside a shipped one.

    Raises:
        UserError: what was said is no folder.
    """
    if said is not None and not said.is_dir():
        raise UserError(f"--models {said}: is no folder")
    return said or (Path("models") if is_shipped(model) else model.absolute().parent)


def addresses(settings: Settings) -> list[str]:
    """Where the page can be opened: on this machine, and where the server listens to others, on those."""
    everywhere = settings.host in ("0.0.0.0", "::")
    hosts = ["127.0.0.1", socket.gethostname()] if everywhere else [settings.host]
    query = "?token=..." if settings.token else ""
    named = [f"[{host}]" if ":" in host else host for host in hosts]
    return [f"http://{host}:{settings.port}{quote(settings.prefix)}/{query}" for host in named]


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serves on a bound socket until a signal.

    Raises:
        UserError: the model folder or the history cannot be used, or another server has the outputs folder.
    """
    # Imported here, so that --help and the errors above are quick.
    import uvicorn

    from dualdiffusion.files import folder_lock
    from webui.running import PatientProtocol, run_until_stopped
    from webui.server import create_app

    settings = replace(settings, port=listener.getsockname()[1])
    folder = ModelFolder(settings.model)
    folder.labels()  # refused before anything is written
    with _writable(settings.outputs), folder_lock(settings.outputs / ".webui"):
        app = create_app(settings)
        here, *elsewhere = addresses(settings)
        others = f" (from other machines: {elsewhere[0]})" if elsewhere else ""
        print(f"Dual Diffusion plays {reference(folder)} at {here}{others}", flush=True)
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            log_level="warning",
            ws_max_size=65536,
            timeout_graceful_shutdown=2,
            server_header=False,
            lifespan="on",
        )
        run_until_stopped(config, listener)


@contextlib.contextmanager
def _writable(outputs: Path) -> Iterator[None]:
    """Says in one line that the outputs folder cannot be written, while the page starts."""
    try:
        yield
    except OSError as error:
        place, folder = Path(str(error.filename or "")).absolute(), outputs.absolute()
        if error.filename is None or not (place.is_relative_to(folder) or folder.is_relative_to(place)):
            raise
        raise UserError(
            f"{outputs}: cannot be written: {error.strerror}; choose another folder with --outputs"
        ) from None


if __name__ == "__main__":
    run_command(main)
