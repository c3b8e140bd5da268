"""The Prune page's figures: what is drawn is what was given, in the pages' colours and in words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from core.models.cnn import CNN14_WIDTHS, LAYERS
from dashboard import formats
from dashboard.charts.palette import DARK, LIGHT
from dashboard.prune import charts
from dashboard.prune.charts import Line, Mark

AFTER = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 1024, 1)


def curves(lines: list[Line], marks: list[Mark] | None = None, at: float = 0.5):
    return charts.curves(
        lines,
        marks or [],
        palette=LIGHT,
        y_title="of the unpruned network",
        y_range=(0.0, 1.0),
        y_ticks=((0.0, "0"), (1.0, "1")),
        form=formats.percent,
        at=at,
    )


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_the_architecture_is_drawn_to_scale_about_the_middle(palette) -> None:
    figure = charts.architecture(LAYERS, CNN14_WIDTHS, AFTER, palette=palette)
    there, left = figure.data
    assert (there.marker.color, left.marker.color) == (palette.removed, palette.pruned)
    assert list(there.x)[2:] == list(CNN14_WIDTHS)[2:]
    assert [length + 2 * base for length, base in zip(left.x, left.base, strict=True)] == [0] * 12
    assert left.x[6] / there.x[6] == 0.5
    assert left.x[11] == pytest.approx(0.012 * 2048)  # one filter of 2,048 would not be seen
    texts = [note.text for note in figure.layout.annotations]
    assert texts[0] == "64"
    assert texts[6] == "512 → <b>256</b>"
    assert texts[11] == "2,048 → <b>1</b>"


def test_the_architecture_in_words_names_every_layer() -> None:
    text = charts.architecture_alt(LAYERS, CNN14_WIDTHS, AFTER)
    assert "C1 64, " in text
    assert "C10 1024 to 512" in text
    assert text.endswith("C12 2048 to 1.")


def test_curves_carry_their_points_names_and_marks() -> None:
    figure = curves(
        [
            Line("parameters", (0.0, 0.5, 0.9), (1.0, 0.287, 0.05)),
            Line("MACs", (0.0, 0.9), (1.0, 0.5), "dash"),
        ],
        [Mark("Now", 0.5, 0.287), Mark("The paper", 0.5, 0.3, hollow=True)],
        at=0.5,
    )
    first, second, now, paper = figure.data
    assert list(first.y) == [1.0, 0.287, 0.05]
    assert second.line.dash == "dash"
    assert first.hovertext[1] == "<b>parameters</b><br>50\u00a0% removed: 29\u00a0%"
    assert (now.x[0], now.y[0], now.marker.symbol) == (0.5, 0.287, "circle")
    assert paper.marker.symbol == "diamond-open"
    assert [note.text for note in figure.layout.annotations] == ["parameters", "MACs"]
    assert any(shape.x0 == shape.x1 == 0.5 for shape in figure.layout.shapes)


def test_names_at_the_ends_of_close_curves_do_not_touch() -> None:
    notes = curves([Line("a", (0, 0.9), (1, 0.50)), Line("b", (0, 0.9), (1, 0.49))]).layout.annotations
    assert notes[0].y - notes[1].y == pytest.approx(0.075)


@pytest.mark.parametrize("end", [0.0, 0.5, 1.0])
def test_labels_of_curves_that_end_in_one_point_stand_apart(end: float) -> None:
    notes = curves(
        [Line(name, (0, 0.9), (1, end)) for name in ("repaired", "not repaired", "chance")]
    ).layout.annotations
    heights = sorted(note.y for note in notes)
    assert min(b - a for a, b in pairwise(heights)) >= 0.0749
    assert heights[0] >= 0
    assert heights[-1] <= 1


def test_a_curve_that_has_no_points_yet_has_no_name() -> None:
    figure = curves([Line("repaired", (), ())])
    assert len(figure.layout.annotations) == 0
    assert "nothing measured yet" in charts.curves_alt(
        [Line("repaired", (), ())], "Agreement", formats.percent
    )


def test_curves_in_words_say_where_they_begin_and_end() -> None:
    text = charts.curves_alt([Line("MACs", (0.0, 0.9), (1.0, 0.5))], "MACs", formats.percent)
    assert "MACs from 100\u00a0% at 0\u00a0% removed to 50\u00a0% at 90\u00a0%" in text


def test_the_heat_map_has_a_number_in_every_cell_and_the_first_layer_on_top() -> None:
    loss = np.array([[0.0, 0.0123], [0.25, 16.0]])
    figure = charts.sensitivity_map(
        ("C1", "C2"), (0.25, 0.9), loss, np.array([[1.0, 1.0], [0.9, 0.5]]), palette=LIGHT
    )
    cells, numbers = figure.data
    assert np.allclose(cells.z, [[0.0, np.sqrt(0.0123)], [0.5, 4.0]])
    assert list(numbers.text) == ["0.000", "0.012", "0.25", "16"]
    assert list(zip(numbers.x, numbers.y, strict=True)) == [
        (ratio, layer) for layer in ("C1", "C2") for ratio in ("25\u00a0%", "90\u00a0%")
    ]
    assert figure.layout.yaxis.autorange == "reversed"
    assert "stays on 50\u00a0% of the clips" in cells.hovertext[1][1]
    assert charts.sensitivity_alt(("C1", "C2"), (0.25, 0.9), loss).endswith("C1 0.012, C2 16.")


def test_a_heat_map_of_a_network_that_nothing_changes_is_pale() -> None:
    figure = charts.sensitivity_map(("C1",), (0.5,), np.zeros((1, 1)), np.ones((1, 1)), palette=DARK)
    assert figure.data[0].zmax > 0
    assert figure.data[0].z[0][0] == 0
