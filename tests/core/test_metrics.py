"""Average precision, AUC and d' by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.classes import ClassSet
from core.errors import DataError
from core.training.metrics import d_prime, quality

CLASSES = ClassSet((0, 1, 2))


def test_by_hand():
    """Class 0 ranks + - + -: precision 1 and 2/3 at its positives, 3 of 4 pairs in order. Class 1 is perfect."""
    targets = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], np.float32)
    scores = np.array([[0.9, 0.9, 0.1], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.3, 0.1]], np.float32)
    found = quality(targets, scores, CLASSES)
    first, second = found.per_class
    assert (first.positives, first.auc) == (2, 0.75)
    assert first.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert (second.average_precision, second.auc) == (1.0, 1.0)
    assert first.d_prime == pytest.approx(
        0.953872552
    )  # sqrt(2) x 0.674489750, the upper quartile of a Gaussian
    assert second.d_prime is None  # infinite
    assert found.document()["per_class"][0]["d_prime"] == first.d_prime
    assert found.mean_average_precision == pytest.approx((5 / 6 + 1) / 2)
    assert found.auc == pytest.approx(0.875)
    assert found.d_prime == pytest.approx(1.6268397)  # sqrt(2) x 1.150349, the Gaussian quantile of 0.875
    assert found.document()["classes"] == 2  # the class that no clip carries does not count


def test_d_prime_is_the_distance_of_two_gaussians():
    # AUC = Phi(d' / sqrt 2): for d' = 2 that is Phi(1.41421) = 0.92135
    assert d_prime(0.9213503964748574) == pytest.approx(2.0, abs=1e-9)
    assert d_prime(0.5) == pytest.approx(0.0)
    assert d_prime(0.0) is None
    assert d_prime(1.0) is None
    assert d_prime(None) is None
    assert math.isclose(d_prime(0.25) or 0, -(d_prime(0.75) or 0), rel_tol=1e-9)


def test_a_class_that_every_clip_carries_has_no_auc():
    found = quality(np.ones((3, 1), np.float32), np.array([[0.1], [0.2], [0.3]], np.float32), ClassSet((0,)))
    assert found.per_class[0].auc is None
    assert found.auc is None
    assert found.mean_average_precision == 1.0


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="nothing to score"):
        quality(np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), CLASSES)
