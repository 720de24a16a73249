"""What a person sees of a dataset: the page, its sounds, report.json, and the tables in the terminal."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import soundfile
from rich.console import Console

from dataset_processing.report import page as report_page
from dataset_processing.report import preview, report
from dataset_processing.report.charts import BANDWIDTH, DURATION, LOUDNESS, clock, decimal, histogram
from dataset_processing.run import runner, terminal
from dataset_processing.run.result import Result
from dataset_processing.run.run_config import select_steps
from dataset_processing.step import Paths, Record
from tests.dataset_processing.sounds import contents, make_config, make_source, tune, write

HEAD = report_page.About("The music of a friend", "../source", "32 kHz, stereo", "scan, convert")


def page_of(records: Iterable[Record], previews: dict[str, bytes] | None = None) -> str:
    return report_page.to_html(report.to_json(list(records)), HEAD, previews or {})


def text_of(page: str) -> str:
    """What stands on the page to read, with single spaces."""
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text.replace("\u00a0", " "))


class Elements(HTMLParser):
    """(tag, attributes) of every element of a page; complains about elements that are not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag != "meta":
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.found if name in attributes]


def kept(file: str, game: str = "Castle", **measured: float) -> Record:
    return Record(file, game, measured={"seconds": 60.0, **measured})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A dataset of two games with refused files of several kinds."""
    folder = tmp_path_factory.mktemp("finished")
    game = make_source(folder / "source", games=2, tracks=2) / "game 0"
    write(game / "short #1 'x'.wav", tune(0.2, seed=5))
    write(game / "caf\udce9 short.wav", tune(0.3, seed=6))
    write(game / "silent.wav", np.zeros((22050, 2)))
    write(game / "zz copy.flac", tune(seed=0))
    (game / "empty.ogg").write_bytes(b"")
    (game / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    whole = write(folder / "whole.flac", tune(20, seed=7)).read_bytes()
    (game / "cut.flac").write_bytes(whole[: len(whole) * 2 // 3])
    make(folder)
    return folder


def make(folder: Path) -> Result:
    config = make_config(folder / "source", folder / "dataset", processes=1)
    return runner.run(config, select_steps(config, None))


@pytest.fixture(scope="module")
def page(finished) -> str:
    return (finished / "dataset" / "report.html").read_text()


def test_the_page_needs_nothing_but_itself(page):
    elements = Elements(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "img", "iframe", "object", "form", "input"}
    assert all(address.startswith("data:audio/mpeg;base64,") for address in elements.attributes("src"))
    assert not re.search(r"url\(|@import|http:|https:", page)
    assert elements.attributes("style") == []
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]


def test_the_page_forbids_itself_everything_else(page):
    policy = next(value for value in Elements(page).attributes("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_head_says_what_the_dataset_is_and_not_when_or_where_it_was_made(finished, page):
    text = text_of(page)
    for words in ("tracks of 2 games", "16 kHz, stereo, FLAC 16 bit, −20 LUFS", "../source", "Dual Diffusion 0.1.0"):
        assert words in text
    assert str(finished) not in page
    assert "dataset" not in text.replace("Dataset report", "")


def test_an_equal_source_gives_an_equal_page_wherever_it_lies(finished, tmp_path):
    subprocess.run(["cp", "-a", finished / "source", tmp_path / "source"], check=True)
    make(tmp_path)
    assert contents(tmp_path / "dataset") == contents(finished / "dataset")


def test_every_name_and_text_is_escaped():
    hostile = "game/<script>alert(1)</script>\udce9\n\" onload='x'.ogg"
    records = [
        kept(hostile, "<b>").noted("<i>"),
        Record(hostile, "&").refused("<u>"),
        Record(hostile + "2", "&").refused("a duplicate: its samples equal those of <s>"),
    ]
    page = report_page.to_html(report.to_json(records), report_page.About("<h1>", '"><a>', "", ""), {hostile: b"ab"})
    elements = Elements(page)
    assert not {"script", "i", "u", "s"} & {tag for tag, _ in elements.found}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert page.encode()


def test_links_lead_to_the_files_whatever_they_are_called(finished, page):
    links = [os.fsdecode(unquote_to_bytes(link)) for link in Elements(page).attributes("href")]
    targets = {(finished / "dataset" / link).resolve() for link in links}
    for name in ("short #1 'x'.wav", "caf\udce9 short.wav", "empty.ogg", "cover.jpg", "zz copy.flac", "track 0.flac"):
        assert finished / "source" / "game 0" / name in targets
    assert all(os.path.lexists(target) for target in targets)
    assert all(link.isascii() for link in Elements(page).attributes("href"))


def test_refused_files_can_be_heard_in_the_page(page):
    elements = Elements(page)
    players = [attributes for tag, attributes in elements.found if tag == "audio"]
    assert len(players) == 5  # two short ones, the silent, the copy and the cut one; an empty file has no sound
    assert all(player["preload"] == "none" and "controls" in player for player in players)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1180, "light"), (360, "dark")])
def test_the_page_plays_and_fits_when_it_is_opened_from_disk(finished, width, scheme):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip(f"{chromium} is missing; install it to run the browser tests: apt-get install chromium")
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        view.on("console", lambda message: complaints.append(message.text))
        view.goto((finished / "dataset" / "report.html").as_uri())
        played = view.locator("audio").last.evaluate(
            """async (audio) => { audio.muted = true; await audio.play();
                 await new Promise((done) => audio.addEventListener("timeupdate", done)); return audio.duration; }"""
        )
        background = view.evaluate("getComputedStyle(document.body).backgroundColor")
        overflow = view.evaluate("document.documentElement.scrollWidth - innerWidth")
        browser.close()
    assert complaints == []
    assert played > 0.2
    assert overflow <= 0
    brightness = sum(int(value) for value in re.findall(r"\d+", background)[:3]) / 3
    assert (brightness > 128) == (scheme == "light")


def test_a_preview_is_the_beginning_of_the_file_at_a_comfortable_level(tmp_path):
    quiet = tune(12, seed=1, rate=44100) * np.float32(0.1)
    excerpt = preview.read_excerpt(write(tmp_path / "long.wav", quiet, 44100))
    assert len(excerpt) == preview.SECONDS * preview.SAMPLE_RATE
    assert np.abs(excerpt).max() == pytest.approx(0.7, abs=0.01)
    original = quiet.mean(1)[: 8 * 44100 : 2]
    assert np.corrcoef(excerpt, original)[0, 1] > 0.99
    sound, rate = soundfile.read(io.BytesIO(preview.encode_mp3(excerpt)))
    assert rate == preview.SAMPLE_RATE
    assert sound.shape == pytest.approx((8 * rate,), abs=3000)


@pytest.mark.parametrize("level", [0, 1e-4])
def test_what_is_as_good_as_silent_stays_so(tmp_path, level):
    noise = level * np.random.default_rng(0).uniform(-1, 1, (22050, 2))
    assert np.abs(preview.read_excerpt(write(tmp_path / "x.wav", noise, subtype="FLOAT"))).max() <= level


def test_samples_that_are_not_numbers_make_no_noise(tmp_path):
    sound = tune(1)
    sound[100:200] = np.nan
    sound[300] = np.inf
    excerpt = preview.read_excerpt(write(tmp_path / "x.wav", sound, subtype="FLOAT"))
    assert np.isfinite(excerpt).all()
    assert np.abs(excerpt).max() == pytest.approx(0.7, abs=0.01)


def test_what_cannot_be_decoded_has_no_preview(tmp_path):
    (tmp_path / "x.mp3").write_bytes(b"no music at all")
    assert preview.read_excerpt(tmp_path / "x.mp3") is None


def test_two_encodings_are_equal_byte_by_byte():
    code = (
        "import hashlib, numpy as np\nfrom dataset_processing.report.preview import encode_mp3\n"
        "sound = np.sin(np.arange(40000) / 20).astype('float32') / 2\nprint(hashlib.md5(encode_mp3(sound)).hexdigest())"
    )
    outputs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    assert outputs[0].stdout == outputs[1].stdout != ""


def test_a_second_run_decodes_nothing_and_a_removed_file_takes_its_preview_along(finished, tmp_path, monkeypatch):
    subprocess.run(["cp", "-a", *finished.glob("*"), tmp_path], check=True)
    state = tmp_path / "dataset" / ".state" / "previews"
    before = contents(tmp_path / "dataset")
    monkeypatch.setattr(preview, "open_audio", lambda path: pytest.fail(f"{path} was decoded again"))
    assert make(tmp_path).changed_files == []
    assert contents(tmp_path / "dataset") == before
    count = len(list(state.iterdir()))
    (tmp_path / "source" / "game 0" / "silent.wav").unlink()
    make(tmp_path)
    assert len(list(state.iterdir())) == count - 1
    for path in (tmp_path / "source" / "game 0").iterdir():
        if path.name not in ("track 0.flac", "track 1.flac"):
            path.unlink()
    make(tmp_path)
    assert not state.exists()


def test_the_players_show_different_reasons(tmp_path):
    paths = Paths(tmp_path / "source", tmp_path / "dataset")
    records = []
    for number in range(30):
        kind = "too short: 1 s" if number < 28 else f"reason {'ab'[number - 28]}"
        file = write(paths.source / "g" / f"{number:02}.wav", tune(0.1, seed=number)).relative_to(paths.source)
        records.append(Record(str(file), "g").refused(kind))
    heard = preview.previews(records, paths)
    assert len(heard) == preview.PLAYERS
    assert {"g/28.wav", "g/29.wav", "g/00.wav"} <= set(heard)


def test_what_made_a_decoder_crash_and_what_is_no_file_is_not_opened(tmp_path):
    paths = Paths(tmp_path / "source", tmp_path / "dataset")
    write(paths.source / "g" / "crash.wav")
    os.mkfifo(paths.source / "g" / "pipe.wav")
    reasons = {
        "g/crash.wav": "the program that decodes it crashed on this file",
        "g/pipe.wav": "not a regular file (a pipe, socket or device)",
        "g/gone.wav": "cannot be read: no such file or directory",
    }
    assert preview.previews([Record(file, "g").refused(reason) for file, reason in reasons.items()], paths) == {}


def test_duplicates_stand_beside_what_they_repeat():
    same = Record("g/b.ogg", "g").refused("a duplicate: its samples equal those of g/a.ogg")
    same = same.adding(measured={"duplicate_of": "g/a.ogg"})
    near = Record("g/c.mp3", "g").refused("nearly a duplicate: 98% of it sounds the same as g/a.ogg")
    near = near.adding(measured={"duplicate_of": "g/a.ogg", "similarity": 0.99951})
    text = text_of(page_of([kept("g/a.ogg", "g"), same, near]))
    assert "Exact duplicates (1) Refused The same samples as g/b.ogg g/a.ogg" in text
    assert "Near duplicates (1) Refused Sounds like Similarity g/c.mp3 g/a.ogg 99.9 %" in text
    assert "duplicates (" not in text_of(page_of([kept("g/a.ogg", "g")]))


def test_games_come_by_hours_and_a_thousand_of_them_stay_readable():
    records = [kept(f"{n}/a.ogg", f"Game {n:04}", seconds=60.0 * (n + 1)) for n in range(1000)]
    page = page_of(records)
    names = re.findall(r"Game \d{4}(?=</span>)", page)
    assert names == [f"Game {n:04}" for n in reversed(range(1000))]
    before_the_fold = page[: page.index("<details>")]
    assert len(re.findall(r"Game \d{4}</span>", before_the_fold)) == 40
    assert "960 smaller games" in text_of(page)


def test_twenty_thousand_refused_files_with_long_names_stay_below_five_megabytes():
    name = "カ" * 80
    records = [Record(f"{name}/{n} {name}.ogg", name).refused(f"a reason of length: {n}") for n in range(10000)]
    records += [kept(f"{name}/{n} {name}.mp3", name).noted("mono", "DC offset") for n in range(10000)]
    page = page_of(records, {f"{name}/{n} {name}.ogg": bytes(50000) for n in range(12)})
    assert len(page.encode()) < 5e6
    assert text_of(page).count("and 9,500 more: see report.json") == 2


def test_report_json_keeps_its_contract(finished):
    data = json.loads((finished / "dataset" / "report.json").read_text())
    for file in data["files"]:
        assert {"file", "game", "verdict", "reason", "notes", "measured"} <= set(file)
        assert file["verdict"] in ("kept", "refused")
        assert (file["reason"] == "") == (file["verdict"] == "kept")
    summary = data["summary"]
    assert (summary["kept"], summary["refused"], summary["not_audio"]) == (4, 6, 1)
    assert summary["reasons"]["too short"] == 2
    assert sum(summary["reasons"].values()) == summary["refused"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("too short: 1.5 s, at least 5 s are wanted", "too short"),
        ("damaged after 3.25 s: bad frame", "damaged after … s"),
        ("a broken symbolic link (to 'x.ogg')", "a broken symbolic link (to …)"),
        ("a MIDI file", "a MIDI file"),
    ],
)
def test_reasons_are_counted_without_what_differs_from_file_to_file(reason, kind):
    assert report.reason_class(reason) == kind


def bars(figure: str) -> dict[str, int]:
    """Range -> tracks of a histogram's bars."""
    return {span: int(count) for span, count in re.findall(r"<title>(.*?): (\d+) tracks?</title>", figure)}


def test_a_histogram_counts_every_track_once_between_round_numbers():
    figure = histogram("Duration", [61.0, 62.0, 119.0, 120.0, 300.0], DURATION)
    assert sum(bars(figure).values()) == 5
    assert bars(figure)["1:00 to 1:10"] == 2
    assert bars(figure)["2:00 to 2:10"] == 1
    assert "middle 1:59, from 1:01 to 5:00" in figure


def test_one_far_value_does_not_squeeze_the_others_and_is_told():
    values = [float(value) for value in np.linspace(60, 240, 100)]
    figure = histogram("Duration", [*values, 36000.0], DURATION)
    assert len(bars(figure)) > 10
    assert sum(bars(figure).values()) == 101
    assert "1 further out is counted in the outermost bars" in figure
    assert "to 10:00:00" in figure


@pytest.mark.parametrize(
    ("axis", "value"), [(DURATION, 0.0), (LOUDNESS, -20.0), (BANDWIDTH, 22050.0), (DURATION, 7200)]
)
def test_a_single_value_makes_one_narrow_bar(axis, value):
    figure = histogram("One", [value], axis)
    (width,) = re.findall(r'class="bar".*?width="([\d.]+)"', figure)
    assert float(width) < 60
    assert histogram("None", [], axis) == ""


@pytest.mark.parametrize("count", [1, 30000])
def test_the_largest_count_has_room_beside_the_plot(count):
    figure = histogram("Many", [60.0] * count, DURATION)
    right_edge = float(re.search(rf'<text x="([\d.]+)"[^>]*>{count:,}</text>', figure)[1])
    assert right_edge >= 6.5 * len(f"{count:,}")  # 11 px digits are about 6 px wide


def test_a_long_table_opens_on_a_click():
    files = [Record(f"g/{n:03}.ogg", "g").refused(f"too short: {n} s") for n in range(30)]
    page = page_of(files)
    assert "5 more" in text_of(page)
    assert page.index("g/024.ogg") < page.index("<details>") < page.index("g/025.ogg")


def test_numbers_are_written_for_people():
    assert [clock(seconds) for seconds in (0.25, 5, 65, 3725)] == ["0.2 s", "0:05", "1:05", "1:02:05"]
    assert [decimal(value) for value in (-20, 0.5, -0.0001)] == ["−20", "0.5", "0"]
    lengths = [report_page.length(hours).replace("\u00a0", " ") for hours in (0.01, 0.5, 1.8667, 59.999, 1204.4)]
    assert lengths == ["36 s", "30 min", "1 h 52 min", "60 h 0 min", "1,204 h"]


def terminal_text(records: list[Record], width: int = 80) -> list[str]:
    output = io.StringIO()
    result = Result(records, [], complete=True, changed_files=["report.json"])
    terminal.print_result(Console(file=output, width=width), result, "a/long/path/" * 8 + "dataset")
    return output.getvalue().splitlines()


def test_hundreds_of_games_fit_on_a_screen_with_the_most_refused_first():
    records = [kept(f"{n}/a.ogg", f"Game {n:03}", seconds=36.0) for n in range(300)]
    records += [Record(f"123/{n}.ogg", "Game 123").refused("too short: 1 s") for n in range(3)]
    lines = terminal_text(records)
    games = [line for line in lines if "ame" in line and "│" in line]
    assert games[0].split("│")[1].strip() == "Game 123"
    assert len(lines) < 50
    rest = [cell.strip() for cell in games[-1].split("│")[1:5]]
    assert rest == ["and 270 more games", "270", "2.70", ""]


def test_long_names_are_cut_in_the_terminal_but_paths_stay_whole():
    lines = terminal_text([kept("g/a.ogg", "A very long name " * 10)])
    assert all(len(line) <= 80 for line in lines if "│" in line)
    assert any("…" in line and "1" in line for line in lines)
    assert any("a/long/path/" * 8 + "dataset/report.html" in line for line in lines)


def test_faults_of_ours_come_first_and_not_by_the_hundred():
    records = [Record(f"g/{n:03}.ogg", "g").refused("internal error: KeyError: 'x' (scan.py:3)") for n in range(200)]
    records += [Record(f"h/{n:03}.ogg", "h").refused("too short: 1 s") for n in range(300)]
    lines = terminal_text(records)
    assert lines[0].startswith("g/000.ogg: internal error: KeyError")
    assert lines[10] == "and 190 more such faults: see report.json"
    rows = [line for line in lines if re.match(r"│ +\d+ │", line)]
    assert "internal error" in rows[0]
    assert "too short" in rows[1]


def test_metadata_for_hugging_face_has_one_plain_line_per_track(finished):
    lines = [json.loads(line) for line in (finished / "dataset" / "metadata.jsonl").read_text().splitlines()]
    tracks = [
        json.loads(line)
        for split in ("train", "validation")
        for line in (finished / "dataset" / f"{split}.jsonl").read_text().splitlines()
    ]
    assert [line["file_name"] for line in lines] == sorted(track["file_name"] for track in tracks)
    assert {line["split"] for line in lines} == {"train", "validation"}
    assert {tuple(line) for line in lines} == {tuple(lines[0])}  # equal columns in equal order
    assert [key for key in lines[0] if key.endswith("file_name")] == ["file_name"]
    assert all(isinstance(value, str | int | float | None) for line in lines for value in line.values())


def test_metadata_is_valid_text_whatever_the_sources_are_called(tmp_path):
    write(tmp_path / "source" / "g \udce9" / "caf\udce9.wav", tune(seed=1))
    make(tmp_path)
    (line,) = (tmp_path / "dataset" / "metadata.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert json.dumps(row, ensure_ascii=False).encode()
    assert (row["game"], row["source_file"]) == ("g é", "g é/café.wav")
    assert (tmp_path / "dataset" / row["file_name"]).is_file()


def test_games_of_several_tracks_that_no_held_out_track_can_judge_are_named():
    def track(game: str, name: str, split: str) -> Record:
        return kept(f"{game}/{name}.ogg", game).adding(fields={"split": split})

    records = [track("Cave", "a", "train"), track("Cave", "b", "train"), track("Alone", "a", "train")]
    records += [track("Castle", "a", "train"), track("Castle", "b", "validation")]
    told = [line for line in terminal_text(records) if "held out" in line]
    assert len(told) == 1
    assert told[0].startswith("no track is held out of 1 of 3 games (Cave), ")
    assert "validation_tracks=1" in told[0]
    assert not [line for line in terminal_text([*records, track("Cave", "c", "validation")]) if "held out" in line]
