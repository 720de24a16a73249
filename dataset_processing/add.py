"""Bringing more music into the source folder of a dataset: copies, never moves, and never overwrites."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dataset_processing.decode.sniff import SIDE_EXTENSIONS, extension_of
from dataset_processing.report.report import shown
from dataset_processing.run.names import readable
from dataset_processing.run.run_config import RunConfig
from dataset_processing.run.sources import walk
from dualdiffusion.errors import UserError
from dualdiffusion.files import MAX_NAME_BYTES, TEMPORARY_MARK, atomic_path, folder_lock, numbered_names, sweep


@dataclass(frozen=True)
class Addition:
    """A file or folder that is to become part of a game, whose folder is `<source>/<game>`."""

    path: Path
    game: str


@dataclass
class Added:
    """What became of one path: numbers of files. dry: nothing was written."""

    addition: Addition
    new_game: bool
    dry: bool
    copied: int = 0
    present: int = 0
    renamed: int = 0
    left_out: int = 0
    unreadable: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line for the terminal."""
        verb = "would be copied" if self.dry else "copied"
        kind = "new game" if self.new_game else "game"
        parts = [f"{self.copied} {'file' if self.copied == 1 else 'files'} {verb} to the {kind} {self.addition.game!r}"]
        if self.renamed:
            parts.append(f"{self.renamed} of them with a number in the name, as another file has theirs")
        if self.present:
            parts.append(f"{self.present} {'was' if self.present == 1 else 'were'} there already")
        if self.left_out:
            parts.append(f"{self.left_out} left out: not audio, or hidden")
        if self.unreadable:
            parts.append(f"{len(self.unreadable)} not taken, such as {self.unreadable[0]}")
        return shown(f"{self.addition.path}: {'; '.join(parts)}")


def plan_additions(config: RunConfig, paths: Sequence[Path], game: str | None) -> list[Addition]:
    """Which game each path goes to.

    Args:
        config: the dataset; its source folder must exist.
        paths: files or folders. A folder becomes the game of its own name unless `game` is given.
        game: the name of the game, which files need.

    Raises:
        UserError: a missing path, one that overlaps with the source or the dataset, or a name that no game can have.
    """
    source, dataset = config.source.resolve(), config.dataset.resolve()
    if not source.is_dir():
        raise UserError(f"source {config.source}: no such folder; create it, or set it with --set source=FOLDER")
    if source.is_relative_to(dataset) or dataset.is_relative_to(source):
        raise UserError(f"source {config.source} and dataset {config.dataset}: one must not lie inside the other")
    if game is not None:
        _check_name(game, "--game ")
    return [_plan_one(path, game, source, dataset) for path in paths]


def _plan_one(path: Path, game: str | None, source: Path, dataset: Path) -> Addition:
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    resolved = path.resolve()
    if resolved.is_relative_to(source):
        raise UserError(f"{path}: lies in the source folder {source} already; `run` is enough to take it in")
    if resolved.is_relative_to(dataset):
        raise UserError(f"{path}: lies in the dataset {dataset}, which is made from the source; add the originals")
    for name, folder in (("source", source), ("dataset", dataset)):
        if folder.is_relative_to(resolved):
            raise UserError(f"{path}: holds the {name} folder {folder}; give the folders of the games one by one")
    if not (resolved.is_dir() or resolved.is_file()):
        raise UserError(f"{path}: neither a file nor a folder")
    if not resolved.is_dir() and game is None:
        raise UserError(f"{path}: is a file: say which game it is from with --game NAME")
    if game is None:
        game = resolved.name
        _check_name(game, f"{path}: the folder's name ")
    if (source / game).exists() and not (source / game).is_dir():
        raise UserError(
            f"{path}: {source / game} is a file, so that no game can have this name; give another with --game"
        )
    return Addition(path, _known_spelling(source, game))


def _check_name(name: str, where: str) -> None:
    if not name.strip():
        raise UserError(f"{where}{name!r}: a game needs a name; give one with --game NAME")
    if "/" in name or "\0" in name:
        raise UserError(f"{where}{name!r}: a game's name must not hold a slash; it is the name of one folder")
    if name.startswith("."):
        raise UserError(f"{where}{name!r}: a game's name must not start with a dot: hidden folders are not read")
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise UserError(f"{where}{name[:20]!r}...: a game's name may have {MAX_NAME_BYTES} bytes at most")


def _known_spelling(source: Path, game: str) -> str:
    """The name as the source has it where only the coding of accents differs: both would be one game in two folders."""
    if (source / game).is_dir():
        return game
    alike = (entry.name for entry in os.scandir(source) if entry.is_dir() and readable(entry.name) == readable(game))
    return min(alike, default=game)


def add(config: RunConfig, additions: Sequence[Addition], *, wait: bool = False, dry: bool = False) -> Iterator[Added]:
    """Copies the additions into the source, and yields what became of each.

    Args:
        config: the dataset.
        additions: what `plan_additions` gives.
        wait: wait for another process that works on the dataset instead of refusing.
        dry: count only, and write nothing.

    Raises:
        UserError: another process works on the dataset.
        OSError: the source cannot be written to, such as a full disk; what has been copied stays.
    """
    if dry:
        planned: dict[Path, Path] = {}
        for addition in additions:
            yield _add_one(config.source, addition, planned, dry=True)
        return
    with folder_lock(config.dataset, wait=wait):
        for addition in additions:
            yield _add_one(config.source, addition, {}, dry=False)


def _add_one(source: Path, addition: Addition, planned: dict[Path, Path], *, dry: bool) -> Added:
    folder = source / addition.game
    new_game = not folder.exists() and not any(path.is_relative_to(folder) for path in planned)
    added = Added(addition, new_game, dry)
    for file, relative in _files(addition.path, added):
        try:
            with open(file, "rb"):
                pass
        except OSError as error:
            added.unreadable.append(f"{file}: {error.strerror}")
            continue
        target = _place(folder / relative, file, planned)
        if target is None:
            added.present += 1
            continue
        added.copied += 1
        added.renamed += target.name != relative.name
        if dry:
            planned[target] = file
        else:
            _copy(file, target)
    return added


def _files(path: Path, added: Added) -> Iterator[tuple[Path, Path]]:
    """(file, its path below the game), in the order of names; counts what is left out. A file named itself is taken."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    for found in sorted(walk(path), key=lambda found: found.file):
        name = found.file.rpartition("/")[2]
        if name.startswith(".") or extension_of(name) in SIDE_EXTENSIONS:
            added.left_out += 1
        elif found.problem:
            added.unreadable.append(f"{path / found.file}: {found.problem}")
        else:
            yield path / found.file, Path(found.file)


def _place(wanted: Path, file: Path, planned: dict[Path, Path]) -> Path | None:
    """A free name for `file`: as wanted, or with a number; None where an equal file is there already."""
    for target in numbered_names(wanted):
        if target not in planned and not os.path.lexists(target):
            return target
        other = planned.get(target, target)
        if other.is_file() and filecmp.cmp(other, file, shallow=False):
            return None


def _copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if any(name.startswith(TEMPORARY_MARK) for name in os.listdir(target.parent)):
        sweep(target.parent)
    status = os.stat(file)
    with atomic_path(target) as temporary:
        shutil.copyfile(file, temporary)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
