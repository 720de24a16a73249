"""The account that a process runs under, which may have no name. Imports no torch: commands ask before they need it."""

from __future__ import annotations

import getpass
import os

from dualdiffusion.machine.system import user_id


def name_the_account() -> None:
    """Gives this process, and those that it starts, a user name where the system knows none.

    Containers are often run under a number that no list of users has. torch asks for the name when it first makes an
    optimizer or compiles, for a folder of its own, and fails without one.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # of the list of users; from Python 3.13 on; of a system without one
        os.environ["LOGNAME"] = f"uid-{user_id()}"
