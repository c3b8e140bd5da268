"""Fidelity by hand, and by SciPy's entropies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import entropy, spearmanr

from core.compare import divergences
from core.errors import PruningError
from core.models.cnn import Cnn14, Cnn14Config
from core.pruning.fidelity import fidelity, predictions
from core.windows import mean_probabilities


def test_by_hand():
    parent = np.array([[0.5, 0.25, 0.1], [0.9, 0.1, 0.2]])
    pruned = np.array([[0.25, 0.5, 0.1], [0.9, 0.1, 0.2]])
    found = fidelity(parent, pruned)
    # 0.5 log 2 + 0.5 log(2/3) and 0.25 log(1/2) + 0.75 log(3/2); the second clip is unchanged
    first = 0.5 * math.log(2) + 0.5 * math.log(2 / 3) - 0.25 * math.log(2) + 0.75 * math.log(1.5)
    assert found.divergence == pytest.approx(first / 2, rel=1e-12)
    assert (found.clips, found.first_tag, found.top_k, found.top_k_overlap) == (2, 0.5, 3, 1.0)
    assert found.spearman == pytest.approx(
        (0.5 + 1) / 2
    )  # one neighbouring pair of three swapped: 1 - 6 * 2 / 24
    assert found.max_abs_difference == pytest.approx(0.25 / 2)


def test_by_scipy():
    rng = np.random.default_rng(0)
    parent, pruned = rng.random((2, 7, 30)).astype(np.float32)
    coins = [entropy([p, 1 - p], [q, 1 - q]) for p, q in zip(parent.ravel(), pruned.ravel(), strict=True)]
    np.testing.assert_allclose(divergences(parent, pruned), np.reshape(coins, (7, 30)).sum(axis=1), rtol=1e-5)
    found = fidelity(parent, pruned)
    ranks = [spearmanr(a, b).statistic for a, b in zip(parent, pruned, strict=True)]
    assert found.spearman == pytest.approx(np.mean(ranks))
    overlap = [
        len({*np.argsort(a)[-5:]} & {*np.argsort(b)[-5:]}) / 5 for a, b in zip(parent, pruned, strict=True)
    ]
    assert found.top_k_overlap == pytest.approx(np.mean(overlap))


def test_certainty_that_is_wrong_costs_a_finite_amount():
    # 1 against 0: log(1e7), but for the clipped 1e-7
    assert divergences(np.array([[1.0]]), np.array([[0.0]]))[0] == pytest.approx(math.log(1e7), rel=1e-5)
    assert divergences(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]))[0] == 0


def test_no_order_no_rank_correlation():
    flat = np.full((2, 3), 0.5)
    assert fidelity(flat, np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]])).spearman is None
    assert fidelity(np.ones((1, 1)), np.ones((1, 1))).top_k == 1


@pytest.mark.parametrize(
    ("parent", "pruned", "message"),
    [
        ((2, 3), (2, 4), "got .2, 3. and .2, 4."),
        ((0, 3), (0, 3), "got .0, 3."),
        ((3,), (3,), "clips, classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(parent, pruned, message):
    with pytest.raises(PruningError, match=message):
        fidelity(np.zeros(parent), np.zeros(pruned))


def test_predictions_are_those_of_tagging():
    model = Cnn14(Cnn14Config((4,) * 12, 5, 8)).eval()
    rng = np.random.default_rng(1)
    waveforms = [rng.standard_normal(samples).astype(np.float32) * 0.1 for samples in (4_000, 20_000)]
    found = predictions(model, waveforms)
    assert (found.shape, found.dtype) == ((2, 5), np.float32)
    for row, waveform in zip(found, waveforms, strict=True):
        np.testing.assert_array_equal(row, mean_probabilities(model.probabilities, waveform))
    with pytest.raises(PruningError, match="no clips"):
        predictions(model, [])
