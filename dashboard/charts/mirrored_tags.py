"""The tags of two networks as mirrored bars: baseline to the left, candidate to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import plotly.graph_objects as go

from dashboard import formats
from dashboard.charts.layout import axis, axis_title, base_layout, shape
from dashboard.charts.palette import Palette

MARKED_FROM = 0.10
"""Rows whose two probabilities differ by at least this much are marked; smaller differences are easy to read as they are."""

ROW_PX = 38
MARGIN_PX = 52

_X_LIMIT = 1.24  # beyond 1, so that there is room for a figure at the end of a full bar
_NO_CLASS = "not a class of this model"


class TagRow(Protocol):
    """One tag of a comparison; ``None`` where a model does not have the class."""

    @property
    def name(self) -> str: ...
    @property
    def baseline(self) -> float | None: ...
    @property
    def candidate(self) -> float | None: ...


def difference(row: TagRow) -> float | None:
    """Candidate minus baseline, or None where one of the models does not have the class."""
    if row.baseline is None or row.candidate is None:
        return None
    return row.candidate - row.baseline


def is_marked(row: TagRow) -> bool:
    """Whether both models have the tag and their probabilities differ by ``MARKED_FROM`` or more."""
    change = difference(row)
    return change is not None and round(abs(change), 6) >= MARKED_FROM


def mirrored_tags(
    rows: Sequence[TagRow], *, baseline: str, candidate: str, palette: Palette, threshold: float
) -> go.Figure:
    """Both models' probabilities as bars about a common center: baseline to the left, candidate to the right.

    The tag's name stands above its two bars, so that a name of any length fits on a phone, and the values at the ends of the
    bars. Marked rows have a shaded background and show the difference.

    Parameters
    ----------
    rows : the tags, from top to bottom.
    baseline, candidate : the models' names, for the hover text.
    threshold : a probability that is marked on both sides.
    """
    ys = range(len(rows))
    hover = [_hover(row, baseline, candidate) for row in rows]
    figure = go.Figure()
    sides = (
        (-1, palette.baseline, [row.baseline for row in rows]),
        (1, palette.pruned, [row.candidate for row in rows]),
    )
    for sign, color, values in sides:
        figure.add_bar(
            x=[sign * (value or 0.0) for value in values],
            y=[y + 0.17 for y in ys],
            orientation="h",
            width=0.40,
            text=[_value_text(value) for value in values],
            textposition="outside",
            textangle=0,
            textfont={"size": 12, "color": palette.ink},
            cliponaxis=False,
            marker={"color": color, "line": {"width": 0}, "cornerradius": 3},
            hovertext=hover,
            hoverinfo="text",
            showlegend=False,
        )
    for y, row in zip(ys, rows, strict=True):
        if is_marked(row):
            band = shape(fill=palette.band)
            figure.add_shape(type="rect", xref="paper", x0=0, x1=1, y0=y - 0.47, y1=y + 0.47, **band)
        figure.add_annotation(
            x=0, y=y - 0.25, text=_label(row), showarrow=False, font={"size": 13, "color": palette.ink}
        )
    for x in (-threshold, threshold):
        dotted = shape(line=palette.hairline, dash="dot")
        figure.add_shape(type="line", x0=x, x1=x, y0=-0.5, y1=len(rows) - 0.5, **dotted)
    for y in ys:
        figure.add_shape(type="line", x0=0, x1=0, y0=y - 0.06, y1=y + 0.40, **shape(line=palette.quiet))
    figure.update_layout(
        barmode="overlay",
        height=len(rows) * ROW_PX + MARGIN_PX,
        margin={"l": 0, "r": 0, "t": 4, "b": 40, "pad": 0},
        **base_layout(palette),
    )
    figure.update_xaxes(
        range=[-_X_LIMIT, _X_LIMIT],
        tickvals=[-1, -0.5, 0, 0.5, 1],
        ticktext=["1", "0.5", "0", "0.5", "1"],
        title=axis_title("probability", palette),
        **(axis(palette) | {"tickfont": {"size": 12, "color": palette.quiet}}),
    )
    figure.update_yaxes(range=[len(rows) - 0.5, -0.5], fixedrange=True, visible=False)
    return figure


def mirrored_tags_alt(rows: Sequence[TagRow], *, baseline: str, candidate: str) -> str:
    """The same chart in words, for screen readers."""
    listed = "; ".join(
        f"{row.name} {_value_text(row.baseline)} and {_value_text(row.candidate)}" for row in rows
    )
    return f"Mirrored bars, probabilities by {baseline} and by {candidate}: {listed}."


def _hover(row: TagRow, baseline: str, candidate: str) -> str:
    lines = [
        f"<b>{row.name}</b>",
        f"{baseline} {_value_text(row.baseline)}",
        f"{candidate} {_value_text(row.candidate)}",
    ]
    change = difference(row)
    if change is not None:
        lines.append(f"difference {formats.signed(change)}")
    return "<br>".join(lines)


def _value_text(value: float | None) -> str:
    return _NO_CLASS if value is None else formats.probability(value)


def _label(row: TagRow) -> str:
    change = difference(row)
    return (
        f"<b>{row.name}  {formats.signed(change)}</b>" if change is not None and is_marked(row) else row.name
    )
