"""The command line: quick help, one-line errors, exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from dataset_processing.__main__ import main
from dualdiffusion.errors import UserError
from tests.dataset_processing.sounds import contents, make_config, make_source, write


@pytest.fixture
def config_path(tmp_path):
    source = make_source(tmp_path / "source", games=1, tracks=2)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(make_config(source, tmp_path / "dataset").to_json()))
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["add", "--help"], ["synth", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom dataset_processing.__main__ import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'av', 'pydantic', 'rich'} & set(sys.modules)\nassert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "usage: python -m dataset_processing" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.json"], r"nowhere\.json: no such file"),
        (["run", "CONFIG", "--steps", "scna"], r"--steps scna: no such step; nearest: scan"),
        (["run", "CONFIG", "--set", "source=nowhere"], r"source nowhere: no such folder"),
        (["run", "CONFIG", "--set", "dataset=SOURCE/x"], r"one must not lie inside the other"),
        (["run", "CONFIG", "--set", "steps.0.type=scan.Scna"], r"no such class in steps/scan\.py; it has: Scan"),
        (["run", "CONFIG", "--set", "steps.1.sample_rat=1"], r"steps\.1\.sample_rat: unknown key; did you mean"),
        (["run", "CONFIG", "--set", "processes=0"], r"processes: .*greater than or equal to 1"),
        (["run", "CONFIG", "--steps", "convert"], r"2 files are not up to date for scan; run that step first"),
        (["run"], r"CONFIG.*--help"),
        (["paint"], r"paint.*--help"),
    ],
)
def test_a_mistake_is_one_line(config_path, tmp_path, arguments, message):
    places = {"CONFIG": str(config_path), "SOURCE": str(tmp_path / "source")}
    arguments = [re.sub("CONFIG|SOURCE", lambda match: places[match[0]], argument) for argument in arguments]
    with pytest.raises(UserError, match=message) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)


def test_a_mistake_exits_with_2_and_no_traceback(tmp_path, config_path):
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "dataset_processing", "run", str(config_path), "--set", f"source={tmp_path}/empty"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == f"error: source {tmp_path}/empty: the folder is empty\n"


def test_a_dataset_in_use_is_refused_with_the_process_id(config_path, tmp_path):
    from dualdiffusion.files import folder_lock

    with folder_lock(tmp_path / "dataset"), pytest.raises(UserError, match=r"process \d+ is already at work"):
        main(["run", str(config_path)])


def test_strict_fails_only_for_audio(config_path, tmp_path, capsys):
    (tmp_path / "source" / "game 0" / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    assert main(["run", str(config_path), "--strict"]) == 0
    # A score beside its recording is a side file; notes without a recording are worth a word.
    (tmp_path / "source" / "game 0" / "track 0.mid").write_bytes(b"MThd" + bytes(100))
    assert main(["run", str(config_path), "--strict"]) == 0
    assert "2 files that are not audio" in capsys.readouterr().out
    (tmp_path / "source" / "game 0" / "alone.mid").write_bytes(b"MThd" + bytes(100))
    assert main(["run", str(config_path), "--strict"]) == 1
    (tmp_path / "source" / "game 0" / "alone.mid").unlink()
    (tmp_path / "source" / "game 0" / "bad.wav").write_bytes(b"no music at all")
    assert main(["run", str(config_path)]) == 0
    assert main(["run", str(config_path), "--strict"]) == 1
    assert "plain text, not audio" in capsys.readouterr().out


def test_a_dry_run_writes_nothing_and_a_second_run_says_so(config_path, tmp_path, capsys):
    assert main(["run", str(config_path), "--dry-run"]) == 0
    assert not (tmp_path / "dataset").exists()
    main(["run", str(config_path)])
    before = contents(tmp_path / "dataset")
    capsys.readouterr()
    main(["run", str(config_path)])
    assert "nothing to do: everything is up to date" in capsys.readouterr().out
    assert contents(tmp_path / "dataset") == before


def test_names_that_are_not_text_are_printed(config_path, tmp_path, capsys):
    write(tmp_path / "source" / "game \udce9[red]" / "x.wav")
    assert main(["run", str(config_path)]) == 0
    assert "game é[red]" in capsys.readouterr().out
