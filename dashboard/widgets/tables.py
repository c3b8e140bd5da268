"""Results as tables and files: every tag of a clip, one row a clip, CSV and JSON files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence

import pandas as pd
import streamlit as st

from core.classes import top_categories
from core.compare import Comparison, Row, rows
from core.comparisons import ClassRow, Comparisons
from core.ontology import grouped, other_parents
from core.units import guarded
from dashboard import formats
from dashboard.charts.mirrored_tags import heading_text

_INDENT = "\u2003"  # an em space: a table's cell keeps it

_NAME_PX, _FIGURE_PX = (
    150,
    100,
)  # with two networks a phone shows the whole of both; of more the table is scrolled

BELOW = 3
"""Tags below the threshold that a chart shows: enough to see what comes next; what follows is mostly noise."""


def shown_rows(comparison: Comparison, *, categories: Sequence[str] = ()) -> list[Row]:
    """The tags to show, by the larger of the two probabilities; of the chosen categories, or of all where none is chosen."""
    return [
        row for row in rows(comparison.baseline, comparison.candidate) if in_categories(row.index, categories)
    ]


def chart_rows(comparison: Comparison, *, limit: int, categories: Sequence[str] = ()) -> list[Row]:
    """The tags to draw, at most ``limit``: those at the threshold in either network, then ``BELOW`` of those below it."""
    listed = shown_rows(comparison, categories=categories)
    counted = sum(row.change(comparison.agreement.threshold) != "below" for row in listed)
    return listed[: min(limit, counted + BELOW)]


def in_categories(index: int, categories: Sequence[str]) -> bool:
    """Whether the tag of an AudioSet index belongs to one of the top-level categories; without any, every tag does."""
    return not categories or any(name in categories for name in top_categories(index))


def tag_frame(
    tag_rows: Iterable[ClassRow], titles: Sequence[str], *, in_groups: bool = False
) -> pd.DataFrame:
    """Tags with each network's probability and categories; in groups, children are indented below their parents, and headings have no figures."""
    lines: list[tuple[str, ClassRow | None]] = [(row.name, row) for row in tag_rows]
    if in_groups:
        by_index = {row.index: row for _, row in lines if row}
        lines, under = [], 0
        for place in grouped(list(by_index)):
            if place.heading is not None:
                under = len(place.heading) > 0
                lines += [(heading_text(place), None)] * under
            row = by_index[place.index]
            lines.append((_INDENT * (under + place.depth) + row.name, row))
    listed = [row for _, row in lines]
    about = ("Also under", other_parents) if in_groups else ("Category", top_categories)
    return pd.DataFrame(
        {
            "Tag": [name for name, _ in lines],
            **{
                title: [row and row.probabilities[number] for row in listed]
                for number, title in enumerate(titles)
            },
            "Difference": [row and row.difference for row in listed],
            about[0]: [row and ", ".join(about[1](row.index)) for row in listed],
        }
    )


def all_tags(
    comparisons: Comparisons,
    titles: Sequence[str],
    categories: Sequence[str] = (),
    *,
    in_groups: bool = False,
) -> None:
    """Every tag as a sortable table with a column for each network, whose titles are all different."""
    shown = [row for row in comparisons.rows() if in_categories(row.index, categories)]
    listed = tag_frame(shown, titles, in_groups=in_groups)
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    st.dataframe(
        listed,
        hide_index=True,
        height=min(420, 38 + 35 * max(1, len(listed))),
        column_config={
            "Tag": text(width=_NAME_PX, pinned=True),
            **{title: number(format="%.3f", width=_FIGURE_PX) for title in titles},
            "Difference": number(
                format="%+.3f" if len(titles) == 2 else "%.3f",
                width="small",
                help=f"{titles[1]} minus {titles[0]}."
                if len(titles) == 2
                else "The largest of the probabilities minus the smallest.",
            ),
            "Category": text(help="AudioSet's top-level category, or several."),
            "Also under": text(
                help="Other parents in AudioSet's ontology; a tag stands under the first one."
            ),
        },
        placeholder=formats.DASH,
        alt=f"Probabilities of all tags by {', '.join(titles)}",
    )


def csv_text(comparisons: Sequence[Comparisons]) -> str:
    """Every tag of every clip, one line each: clip, index, tag, each network's probability and their difference (``ClassRow.difference``)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    names = [guarded(tags.model) for tags in comparisons[0].tags]
    writer.writerow(["clip", "sha256", "index", "tag", *names, "difference"])
    for each in comparisons:
        clip = each.clip
        for row in each.rows():
            figures = (*row.probabilities, row.difference)
            cells = ["" if value is None else f"{value:.6f}" for value in figures]
            writer.writerow([guarded(clip.name), clip.sha256, row.index, guarded(row.name), *cells])
    return out.getvalue()


def json_text(comparisons: Sequence[Comparisons]) -> str:
    """What ``pannscope compare --json`` prints: one document, or one line for each of several clips."""
    if len(comparisons) == 1:
        return json.dumps(comparisons[0].document(), indent=2, ensure_ascii=False)
    return "".join(json.dumps(each.document(), ensure_ascii=False) + "\n" for each in comparisons)
