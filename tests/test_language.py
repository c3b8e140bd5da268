"""The words of the project: standard technical English that a newcomer can search for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("core", "dashboard", "pannscope", "docs")

WORDS = (
    # networks receive and output, clips are selected at random, caches evict
    "heard|hears|told|lots|let go|nought|take home|turn about",
    "listens? to|listening|overhears?|unheard",
    # "is not a checkpoint", "is ambiguous", "NaN or infinite samples", "tolerates pruning"
    "(?<!there )is no (checkpoint|recording|plan|number|folder|file)|no finite numbers|cannot be told|bears? pruning",
    "somebody|whoever|thereof|hitherto",
    # prose is British; identifiers and other people's names for things (``optimizer``, ``normalized``) are as libraries have them
    "(recogni|synthesi|minimi|maximi|summari|organi|penali|regulari)z(es|ed|ing)|equalizers?|behaviors?|neighbors?|favors?|analyz(e[sd]?|ing)",
    # names that were replaced
    "workbench|give_back|set_aside|audition|disguised|knobs?|shelf|shelves",
)


def texts() -> Iterator[tuple[str, str]]:
    files = [path for folder in FOLDERS for end in ("py", "md") for path in (ROOT / folder).rglob(f"*.{end}")]
    for path in [*sorted(files), ROOT / "README.md"]:
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", WORDS)
def test_words_that_are_not_the_fields(words: str) -> None:
    pattern = re.compile(rf"\b({words})\b", re.IGNORECASE)
    found = [
        f"{path}:{number}: {match[0]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]
    assert found == []
