"""Writing that survives being killed: everything is written aside, synced, and renamed into place."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dualdiffusion.errors import UserError
from dualdiffusion.machine.locks import FileLock
from dualdiffusion.machine.storage import give_name, replace, sync_file, sync_folder
from dualdiffusion.odd_json import not_valid

if TYPE_CHECKING:
    import numpy as np
    import torch

TEMPORARY_MARK = ".tmp-"
MAX_NAME_BYTES = 255  # of one name in a folder, on all usual file systems


# As shells write variables; where quotes or a file keep one from them, it would become a folder of that name.
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}|%(\w+)%")
_HOME = ("HOME", "USERPROFILE")


def from_home(path: Path) -> Path:
    """The path with a first part of `~`, `~NAME` or `$HOME` replaced by that user's home folder.

    Raises:
        ValueError: there is no such user, the home folder is not known, or the first part is another variable.
    """
    variable = _VARIABLE.fullmatch(path.parts[0]) if path.parts else None
    if variable and not Path(path.parts[0]).exists():
        # No others: requests come from elsewhere too, and an error would show them what a variable holds.
        if variable[variable.lastindex or 1] not in _HOME:
            raise ValueError(f"{path}: {path.parts[0]} is replaced by shells alone; write the whole path")
        path = Path("~", *path.parts[1:])
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: the home folder of {path.parts[0]} is not known; write the whole path") from None


def temporary_path(path: Path) -> Path:
    """A hidden sibling of `path`, told from finished files by `TEMPORARY_MARK`, with the same suffix."""
    # Short, because the finished name may already be as long as the file system allows.
    return path.with_name(f"{TEMPORARY_MARK}{os.getpid()}-{abs(hash(path.name)) % 10**8}{path.suffix}")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to; on success it becomes `path`, on any error it is removed.

    A process killed inside the block leaves the old `path` whole, and a temporary that `sweep` removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        sync_file(temporary)
        replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def numbered_names(path: Path) -> Iterator[Path]:
    """`path`, then the same with " (2)", " (3)", ... before its suffix, cut to what a file system takes as a name."""
    yield path
    for number in itertools.count(2):
        mark = f" ({number})"
        room = MAX_NAME_BYTES - len(os.fsencode(mark + path.suffix))
        yield path.with_name(os.fsdecode(os.fsencode(path.stem)[:room]) + mark + path.suffix)


def publish(temporary: Path, path: Path) -> Path:
    """Gives a finished file the first of `numbered_names(path)` that is free, and returns it; see `give_name`."""
    names = numbered_names(path)
    while True:
        try:
            give_name(temporary, target := next(names))
        except FileExistsError:
            continue
        temporary.unlink(missing_ok=True)
        return target


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes `value` as indented JSON, atomically. Names that are not UTF-8 survive as escapes."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_text(path: Path) -> str:
    """Reads text as editors save it: UTF-8, UTF-16 or UTF-32, each with or without a byte order mark; any line ends.

    Raises:
        UserError: the file is missing or cannot be read, or is not text.
    """
    try:
        return decode_text(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8, in which it must be saved: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def decode_text(data: bytes) -> str:
    """The text of a file's bytes. Its byte order mark says what it is in, or zero bytes where ASCII stands; else UTF-8.

    Raises:
        UnicodeDecodeError: it is not text in that encoding.
    """
    # Two characters of ASCII begin all JSON (RFC 4627, section 3): zeros among them tell UTF-16 and UTF-32 apart.
    encoding = json.detect_encoding(data)
    return data.decode(encoding).replace("\r\n", "\n")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        UserError: the file is missing, is not JSON, or has a key twice; the message says where.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # the first would be dropped without a word
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UserError(f"{path}: the key {twice!r} stands twice in one object; leave out one of the two")
        return found

    try:
        return json.loads(read_text(path), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: {not_valid(error)}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON: nested too deep") from None


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """Writes one JSON object per line, atomically."""
    write_text(path, "".join(json.dumps(record) + "\n" for record in records))


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Writes contiguous CPU tensors as safetensors, atomically.

    Raises:
        OSError: such as a full disk, which safetensors' own writing reports as an error of the format.
    """
    from safetensors.torch import save  # torch is not for those who only read JSON

    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


@contextlib.contextmanager
def tensor_file(
    path: Path, name: str, shape: Sequence[int], metadata: dict[str, str] | None = None
) -> Iterator[TensorFile]:
    """Writes one float16 tensor as safetensors, atomically and part by part; what is not written stays zero.

    Equal parts give equal bytes, in whatever order they are written: those that `write_tensors` writes.
    """
    size = 2 * math.prod(shape)
    description = {"dtype": "F16", "shape": list(shape), "data_offsets": [0, size]}
    fields = {**({"__metadata__": metadata} if metadata else {}), name: description}
    header = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)  # the data begins at a multiple of 8 bytes
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(file.tell() + size)
        yield TensorFile(file, file.tell(), tuple(shape))


class TensorFile:
    """The file that `tensor_file` opens. Not a memory map: on a full disk that would end the process."""

    def __init__(self, file: IO[bytes], start: int, shape: tuple[int, ...]) -> None:
        self._file, self._start, self._shape = file, start, shape

    def write(self, index: int, first: int, values: np.ndarray) -> None:
        """Writes a part of entry `index` of the first axis.

        Args:
            first: where on the last axis the part begins.
            values: NumPy array; of the tensor's shape without the first axis, but with any length of the last axis
                that fits.

        Raises:
            ValueError: the part does not fit into the tensor.
            OSError: such as a full disk.
        """
        *rows, length = self._shape[1:]
        count = values.shape[-1]
        if list(values.shape[:-1]) != rows or not 0 <= index < self._shape[0] or not 0 <= first <= length - count:
            raise ValueError(f"a part {values.shape} of entry {index} from {first} does not fit into {self._shape}")
        row_count = math.prod(rows)
        for row, part in enumerate(values.reshape(row_count, count).astype("<f2")):
            self._file.seek(self._start + 2 * ((index * row_count + row) * length + first))
            self._file.write(part.tobytes())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Reads one JSON object per line.

    Raises:
        UserError: the file is missing or a line is not JSON.
    """
    try:
        # Not str.splitlines: JSON texts may hold other line separators unescaped.
        return [json.loads(line) for line in read_text(path).split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON lines: {error}") from None


def sweep(folder: Path) -> None:
    """Removes temporaries that killed processes left in `folder` (not in its subfolders)."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(TEMPORARY_MARK):
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds `folder` for this process, until the end of the block or of the process, however it ends.

    Args:
        folder: created if missing; the lock is the file `.lock` in it, which holds the owner's process id.
        wait: wait for the other process instead of refusing.

    Raises:
        UserError: another process holds the folder and `wait` is false; the message gives its process id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Never unlinked: removing a lock file lets two processes hold two different files of the same name.
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        lock = FileLock(file)
        _acquire(lock, folder, wait)
        try:
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
        finally:
            lock.release()


def _acquire(lock: FileLock, folder: Path, wait: bool) -> None:
    announced = False
    while owner := lock.try_acquire():
        if not wait:
            raise UserError(f"{folder}: {owner} is already at work on this folder; wait for it or stop it first")
        if not announced:
            print(f"{folder}: waiting for {owner}, which is at work on this folder", flush=True)
            announced = True
        time.sleep(0.5)
