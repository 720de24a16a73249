"""Takes away from the project's own modules what only POSIX or Linux has, as on Windows.

Only from them: the standard library and others of this system need those names for themselves. Imported by a
`sitecustomize` module on PYTHONPATH, it holds in every Python process that a command starts, too.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import signal
import sys
import types
from collections.abc import Callable
from typing import Any

OURS = ("dataset_processing", "dualdiffusion", "sampling", "train", "webui")
MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# What the documentation of each module marks as available on Unix alone (and os.link, which some systems lack).
NAMES = {
    "os": {
        *("fork", "forkpty", "killpg", "getpgid", "setpgid", "getpgrp", "setpgrp", "getsid", "setsid", "nice", "wait"),
        *("getuid", "geteuid", "getgid", "getegid", "getgroups", "setuid", "setgid", "chown", "fchown", "lchown"),
        *("link", "mkfifo", "mknod", "chroot", "fchdir", "fchmod", "lockf", "sync", "fdatasync", "pathconf"),
        *("pread", "preadv", "pwrite", "pwritev", "readv", "writev", "sendfile", "posix_fallocate", "posix_fadvise"),
        *("sched_getaffinity", "sched_setaffinity", "sched_yield", "getloadavg", "uname", "statvfs", "fstatvfs"),
        *("sysconf", "confstr", "openpty", "ttyname", "ctermid", "tcgetpgrp", "tcsetpgrp", "wait3", "wait4", "waitid"),
        *("WIFEXITED", "WIFSIGNALED", "WEXITSTATUS", "WTERMSIG", "WNOHANG", "set_blocking", "get_blocking"),
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_DSYNC", "O_PATH", "O_TMPFILE"),
        *("memfd_create", "eventfd", "getxattr", "setxattr", "getpriority", "setpriority", "register_at_fork"),
        *("posix_spawn", "posix_spawnp", "pidfd_open", "getrandom", "copy_file_range", "splice"),
    },
    "signal": {
        *(name for name in dir(signal) if name.startswith("SIG") and not name.startswith("SIG_")),
        *("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "getitimer", "siginterrupt", "sigpending"),
        *("sigwait", "sigwaitinfo", "sigtimedwait", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"),
    }
    - {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM"},
    "socket": {"AF_UNIX", "SO_REUSEPORT", "send_fds", "recv_fds", "MSG_DONTWAIT", "MSG_NOSIGNAL", "CMSG_LEN"},
    "asyncio": {"open_unix_connection", "start_unix_server", "PidfdChildWatcher", "ThreadedChildWatcher"},
    "select": {"poll", "epoll", "kqueue"},
}
ARGUMENTS = {"pass_fds", "preexec_fn", "start_new_session", "process_group", "umask"}  # of subprocess
FOLDERS = ("/proc", "/dev/", "/sys", "/etc", "/run")


def is_theirs(path: object) -> bool:
    """Whether a path is in one of the folders that only such systems have."""
    return isinstance(path, str | os.PathLike) and str(path).startswith(FOLDERS) and str(path) != os.devnull


class Poorer(types.ModuleType):
    """Another module without some of its names."""

    def __init__(self, module: types.ModuleType, lacks: set[str], **changes: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(_module=module, _lacks=lacks, **changes)

    def __getattr__(self, name: str) -> Any:
        if name in self._lacks:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on this system")
        return getattr(self._module, name)


def take_away() -> None:
    """From now on modules of ours that are imported find nothing of this."""
    plain_import, plain_open, usage = builtins.__import__, io.open, shutil.disk_usage

    def open_no_folder(path: Any, *args: Any, **settings: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return os.open(path, *args, **settings)

    poorer = {name: Poorer(plain_import(name), lacks) for name, lacks in NAMES.items()}
    # torch listens to this one here, where a process of ours must be able to say that it does not want to know.
    poorer["signal"].__dict__.update(SIGCHLD=signal.SIGCHLD)
    poorer["os"].__dict__.update(open=open_no_folder, name="nt", path=os.path)

    def import_less(name: str, globals: Any = None, *args: Any, **settings: Any) -> Any:
        who = str((globals or {}).get("__name__") or "")
        if who.split(".")[0] in OURS:
            if name.split(".")[0] in MODULES:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if name in poorer:
                return poorer[name]
        return plain_import(name, globals, *args, **settings)

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refused(path: Any, *args: Any, **settings: Any) -> Any:
            who = sys._getframe(1).f_globals.get("__name__", "")
            if is_theirs(path) and who.split(".")[0] in (*OURS, "pathlib"):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            return call(path, *args, **settings)

        return refused

    builtins.__import__ = import_less
    io.open = builtins.open = refusing(plain_open)
    shutil.disk_usage = refusing(usage)
