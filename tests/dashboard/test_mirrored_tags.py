"""The mirrored bars: which values are drawn and written, and which rows are marked."""

from __future__ import annotations

from core.compare import Row
from dashboard.charts.mirrored_tags import mirrored_tags, mirrored_tags_alt
from dashboard.charts.palette import DARK, LIGHT

ROWS = [
    Row(390, "Siren", 0.913, 0.889),
    Row(313, "Fire engine, fire truck (siren)", 0.32, 0.11),
    Row(0, "Speech", 0.10, 0.20),
    Row(137, "Music", 0.05, None),
]


def test_bars_mirror_both_models_with_two_decimals() -> None:
    figure = mirrored_tags(ROWS, baseline="CNN14", candidate="E-PANNs", palette=LIGHT, threshold=0.3)
    left, right = figure.data
    assert list(left.x) == [-0.913, -0.32, -0.10, -0.05]
    assert list(right.x) == [0.889, 0.11, 0.20, 0.0]
    assert list(left.text) == ["0.91", "0.32", "0.10", "0.05"]
    assert list(right.text) == ["0.89", "0.11", "0.20", "not a class of this model"]
    assert (left.marker.color, right.marker.color) == (LIGHT.baseline, LIGHT.pruned)
    assert left.hovertext[1] == (
        "<b>Fire engine, fire truck (siren)</b><br>CNN14 0.32<br>E-PANNs 0.11<br>difference −0.21, lost"
    )
    assert left.hovertext[3] == "<b>Music</b><br>CNN14 0.05<br>E-PANNs not a class of this model"
    assert figure.layout.height == 4 * 38 + 52
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0, 0, 0, 0)"


def marked(rows: list[Row], threshold: float) -> list[float]:
    """Positions of the shaded rows."""
    figure = mirrored_tags(rows, baseline="a", candidate="b", palette=DARK, threshold=threshold)
    return [(band.y0 + band.y1) / 2 for band in figure.layout.shapes if band.type == "rect"]


def test_lost_gained_and_much_changed_tags_are_marked_and_no_row_is_hidden() -> None:
    rows = [*ROWS[:3], Row(70, "Dog", 0.35, 0.45), Row(283, "Wind", 0.29, 0.01)]
    assert marked(rows, 0.3) == [1.0, 3.0]
    assert marked(rows, 0.2) == [1.0, 2.0, 3.0, 4.0]
    figure = mirrored_tags(rows, baseline="a", candidate="b", palette=DARK, threshold=0.2)
    assert [note.text for note in figure.layout.annotations] == [
        "Siren",
        "<b>Fire engine, fire truck (siren)  −0.21, lost</b>",
        "<b>Speech  +0.10, gained</b>",
        "<b>Dog  +0.10</b>",
        "<b>Wind  −0.28, lost</b>",
    ]


def test_rows_below_the_threshold_are_pale_and_never_marked() -> None:
    figure = mirrored_tags(ROWS, baseline="a", candidate="b", palette=LIGHT, threshold=0.32)
    assert [opacity == 1.0 for opacity in figure.data[0].marker.opacity] == [True, True, False, False]
    assert [note.font.color == LIGHT.quiet for note in figure.layout.annotations] == [
        False,
        False,
        True,
        True,
    ]
    assert marked(ROWS, 0.33) == []


def test_a_difference_of_exactly_a_tenth_is_marked_whatever_floats_make_of_it() -> None:
    # 0.8 - 0.9 is -0.09999999999999998 and 0.3 - 0.2 is 0.09999999999999998
    assert marked([Row(0, "Speech", 0.9, 0.8), Row(1, "Music", 0.2, 0.3)], 0.1) == [0.0, 1.0]
    assert marked([Row(0, "Speech", 0.9, 0.8001), Row(1, "Music", 0.2, 0.2999)], 0.1) == []


def test_a_value_just_below_the_threshold_is_not_written_as_the_threshold() -> None:
    rows = [Row(0, "Speech", 0.5, 0.4996)]
    figure = mirrored_tags(rows, baseline="a", candidate="b", palette=LIGHT, threshold=0.5)
    assert (figure.data[0].text[0], figure.data[1].text[0]) == ("0.50", "0.4996")
    assert figure.layout.annotations[0].text == "<b>Speech  0.00, lost</b>"


def test_the_chart_keeps_room_for_rows_that_come_and_go() -> None:
    figure = mirrored_tags(ROWS, baseline="a", candidate="b", palette=LIGHT, threshold=0.3, room=6)
    assert figure.layout.height == 6 * 38 + 52
    assert list(figure.layout.yaxis.range) == [5.5, -0.5]


def test_the_threshold_is_drawn_on_both_sides() -> None:
    figure = mirrored_tags(ROWS, baseline="a", candidate="b", palette=LIGHT, threshold=0.35)
    assert sorted(line.x0 for line in figure.layout.shapes if line.line.dash == "dot") == [-0.35, 0.35]


def test_the_alternative_text_lists_every_row() -> None:
    assert mirrored_tags_alt(ROWS, baseline="CNN14", candidate="E-PANNs", threshold=0.3) == (
        "Mirrored bars, probabilities by CNN14 and by E-PANNs: Siren 0.91 and 0.89; "
        "Fire engine, fire truck (siren) 0.32 and 0.11, lost; Speech 0.10 and 0.20; "
        "Music 0.05 and not a class of this model."
    )
