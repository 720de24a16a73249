"""The protocol of dataset steps: records flow through them in the order of the config.

A step is a class in dataset_processing/steps/ with a `Config`. Two shapes:
- `Step`: looks at one record at a time, in worker processes. It must be picklable, and its result must depend on
  nothing but the record, its settings and the record's files, because results are kept and reused.
- `CollectiveStep`: sees all records, in the main process; either cheap and pure (duplicates, split), or heavy and done
  record by record through `Work.each`, which remembers finished records and shares them out to launched processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import ClassVar, Protocol

from dualdiffusion.config import Config

JsonData = dict[str, "JsonData"] | list["JsonData"] | str | int | float | bool | None


@dataclass(frozen=True)
class Paths:
    """Where a run reads and writes."""

    source: Path
    dataset: Path

    @property
    def state(self) -> Path:
        """The hidden folder of the dataset with what runs remember."""
        return self.dataset / ".state"


@dataclass(frozen=True)
class Record:
    """One source file on its way into the dataset. Everything in it is JSON data.

    Attributes:
        file: path relative to the source folder; bytes that are not UTF-8 stand as lone surrogates (os.fsdecode). One
            of several songs of a file has a number behind it, as if the file were a folder: `game/file.nsf/#02`.
        game: the class.
        folder, track: the output is `audio/<folder>/<track>.flac`; both are safe file names, unique in the dataset.
        audio: whether it looked like audio; what did not is listed, but is no failure.
        verdict: "kept" or "refused", with a `reason` that a person understands.
        notes: sentences about what is unusual and how it was treated.
        measured: values for the report.
        fields: values for train.jsonl and validation.jsonl; `split` and `tags` are used on the way and left out there.
        outputs: files written for this record, relative to the dataset folder -> their size in bytes.
        identity: size and modification time of the source, until the first step has read it.
        song: which song of a file of game music it is, and how it is played (`decode.Take`); empty for a recording.
        songs: what a file of game music says of its songs (`decode.Song`), until they have become records.
    """

    file: str
    game: str = ""
    folder: str = ""
    track: str = ""
    audio: bool = True
    verdict: str = "kept"
    reason: str = ""
    notes: tuple[str, ...] = ()
    measured: dict[str, JsonData] = field(default_factory=dict)
    fields: dict[str, JsonData] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    identity: tuple[int, ...] = ()
    song: dict[str, JsonData] = field(default_factory=dict)
    songs: list[JsonData] = field(default_factory=list)

    @property
    def source_file(self) -> str:
        """The file to read, relative to the source folder; several songs share one."""
        return self.file.rpartition("/")[0] if self.song.get("of", 1) > 1 else self.file

    @property
    def kept(self) -> bool:
        """Whether the record is still on its way into the dataset."""
        return self.verdict == "kept"

    def refused(self, reason: str, *, audio: bool = True) -> Record:
        """This record, refused. What was written for it before is no longer part of the dataset."""
        return replace(self, verdict="refused", reason=reason, audio=self.audio and audio)

    def noted(self, *notes: str) -> Record:
        """This record with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def adding(
        self,
        *,
        measured: dict[str, JsonData] | None = None,
        fields: dict[str, JsonData] | None = None,
        outputs: dict[str, int] | None = None,
    ) -> Record:
        """This record with more measurements, manifest fields and written files."""
        return replace(
            self,
            measured={**self.measured, **(measured or {})},
            fields={**self.fields, **(fields or {})},
            outputs={**self.outputs, **(outputs or {})},
        )

    def to_json(self) -> dict[str, JsonData]:
        """The record as JSON data; `from_json` makes it again. Not a copy: it must not be changed."""
        data = dict(vars(self))  # asdict would copy deeply, which costs more than all else in a run without work
        for name in ("song", "songs"):  # what older software wrote without them must stay equal to what is made now
            if not data[name]:
                del data[name]
        return data

    @staticmethod
    def from_json(data: dict[str, JsonData]) -> Record:
        """The record that `to_json` gave; keys of newer software are left out.

        Raises:
            KeyError, TypeError: not a record.
        """
        known = {name.name: data[name.name] for name in fields(Record) if name.name in data}
        return Record(**{**known, "notes": tuple(data["notes"]), "identity": tuple(data["identity"])})


class _AnyStep:
    """What both shapes share. `paths` are the folders of the run."""

    version: ClassVar[int] = 1
    """To be raised when the code gives another result for the same settings: everything is then done again."""

    refusals: ClassVar[int] = 0
    """To be raised when the code takes files that it refused before: those are tried again, and all else stays."""

    collective: ClassVar[bool] = False
    optional: ClassVar[bool] = False
    """An optional step adds to records that are complete without it: the dataset is written without it too."""

    distributed: ClassVar[bool] = False
    """Whether the processes of `accelerate launch` share the work (collective steps that use `Work.each`)."""

    class Config(Config):
        """Settings of the step."""

    @classmethod
    def needs(cls, config: Config) -> dict[str, JsonData]:
        """What settings of earlier steps must be, by their names; what a config there leaves open becomes that.

        Raises:
            UserError: what says it, a model, is missing or damaged.
        """
        return {}

    def __init__(self, config: Config, *, paths: Paths) -> None:
        self.config, self.paths = config, paths

    def identity(self) -> JsonData:
        """JSON data on which the results depend besides the record; a model's fingerprint belongs here."""
        return self.config.to_json()

    def tidy(self, records: list[Record]) -> None:
        """Removes what the step keeps for itself about files that are not among `records` any more."""


class Step(_AnyStep):
    """A step that looks at one record at a time."""

    def run(self, record: Record) -> Record:
        """The record with what this step adds, or refused. Kept records come in; the source file may have vanished."""
        raise NotImplementedError

    def parts(self, record: Record, result: Record) -> list[Record]:
        """The records that take the place of one whose result holds `songs`; this step then runs on each of them.

        Args:
            record: as it came to the step.
            result: what `run` has made of it, now or in an earlier run.

        Returns:
            Records with a `song`. One with a `file` of its own has as its `track` what stands behind the file's name.
        """
        raise NotImplementedError


class Work(Protocol):
    """What the runner does for a collective step."""

    processes: int
    """How many processes share the work of `each`."""

    def remembered(self, name: str, key: JsonData, compute: Callable[[], JsonData]) -> JsonData:
        """JSON data that takes time to compute and depends on `key` (JSON data) alone: computed once, then read."""
        ...

    def each(self, records: list[Record], function: Callable[[Record], Record]) -> list[Record]:
        """Applies `function` to every kept record that is not up to date, and returns all records in their order.

        Each finished record is remembered at once, so that a killed run goes on where it stopped. Under `accelerate
        launch` every process does its share and all get all results. An exception becomes a refusal; only a UserError
        (a model that cannot be loaded) ends the run, with everything that came before it written.
        """
        ...


class CollectiveStep(_AnyStep):
    """A step that sees all records, refused ones too."""

    collective = True

    def run_all(self, records: list[Record], work: Work) -> list[Record]:
        """All records in the same order, with what this step adds or refuses."""
        raise NotImplementedError
