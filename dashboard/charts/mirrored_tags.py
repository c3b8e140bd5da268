"""The tags of two networks as mirrored bars: baseline to the left, candidate to the right."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.compare import Row, differs
from core.ontology import Place
from core.units import beside_threshold
from dashboard import formats
from dashboard.charts.layout import axis, axis_title, base_layout, shape
from dashboard.charts.palette import Palette

ROW_PX = 38
MARGIN_PX = 52

_HEADING_ROWS = 0.7  # room above a group, in rows
_PALE = 0.35  # opacity of bars below the threshold: still visible on both themes, and no rival to the others
_X_LIMIT = 1.24  # beyond 1, so that there is room for a figure at the end of a full bar
_NO_CLASS = "not a class of this model"


def is_marked(row: Row, threshold: float) -> bool:
    """Whether a tag is lost, gained, or kept with a difference that counts (``differs``)."""
    if row.change(threshold) == "kept":
        return differs(row.difference or 0.0)
    return row.change(threshold) in {"lost", "gained"}


def mirrored_tags(
    rows: Sequence[Row],
    *,
    baseline: str,
    candidate: str,
    palette: Palette,
    threshold: float,
    room: int = 0,
    places: Sequence[Place] = (),
) -> go.Figure:
    """Both models' probabilities as bars about a common center: baseline to the left, candidate to the right.

    The tag's name stands above its two bars, so that a name of any length fits on a phone, and the values at the ends of the
    bars. Marked rows have a shaded background and show the difference; rows below the threshold are pale.

    Parameters
    ----------
    rows : the tags, from top to bottom.
    baseline, candidate : the models' names, for the hover text.
    threshold : the probability from which on a tag counts, drawn on both sides.
    room : the figure is at least as high as this number of rows.
    places : where each row stands in the ontology, to draw groups apart under their headings, and an arrow before the names of children; none to draw neither.
    """
    ys = _positions(len(rows), places)
    end = (ys[-1] if ys else -1) + 0.5
    height = max(end + 0.5, room)
    hover = [_hover(row, baseline, candidate, threshold) for row in rows]
    counted = [row.change(threshold) != "below" for row in rows]
    inks = [palette.ink if counts else palette.quiet for counts in counted]
    figure = go.Figure()
    sides = (
        (-1, palette.baseline, [row.baseline for row in rows]),
        (1, palette.pruned, [row.candidate for row in rows]),
    )
    for sign, color, values in sides:
        add_bars(figure, ys, values, counted, hover, color=color, inks=inks, threshold=threshold, sign=sign)
    for y, place in zip(ys, places, strict=False):
        if place.heading:
            figure.add_annotation(
                x=0,
                xref="paper",
                xanchor="left",
                y=y - 0.5 - _HEADING_ROWS / 2,
                text=heading_text(place),
                showarrow=False,
                font={"size": 12, "color": palette.quiet},
            )
    for number, (y, row, ink) in enumerate(zip(ys, rows, inks, strict=True)):
        if is_marked(row, threshold):
            band = shape(fill=palette.band)
            figure.add_shape(type="rect", xref="paper", x0=0, x1=1, y0=y - 0.47, y1=y + 0.47, **band)
        figure.add_annotation(
            x=0,
            y=y - 0.25,
            text="↳ " * (places[number].depth if places else 0) + _label(row, threshold),
            showarrow=False,
            font={"size": 13, "color": ink},
        )
    for x in (-threshold, threshold):
        dotted = shape(line=palette.hairline, dash="dot")
        figure.add_shape(type="line", x0=x, x1=x, y0=-0.5, y1=end, **dotted)
    for y in ys:
        figure.add_shape(type="line", x0=0, x1=0, y0=y - 0.06, y1=y + 0.40, **shape(line=palette.quiet))
    figure.update_layout(
        barmode="overlay",
        height=height * ROW_PX + MARGIN_PX,
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
    figure.update_yaxes(range=[height - 0.5, -0.5], fixedrange=True, visible=False)
    return figure


def heading_text(place: Place) -> str:
    """'Sounds of things › Vehicle', of the first of a group that has a heading; else nothing."""
    return " › ".join(place.heading or ())


def mirrored_tags_alt(
    rows: Sequence[Row], *, baseline: str, candidate: str, threshold: float, places: Sequence[Place] = ()
) -> str:
    """The same chart in words, for screen readers."""
    headings = [f"under {heading_text(place)}, " if place.heading else "" for place in places] or [""] * len(
        rows
    )
    listed = "; ".join(
        f"{heading}{row.name} {value_text(row.baseline, threshold)} and {value_text(row.candidate, threshold)}"
        f"{_change_text(row, threshold)}"
        for heading, row in zip(headings, rows, strict=True)
    )
    return f"Mirrored bars, probabilities by {baseline} and by {candidate}: {listed}."


def _positions(count: int, places: Sequence[Place]) -> list[float]:
    """The middle of every row, counted in rows from the first one's."""
    room = [0.0 if place.heading is None else _HEADING_ROWS for place in places] or [0.0] * count
    return [number + sum(room[: number + 1]) for number in range(count)]


def _hover(row: Row, baseline: str, candidate: str, threshold: float) -> str:
    lines = [
        f"<b>{row.name}</b>",
        f"{baseline} {value_text(row.baseline, threshold)}",
        f"{candidate} {value_text(row.candidate, threshold)}",
    ]
    if row.difference is not None:
        lines.append(f"difference {formats.signed(row.difference)}{_change_text(row, threshold)}")
    return "<br>".join(lines)


def value_text(value: float | None, threshold: float) -> str:
    """A probability beside a bar; what is said where the network has no such class."""
    return _NO_CLASS if value is None else beside_threshold(value, threshold)


def add_bars(
    figure: go.Figure,
    ys: Sequence[float],
    values: Sequence[float | None],
    counted: Sequence[bool],
    hover: Sequence[str],
    *,
    color: str,
    inks: Sequence[str],
    threshold: float,
    sign: int = 1,
) -> None:
    """Add one network's bars, to the right or, with ``sign`` -1, to the left; pale where the row is not ``counted``."""
    figure.add_bar(
        x=[sign * (value or 0.0) for value in values],
        y=[y + 0.17 for y in ys],
        orientation="h",
        width=0.40,
        text=[value_text(value, threshold) for value in values],
        textposition="outside",
        textangle=0,
        textfont={"size": 12, "color": inks},
        cliponaxis=False,
        marker={
            "color": color,
            "opacity": [1.0 if counts else _PALE for counts in counted],
            "line": {"width": 0},
            "cornerradius": 3,
        },
        hovertext=hover,
        hoverinfo="text",
        showlegend=False,
    )


def _change_text(row: Row, threshold: float) -> str:
    """', lost' or ', gained' beside what is written about a row; nothing for others."""
    change = row.change(threshold)
    return f", {change}" if change in {"lost", "gained"} else ""


def _label(row: Row, threshold: float) -> str:
    if row.difference is None or not is_marked(row, threshold):
        return row.name
    return f"<b>{row.name}  {formats.signed(row.difference)}{_change_text(row, threshold)}</b>"
