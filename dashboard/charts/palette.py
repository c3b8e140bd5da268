"""The colors of both themes.

The baseline and the pruned network have one color each, with one value for a light and one for a dark page. The two can be
distinguished by color-blind readers, and also by position (baseline left) and by name. Removed filters have a muted third
color; everything else is neutral. ``.streamlit/config.toml`` repeats these values for the text around the charts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """The colors of one theme, as ``#RRGGBB``.

    Attributes
    ----------
    baseline, pruned, removed : the two networks, and removed filters.
    ink, quiet : text, and secondary text.
    hairline, band, wave : thin lines, the background of a marked row, the waveform.
    ramp : low to high values, from the page's background to its text color.
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

    @property
    def colorscale(self) -> list[list[object]]:
        """``ramp`` as a plotly color scale: [[0.0, color], ..., [1.0, color]]."""
        return [[step / (len(self.ramp) - 1), color] for step, color in enumerate(self.ramp)]


LIGHT = Palette(
    baseline="#2F6BDE",
    pruned="#D9640B",
    removed="#A3ABB8",
    ink="#0F1318",
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
