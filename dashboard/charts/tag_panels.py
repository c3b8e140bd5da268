"""The tags of three or four networks: a panel of bars for each, with the same classes on the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.comparisons import ClassRow
from core.ontology import Place
from dashboard.charts.layout import axis, axis_title, base_layout, shape
from dashboard.charts.mirrored_tags import MARGIN_PX, ROW_PX, add_bars, value_text
from dashboard.charts.palette import Palette

_X_LIMIT = 1.24  # beyond 1, so that there is room for a figure at the end of a full bar
_LONGEST_NAME = 26  # letters that fit a panel of 180 px, of four beside each other at 1024 px; hovering shows the whole name


def tag_panel(
    rows: Sequence[ClassRow],
    number: int,
    *,
    palette: Palette,
    threshold: float,
    places: Sequence[Place] = (),
) -> go.Figure:
    """One network's probabilities as bars from the left, each under its class's name.

    Parameters
    ----------
    rows : the classes from top to bottom, the same for every panel, so that panels beside each other can be read across.
    number : which of the networks, from 0.
    threshold : the probability from which on a tag counts, drawn as a dotted line; bars below it are pale.
    places : where each row stands in the ontology, for an arrow before the names of children; none for no arrows.
    """
    values = [row.probabilities[number] for row in rows]
    counted = [value is not None and value >= threshold for value in values]
    inks = [palette.ink if counts else palette.quiet for counts in counted]
    color = (palette.baseline, palette.pruned, *palette.others)[number]
    count = len(rows)
    figure = go.Figure()
    hover = [
        f"<b>{row.name}</b><br>{value_text(value, threshold)}"
        for row, value in zip(rows, values, strict=True)
    ]
    add_bars(figure, range(count), values, counted, hover, color=color, inks=inks, threshold=threshold)
    for y, (row, ink) in enumerate(zip(rows, inks, strict=True)):
        figure.add_annotation(
            x=0,
            xanchor="left",
            xshift=-3,
            y=y - 0.25,
            text="↳ " * (places[y].depth if places else 0) + _short(row.name),
            showarrow=False,
            font={"size": 13, "color": ink},
        )
        figure.add_shape(type="line", x0=0, x1=0, y0=y - 0.06, y1=y + 0.40, **shape(line=palette.quiet))
    dotted = shape(line=palette.hairline, dash="dot")
    figure.add_shape(type="line", x0=threshold, x1=threshold, y0=-0.5, y1=count - 0.5, **dotted)
    figure.update_layout(
        height=count * ROW_PX + MARGIN_PX,
        margin={"l": 4, "r": 0, "t": 4, "b": 40, "pad": 0},
        **base_layout(palette),
    )
    figure.update_xaxes(
        range=[0, _X_LIMIT],
        tickvals=[0, 0.5, 1],
        ticktext=["0", "0.5", "1"],
        title=axis_title("probability", palette),
        **(axis(palette) | {"tickfont": {"size": 12, "color": palette.quiet}}),
    )
    figure.update_yaxes(range=[count - 0.5, -0.5], fixedrange=True, visible=False)
    return figure


def tag_panel_alt(rows: Sequence[ClassRow], number: int, *, title: str, threshold: float) -> str:
    """The same panel in words, for screen readers."""
    listed = "; ".join(f"{row.name} {value_text(row.probabilities[number], threshold)}" for row in rows)
    return f"Bars, probabilities by {title}: {listed}."


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1].rstrip(' ,')}…"
