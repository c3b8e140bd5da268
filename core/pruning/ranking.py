"""Looking into one layer: ranks, how far criteria agree, and which filters resemble one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from core.compare import spearman
from core.errors import PruningError
from core.models.widths import kept_count
from core.pruning.plan import keep_best


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of every filter, (filters,) whole numbers, 1 the most important; of equal scores the earlier filter is first.

    The same order as ``keep_best``: the filters that stay are those whose rank is at most their number.
    """
    order = np.argsort(-scores, kind="stable")
    found = np.empty(len(scores), np.int64)
    found[order] = np.arange(1, len(scores) + 1)
    return found


def rank_correlations(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Spearman's rank correlation of every pair of criteria over one layer's filters.

    Parameters
    ----------
    scores : criterion -> (filters,).

    Returns
    -------
    (criteria, criteria) float64 in the mapping's order, 1 on the diagonal; NaN where a criterion gives no order (all of its
    scores are equal).
    """
    return _pairwise(
        list(scores.values()), lambda a, b: np.nan if (found := spearman(a, b)) is None else found
    )


def kept_in_common(scores: Mapping[str, np.ndarray], ratio: float) -> np.ndarray:
    """The share of the kept filters that two criteria agree on, where each removes a share ``ratio`` of the layer.

    Returns (criteria, criteria) float64 in [0, 1], 1 on the diagonal. Two draws of lots share ``kept / filters`` on average.
    Raises ``PruningError`` unless the ratio is in [0, 1).
    """
    kept = [np.array(keep_best(each, kept_count(len(each), ratio))) for each in scores.values()]
    return _pairwise(kept, lambda a, b: len(np.intersect1d(a, b)) / len(a))


def neighbours(directions: np.ndarray, index: int, count: int = 5) -> list[tuple[int, float]]:
    """The filters nearest to one, by the similarity criterion's distance.

    Parameters
    ----------
    directions : (filters, taps), the layer's ``similarity.prototypes``.
    index : the filter that is asked about.
    count : how many neighbours, fewer where the layer has fewer.

    Returns
    -------
    Pairs of filter and cosine distance (0: the same direction, 2: the opposite one), nearest first; of equal distances the
    earlier filter is first. Raises ``PruningError`` for a filter that the layer does not have.
    """
    if not 0 <= index < len(directions):
        raise PruningError(f"There is no filter {index}; this layer's are 0 to {len(directions) - 1}.")
    apart = np.clip(1.0 - directions @ directions[index], 0.0, 2.0)
    apart[index] = np.inf
    nearest = np.argsort(apart, kind="stable")[: min(count, len(directions) - 1)]
    return [(int(each), float(apart[each])) for each in nearest]


def largest_channels(kernels: np.ndarray, count: int) -> np.ndarray:
    """The input channels to which a filter listens most: those of its kernels with the greatest Euclidean length.

    (channels, height, width) -> at most ``count`` channel numbers, the largest kernel first.
    """
    lengths = np.square(kernels, dtype=np.float64).sum(axis=(1, 2))
    return np.argsort(-lengths, kind="stable")[:count]


def _pairwise(items: list[np.ndarray], measure: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
    found = np.eye(len(items))
    for i in range(len(items)):
        for j in range(i):
            found[i, j] = found[j, i] = measure(items[i], items[j])
    return found
