"""Makes a virtual environment from requirement files; standard library only.

Usage: python3.11 .ci/setup_venv.py FOLDER REQUIREMENTS...
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import venv
from pathlib import Path


def main() -> int:
    """Installs into a new environment and marks it as ready; a half-made one is made again."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever gave another PYTHON shall be told
        print("error: Python 3.11 or newer is needed; give it as PYTHON=... to make", file=sys.stderr)
        return 2
    folder, requirements = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    wanted = "".join(path.read_text() for path in requirements)
    ready = folder / ".ready"
    with open(f".lock-{folder.name.strip('.')}", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held until this process ends, however it ends
        if ready.exists() and ready.read_text() == wanted:
            ready.touch()
            return 0
        print(f"making {folder} (a few GB, about a minute)", flush=True)
        ready.unlink(missing_ok=True)
        venv.create(folder, with_pip=True, clear=True)
        arguments = [argument for path in requirements for argument in ("-r", str(path))]
        install = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", *arguments]
        code = subprocess.run(install).returncode
        if code:
            print("error: the packages could not be installed; see pip's message above", file=sys.stderr)
            return code
        temporary = folder / ".ready.tmp"
        temporary.write_text(wanted)
        temporary.replace(ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
