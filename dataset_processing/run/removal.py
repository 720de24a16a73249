"""What a run would take out of a dataset: never without a word, and much of a game only on demand.

A drive that is not plugged in, a share that is not mounted, a cloud folder that was emptied to save room: all look like
music that was deleted. Its audio, its latents and its place in the manifests are work of hours, and are kept until
somebody says that they may go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataset_processing.report.report import shown
from dataset_processing.run.names import readable
from dataset_processing.run.system_folders import LEFT_OUT
from dataset_processing.step import Record
from dualdiffusion.errors import UserError

MOST_SHARE = 0.25
"""Of a game's tracks, or of all: as many may go at once, and any single track of several; more needs `--prune`."""
_MOST_NAMED = 3


@dataclass(frozen=True)
class Loss:
    """Tracks of one game that are in the dataset and can no longer be made from the source.

    files: their sources, sorted. total: the game's tracks in the dataset. away: what shows that they are not deleted,
    but out of reach, such as a broken link; or "".
    """

    game: str
    files: tuple[str, ...]
    total: int
    away: str = ""

    @property
    def large(self) -> bool:
        """Whether so much of the game goes that somebody has to agree."""
        return bool(self.away) or _is_large(len(self.files), self.total)

    def __str__(self) -> str:
        count = "the only track" if self.total == len(self.files) == 1 else f"{len(self.files)} of {self.total} tracks"
        why = f"{self.files[0]}: {self.away}" if self.away else f"such as {self.files[0]}"
        return shown(f"{count} of {self.game!r} ({why})")


def _is_large(gone: int, total: int) -> bool:
    return gone == total or (gone > 1 and gone > MOST_SHARE * total)


def find_losses(
    present: Iterable[str], records: Iterable[Record], unread: Mapping[str, str], moved: Iterable[str] = ()
) -> list[Loss]:
    """
    Args:
        present: the source files whose tracks are in the dataset.
        records: what has become of all files of the source now.
        unread: files, and folders, that are listed but could not be read, with the reason.
        moved: files of the dataset whose contents are in the source under another name now.

    Returns:
        What would go, by game. What a step refuses that has read it (too short, a duplicate) is not lost but judged.
    """
    read = [record for record in records if record.kept or record.file not in unread]
    there = {record.file for record in read} | {record.source_file for record in read}
    there |= {file for file in moved if not _why(file, unread)}
    games: dict[str, list[str]] = {}
    for file in present:
        games.setdefault(readable(file.partition("/")[0]), []).append(file)
    losses = []
    for game, files in sorted(games.items()):
        # A file of game music that holds other songs than before was read: its old songs are judged too.
        gone = sorted(file for file in set(files) - there if file.rpartition("/")[0] not in there)
        judged = [file for file in gone if _why(file, unread).startswith(LEFT_OUT)]
        gone = [file for file in gone if file not in judged]
        away = sorted(filter(None, (_why(file, unread) for file in gone)))
        if gone:
            losses.append(Loss(game, tuple(gone), len(files), away[0] if away else ""))
    return losses


def _why(file: str, unread: Mapping[str, str]) -> str:
    """Why a file is out of reach, where it, or a folder that it was in, is listed as such; "" where it just is gone."""
    parts = file.split("/")
    paths = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((unread[path] for path in paths if path in unread), "")


def check(losses: list[Loss], total: int, *, prune: bool) -> None:
    """Refuses to go on where too much would go.

    Args:
        losses: what `find_losses` gives.
        total: tracks in the dataset.
        prune: somebody has agreed.

    Raises:
        UserError: more than `MOST_SHARE` of a game or of all would go.
    """
    everywhere = _is_large(sum(len(loss.files) for loss in losses), total)
    large = [loss for loss in losses if loss.large or everywhere]
    if prune or not large:
        return
    named = ", ".join(map(str, large[:_MOST_NAMED]))
    more = f", and of {len(large) - _MOST_NAMED} more games" if len(large) > _MOST_NAMED else ""
    raise UserError(
        f"the source has lost {named}{more}: bring it back (is a drive or share away?), or add --prune to remove it "
        "from the dataset; nothing was removed"
    )
