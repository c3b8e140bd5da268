"""What the study of embeddings measures (docs/embeddings.md), on values whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.embedding_measures import cka, correct, frechet_distances, interval, nearest, ranking

LABELS = np.repeat(["a", "b", "c"], 40)


def test_alignment_sees_neither_rotation_nor_scale() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((60, 8))
    rotation = np.linalg.qr(random.standard_normal((8, 8)))[0]
    assert cka(values, 3 * values @ rotation + 5) == pytest.approx(1)
    one, other = np.array([[1.0], [-1], [1], [-1]]), np.array([[1.0], [1], [-1], [-1]])
    assert cka(one, other) == pytest.approx(0)


def test_frechet_distances_are_those_of_normal_distributions() -> None:
    """On a line: (difference of the means)² + (difference of the standard deviations)²."""
    random = np.random.default_rng(1)
    parts = [mean + width * random.standard_normal(40) for mean, width in ((0, 1), (5, 2), (-3, 0.5))]
    on_a_line = np.concatenate(parts)[:, None] * np.array([[0.6, 0.8]])
    means, widths = [part.mean() for part in parts], [part.std(ddof=1) for part in parts]
    expected = [
        (means[a] - means[b]) ** 2 + (widths[a] - widths[b]) ** 2 for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    assert frechet_distances(on_a_line, LABELS, 2) == pytest.approx(expected)
    assert ranking(on_a_line, -2 * on_a_line, LABELS, 2) == pytest.approx(1)


def test_a_clip_gets_its_label_from_other_folds_and_held_out_ones_are_counted_alone() -> None:
    """The nearest clip is always the twin in the own fold, which does not take part; of the others the nearest is right for fold 1 only."""
    values = np.array([[1.0, 0.0], [1.0, 0.01], [1.0, 0.1], [0.0, 1.0]])
    labels, folds = np.array(["a", "a", "a", "b"]), np.array(["1", "1", "2", "2"])
    assert correct(nearest, values, labels, folds, ["1", "2"]).tolist() == [1, 1, 1, 0]
    assert correct(nearest, values, labels, folds, ["2"]).tolist() == [1, 0]


def test_an_interval_holds_the_mean_and_its_binomial_error() -> None:
    right = np.repeat([1.0, 0.0], [90, 30])
    mean, low, high = (
        float(part)
        for part in interval(lambda rows: float(right[rows].mean()), LABELS, 1000)
        .translate({ord(letter): " " for letter in "(to)"})
        .split()
    )
    assert mean == 0.75
    error = 1.96 * np.sqrt(0.75 * 0.25 / 120)
    assert (low, high) == (pytest.approx(0.75 - error, abs=0.02), pytest.approx(0.75 + error, abs=0.02))
    drawn: list[int] = []
    interval(lambda rows: drawn.append(int((LABELS[rows] == "a").sum())) or 0.0, LABELS, 5, strata=True)
    assert drawn == [40] * 6
