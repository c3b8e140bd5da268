"""The Filters page's figures: what is drawn where, in which colours, and what can be clicked."""

from __future__ import annotations

import numpy as np
import pytest

from core.feature_map import FeatureMap
from dashboard.charts.clip_picture import ClipPicture, clip_picture
from dashboard.charts.palette import DARK, LIGHT
from dashboard.filters import agreement_charts, charts
from dashboard.filters.tiles import Tile, scales, tile_page

SCORES = np.array([0.30, 1.00, 0.10, 0.60, 0.20])
ORDER = [1, 3, 0, 4, 2]


def picture_of(waveform: np.ndarray) -> ClipPicture:
    return clip_picture(len(waveform), lambda spans: (waveform[start:end] for start, end in spans))


def test_kept_filters_are_left_of_the_cut_and_removed_ones_right_of_it() -> None:
    figure = charts.importance(SCORES, ORDER, 2, 3, palette=LIGHT)
    kept, removed = figure.data[:2]
    assert (kept.fillcolor, removed.fillcolor) == (LIGHT.pruned, LIGHT.removed)
    assert (list(kept.x), list(kept.y)) == ([0.5, 1, 2, 2.5], [1.0, 1.0, 0.6, 0.6])
    assert (list(removed.x), list(removed.y)) == ([2.5, 3, 4, 5, 5.5], [0.3, 0.3, 0.2, 0.1, 0.1])
    upright, flat = figure.layout.shapes
    assert upright.x0 == upright.x1 == 2.5
    assert flat.y0 == flat.y1 == pytest.approx(0.45)
    labels = [note.text for note in figure.layout.annotations]
    assert labels == ["filter 3", "<b>2 kept</b>", "<b>3 removed</b>"]
    assert (figure.layout.annotations[0].x, figure.layout.annotations[0].y) == (2, 0.6)


def test_the_histogram_counts_every_filter_once_on_either_side() -> None:
    scores = np.random.default_rng(0).random(200)
    order = np.argsort(-scores).tolist()
    kept, removed = charts.importance(scores, order, 60, order[0], palette=DARK).data[3:]
    assert (int(sum(kept.x)), int(sum(removed.x))) == (60, 140)
    low = min(y for x, y in zip(kept.x, kept.y, strict=True) if x)
    high = max(y for x, y in zip(removed.x, removed.y, strict=True) if x)
    assert low >= high  # at most the bin that the cut removed through holds both
    assert kept.marker.color == DARK.pruned


def test_tiny_scores_are_drawn_in_powers_of_ten() -> None:
    scores = np.array([1.0, 0.01, 0.001, 0.0001, 0.0])
    figure = charts.importance(scores, [0, 1, 2, 3, 4], 3, 0, palette=LIGHT)
    assert list(figure.data[0].y)[1:-1] == pytest.approx([4.0, 2.0, 1.0])
    assert list(figure.layout.yaxis.ticktext) == ["≤10⁻⁴", "0.001", "0.01", "0.1", "1"]
    assert "log" in figure.layout.yaxis.title.text
    assert min(figure.data[1].y) > 0  # nothing disappears


def test_every_filter_can_be_clicked_and_of_thousands_every_fourth() -> None:
    assert charts.targets(ORDER) == ORDER
    order = np.random.default_rng(1).permutation(2048).tolist()
    assert charts.targets(order) == order[::4]
    bars = charts.importance(
        np.linspace(1, 0.2, 2048)[np.argsort(order)], order, 1024, 5, palette=LIGHT
    ).data[2]
    assert len(bars.x) == 512
    assert (bars.x[0], bars.width[0]) == (2.5, 4)
    assert bars.hovertext[0].startswith(f"filter {order[0]} · rank 1<br>")
    assert "and the next 3" in bars.hovertext[0]


def test_where_nothing_is_removed_there_is_no_cut() -> None:
    figure = charts.importance(SCORES, ORDER, 5, 1, palette=LIGHT)
    assert not figure.layout.shapes
    assert [note.text for note in figure.layout.annotations][1:] == ["<b>5 kept</b>", ""]


def tile(value: float, *, kept: bool, selected: bool = False, kernels: int = 4) -> Tile:
    weights = np.arange(kernels * 9, dtype=np.float32).reshape(kernels, 3, 3) * value
    return Tile(weights, f"{value:g}", f"hover {value:g}", kept, selected)


def test_tiles_are_two_pictures_and_one_set_of_bars_whatever_their_number() -> None:
    shown = [tile(1, kept=True), tile(-2, kept=False), tile(3, kept=True, selected=True), tile(4, kept=False)]
    figure = tile_page(shown, columns=3, palette=LIGHT, width_px=600)
    kept, removed, bars = figure.data
    # kernels of 3 x 3 two and two: 6 weights either way and a gap between, 4 x 9 weights of every tile
    for picture, mine in ((kept, (shown[0], shown[2])), (removed, (shown[1], shown[3]))):
        drawn = picture.z[~np.isnan(picture.z)]
        expected = np.concatenate([each.kernels.ravel() / np.abs(each.kernels).max() for each in mine])
        assert np.allclose(np.sort(drawn), np.sort(expected))
    assert list(bars.hovertext) == ["hover 1", "hover -2", "hover 3", "hover 4"]
    assert list(bars.marker.line.color) == [LIGHT.pruned, LIGHT.removed, LIGHT.ink, LIGHT.removed]
    assert bars.x[0] == bars.x[3] < bars.x[1] < bars.x[2]
    assert bars.base[0] == bars.base[1] < bars.base[3]
    assert [note.text for note in figure.layout.annotations] == ["1", "-2", "<b>3</b>", "4"]


def test_a_tiles_weights_stand_in_its_own_frame() -> None:
    """The cells that hold the second tile's weights lie between the edges of the second bar."""
    figure = tile_page([tile(1, kept=True), tile(1, kept=False)], columns=2, palette=DARK, width_px=300)
    removed, bars = figure.data[1:]
    rows, columns = np.nonzero(~np.isnan(removed.z))
    left, right = removed.x[columns.min()], removed.x[columns.max() + 1]
    assert (left + right) / 2 == pytest.approx(bars.x[1])
    assert right - left < bars.width < right - left + 1.8
    top, bottom = removed.y[rows.min()], removed.y[rows.max() + 1]
    assert bars.base[1] < top
    assert bottom < bars.base[1] + bars.y[1]
    first = removed.z[rows.min() : rows.min() + 3, columns.min() : columns.min() + 3]
    assert np.allclose(first, np.arange(9).reshape(3, 3) / 35)


def test_a_filter_of_zeros_is_drawn_and_single_kernels_stand_alone() -> None:
    empty = Tile(np.zeros((1, 3, 3), np.float32), "0", "", True)
    picture = tile_page([empty], columns=8, palette=LIGHT, width_px=100).data[0]
    assert np.count_nonzero(picture.z == 0) == 9


def test_zero_has_the_colour_that_the_page_calls_kept_or_removed() -> None:
    for palette in (LIGHT, DARK):
        kept, removed = scales(palette)
        assert (kept[1], removed[1]) == ([0.5, palette.pruned], [0.5, palette.removed])


def test_the_matrix_has_a_figure_in_every_cell_and_says_what_it_does_not_know() -> None:
    values = np.array([[1.0, -0.25], [np.nan, 1.0]])
    figure = agreement_charts.matrix(
        values, ["one", "two"], form=lambda value: f"{value:.2f}", chosen="two", palette=LIGHT
    )
    assert [list(row) for row in figure.data[0].text] == [["1.00", "-0.25"], ["–", "1.00"]]
    assert list(figure.layout.yaxis.ticktext) == ["1 one", "<b>2 two</b>"]
    assert list(figure.layout.xaxis.ticktext) == ["1", "2"]


def test_the_order_chart_shows_mean_range_and_chance() -> None:
    figure = agreement_charts.order_by_layer(
        ["C1", "C2"], [1.0, 0.52], [1.0, 0.4], [1.0, 0.7], chance=0.5, chosen="C2", palette=LIGHT
    )
    assert list(figure.data[0].x) == [1.0, 0.52]
    ranges = [(line.x0, line.x1) for line in figure.layout.shapes]
    assert ranges == [(1.0, 1.0), (0.4, 0.7), (0.5, 0.5), (1.0, 1.0)]
    assert list(figure.layout.yaxis.ticktext) == ["C1   100\u00a0%", "<b>C2   52\u00a0%</b>"]


def test_sound_and_map_share_both_axes() -> None:
    """Two seconds; C7's map has 25 frames of 80 ms in 8 bands of 8 mel bands each."""
    picture = picture_of(0.1 * np.random.default_rng(0).standard_normal(64_000).astype(np.float32))
    values = np.zeros((25, 8), np.float32)
    values[3, 2] = 5.0
    figure = charts.sound_and_map(
        picture, FeatureMap(values, 0.08, 0.035, 8), seconds=2.0, name="filter 4 of C7", palette=DARK
    )
    sound, made = figure.data
    assert made.z.shape == (8, 25)
    assert (made.z[2, 3], made.z.sum()) == (100, 100)
    assert made.x0 + 3 * made.dx == pytest.approx(0.275)  # frames 24 to 31 of 10 ms
    assert made.y0 + 2 * made.dy == 19.5  # mel bands 16 to 23
    assert figure.layout.xaxis.range == (0, 2.0)
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range == (-0.5, 63.5)
    assert figure.layout.yaxis.ticktext == figure.layout.yaxis2.ticktext
    assert sound.yaxis == "y2"


def test_a_long_map_is_pooled_without_moving() -> None:
    values = np.zeros((3001, 64), np.float32)
    values[1500] = 1.0
    picture = picture_of(np.zeros(32_000 * 30, np.float32))
    made = charts.sound_and_map(
        picture, FeatureMap(values, 0.01, 0.0, 1), seconds=30.0, name="f", palette=LIGHT
    ).data[1]
    assert made.z.shape == (64, 1200)
    column = int(made.z[0].argmax())
    assert made.x0 + column * made.dx == pytest.approx(15.0, abs=made.dx)
