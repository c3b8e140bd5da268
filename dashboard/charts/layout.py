"""Plotly layout that every figure shares: how axes, backgrounds and shapes look."""

from __future__ import annotations

from typing import Any

from dashboard.charts.palette import Palette

TRANSPARENT = "rgba(0, 0, 0, 0)"

CONFIG: dict[str, Any] = {
    "displayModeBar": False,
    "scrollZoom": False,
    "doubleClick": False,
    "responsive": True,
}
"""Plotly's settings for every chart: no toolbar, no accidental zoom."""


def base_layout(palette: Palette) -> dict[str, Any]:
    """Layout of every figure: no background of its own, the page's text colour, left-aligned hover text."""
    return {
        "paper_bgcolor": TRANSPARENT,
        "plot_bgcolor": TRANSPARENT,
        "font": {"size": 13, "color": palette.ink},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
    }


def axis(palette: Palette) -> dict[str, Any]:
    """An axis without grid, line or ticks, which a touch does not drag."""
    return {
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "tickfont": {"size": 11, "color": palette.quiet},
    }


def axis_title(text: str, palette: Palette, *, standoff: int = 6) -> dict[str, Any]:
    """The title of an axis, ``standoff`` px from its tick labels."""
    return {"text": text, "font": {"size": 12, "color": palette.quiet}, "standoff": standoff}


def shape(*, fill: str = TRANSPARENT, line: str | None = None, dash: str = "solid") -> dict[str, Any]:
    """A filled area or a line behind the data."""
    edge = {"width": 0} if line is None else {"width": 1, "color": line, "dash": dash}
    return {"fillcolor": fill, "line": edge, "layer": "below"}
