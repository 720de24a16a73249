"""All combinations of values and seeds, and the page that shows them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from dualdiffusion import audio
from dualdiffusion.errors import UserError
from dualdiffusion.files import sha256_of
from sampling.command.batch import identity
from sampling.command.grid import Axis, Cell, combinations, parse_grid, parse_seeds
from sampling.output.contact_sheet import ContactSheet
from sampling.output.settings import OutputSettings
from sampling.recommended import Asked, Recommended
from sampling.request import Request, Source
from sampling.tasks.source import with_file

GAMES = {"games": {"Castle": 1.0}}


def grid(*options: str, data: dict | None = None) -> list[Cell]:
    return combinations(Asked(GAMES if data is None else data), parse_grid(options), "request", Recommended())


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("5", [5]), ("1-4", [1, 2, 3, 4]), ("3,7,9-12", [3, 7, 9, 10, 11, 12]), (" 2 - 3 , 2", [2, 3]), ("0-0", [0])],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text).values == tuple(seeds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9-1", "falls; write 1-9"),
        ("nan", "whole numbers"),
        ("-3", "whole numbers"),
        ("1.5", "whole numbers"),
        ("1,,2", "whole numbers"),
        ("", "whole numbers"),
        ("1-", "whole numbers"),
        ("1-9999999999999999", "more than 1,000"),
        ("1-600,1001-1600", "more than 1,000"),
    ],
)
def test_bad_seeds_are_told(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_seeds(text)


def test_a_grid_is_all_combinations_the_last_axis_fastest() -> None:
    cells = grid("cfg_scale=1,2.5", "steps=10,50", "seed=3,4")
    assert [cell.labels for cell in cells][:3] == [("1", "10", "3"), ("1", "10", "4"), ("1", "50", "3")]
    assert len(cells) == 8
    assert cells[-1].request.cfg_scale == 2.5
    assert (cells[-1].request.steps, cells[-1].request.seed) == (50, 4)


def test_a_grid_varies_games_whole_or_by_weight() -> None:
    mixes = [cell.request.games for cell in grid("games.Cave=0,0.5")]
    assert mixes == [{"Castle": 1.0, "Cave": 0.0}, {"Castle": 1.0, "Cave": 0.5}]
    assert [cell.request.games for cell in grid("game=Cave,Dr. X,7", data={})] == [
        {"Cave": 1.0},
        {"Dr. X": 1.0},
        {"7": 1.0},
    ]
    whole = grid('games={"Cave":0.7,"Dr. X":-1},{"Castle":1}')
    assert [cell.request.games for cell in whole] == [{"Cave": 0.7, "Dr. X": -1.0}, {"Castle": 1.0}]
    assert whole[0].labels == ("Cave 0.7, Dr. X -1",)
    assert grid("ema=null,raw")[0].request.ema is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["cfg_scal=1,2"], "cfg_scal: unknown key; did you mean cfg_scale"),
        (["stps.x=1"], "stps.x: unknown key"),
        (["steps"], "must be KEY=VALUE"),
        (["steps="], "must be KEY=VALUE"),
        (["steps=1,2", "steps=3"], "is given twice"),
        (["steps=2,2"], "is the same request"),
        (["steps=10,0"], "request with steps=0: steps: .*greater than or equal to 1"),
        (["cfg_scale=1,NaN"], "cfg_scale: .*finite"),
        (["cfg_scale=1,"], "cfg_scale: .*number"),
        (["seed=1,1.5"], "seed: .*integer"),
        (["games.Castle=0,1"], "at least one game needs a weight"),
        (["sampler=heun,huen"], "did you mean heun"),
        (["seconds.x=1,2"], "seconds"),
        (["steps=1,2,3,4,5,6,7,8,9,10,11", "seed=" + ",".join(map(str, range(100)))], "1,100 clips, more than 1,000"),
    ],
)
def test_everything_wrong_with_a_grid_is_told_at_once(options: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        grid(*options)


HARMLESS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "h1",
        "h2",
        "p",
        "br",
        "a",
        "dl",
        "div",
        "dt",
    ),
    *("dd", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "audio"),
}


class Page(HTMLParser):
    """What the tests ask of a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def write_clip(folder: Path, name: str, level: float = 0.1) -> Path:
    path = folder / f"{name}.flac"
    generator = torch.Generator().manual_seed(0)
    audio.write_flac(path, level * torch.randn(2, 8000, generator=generator), 8000)
    return path


def sheet_of(folder: Path, axes: list[Axis]) -> tuple[ContactSheet, list[Cell]]:
    cells = combinations(Asked(GAMES), axes, "request", Recommended())
    return ContactSheet(folder, axes, cells, "model"), cells


@pytest.mark.parametrize(
    ("options", "tables", "rows", "columns"),
    [
        ([], 1, 0, 1),
        (["steps=1,2,3"], 1, 0, 3),
        (["steps=1,2", "seed=1,2,3"], 1, 2, 3),
        (["sampler=heun,euler", "cfg_scale=1,2", "steps=1,2", "seed=1,2,3"], 4, 2, 3),
    ],
)
def test_a_sheet_has_a_cell_for_every_clip(
    options: list[str], tables: int, rows: int, columns: int, tmp_path: Path
) -> None:
    sheet, cells = sheet_of(tmp_path, parse_grid(options))
    paths = [write_clip(tmp_path, f"clip {number} #1?") for number in range(len(cells))]
    sheet.begin(paths)
    page = Page(sheet.path.read_text())
    assert len(page.all("table")) == tables
    assert len(page.all("audio")) == len(page.all("img")) == len(cells)
    assert len([th for th in page.all("th") if th.get("scope") == "row"]) == tables * rows
    assert len([th for th in page.all("th") if th.get("scope") == "col"]) == tables * columns
    assert [unquote(player["src"]) for player in page.all("audio")] == [path.name for path in paths]
    assert all(player["preload"] == "none" and "controls" in player for player in page.all("audio"))
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("h1")) == 1


def test_a_sheet_grows_with_the_clips_and_is_found_again_by_an_equal_grid(tmp_path: Path) -> None:
    sheet, cells = sheet_of(tmp_path, parse_grid(["steps=1,2"]))
    sheet.begin([None, None])
    assert "0 of 2 clips are ready" in sheet.path.read_text()
    sheet.add(cells[1], write_clip(tmp_path, "b", level=0.0))
    text = sheet.path.read_text()
    assert "1 of 2 clips are ready" in text
    assert text.index("not made yet") < text.index("b.flac")
    assert "silent" in text
    again, _ = sheet_of(tmp_path, parse_grid(["steps=1,2"]))
    assert again.path == sheet.path
    assert sheet_of(tmp_path, parse_grid(["steps=1,3"]))[0].path != sheet.path


def test_a_sheet_shows_the_level_of_the_file(tmp_path: Path) -> None:
    sheet, _ = sheet_of(tmp_path, [])
    path = write_clip(tmp_path, "a")
    sheet.begin([path])
    samples, sample_rate = audio.read(path)
    shown = re.search(r"(\S+) LUFS", Page(sheet.path.read_text()).text)
    assert float(shown[1].replace("\u2212", "-")) == pytest.approx(audio.loudness_lufs(samples, sample_rate), abs=0.06)


def test_a_sheet_is_one_page_without_scripts_and_names_are_only_text(tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script>\" onclick=\"x' & \u202egame"
    axes = [Axis("game", (hostile, "Cave")), Axis("seed", (1, 2))]
    sheet, _ = sheet_of(tmp_path, axes)
    clips = [write_clip(tmp_path, name) for name in ("\"><b onclick='x'>", "b", "c", "d")]
    sheet.begin(clips)
    page = Page(sheet.path.read_text())
    assert {tag for tag, _ in page.elements} <= HARMLESS
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            value = attributes.get(name)
            if value is not None:
                inside = value.startswith("data:image/webp;base64,")
                assert inside or (tmp_path / unquote(value)).is_file(), value
    assert hostile in page.text
    assert not re.search(r"url\(|@import|https?:", sheet.path.read_text())
    assert "default-src 'none'" in sheet.path.read_text()


def test_a_clip_made_from_a_source_is_known_again_until_the_file_changes(tmp_path: Path) -> None:
    path, output = tmp_path / "source.wav", OutputSettings()
    path.write_bytes(b"one")
    asked = Request(games={"Castle": 1.0}, source=Source(path=str(path)))
    made = with_file(asked, sha256_of(path), 3.25)
    assert identity(made, output, "model") == identity(asked, output, "model")
    path.write_bytes(b"two")
    assert identity(made, output, "model") != identity(asked, output, "model")
