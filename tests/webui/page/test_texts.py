"""All English of the page's scripts is in one file: texts.js."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[3] / "webui" / "static" / "js"
TEXTS = SCRIPTS / "texts.js"
COMMENT = re.compile(r"/\*.*?\*/|(?<![:'\"`\\])//[^\n]*", re.DOTALL)
LITERAL = re.compile(r"'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\]|\\.)*)`")
WORDS = re.compile(
    r"[A-Za-z]{2,}[,;:]? [a-z]{2,}|^[A-Z].*[.?!…]$|^[A-Z][a-z]+$|\$\{[^}]*\} [a-z]{2,}|[A-Za-z]{2,}:? \$\{"
)
# What names keys of the keyboard, classes, selectors, media and addresses is no English.
NO_TEXT = re.compile(
    r"^(Enter|Escape|Home|End|Delete|Backspace|Control|Page\w+|Arrow\w+)$|^\(|[<>{}#\[=]+.*[\]>]|^(input|button)|^\.|"
    r"^[a-z-]+ \$\{|^Content-Type$|^application/|^dual-diffusion\.$|^Files$|^false, true$| --logdir "
)
CODE_BEFORE = re.compile(
    r"(class: |class: [^,{}]*[?:] |from |import |querySelector(All)?\(|matches\(|closest\(|Error\()$"
)


def scripts() -> Iterator[tuple[Path, str]]:
    for path in sorted(SCRIPTS.rglob("*.js")):
        yield path, COMMENT.sub("", path.read_text())


def english(code: str) -> list[str]:
    """Literals that people would read."""
    found = []
    for match in LITERAL.finditer(code):
        text = match[1] if match[1] is not None else match[2]
        if WORDS.search(text) and not NO_TEXT.search(text) and not CODE_BEFORE.search(code[: match.start()]):
            found.append(text)
    return found


def test_no_script_but_one_has_english() -> None:
    code = "el('p', { class: 'soft busy' }, 'Nothing here.'); notice(`${name} is gone.`); title: 'Undo'"
    assert english(code) == ["Nothing here.", "${name} is gone.", "Undo"]
    told = {str(path.relative_to(SCRIPTS)): english(code) for path, code in scripts() if path != TEXTS}
    assert {name: texts for name, texts in told.items() if texts} == {}


# Asked for by what the server says.
BY_NAME = {"PARAMETERS", "GROUPS", "LABELS", "TOOLS", "STAGES", "STATUS", "STEPS", "TURNS"}


def groups() -> dict[str, set[str]]:
    """The keys of each object of texts that is exported."""
    found: dict[str, set[str]] = {}
    for name, body in re.findall(r"^export const (\w+) = \{\n(.*?)^\};", TEXTS.read_text(), re.DOTALL | re.MULTILINE):
        found[name] = set(re.findall(r"^  (\w+):", body, re.MULTILINE))
    return found


def test_texts_that_are_asked_for_are_there_and_those_that_are_there_are_asked_for() -> None:
    known, asked = groups(), set[tuple[str, str]]()
    for path, code in scripts():
        for imported in re.findall(r"import \{ ([^}]*) \} from '[./]*/texts\.js'", code):
            for part in imported.split(", "):
                name, local = part.split(" as ") if " as " in part else (part, part)
                keys = set(re.findall(rf"\b{local}\.(\w+)", code)) if name in known else set()
                missing = keys - known.get(name, keys)
                assert not missing, (path, name, missing)
                asked |= {(name, key) for key in keys}
    assert {(name, key) for name, keys in known.items() if name not in BY_NAME for key in keys} - asked == set()
