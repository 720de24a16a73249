"""Giving a finished file its name, never over another file. Imports no torch."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# What os.link says on file systems without links, such as exFAT, and shares of other machines.
NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def give_name(temporary: Path, path: Path) -> None:
    """Makes a file known by a name that, unlike with a rename, no other process can have taken just now.

    Where there are no links, the temporary is gone afterwards.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Only one process can create the empty file; from then on the name is ours to rename over.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(temporary, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
