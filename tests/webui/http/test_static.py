"""What the browser is given: nothing altered, nothing from other hosts."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

STATIC = Path(__file__).resolve().parents[3] / "webui" / "static"
VENDOR = STATIC / "vendor"
NAMESPACES = re.compile(rb"https?://www\.w3\.org/(1999/xhtml|2000/svg)")


def test_vendored_files_are_those_of_the_manifest() -> None:
    entries = json.loads((VENDOR / "manifest.json").read_text())
    for entry in entries:
        assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["name"]
        assert entry["version"] and entry["licence"] and (VENDOR / entry["licence_file"]).is_file()
    listed = {VENDOR / entry["file"] for entry in entries} | {VENDOR / entry["licence_file"] for entry in entries}
    found = {path for path in VENDOR.rglob("*") if path.is_file()} - {VENDOR / "manifest.json"}
    assert found == listed


def test_no_served_file_names_another_host() -> None:
    for path in STATIC.rglob("*"):
        if path.is_file() and path.name != "LICENSE" and path != VENDOR / "manifest.json":
            content = NAMESPACES.sub(b"", path.read_bytes())
            assert not re.search(rb"""(https?:)?//[a-z0-9-]+\.[a-z]{2,}[/"']""", content), path


def test_texts_enter_the_page_as_text() -> None:
    for path in (STATIC / "js").rglob("*.js"):
        content = path.read_text()
        assert not re.search(r"outerHTML|insertAdjacentHTML|document\.write|\beval\(", content), path
        # The one template is a constant.
        assert all("template.innerHTML = '" in line for line in content.splitlines() if "innerHTML" in line), path


def test_the_page_has_no_inline_script_or_style() -> None:
    html = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", html)
