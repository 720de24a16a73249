"""How long after `git clone` is there a page, and how long until it has made a clip?

    python -m tests.benchmarks.first_sound [--seconds 8] [--clone FOLDER] [--no-cache] [--json FILE]

Clones this repository (what is committed), runs `make demo` in the clone, asks the page's API for a clip at the default
settings, and fetches it. The clone makes its own environment.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
POLL = 0.2  # seconds
TIMEOUT = 3600.0  # seconds, for each thing waited for


def call(url: str, body: Any = None) -> Any:
    """JSON from the page's API; `body` is posted where there is one."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait(what: str, condition: Any, process: subprocess.Popen[bytes] | None = None) -> Any:
    """The first true value of `condition`.

    Raises:
        SystemExit: `process` has ended, or it took longer than an hour.
    """
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            if value := condition():
                return value
        if process is not None and process.poll() is not None:
            raise SystemExit(f"no {what}: `make demo` ended with code {process.returncode}")
        time.sleep(POLL)
    raise SystemExit(f"no {what} within {TIMEOUT:.0f} s")


def first_clip(url: str, seconds: float, process: subprocess.Popen[bytes] | None = None) -> dict[str, float]:
    """Seconds from now until the page answers, until its model is loaded, and until a clip of the first game is there.

    Args:
        url: of the page, without a slash at the end.
        seconds: length of the clip; all else is as by default.

    Raises:
        SystemExit: there is no page or no clip.
    """
    started, times = time.monotonic(), {}
    health = wait("page", lambda: call(f"{url}/api/health"), process)
    times["page"] = time.monotonic() - started
    # As someone does who presses Generate at once: the job waits for the model.
    job = call(f"{url}/api/jobs", {"games": {health["games"][0]["name"]: 1.0}, "seconds": seconds})
    health = wait("model", lambda: (h := call(f"{url}/api/health"))["status"] != "loading" and h, process)
    times["model"] = time.monotonic() - started
    if health["status"] != "ready":
        raise SystemExit(f"the model cannot be played: {health['message']}")
    address = f"{url}/api/jobs/{job['id']}"
    done = wait("clip", lambda: (j := call(address))["status"] not in ("queued", "running") and j, process)
    if done["status"] != "done":
        raise SystemExit(f"the clip {done['status']}: {done['error']}")
    with urllib.request.urlopen(f"{url}{done['audio']}", timeout=30) as answer:
        assert answer.read(4) == b"fLaC"
    times["clip"] = time.monotonic() - started
    return times


@contextlib.contextmanager
def demo(folder: Path, port: int, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`make demo` in a clone, ended with all that it started."""
    command = ["make", "demo", f"PORT={port}"]
    process = subprocess.Popen(command, cwd=folder, env=os.environ | environment, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def main() -> int:
    """Clones, waits, prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.first_sound", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="length of the clip (default 8)")
    parser.add_argument("--clone", type=Path, help="folder for the clone, which is kept (default: a temporary one)")
    parser.add_argument("--no-cache", action="store_true", help="without pip's cache, as on a new machine")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="dualdiffusion-") as temporary:
        folder = options.clone or Path(temporary) / "clone"
        started = time.monotonic()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        cloned = time.monotonic() - started
        environment = {"PIP_NO_CACHE_DIR": "1"} if options.no_cache else {}
        with demo(folder, port, environment) as process:
            wait("environment", (folder / ".venv" / ".ready").exists, process)
            installed = time.monotonic() - started
            times = first_clip(f"http://127.0.0.1:{port}", options.seconds, process)
    total = {name: installed + seconds for name, seconds in times.items()}
    result = {"cpus": len(os.sched_getaffinity(0)), "cloned": cloned, "installed": installed, **total}
    words = {"page": "the page answers", "model": "its model is loaded", "clip": f"a clip of {options.seconds:g} s"}
    print(f"after git clone, on {result['cpus']} CPU cores:")
    for name in ("installed", "page", "model", "clip"):
        print(f"  {result[name]:7.1f} s  {words.get(name, name)}")
    print(
        f"the page {times['page']:.1f} s after the installation (goal: 5), the clip after {total['clip']:.0f} s (240)"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
