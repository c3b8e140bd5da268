"""What every section of the page needs: rows of a part, Markdown tables, and the line that shows a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Found = dict[str, Any]
"""A benchmark's parts by name, as ``benchmarks/bench.py`` writes them."""


def rows_of(found: Found, part: str) -> list[dict[str, Any]]:
    """A part's rows; none where it was not run."""
    return found.get(part, {}).get("rows", [])


def read_rates(found: Found) -> dict[int, float]:
    """GB/s that memory was read at by so many threads: the best of all parts, since others' work only slows it."""
    rates: dict[int, float] = {}
    for part in found.values():
        for threads, rate in part.get("host", {}).get("memory_read", {}).get("gb_per_s", {}).items():
            rates[int(threads)] = max(rates.get(int(threads), 0.0), rate)
    return dict(sorted(rates.items()))


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; the columns after the first are set to the right where all they hold are figures."""
    held = [list(line) for line in lines]
    figures = [
        all(line[place][:1].isdigit() or line[place][:1] in "+-−×" for line in held)
        for place in range(len(columns))
    ]
    rule = ["---:" if right and place else "---" for place, right in enumerate(figures)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (list(columns), rule, *held))


def cell(milliseconds: float) -> str:
    """Milliseconds with three digits that count."""
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def threads_of(number: int) -> str:
    """1 thread, 2 threads."""
    return f"{number} thread{'' if number == 1 else 's'}"


def picture(name: str, pictures: dict[str, str], says: str) -> str:
    """The line that shows a picture, and an empty one; nothing where it was not drawn."""
    return f"![{says}]({pictures[name]})\n\n" if name in pictures else ""
