"""What every figure shares: the colours of both themes, and how axes, grounds and shapes look.

Two colours tell the story: the baseline's and the pruned network's, each with one value for a light and one for a dark
page, told apart by colour-blind eyes, by position (baseline left) and by name. Removed filters have a quiet third.
Everything else is neutral. ``.streamlit/config.toml`` repeats these values for the words around the charts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CLEAR = "rgba(0, 0, 0, 0)"


@dataclass(frozen=True)
class Palette:
    """The colours of one theme.

    Attributes
    ----------
    baseline, pruned, removed : the two networks, and filters that pruning took away.
    ink, quiet : text, and text that stands back.
    hairline, band, wave : thin lines, the ground of a marked row, the waveform.
    ramp : quiet to loud, from the page's ground to its ink.
    """

    baseline: str
    pruned: str
    removed: str
    ink: str
    quiet: str
    hairline: str
    band: str
    wave: str
    ramp: tuple[str, ...]


LIGHT = Palette(
    baseline="#2F6BDE",
    pruned="#D9640B",
    removed="#A3ABB8",
    ink="#1A1F26",
    quiet="#5B6470",
    hairline="#C3CAD3",
    band="#EEF1F5",
    wave="#8A94A3",
    ramp=("#F4F6F8", "#D8DEE6", "#AAB5C4", "#77869B", "#48566C", "#222D40", "#0C121E"),
)
DARK = Palette(
    baseline="#7FB2FF",
    pruned="#FF9F4A",
    removed="#6B7483",
    ink="#E6E9ED",
    quiet="#9AA4B0",
    hairline="#3A434F",
    band="#1D242D",
    wave="#7B8695",
    ramp=("#151A21", "#252D38", "#404B5A", "#667487", "#94A2B4", "#C4CEDA", "#F7F9FB"),
)
PALETTES = {"light": LIGHT, "dark": DARK}

CONFIG: dict[str, Any] = {
    "displayModeBar": False,
    "scrollZoom": False,
    "doubleClick": False,
    "responsive": True,
}
"""Plotly's settings for every chart: no toolbar, no zoom by accident."""


def plain(palette: Palette) -> dict[str, Any]:
    """Layout of every figure: no ground of its own, the page's ink, hover text to the left."""
    return {
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"size": 13, "color": palette.ink},
        "hoverlabel": {"align": "left"},
    }


def axis(palette: Palette) -> dict[str, Any]:
    """An axis without chart junk, which a touch does not drag."""
    return {
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "tickfont": {"size": 11, "color": palette.quiet},
    }


def shape(*, fill: str = CLEAR, line: str | None = None, dash: str = "solid") -> dict[str, Any]:
    """A ground or a line behind the data."""
    edge = {"width": 0} if line is None else {"width": 1, "color": line, "dash": dash}
    return {"fillcolor": fill, "line": edge, "layer": "below"}
