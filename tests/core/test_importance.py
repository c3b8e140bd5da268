"""Operator-norm scores against a direct singular value decomposition of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import PruningError
from core.models.cnn import CNN14_WIDTHS, LAYERS, Cnn14, Cnn14Config
from core.pruning.criteria import CRITERIA, criterion, layer_importance
from core.pruning.plan import plan
from core.tagging import load_tagger

operator_norm = CRITERIA["operator-norm"]


def direct_operator_norm(weight: np.ndarray) -> np.ndarray:
    """The definition, channel by channel, by a full SVD (facts/pruning.md; arXiv 2304.02319)."""
    filters, channels = weight.shape[:2]
    totals = np.zeros(filters)
    for channel in range(channels):
        kernels = np.stack([weight[i, channel].flatten() for i in range(filters)]).astype(np.float64)
        centred = kernels - kernels.mean(axis=0)
        left, _, right = np.linalg.svd(centred, full_matrices=False)
        sign = -1.0 if left[0, 0] < 0 else 1.0
        totals += centred @ (sign * right[0])
    return totals**2 / np.max(totals**2)


@pytest.mark.parametrize("shape", [(7, 3, 2, 4), (16, 1, 3, 3), (64, 32, 3, 3), (5, 4, 1, 3)])
def test_equals_the_definition(shape):
    """The kernels are not square and no axis has another's length, so a reshape for a transpose would show."""
    weight = np.random.default_rng(2).standard_normal(shape) * np.arange(1, shape[0] + 1)[:, None, None, None]
    assert np.abs(operator_norm(weight) - direct_operator_norm(weight)).max() < 1e-9


def test_float32_weights_are_scored_in_float64():
    weight = np.random.default_rng(4).standard_normal((32, 16, 3, 3)).astype(np.float32)
    scores = operator_norm(weight)
    assert scores.dtype == np.float64
    assert np.abs(scores - direct_operator_norm(weight)).max() < 1e-9


def test_by_hand():
    """Two filters, one channel: centred kernels are +d and -d, so both respond equally and score 1."""
    weight = np.zeros((3, 1, 1, 2))
    weight[0, 0, 0] = (3.0, 0.0)
    weight[1, 0, 0] = (-3.0, 0.0)
    # mean 0, direction (1, 0): responses 3, -3, 0
    assert np.allclose(operator_norm(weight), [1.0, 1.0, 0.0])


def test_equal_filters_score_equally():
    scores = operator_norm(np.ones((4, 2, 3, 3)))
    assert np.array_equal(scores, np.ones(4))


def test_one_filter_alone():
    assert np.array_equal(operator_norm(np.random.default_rng(0).standard_normal((1, 2, 3, 3))), [1.0])


def test_the_order_of_filters_matters_as_published():
    """Which filter comes first orients every channel, so the score of a filter depends on it: kept, and known."""
    weight = np.random.default_rng(5).standard_normal((32, 16, 3, 3))
    order = np.roll(np.arange(32), 7)
    assert np.abs(operator_norm(weight[order]) - operator_norm(weight)[order]).max() > 0.05


def test_a_layer_of_a_network():
    model = Cnn14(Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 6, 16))
    weight = model.convolution("C9").weight.detach().numpy()
    assert np.allclose(layer_importance(model, "C9"), direct_operator_norm(weight), atol=1e-9)
    with pytest.raises(PruningError, match="C1 to C12"):
        layer_importance(model, "C0")


def test_bad_weights_and_names_are_refused():
    with pytest.raises(PruningError, match="damaged"):
        operator_norm(np.full((2, 2, 3, 3), np.nan))
    with pytest.raises(PruningError, match="shape"):
        operator_norm(np.ones((2, 2)))
    with pytest.raises(PruningError, match="operator-norm"):
        criterion("magic")


def check_every_layer(model: Cnn14) -> None:
    plans = {ratio: plan(model, ratio, LAYERS) for ratio in (0.25, 0.5, 0.75)}
    for layer in LAYERS:
        weight = model.convolution(layer).weight.detach().numpy()
        ranking = np.argsort(-direct_operator_norm(weight), kind="stable")
        for ratio, pruning in plans.items():
            best = ranking[: int(len(weight) * (1 - ratio))]
            assert pruning.kept[layer] == tuple(sorted(best.tolist())), (layer, ratio)


def test_kept_filters_of_every_layer_of_a_random_network_are_the_definitions():
    check_every_layer(Cnn14(Cnn14Config(tuple(width // 2 for width in CNN14_WIDTHS))))


def test_kept_filters_of_every_layer_of_the_embedded_cnn14_are_the_definitions():
    check_every_layer(load_tagger("demo-cnn14").model)
