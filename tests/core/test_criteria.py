"""The other criteria against their definitions: by singular value decomposition, scipy, and hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import gmean

from core.pruning.criteria import CRITERIA
from core.pruning.similarity import distances, prototypes, similarity_kept, similarity_order

WEIGHT = (
    np.random.default_rng(3).standard_normal((24, 5, 2, 4)) * np.linspace(0.2, 2.0, 24)[:, None, None, None]
)


def responses(weight: np.ndarray) -> np.ndarray:
    """P_ic by a full SVD of every channel's matrix, (filters, channels)."""
    columns = []
    for channel in range(weight.shape[1]):
        kernels = weight[:, channel].reshape(len(weight), -1)
        centred = kernels - kernels.mean(axis=0)
        columns.append(centred @ np.linalg.svd(centred)[2][0])
    return np.stack(columns, axis=1)


def test_operator_norm_energy_and_abs_equal_their_definitions():
    found = responses(WEIGHT)
    energy, absolute = (found**2).sum(axis=1), np.abs(found).sum(axis=1) ** 2
    assert np.allclose(CRITERIA["operator-norm-energy"](WEIGHT), energy / energy.max(), atol=1e-9)
    assert np.allclose(CRITERIA["operator-norm-abs"](WEIGHT), absolute / absolute.max(), atol=1e-9)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name not in ("operator-norm", "random")])
def test_the_order_of_the_filters_does_not_matter(name):
    order = np.random.default_rng(0).permutation(len(WEIGHT))
    assert np.allclose(CRITERIA[name](WEIGHT[order]), CRITERIA[name](WEIGHT)[order], atol=1e-9)


def test_norms_by_hand():
    """Two filters of two weights: (3, -4) and (1, 0)."""
    weight = np.array([[3.0, -4.0], [1.0, 0.0]]).reshape(2, 1, 1, 2)
    assert np.allclose(CRITERIA["l1"](weight), [1.0, 1 / 7])
    assert np.allclose(CRITERIA["l2"](weight), [1.0, 1 / 5])


def test_geometric_median_is_the_sum_of_distances():
    flat = WEIGHT.reshape(24, -1)
    expected = cdist(flat, flat).sum(axis=1)
    assert np.allclose(CRITERIA["geometric-median"](WEIGHT), expected / expected.max(), atol=1e-9)


def test_geometric_mean_is_what_the_authors_call_gm():
    expected = (gmean(np.abs(WEIGHT), axis=None) - gmean(np.abs(WEIGHT.reshape(24, -1)), axis=1)) ** 2
    assert np.allclose(CRITERIA["geometric-mean"](WEIGHT), expected / expected.max(), atol=1e-9)


def test_prototypes_equal_a_singular_value_decomposition():
    for found, filter_weight in zip(prototypes(WEIGHT), WEIGHT, strict=True):
        left, _, right = np.linalg.svd(filter_weight.reshape(5, 8).T)
        sign = -1.0 if right[0, 0] < 0 else 1.0
        assert np.allclose(found, sign * left[:, 0], atol=1e-9)


def test_parallel_filters_are_at_no_distance_and_opposed_ones_at_two():
    """A filter, three times the filter, and its negative: the first two say the same. (Its sign is the first kernel's.)"""
    base = np.random.default_rng(1).standard_normal((1, 4, 3, 3))
    one_kernel = np.zeros((3, 1, 1, 2))
    one_kernel[:, 0, 0] = [(1.0, 0.0), (0.0, 2.0), (3.0, 0.0)]
    assert distances(np.concatenate([base, 3 * base]))[0, 1] == pytest.approx(0.0, abs=1e-12)
    assert np.allclose(distances(one_kernel)[0, 1:], [1.0, 0.0])


def published_similarity(weight, order):
    """The published walk, with the sort left open: the kept filters, and every filter's nearest and its distance."""
    apart = distances(weight)
    nearest, delta = apart.argmin(axis=1), apart.min(axis=1)
    redundant, kept = set(), set()
    for index in order(delta):
        if index not in redundant:
            kept.add(index)
            redundant.add(nearest[index])
    return set(range(len(weight))) - (redundant - kept), nearest, delta


def test_mutual_pairs_are_ties_that_the_sort_breaks():
    """docs/conventions.md: of two filters that are each other's nearest the sort decides which one stays; ours is stable."""
    weight = np.random.default_rng(0).standard_normal((256, 128, 3, 3))
    stable, nearest, delta = published_similarity(weight, lambda delta: np.argsort(delta, kind="stable"))
    assert stable == set(similarity_kept(weight))
    pairs = [(one, two) for one, two in enumerate(nearest) if nearest[two] == one and one < two]
    assert len(pairs) > 50
    assert all(delta[one] == delta[two] for one, two in pairs)
    assert all(one in stable and two not in stable for one, two in pairs)
    later_first, *_ = published_similarity(weight, lambda delta: np.lexsort((-np.arange(len(delta)), delta)))
    assert all(two in later_first and one not in later_first for one, two in pairs)
    assert len(later_first) == len(stable)
    default, *_ = published_similarity(weight, np.argsort)
    assert len(default) == len(stable)
    assert len(later_first & stable) <= len(default & stable) <= len(stable)


def test_of_two_alike_one_goes():
    """Filters 0 and 2 are alike, 1 and 3 are alike, 4 stands alone: one of each pair stays, and 4."""
    weight = np.zeros((5, 1, 1, 3))
    weight[:, 0, 0] = [(1, 0.02, 0), (0, 1, 0.03), (2, 0, 0), (0, 3, 0), (0, 0, 1)]
    assert similarity_kept(weight) == (0, 1, 4)
    # for a ratio, the smaller l1 goes: 0 before 2, and 1 before 3
    gone = similarity_order(weight, np.abs(weight).sum(axis=(1, 2, 3)))
    assert set(gone[:2]) == {0, 1}
    assert len(gone) == 4


def test_similarity_scores_are_the_order_of_going():
    gone = similarity_order(WEIGHT, np.abs(WEIGHT).sum(axis=(1, 2, 3)))
    assert np.argsort(CRITERIA["similarity"](WEIGHT), kind="stable")[:-1].tolist() == gone


def test_random_is_a_draw_of_lots_and_always_the_same():
    scores = CRITERIA["random"](WEIGHT)
    assert np.array_equal(scores, CRITERIA["random"](2 * WEIGHT))
    assert sorted(scores * 24) == pytest.approx(list(range(1, 25)))
    assert not np.array_equal(np.argsort(scores), np.arange(24))


@pytest.mark.parametrize("name", list(CRITERIA))
def test_every_criterion_gives_float64_between_0_and_1(name):
    scores = CRITERIA[name](WEIGHT.astype(np.float32))
    assert (scores.dtype, scores.shape, scores.max()) == (np.float64, (24,), 1.0)
    assert scores.min() >= 0


@pytest.mark.parametrize("name", list(CRITERIA))
def test_one_filter_and_equal_filters_are_no_trouble(name):
    assert np.array_equal(CRITERIA[name](WEIGHT[:1]), [1.0])
    assert np.isfinite(CRITERIA[name](np.ones((3, 2, 3, 3)))).all()


def test_the_most_central_filter_goes_first():
    """Filters at 0, 60 and 90 degrees: cosines 0.5, 0 and 0.866. The middle one has most in common with the others."""
    angles = np.radians([0.0, 60.0, 90.0])
    weight = np.stack([np.cos(angles), np.sin(angles)], axis=1).reshape(3, 1, 2)
    degrees = np.array([0.5 + 0.0, 0.5 + np.sqrt(3) / 2, np.sqrt(3) / 2])
    assert np.allclose(CRITERIA["graph-centrality"](5 * weight), (2 - degrees) / (2 - degrees).max())


def test_graph_centrality_is_the_authors_weighted_degree():
    """Their script sums each filter's cosine similarities to all others and removes the largest sums first."""
    directions = prototypes(WEIGHT)
    cosines = 1 - cdist(directions, directions, "cosine")
    removed_first = np.argsort(-(cosines.sum(axis=1) - 1), kind="stable")
    assert np.array_equal(np.argsort(CRITERIA["graph-centrality"](WEIGHT), kind="stable"), removed_first)


@pytest.mark.parametrize("name", list(CRITERIA))
def test_a_kernel_in_one_dimension_is_one_of_height_one(name):
    weight = WEIGHT.reshape(24, 5, 8)
    assert np.array_equal(CRITERIA[name](weight), CRITERIA[name](WEIGHT.reshape(24, 5, 1, 8)))


@pytest.mark.parametrize("name", list(CRITERIA))
@pytest.mark.parametrize("shape", [(6, 1, 3, 3), (6, 4, 1, 1), (6, 1, 1), (6, 4, 1), (1, 1, 1, 1)])
def test_single_channels_and_single_taps_are_ranked(name, shape):
    scores = CRITERIA[name](np.random.default_rng(0).standard_normal(shape))
    assert (scores.shape, scores.max()) == (shape[:1], 1.0)
    assert np.isfinite(scores).all()
    assert scores.min() >= 0


def test_single_taps_by_hand():
    """Two channels of weights (1, 2, 6) and (4, 0, -1): less their means 3 and 1, both oriented so that filter 0 is positive."""
    weight = np.array([[1.0, 4.0], [2.0, 0.0], [6.0, -1.0]]).reshape(3, 2, 1, 1)
    totals = np.array([2.0 + 3.0, 1.0 - 1.0, -3.0 - 2.0])
    assert np.allclose(CRITERIA["operator-norm"](weight), totals**2 / 25)
    # Filters are compared by their weights over the channels, not by a sign that nearly all of them share.
    assert np.allclose(distances(weight)[0, 1], 1 - 2 / (np.sqrt(17) * 2))
