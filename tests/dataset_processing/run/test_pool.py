"""Whatever a file does to a worker, the run goes on."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataset_processing.run.pool import run_one, run_pool, time_limit
from dataset_processing.step import Record

RECORDS = [Record(f"g/{number}", "g") for number in range(6)]


def crash_on_3(record: Record) -> Record:
    if record.file == "g/3":
        os.kill(os.getpid(), signal.SIGSEGV)
    return record.noted("done")


def hang_on_3(record: Record) -> Record:
    if record.file == "g/3":
        while True:
            pass
    return record.noted("done")


def two_seconds(record: Record) -> float:
    return 2.0


def fail(record: Record) -> Record:
    raise {"g/0": ValueError("odd\nvalue"), "g/1": PermissionError(errno.EACCES, "Permission denied")}[record.file]


def fill_the_disk(record: Record) -> Record:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_crash_refuses_its_file_and_no_other():
    finished = {item.after.file: item for item in run_pool(crash_on_3, RECORDS, 2)}
    assert len(finished) == 6
    assert [file for file, item in finished.items() if not item.after.kept] == ["g/3"]
    assert "crashed" in finished["g/3"].after.reason
    assert not finished["g/3"].final


def test_a_record_that_never_ends_is_refused_with_its_limit_and_the_others_finish():
    # In an interpreter of its own: what workers print goes where their server's output went when it began.
    command = [sys.executable, "-c", f"from {__name__} import print_what_hangs; print_what_hangs()"]
    result = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    finished = json.loads(result.stdout)
    assert [file for file, (kept, _, _) in finished.items() if not kept] == ["g/3"]
    _, reason, final = finished["g/3"]
    assert "still not finished after 2 seconds" in reason
    assert not final
    assert len(finished) == 6
    assert result.stderr == ""


def print_what_hangs() -> None:
    finished = run_pool(hang_on_3, RECORDS, 2, two_seconds)
    print(json.dumps({item.after.file: (item.after.kept, item.after.reason, item.final) for item in finished}))


def test_the_time_limit_is_ten_minutes_and_grows_with_the_file():
    assert time_limit(Record("g/1", identity=(5_000_000, 0))) == 600
    assert time_limit(Record("g/1", identity=(700_000_000, 0))) == 7000
    assert time_limit(Record("g/1", measured={"seconds": 86400.0})) == 8640


def test_an_unexpected_exception_becomes_a_verdict_that_is_not_remembered():
    odd = run_one(fail, RECORDS[0])
    assert odd.after.reason.startswith(r"internal error: ValueError: odd\nvalue (test_pool.py:")
    assert not odd.final
    assert run_one(fail, RECORDS[1]).after.reason == "cannot be read: Permission denied"


def test_a_full_disk_stops_the_run():
    with pytest.raises(OSError, match="No space left"):
        list(run_pool(fill_the_disk, RECORDS, 2))
