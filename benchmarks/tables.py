"""What the sections of the page share: rows of a part, Markdown tables, and the line that shows a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Results = dict[str, Any]
"""A benchmark's parts by name, as ``benchmarks/bench.py`` writes them."""


def rows_of(results: Results, part: str) -> list[dict[str, Any]]:
    """A part's rows; none where it was not run."""
    return results.get(part, {}).get("rows", [])


def read_rates(results: Results) -> dict[int, float]:
    """GB/s at which memory was read by this number of threads: the best of all parts, since other load only slows it."""
    rates: dict[int, float] = {}
    for part in results.values():
        for threads, rate in part.get("host", {}).get("memory_read", {}).get("gb_per_s", {}).items():
            rates[int(threads)] = max(rates.get(int(threads), 0.0), rate)
    return dict(sorted(rates.items()))


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; columns of figures, after the first column, are aligned to the right."""
    rows = [list(line) for line in lines]
    figures = [
        all(line[column][:1].isdigit() or line[column][:1] in "+-−×" for line in rows)
        for column in range(len(columns))
    ]
    rule = ["---:" if right and column else "---" for column, right in enumerate(figures)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (list(columns), rule, *rows))


def cell(milliseconds: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


def threads_of(number: int) -> str:
    """1 thread, 2 threads."""
    return f"{number} thread{'' if number == 1 else 's'}"


def picture(name: str, pictures: dict[str, str], caption: str) -> str:
    """The line that shows a picture, and an empty one; nothing where it was not drawn."""
    return f"![{caption}]({pictures[name]})\n\n" if name in pictures else ""
