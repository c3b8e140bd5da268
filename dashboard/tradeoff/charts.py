"""The figure of the Trade-off page: quality over cost, a colour and marker for each family, the Pareto front, own networks below."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any

import plotly.graph_objects as go

from core.tradeoff import System
from dashboard import formats
from dashboard.charts.layout import axis, axis_title, base_layout
from dashboard.charts.palette import Palette
from dashboard.tradeoff.labels import Label, Scale, place_labels

FORMS: Mapping[str, Callable[[float], str]] = {
    "time": formats.milliseconds,
    "macs": formats.count,
    "params": formats.count,
}
AXES = {
    "time": "time for 10 s of audio on this machine (logarithmic)",
    "macs": "MACs for 10 s of audio (logarithmic)",
    "params": "parameters (logarithmic)",
}
NOUNS = {"time": "time on this machine", "macs": "MACs", "params": "parameters"}

PRUNED_LINE = ("cnn14", "epanns-25", "epanns", "epanns-75")
"""CNN14 and what E-PANNs made of it, from nothing to three quarters of C7 to C12 removed."""

ALWAYS_NAMED = ("cnn14", "epanns", "mn04")

_HEIGHT_PX, _OWN_PX = 480, 200
_HOVER_COLUMNS = 58
_QUALITIES = (0.25, 0.52)  # of the published systems


def tradeoff(
    listed: Sequence[System], own: Sequence[System], cost: str, front: Sequence[str], palette: Palette
) -> go.Figure:
    """Published systems over their cost, and below them own networks, whose quality is of other clips and has an axis of its own.

    Parameters
    ----------
    listed, own : those that have this cost.
    cost : one of ``core.tradeoff.COSTS``.
    front : names on the Pareto front, from the cheapest to the best.
    """
    figure = go.Figure()
    by_name = {system.name: system for system in listed}
    _line(figure, [by_name[name] for name in front], cost, color=palette.quiet, dash="dot", shape="hv")
    joined = [by_name[name] for name in PRUNED_LINE if name in by_name]
    _line(figure, joined, cost, color=palette.pruned)
    for family in dict.fromkeys(system.family for system in listed):
        members = [system for system in listed if system.family == family]
        symbol, color = _style(family, palette)
        figure.add_scatter(
            x=[system.costs[cost].value for system in members],
            y=[system.quality.value for system in members],
            mode="markers",
            name=family,
            marker={
                "size": 11,
                "color": color,
                "symbol": [symbol + ("-open" if _stated(system, cost) else "") for system in members],
                "line": {"width": 1.5, "color": color},
            },
            hovertext=[hover(system, cost) for system in members],
            hoverinfo="text",
        )
    own = sorted(own, key=lambda system: system.costs[cost].value)  # neighbours' names alternate
    if own:
        figure.add_scatter(
            x=[system.costs[cost].value for system in own],
            y=[system.quality.value for system in own],
            yaxis="y2",
            mode="markers+text",
            text=[_plain(system.title) for system in own],
            textposition=[("top center", "bottom center")[number % 2] for number in range(len(own))],
            textfont={"size": 11, "color": palette.quiet},
            name="Your own",
            marker={"size": 14, "symbol": "star", "color": palette.ink},
            hovertext=[hover(system, cost) for system in own],
            hoverinfo="text",
        )
    limits = _range([system.costs[cost].value for system in (*listed, *own)])
    figure.update_layout(**_layout(limits, cost, bool(own), palette))
    named = [*ALWAYS_NAMED, *front, *PRUNED_LINE]
    placed = place_labels(
        [(system.name, system.title, *_at(system, cost)) for system in listed],
        [name for name in dict.fromkeys(named) if name in by_name],
        Scale(limits, _QUALITIES),
        lines=[
            _steps([_at(by_name[name], cost) for name in front]),
            [_at(system, cost) for system in joined],
        ],
        always=ALWAYS_NAMED,
    )
    for label in placed:
        figure.add_annotation(
            x=math.log10(label.cost),
            y=label.quality,
            text=label.text,
            xanchor=label.x_anchor,
            yanchor=label.y_anchor,
            font={"size": 12, "color": palette.ink},
            **_position(label, palette),
        )
    return figure


def alt(listed: Sequence[System], own: Sequence[System], cost: str, front: Sequence[str]) -> str:
    """What the picture shows, in words."""
    titles = {system.name: system.title for system in listed}
    best = ", ".join(titles[name] for name in front)
    more = f" Below, {formats.plural(len(own), 'network')} of your own." if own else ""
    return f"Published mAP of {len(listed)} systems over their {NOUNS[cost]}. Nothing is both cheaper and better than {best}.{more}"


def hover(system: System, cost: str) -> str:
    """A point's name, and both its figures with their sources."""
    figure = system.costs[cost]
    value = FORMS[cost](figure.value)
    texts = (
        f"mAP {system.quality.value:.3f}: {system.quality.source}",
        f"{value}: {figure.source}",
    )
    lines = [line for text in texts for line in textwrap.wrap(_plain(text), _HOVER_COLUMNS)]
    return "<br>".join([f"<b>{_plain(system.title)}</b> · {_plain(system.family)}", *lines])


def _plain(text: str) -> str:
    """Text without what plotly reads as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _at(system: System, cost: str) -> tuple[float, float]:
    return system.costs[cost].value, system.quality.value


def _steps(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The front's line: each quality lasts until the next better system."""
    more = [(following[0], corner[1]) for corner, following in pairwise(corners)]
    return [*chain.from_iterable(zip(corners, more, strict=False)), *corners[-1:]]


def _stated(system: System, cost: str) -> bool:
    return system.published and cost != "time"


def _style(family: str, palette: Palette) -> tuple[str, str]:
    teal, violet, gold, rose = palette.others
    styles = {
        "PANNs": ("circle", palette.baseline),
        "E-PANNs": ("diamond", palette.pruned),
        "EfficientAT": ("square", teal),
        "ERANNs": ("triangle-up", violet),
        "Transformers": ("cross", gold),
    }
    return styles.get(family, ("triangle-down", rose))


def _position(label: Label, palette: Palette) -> dict[str, Any]:
    """Beside the point, or apart from it at the end of a line."""
    if not label.leader:
        return {"showarrow": False, "xshift": label.x_shift, "yshift": label.y_shift}
    return {
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": palette.quiet,
        "standoff": 5,
        "ax": label.x_shift,
        "ay": -label.y_shift,
    }


def _line(figure: go.Figure, systems: Sequence[System], cost: str, **style: str) -> None:
    if len(systems) > 1:
        figure.add_scatter(
            x=[system.costs[cost].value for system in systems],
            y=[system.quality.value for system in systems],
            mode="lines",
            line={"width": 1.5, **style},
            hoverinfo="skip",
            showlegend=False,
        )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The axis, in powers of ten, with room for labels at its ends."""
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.12, 0.07 * (high - low))
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """1, 10, 100 …, and 1, 2, 5, 10 … where there are few of those."""
    steps = (1, 2, 5) if high - low < 2 else (1, 3) if high - low < 2.6 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    return [
        step * 10.0**power for power in powers for step in steps if low <= power + math.log10(step) <= high
    ]


def _layout(limits: tuple[float, float], cost: str, own: bool, palette: Palette) -> dict[str, Any]:
    """Both axes of quality, the one of the own networks below, over one axis of the cost."""
    ticks = _ticks(*limits)
    total = _HEIGHT_PX + (_OWN_PX if own else 0)
    split = _OWN_PX / total if own else 0.0
    lined = axis(palette) | {"showgrid": True, "gridcolor": palette.hairline, "gridwidth": 0.5}
    layout: dict[str, Any] = {
        "height": total,
        "margin": {"l": 50, "r": 10, "t": 46, "b": 46, "pad": 2},
        "xaxis": {
            **lined,
            "type": "log",
            "range": list(limits),
            "tickvals": ticks,
            "ticktext": [FORMS[cost](tick) for tick in ticks],
            "title": axis_title(AXES[cost], palette),
            "anchor": "y2" if own else "y",
        },
        "yaxis": {
            **lined,
            "range": list(_QUALITIES),
            "tickformat": ".2f",
            "domain": [split + 0.04 if own else 0, 1],
            "title": axis_title("mAP on AudioSet, as published", palette),
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.01,
            "yanchor": "bottom",
            "font": {"size": 12},
            "itemclick": False,
            "itemdoubleclick": False,
        },
    }
    if own:
        layout["yaxis2"] = {
            **lined,
            "range": [-0.02, 1.12],
            "tickvals": [0, 0.5, 1],
            "tickformat": ".1f",
            "domain": [0, split - 0.05],
            "title": axis_title("on own clips", palette),
        }
    label = {
        "align": "left",
        "bgcolor": palette.band,
        "bordercolor": palette.hairline,
        "font": {"color": palette.ink},
    }
    return layout | base_layout(palette) | {"hoverlabel": label}
