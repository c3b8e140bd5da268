"""Agreement measures: by hand, and Spearman's against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.classes import ClassSet
from core.compare import agreement, rows, spearman
from core.errors import ModelError
from core.tagging import Tags


def tags(model: str, probabilities: dict[int, float]) -> Tags:
    classes = ClassSet(tuple(probabilities))
    return Tags(
        model, classes, np.array(list(probabilities.values()), np.float32), "torch", 1.0, ((0.0, 1.0),)
    )


A = tags("a", {0: 0.9, 1: 0.6, 2: 0.3, 3: 0.1})
B = tags("b", {0: 0.8, 1: 0.2, 2: 0.55, 3: 0.15})


def test_by_hand():
    found = agreement(A, B, top_k=2, threshold=0.5)
    assert (found.top_k, found.top_k_overlap) == (2, 1)  # {0, 1} and {0, 2}
    assert found.spearman == pytest.approx(0.8)  # ranks 4 3 2 1 and 4 2 3 1: 1 - 6 x 2 / 60
    assert found.max_abs_difference == pytest.approx(0.4)
    assert found.max_difference_tag == ClassSet((1,)).names[0]
    assert found.gained == ClassSet((2,)).names
    assert found.lost == ClassSet((1,)).names
    assert found.shared_classes == 4


def test_a_model_agrees_with_itself():
    found = agreement(A, A, top_k=10)
    assert (found.top_k, found.top_k_overlap, found.spearman, found.max_abs_difference) == (4, 4, 1.0, 0.0)
    assert found.gained == found.lost == ()


def test_classes_are_matched_by_index_not_by_position():
    small = tags("small", {2: 0.55, 0: 0.8})
    found = agreement(A, small, top_k=1)
    assert found.shared_classes == 2
    assert found.max_abs_difference == pytest.approx(0.25)
    assert found.top_k_overlap == 1


def test_rows_keep_what_only_one_model_knows():
    small = tags("small", {2: 0.95, 0: 0.8})
    listed = rows(A, small)
    assert [row.index for row in listed] == [2, 0, 1, 3]
    assert listed[0].difference == pytest.approx(0.65)
    assert listed[2].candidate is None
    assert listed[2].difference is None


def test_spearman_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 30).astype(float)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_without_an_order_is_undefined():
    assert spearman(np.ones(5), np.arange(5.0)) is None
    assert spearman(np.ones(1), np.ones(1)) is None


def test_impossible_requests_are_refused():
    with pytest.raises(ModelError, match="at least 1"):
        agreement(A, B, top_k=0)
    with pytest.raises(ModelError, match="between 0 and 1"):
        agreement(A, B, threshold=1.0)
    with pytest.raises(ModelError, match="no class in common"):
        agreement(A, tags("far", {400: 0.5}))
