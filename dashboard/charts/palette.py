"""The colours of both themes.

The baseline and the pruned network have one colour each, with one value for a light and one for a dark page. The two can be
distinguished by color-blind readers, and also by position (baseline left) and by name. Removed filters have a muted third
colour; everything else is neutral. ``.streamlit/config.toml`` repeats these values for the text around the charts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """The colours of one theme, as ``#RRGGBB``.

    Attributes
    ----------
    baseline, pruned, removed : the two networks, and removed filters.
    pruned_text : words in the pruned network's colour, readable on the page.
    ink, quiet : text, and secondary text.
    hairline, band, wave : thin lines, the background of a marked row, the waveform.
    ramp : low to high values, from the page's background to its text colour.
    others : teal, violet, gold and rose: families of networks other than the two.
    """

    baseline: str
    pruned: str
    pruned_text: str
    removed: str
    ink: str
    quiet: str
    hairline: str
    band: str
    wave: str
    ramp: tuple[str, ...]
    others: tuple[str, str, str, str]

    @property
    def colorscale(self) -> list[list[object]]:
        """``ramp`` as a plotly colour scale: [[0.0, colour], ..., [1.0, colour]]."""
        return [[step / (len(self.ramp) - 1), color] for step, color in enumerate(self.ramp)]


LIGHT = Palette(
    baseline="#2F6BDE",
    pruned="#D9640B",
    pruned_text="#B04A00",
    removed="#A3ABB8",
    ink="#0F1318",
    quiet="#5B6470",
    hairline="#C3CAD3",
    band="#EEF1F5",
    wave="#8A94A3",
    ramp=("#F4F6F8", "#D8DEE6", "#AAB5C4", "#77869B", "#48566C", "#222D40", "#0C121E"),
    others=("#0C6A63", "#8B5FBF", "#B8860B", "#C2416B"),
)
DARK = Palette(
    baseline="#7FB2FF",
    pruned="#FF9F4A",
    pruned_text="#FF9F4A",
    removed="#6B7483",
    ink="#E6E9ED",
    quiet="#9AA4B0",
    hairline="#3A434F",
    band="#1D242D",
    wave="#7B8695",
    ramp=("#151A21", "#252D38", "#404B5A", "#667487", "#94A2B4", "#C4CEDA", "#F7F9FB"),
    others=("#4FD1C5", "#C3A2F0", "#E3C15C", "#F28BAE"),
)
PALETTES = {"light": LIGHT, "dark": DARK}


def mixed(color: str, other: str, share: float) -> str:
    """A colour with a share of another one mixed in, 0 to 1.

    Examples
    --------
    >>> mixed("#000000", "#FF8000", 0.5)
    '#804000'
    """
    pairs = ((int(color[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (goal - part) * share):02X}" for part, goal in pairs)


def text_on(color: str) -> str:
    """Black or white, whichever is easier to read on a color: the contrast is 4.58:1 or more on any.

    Examples
    --------
    >>> text_on("#D9640B"), text_on("#2F6BDE")
    ('#000000', '#FFFFFF')
    """
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # as WCAG 2.1 defines it
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#FFFFFF"
