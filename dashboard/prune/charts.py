"""Figures of the Prune page: widths before and after, curves over the ratio, and the sensitivity map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from dashboard import formats
from dashboard.charts.layout import axis, axis_title, base_layout, shape
from dashboard.charts.palette import Palette, mixed, text_on

_ROW_PX, _LOW_ROW_PX = 36, 22
_MANY_ROWS = 16  # of which the rows are low: a network of 40 layers would be 1,440 px high
_CURVE_PX = 300
_CELL_PX = 30
_LETTER_PX = 6.6  # of the 12 px labels
_SHORTEST_BAR = 0.012  # of the widest layer: a single filter stays visible beside 2,048
_LABEL_GAP = 0.075  # of the axis: two labels at the ends of lines do not overlap


@dataclass(frozen=True)
class Across:
    """What a curve is over: the axis's title and range, its ticks, and a point on it in words, of the ``{}`` in ``at``."""

    title: str
    range: tuple[float, float]
    ticks: Sequence[tuple[float, str]]
    form: formats.Form
    at: str


REMOVED = Across(
    "share of filters removed",
    (-0.015, 0.915),
    [(step * 0.15, formats.percent(step * 0.15)) for step in range(7)],
    formats.percent,
    "{} removed",
)


@dataclass(frozen=True)
class Line:
    """One curve over the pruning ratio, or over something else.

    Attributes
    ----------
    name : its label, at the right end.
    ratios, values : the points; ratios are from 0 to 1, or what the axis has.
    dash : plotly's name of the line style, which distinguishes curves of one colour.
    quiet : a level to compare with, in the text's second colour and without points.
    """

    name: str
    ratios: Sequence[float]
    values: Sequence[float]
    dash: str = "solid"
    quiet: bool = False


@dataclass(frozen=True)
class Mark:
    """A single point: the current cut, or (``hollow``) a published figure."""

    name: str
    ratio: float
    value: float
    hollow: bool = False


def architecture(
    layers: Sequence[str], before: Sequence[int], after: Sequence[int], *, palette: Palette
) -> go.Figure:
    """Every layer as a bar whose length is its number of channels, first layer on top: kept in front of removed."""
    widest = max(before)
    rows = list(range(len(layers)))
    figure = go.Figure()
    for widths, color in ((before, palette.removed), (after, palette.pruned)):
        lengths = [max(width, _SHORTEST_BAR * widest) for width in widths]
        figure.add_bar(
            x=lengths,
            base=[-length / 2 for length in lengths],
            y=rows,
            orientation="h",
            width=0.74,
            marker={"color": color, "line": {"width": 0}, "cornerradius": 2},
            hovertext=[
                f"<b>{layer}</b><br>filters: {formats.whole(old)}, {formats.whole(new)} stay"
                for layer, old, new in zip(layers, before, after, strict=True)
            ],
            hoverinfo="text",
            showlegend=False,
        )
    for row, old, new in zip(rows, before, after, strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=8,
            y=row,
            showarrow=False,
            align="left",
            text=formats.whole(old) if old == new else f"{formats.whole(old)} → <b>{formats.whole(new)}</b>",
            font={"size": 12, "color": palette.quiet if old == new else palette.ink},
        )
    figure.update_layout(
        barmode="overlay",
        height=len(rows) * (_ROW_PX if len(rows) <= _MANY_ROWS else _LOW_ROW_PX) + 16,
        margin={"l": _label_px(layers), "r": 102, "t": 4, "b": 12, "pad": 0},
        **base_layout(palette),
    )
    figure.update_xaxes(range=[-0.52 * widest, 0.52 * widest], fixedrange=True, visible=False)
    figure.update_yaxes(
        range=[len(rows) - 0.5, -0.5],
        tickvals=rows,
        ticktext=list(layers),
        **(axis(palette) | {"tickfont": {"size": 12, "color": palette.ink}}),
    )
    return figure


def architecture_alt(layers: Sequence[str], before: Sequence[int], after: Sequence[int]) -> str:
    """The same chart in words, for screen readers."""
    listed = ", ".join(
        f"{layer} {old}" if old == new else f"{layer} {old} to {new}"
        for layer, old, new in zip(layers, before, after, strict=True)
    )
    return f"Channels of every layer before and after pruning: {listed}."


def curves(
    lines: Sequence[Line],
    marks: Sequence[Mark],
    *,
    palette: Palette,
    y_title: str,
    y_range: tuple[float, float],
    y_ticks: Sequence[tuple[float, str]],
    form: formats.Form,
    at: float | None = None,
    across: Across = REMOVED,
) -> go.Figure:
    """Curves over the pruning ratio, labelled at their right ends; ``at`` is the current ratio."""
    low, high = y_range
    figure = go.Figure()
    if at is not None:
        figure.add_shape(type="line", x0=at, x1=at, y0=low, y1=high, **shape(line=palette.quiet, dash="dot"))
    for value, _ in y_ticks:
        figure.add_shape(
            type="line", xref="paper", x0=0, x1=1, y0=value, y1=value, **shape(line=palette.hairline)
        )
    for line in lines:
        figure.add_scatter(
            x=list(line.ratios),
            y=list(line.values),
            mode="lines+markers" if len(line.ratios) < 13 and not line.quiet else "lines",
            line={
                "color": palette.quiet if line.quiet else palette.pruned,
                "width": 1.4 if line.quiet else 2.2,
                "dash": line.dash,
            },
            marker={"size": 5},
            hovertext=[
                f"<b>{line.name}</b><br>{across.at.format(across.form(ratio))}: {form(value)}"
                for ratio, value in zip(line.ratios, line.values, strict=True)
            ],
            hoverinfo="text",
            showlegend=False,
            cliponaxis=False,
        )
    for mark in marks:
        figure.add_scatter(
            x=[mark.ratio],
            y=[mark.value],
            mode="markers",
            marker={
                "size": 11,
                "symbol": "diamond-open" if mark.hollow else "circle",
                "color": palette.ink if mark.hollow else palette.pruned,
                "line": {"width": 1.6, "color": palette.ink},
            },
            hovertext=f"<b>{mark.name}</b><br>{formats.percent(mark.ratio)} removed: {form(mark.value)}",
            hoverinfo="text",
            showlegend=False,
            cliponaxis=False,
        )
    drawn = [line for line in lines if len(line.values)]
    label_ys = _spread([float(line.values[-1]) for line in drawn], _LABEL_GAP * (high - low), low, high)
    for line, label_y in zip(drawn, label_ys, strict=True):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="left",
            xshift=8,
            y=label_y,
            text=line.name.replace(" ", formats.NBSP),
            showarrow=False,
            align="left",
            font={"size": 12, "color": palette.ink},
        )
    figure.update_layout(
        height=_CURVE_PX,
        margin={"l": 46, "r": 84, "t": 10, "b": 44, "pad": 0},
        hovermode="closest",
        **base_layout(palette),
    )
    figure.update_xaxes(
        range=list(across.range),
        tickvals=[value for value, _ in across.ticks],
        ticktext=[text for _, text in across.ticks],
        title=axis_title(across.title, palette),
        **axis(palette),
    )
    figure.update_yaxes(
        range=[low - 0.02 * (high - low), high + 0.02 * (high - low)],
        tickvals=[value for value, _ in y_ticks],
        ticktext=[text for _, text in y_ticks],
        title=axis_title(y_title, palette),
        **axis(palette),
    )
    return figure


def ticks(top: float) -> list[tuple[float, str]]:
    """Three to eight round values from 0 up to ``top``, with their texts.

    Examples
    --------
    >>> ticks(0.62)
    [(0.0, '0'), (0.1, '0.1'), (0.2, '0.2'), (0.3, '0.3'), (0.4, '0.4'), (0.5, '0.5'), (0.6, '0.6')]
    """
    power = 10 ** math.floor(math.log10(top))
    step = next(size * power for size in (0.2, 0.5, 1.0, 2.0) if top / (size * power) < 7)
    return [(round(number * step, 9), f"{number * step:g}") for number in range(math.floor(top / step) + 1)]


def curves_alt(lines: Sequence[Line], what: str, form: formats.Form, across: Across = REMOVED) -> str:
    """The same curves in words, for screen readers: where each begins and ends."""
    listed = "; ".join(
        f"{line.name} from {form(line.values[0])} at {across.at.format(across.form(line.ratios[0]))} to {form(line.values[-1])} at "
        f"{across.form(line.ratios[-1])}"
        for line in lines
        if len(line.values)
    )
    return f"{what}, over the {across.title}: {listed or 'nothing measured yet'}."


def sensitivity_map(
    layers: Sequence[str],
    ratios: Sequence[float],
    loss: np.ndarray,
    stays: np.ndarray,
    *,
    palette: Palette,
) -> go.Figure:
    """Layers by ratios, each cell the loss when this layer alone is pruned: darker (brighter on a dark page) is more.

    Parameters
    ----------
    loss : (layers, ratios) mean divergence from the unpruned network, nats.
    stays : (layers, ratios) share of the clips whose most probable tag stays the same.
    """
    # Divergences span decades; their square root is about proportional to the change of the probabilities.
    shade = np.sqrt(np.maximum(loss, 0.0))
    darkest = max(float(shade.max()), 1e-6)
    columns = [formats.percent(ratio) for ratio in ratios]
    figure = go.Figure()
    figure.add_heatmap(
        z=shade,
        x=columns,
        y=list(layers),
        zmin=0.0,
        zmax=darkest,
        colorscale=[[0.0, palette.band], [1.0, palette.pruned]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertext=[
            [
                f"<b>{layer}</b> alone, {formats.percent(ratio)} removed<br>divergence {formats.nats(value)} nats"
                f"<br>the most probable tag stays on {formats.percent(kept)} of the clips"
                for ratio, value, kept in zip(ratios, values, kept_row, strict=True)
            ]
            for layer, values, kept_row in zip(layers, loss, stays, strict=True)
        ],
        hoverinfo="text",
    )
    colors = [text_on(mixed(palette.band, palette.pruned, part / darkest)) for part in shade.ravel()]
    figure.add_scatter(
        x=columns * len(layers),
        y=np.repeat(layers, len(columns)),
        mode="text",
        text=[formats.nats(value) for value in loss.ravel()],
        textfont={"size": 12, "color": colors},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_layout(
        height=len(layers) * _CELL_PX + 58,
        margin={"l": max(40, _label_px(layers)), "r": 4, "t": 4, "b": 50, "pad": 0},
        **base_layout(palette),
    )
    figure.update_xaxes(
        type="category", title=axis_title("share of this layer's filters removed", palette), **axis(palette)
    )
    figure.update_yaxes(
        type="category",
        autorange="reversed",
        **(axis(palette) | {"tickfont": {"size": 12, "color": palette.ink}}),
    )
    return figure


def sensitivity_alt(layers: Sequence[str], ratios: Sequence[float], loss: np.ndarray) -> str:
    """The same map in words, for screen readers: each layer's loss at the largest ratio."""
    listed = ", ".join(
        f"{layer} {formats.nats(value)}" for layer, value in zip(layers, loss[:, -1], strict=True)
    )
    return (
        "Divergence from the unpruned network, in nats, with one layer pruned alone; "
        f"at {formats.percent(ratios[-1])} removed: {listed}."
    )


def _label_px(names: Sequence[str]) -> int:
    """Room for the names left of a chart."""
    return round(10 + _LETTER_PX * max(len(name) for name in names))


def _spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The values in their order, moved within ``low`` and ``high`` until neighbours are at least ``gap`` apart."""
    moved = list(values)
    order = np.argsort(values, kind="stable")
    for place, index in enumerate(order):
        moved[index] = max(moved[index], moved[order[place - 1]] + gap if place else low)
    for place, index in enumerate(reversed(order)):
        moved[index] = min(moved[index], moved[order[-place]] - gap if place else high)
    return moved
