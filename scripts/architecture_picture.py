#!/usr/bin/env python3
"""Draw docs/images/architecture.svg and fill the table of docs/architecture.md from the code; the tests check that both are current."""

from __future__ import annotations

import argparse
import ast
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.import_graph import LAYERS, PACKAGES, imports, layer, modules, part  # noqa: E402 (after the path is set)

PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- folders: written by scripts/architecture_picture.py -->", "<!-- end: folders -->"

WIDTH, ROW, BOX, HEIGHT, MARGIN = 800, 62, 112, 34, 24
GAP, LANE = 26, 18  # between boxes; the room that a passing arrow takes
SWEEPS = 24

STYLE = """
.back{fill:#ffffff}.panel{fill:#f3f5f8;stroke:#d5dae1}.box{fill:#ffffff;stroke:#57606a}.page{stroke:#1f6feb;stroke-width:1.6}
.name{fill:#1f2328}.title,.note{fill:#57606a}.arrow{fill:none;stroke:#8c959f;stroke-width:1.2}.head{fill:#8c959f}
@media (prefers-color-scheme:dark){
.back{fill:#0d1117}.panel{fill:#161b22;stroke:#30363d}.box{fill:#0d1117;stroke:#9198a1}.page{stroke:#58a6ff}
.name{fill:#f0f6fc}.title,.note{fill:#9198a1}.arrow{stroke:#6e7681}.head{fill:#6e7681}}
text{font:14px -apple-system,"Segoe UI","Noto Sans",Helvetica,Arial,sans-serif}.title{font-size:15px;font-weight:600}.note{font-size:12px}
"""


def main() -> int:
    """Write both files, or with --check say whether they are current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in current().items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(
                f"{path.relative_to(ROOT)} is out of date: run scripts/architecture_picture.py",
                file=sys.stderr,
            )
        else:
            path.write_text(current()[path], encoding="utf-8")
    return int(check and bool(stale))


def current() -> dict[Path, str]:
    """What the two files have to hold."""
    graph = part_imports()
    page = PAGE.read_text(encoding="utf-8")
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    return {PICTURE: draw(graph), PAGE: f"{before}{BEGIN}\n{table(graph)}{after}"}


def part_imports() -> dict[str, set[str]]:
    """The parts that each part imports; the faces core and dashboard are no parts."""
    graph: dict[str, set[str]] = {name: set() for parts in LAYERS for name in parts}
    for found in imports(ROOT, PACKAGES):
        one, other = part(found.module), part(found.target)
        if one != other and one in graph and other in graph and layer(other) < layer(one):
            graph[one].add(other)
    return graph


def table(graph: dict[str, set[str]]) -> str:
    """A row a part, from the top down: its path, the first sentence of its docstring, and what it imports."""
    files = modules(ROOT, PACKAGES)
    rows = ["| Part | What is in it | Imports |", "|---|---|---|"]
    for name in (name for parts in reversed(LAYERS) for name in parts):
        path = files[name].relative_to(ROOT)
        shown = path.parent.as_posix() + "/" if path.name == "__init__.py" else path.as_posix()
        text = ast.get_docstring(ast.parse(files[name].read_text(encoding="utf-8"))) or ""
        said = " ".join(text.split("\n\n")[0].split()).replace("|", "\\|").replace("``", "`")
        taken = [
            other.removeprefix("core.")
            for other in sorted(graph[name], key=lambda other: (-layer(other), other))
        ]
        rows.append(f"| `{shown}` | {said} | {', '.join(taken) or '–'} |")
    return "\n".join(rows) + "\n"


# The picture: rows of boxes, arrows between them (a layered drawing after Sugiyama, 1981)


@dataclass(eq=False)
class Slot:
    """A place in a row: a part's box, or an arrow that passes the row on its way down."""

    row: int
    name: str = ""
    x: float = 0.0
    above: list[Slot] = field(default_factory=list)
    below: list[Slot] = field(default_factory=list)

    @property
    def half(self) -> float:
        """Half of the room that it takes."""
        return (BOX + GAP) / 2 if self.name else LANE / 2


def direct(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that no chain of other imports stands for."""

    def reached(names: Iterable[str]) -> set[str]:
        names = set(names)
        return names.union(*(reached(graph[name]) for name in names)) if names else names

    return sorted(
        (one, other)
        for one, others in graph.items()
        for other in others
        if other not in reached(set().union(*(graph[name] for name in others)))
    )


def layout(graph: dict[str, set[str]]) -> list[list[Slot]]:
    """Rows from the top down, their slots from left to right: ordered and placed by the mean of what they are joined to."""
    rows: list[list[Slot]] = [
        [Slot(row, name) for name in parts] for row, parts in enumerate(reversed(LAYERS))
    ]
    slots = {slot.name: slot for row in rows for slot in row}
    for one, other in direct(graph):
        upper = slots[one]
        for number in range(upper.row + 1, slots[other].row):
            passing = Slot(number)
            rows[number].append(passing)
            upper.below.append(passing)
            passing.above.append(upper)
            upper = passing
        upper.below.append(slots[other])
        slots[other].above.append(upper)
    for row in rows:
        spread(row, [WIDTH / 2 + index - len(row) / 2 for index in range(len(row))])
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            wishes = {}
            for slot in row:
                joined = (
                    (slot.above if down else slot.below) if sweep < SWEEPS - 6 else slot.above + slot.below
                )
                wishes[slot] = sum(each.x for each in joined) / len(joined) if joined else slot.x
            if sweep < SWEEPS - 6:  # afterwards the order stays and the places settle
                row.sort(key=lambda slot: wishes[slot])
            spread(row, [wishes[slot] for slot in row])
    return rows


def spread(row: list[Slot], wishes: list[float]) -> None:
    """Place a row's slots near their preferred positions, in their order, without overlap and inside the picture."""
    for slot, wish in zip(row, wishes, strict=True):
        slot.x = wish
    for _ in range(60):
        for left, right in itertools.pairwise(row):
            overlap = left.half + right.half - (right.x - left.x)
            if overlap > 0:
                left.x, right.x = left.x - overlap / 2, right.x + overlap / 2
        for slot in row:
            slot.x = min(max(slot.x, MARGIN + slot.half), WIDTH - MARGIN - slot.half)


def draw(graph: dict[str, set[str]]) -> str:
    """The picture as SVG text."""
    rows = layout(graph)
    top = {index: 44 + ROW * index for index in range(len(rows))}
    height = top[len(rows) - 1] + HEIGHT + 60
    panels: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        panels[next(slot.name for slot in row if slot.name).split(".")[0]].append(index)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        "<title>The parts of Pannscope and their imports</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0.5 8 4 0 7.5z"/></marker></defs>',
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="8"/>',
    ]
    for name, inside in panels.items():
        if name != "pannscope":
            y, tall = top[inside[0]] - 16, ROW * (len(inside) - 1) + HEIGHT + 32
            parts.append(f'<rect class="panel" x="10" y="{y}" width="{WIDTH - 20}" height="{tall}" rx="10"/>')
            parts.append(f'<text class="title" x="24" y="{y + 24}">{name}/</text>')
    for row in rows:
        parts += [arrow(slot, below, top) for slot in row if slot.name for below in slot.below]
    for row in rows:
        parts += [box(slot, top[slot.row]) for slot in row if slot.name]
    note = "An arrow is an import. Those that follow from a chain of others are left out; docs/architecture.md lists them all."
    parts.append(f'<text class="note" x="24" y="{height - 16}">{note}</text></svg>')
    return "\n".join(parts) + "\n"


def arrow(slot: Slot, below: Slot, top: dict[int, int]) -> str:
    """A line from a box down to the box that it imports, through the slots that it passes."""
    x, y = slot.x, float(top[slot.row] + HEIGHT)
    line = f"M{x:.0f} {y:.0f}"
    while True:
        end = top[below.row] - (2 if below.name else -HEIGHT / 2)
        middle = (y + end) / 2
        line += f" C{x:.0f} {middle:.0f} {below.x:.0f} {middle:.0f} {below.x:.0f} {end:.0f}"
        if below.name:
            return f'<path class="arrow" marker-end="url(#head)" d="{line}"/>'
        x, y, below = below.x, end, below.below[0]


def box(slot: Slot, y: int) -> str:
    """A part's box with its name in it; a package's has a slash, as a folder's name."""
    name = slot.name.rpartition(".")[2]
    path = ROOT.joinpath(*slot.name.split("."))
    shown = escape(f"{name}/" if path.is_dir() else f"{name}.py")
    page = " page" if (path / "page.py").is_file() else ""
    return (
        f'<rect class="box{page}" x="{slot.x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6"/>'
        f'<text class="name" x="{slot.x:.0f}" y="{y + 22}" text-anchor="middle">{shown}</text>'
    )


if __name__ == "__main__":
    sys.exit(main())
