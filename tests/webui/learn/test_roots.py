"""What a visitor can choose: folders below the roots, and nothing else of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from webui.learn.roots import Place, Roots
from webui.refusal import RefusedError


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two roots, and a secret beside them."""
    for folder in ("music/snes/Castle", "music/.hidden", "more/nes", "secret/diary"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "music" / "a.flac").write_bytes(b"")
    return tmp_path


@pytest.fixture
def roots(machine: Path) -> Roots:
    return Roots([machine / "music", machine / "more"])


def test_folders_are_listed_by_name_without_their_place_on_the_machine(roots: Roots, machine: Path) -> None:
    listing = roots.listing(Place(0, ""))
    assert listing["folders"] == [{"name": "snes", "path": "snes"}]
    assert listing["files"] == 1
    assert roots.listing(Place(0, "snes"))["folders"] == [{"name": "Castle", "path": "snes/Castle"}]
    assert str(machine) not in str([listing, roots.names()])


@pytest.mark.parametrize(
    "place",
    [
        Place(0, ".."),
        Place(0, "snes/../../secret"),
        Place(0, "../music"),
        Place(0, "snes\\..\\..\\secret"),
        Place(0, "snes\0"),
        Place(0, "nowhere"),
        Place(0, "a.flac"),
        Place(0, "x" * 5000),
        Place(2, ""),
        Place(-1, ""),
    ],
)
def test_what_is_not_below_a_root_is_refused_in_one_line(roots: Roots, place: Place) -> None:
    with pytest.raises(RefusedError) as refused:
        roots.listing(place)
    assert refused.value.status in (403, 404)
    assert "\n" not in refused.value.error


def test_an_absolute_path_is_names_below_the_root(roots: Roots, machine: Path) -> None:
    with pytest.raises(RefusedError):
        roots.listing(Place(0, str(machine / "secret")))


def test_a_link_counts_as_the_place_that_it_leads_to(roots: Roots, machine: Path) -> None:
    (machine / "music" / "out").symlink_to(machine / "secret")
    (machine / "music" / "other root").symlink_to(machine / "more")
    names = [folder["name"] for folder in roots.listing(Place(0, ""))["folders"]]
    assert names == ["other root", "snes"]
    with pytest.raises(RefusedError, match="leads out"):
        roots.folder(Place(0, "out"))
    with pytest.raises(RefusedError, match="leads out"):
        roots.folder(Place(0, "out/diary"))


def test_a_folder_with_a_link_that_leads_out_cannot_be_prepared(roots: Roots, machine: Path) -> None:
    folder = machine / "music" / "snes"
    roots.check_links(folder)
    (folder / "Castle" / "nes").symlink_to(machine / "more" / "nes")
    (folder / "Castle" / "loop").symlink_to(folder / "Castle" / "loop")
    roots.check_links(folder)
    (folder / "Castle" / "track.flac").symlink_to("/etc/passwd")
    with pytest.raises(RefusedError) as refused:
        roots.check_links(folder)
    assert refused.value.error == "path: 'Castle/track.flac' is a link that leads out of the folder of music"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_says_so(roots: Roots, machine: Path) -> None:
    (machine / "music" / "snes").chmod(0)
    try:
        with pytest.raises(RefusedError, match="cannot be read"):
            roots.listing(Place(0, "snes"))
    finally:
        (machine / "music" / "snes").chmod(0o700)
