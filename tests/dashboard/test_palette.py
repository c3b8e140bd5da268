"""The colours of both themes: the same in text and charts, and readable on the page."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from dashboard.charts.palette import PALETTES, mixed, text_on


def luminance(color: str) -> float:
    """Relative luminance by WCAG 2.1."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture
def config() -> dict:
    return tomllib.loads((Path(__file__).parents[2] / ".streamlit/config.toml").read_text())["theme"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_charts_share_the_two_colors(theme: str, config: dict) -> None:
    palette = PALETTES[theme]
    assert config[theme]["blueColor"] == palette.baseline == config[theme]["chartCategoricalColors"][0]
    assert config[theme]["orangeColor"] == palette.pruned == config[theme]["chartCategoricalColors"][1]
    assert config[theme]["textColor"] == palette.ink
    assert tuple(config[theme]["chartCategoricalColors"][3:]) == palette.others


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_bars_stand_out_from_the_page(theme: str, config: dict) -> None:
    palette, background = PALETTES[theme], config[theme]["backgroundColor"]
    assert contrast(palette.ink, background) > 7
    assert contrast(palette.ink, palette.band) > 7
    assert contrast(palette.quiet, background) > 4.5
    assert contrast(palette.quiet, palette.band) > 4.5
    assert contrast(palette.pruned_text, background) > 4.5
    assert palette.pruned_text == config[theme]["orangeTextColor"]
    assert (
        min(contrast(color, background) for color in (palette.baseline, palette.pruned, *palette.others)) > 3
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_numbers_in_cells_are_readable_in_all_of_them(theme: str) -> None:
    """Correlations go up to 1 of the 2.2 that the whole scale is; divergences over the whole scale, each with its own colour."""
    palette = PALETTES[theme]
    for share in np.linspace(0, 1 / 2.2, 40):
        place = share * (len(palette.ramp) - 1)
        cell = mixed(palette.ramp[int(place)], palette.ramp[int(place) + 1], place % 1)
        assert contrast(palette.ink, cell) > 4.5
    for share in np.linspace(0, 1, 101):
        cell = mixed(palette.band, palette.pruned, share)
        assert contrast(text_on(cell), cell) > 4.5


def test_the_colorscale_goes_from_the_page_to_its_text_in_equal_steps() -> None:
    scale = PALETTES["light"].colorscale
    assert [position for position, _ in scale] == pytest.approx([k / 6 for k in range(7)])
    assert (scale[0][1], scale[6][1]) == ("#F4F6F8", "#0C121E")
