"""Figures of how reliable a ranking is: agreement of criteria, and dependence on the order of the filters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from dashboard import formats
from dashboard.charts.layout import axis, axis_title, base_layout, shape
from dashboard.charts.palette import Palette


def matrix(
    values: np.ndarray, names: Sequence[str], *, form: formats.Form, chosen: str, palette: Palette
) -> go.Figure:
    """A symmetric matrix as a heat map with a number in every cell; columns are numbered like the rows."""
    count = len(names)
    texts = [["–" if np.isnan(value) else form(value) for value in row] for row in values]
    hover = [
        [f"{names[row]}<br>{names[column]}<br>{texts[row][column]}" for column in range(count)]
        for row in range(count)
    ]
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        zmin=0,
        zmax=2.2,  # keeps the cells light (dark on a dark page) enough to read the numbers
        colorscale=palette.colorscale,
        text=texts,
        texttemplate="%{text}",
        textfont={"size": 10, "color": palette.ink},  # ten columns fit on a phone
        hovertext=hover,
        hoverinfo="text",
        showscale=False,
        xgap=2,
        ygap=2,
    )
    broken = [f"{number} {name.replace('-', '-<br>', 1)}" for number, name in enumerate(names, 1)]
    widest = max(len(line) for row in broken for line in row.split("<br>"))
    rows = [f"<b>{row}</b>" if name == chosen else row for row, name in zip(broken, names, strict=True)]
    figure.update_layout(
        height=count * 30 + 30,
        margin={"l": 12 + round(6.4 * widest), "r": 0, "t": 24, "b": 0, "pad": 4},
        xaxis={
            **axis(palette),
            "side": "top",
            "tickvals": list(range(count)),
            "ticktext": [str(number + 1) for number in range(count)],
        },
        yaxis={
            **axis(palette),
            "autorange": "reversed",
            "tickvals": list(range(count)),
            "ticktext": rows,
            "tickfont": {"size": 11, "color": palette.ink},
        },
        **base_layout(palette),
    )
    return figure


def order_by_layer(
    layers: Sequence[str],
    mean: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    chance: float,
    chosen: str,
    palette: Palette,
) -> go.Figure:
    """For every layer the share of kept filters that is still kept with another filter first: mean, minimum, maximum."""
    figure = go.Figure()
    rows = list(range(len(layers)))
    for row, minimum, maximum in zip(rows, low, high, strict=True):
        figure.add_shape(
            type="line",
            x0=minimum,
            x1=maximum,
            y0=row,
            y1=row,
            layer="below",
            line={"width": 5, "color": palette.hairline},
        )
    for at in (chance, 1.0):
        figure.add_shape(
            type="line", x0=at, x1=at, y0=-0.6, y1=len(layers) - 0.4, **shape(line=palette.quiet, dash="dot")
        )
    figure.add_scatter(
        x=list(mean),
        y=rows,
        mode="markers",
        marker={"size": 11, "color": palette.pruned},
        hovertext=[
            f"<b>{layer}</b><br>{formats.percent(value)} still kept on average<br>"
            f"between {formats.percent(minimum)} and {formats.percent(maximum)}"
            for layer, value, minimum, maximum in zip(layers, mean, low, high, strict=True)
        ],
        hoverinfo="text",
        cliponaxis=False,
        showlegend=False,
    )
    for at, text, anchor in ((chance, "chance", "center"), (1.0, "energy, abs", "right")):
        figure.add_annotation(
            x=at,
            y=-0.65,
            yanchor="bottom",
            xanchor=anchor,
            text=text,
            showarrow=False,
            font={"size": 11, "color": palette.quiet},
        )
    figure.update_layout(
        height=len(layers) * 31 + 74,
        margin={"l": 50 + max(34, round(6.6 * max(map(len, layers)))), "r": 10, "t": 6, "b": 40, "pad": 4},
        xaxis={
            **axis(palette),
            "range": [0, 1.02],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
            "ticktext": [formats.percent(share) for share in (0, 0.25, 0.5, 0.75, 1)],
            "title": axis_title("kept filters that are still kept", palette),
        },
        yaxis={
            **axis(palette),
            "range": [len(layers) - 0.4, -1.5],
            "tickvals": rows,
            "ticktext": [
                f"<b>{layer}   {formats.percent(value)}</b>"
                if layer == chosen
                else f"{layer}   {formats.percent(value)}"
                for layer, value in zip(layers, mean, strict=True)
            ],
            "tickfont": {"size": 12, "color": palette.ink},
        },
        **base_layout(palette),
    )
    return figure
