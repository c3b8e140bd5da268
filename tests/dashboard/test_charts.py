"""The figure builders: what is drawn, in which colours, and that both themes can be read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from core.compare import Row
from dashboard.charts import clip_picture, tags
from dashboard.charts.palette import DARK, LIGHT, PALETTES

ROWS = [
    Row(390, "Siren", 0.913, 0.889),
    Row(313, "Fire engine, fire truck (siren)", 0.32, 0.11),
    Row(0, "Speech", 0.10, 0.20),
    Row(137, "Music", 0.05, None),
]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture
def config() -> dict:
    return tomllib.loads((Path(__file__).parents[2] / ".streamlit/config.toml").read_text())["theme"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_charts_share_the_two_colours(theme: str, config: dict) -> None:
    palette = PALETTES[theme]
    assert config[theme]["blueColor"] == palette.baseline == config[theme]["chartCategoricalColors"][0]
    assert config[theme]["orangeColor"] == palette.pruned == config[theme]["chartCategoricalColors"][1]
    assert config[theme]["textColor"] == palette.ink


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_bars_stand_out_from_the_page(theme: str, config: dict) -> None:
    palette, ground = PALETTES[theme], config[theme]["backgroundColor"]
    assert contrast(palette.ink, ground) > 7
    assert contrast(palette.ink, palette.band) > 7
    assert contrast(palette.quiet, ground) > 4.5
    assert min(contrast(palette.baseline, ground), contrast(palette.pruned, ground)) > 3


def test_bars_mirror_both_models_with_two_decimals() -> None:
    figure = tags.mirrored_tags(ROWS, baseline="CNN14", candidate="E-PANNs", palette=LIGHT)
    left, right = figure.data
    assert list(left.x) == [-0.913, -0.32, -0.10, -0.05]
    assert list(right.x) == [0.889, 0.11, 0.20, 0.0]
    assert list(left.text) == ["0.91", "0.32", "0.10", "0.05"]
    assert list(right.text) == ["0.89", "0.11", "0.20", "not a class of this model"]
    assert (left.marker.color, right.marker.color) == (LIGHT.baseline, LIGHT.pruned)
    assert "difference −0.21" in left.hovertext[1]


def test_rows_that_differ_by_a_tenth_or_more_are_marked_and_none_is_hidden() -> None:
    figure = tags.mirrored_tags(ROWS, baseline="CNN14", candidate="E-PANNs", palette=DARK)
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(band.y0 + band.y1) / 2 for band in bands] == [1.0, 2.0]
    names = [note.text for note in figure.layout.annotations]
    assert names[0] == "Siren"
    assert names[1].startswith("<b>Fire engine, fire truck (siren)")
    assert "+0.10" in names[2]
    assert names[3] == "Music"


def test_the_threshold_stands_on_both_sides() -> None:
    figure = tags.mirrored_tags(ROWS, baseline="a", candidate="b", palette=LIGHT, threshold=0.35)
    assert sorted(shape.x0 for shape in figure.layout.shapes if shape.line.dash == "dot") == [-0.35, 0.35]


def test_every_chart_leaves_the_ground_to_the_page() -> None:
    picture = clip_picture.draw(np.zeros(32_000, np.float32))
    for figure in (
        tags.mirrored_tags(ROWS, baseline="a", candidate="b", palette=LIGHT),
        tags.clip_picture(picture, palette=LIGHT),
    ):
        assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"


def test_waveform_and_spectrogram_share_one_time_axis() -> None:
    waveform = 0.5 * np.sin(np.arange(96_000) * 0.2).astype(np.float32)
    figure = tags.clip_picture(clip_picture.draw(waveform), palette=DARK)
    low, high, heatmap = figure.data
    assert figure.layout.xaxis.range == (0, 3.0)
    assert low.xaxis is high.xaxis is heatmap.xaxis is None
    assert heatmap.x0 + heatmap.dx * (heatmap.z.shape[1] - 0.5) == pytest.approx(3.0)
    assert "s" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.ticktext[-1] == "10\u00a0kHz"


def test_alt_text_says_what_is_drawn() -> None:
    told = tags.mirrored_alt(ROWS, baseline="CNN14", candidate="E-PANNs")
    assert "Siren 0.91 and 0.89" in told
    assert "Music 0.05 and not a class of this model" in told
