"""The filters of one layer: their ranks, how far criteria agree on them, and their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compare import spearman
from core.errors import PruningError
from core.models.widths import kept_count
from core.pruning.plan import keep_best


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank of every filter, (filters,) int, 1 the most important; of equal scores the earlier filter is first.

    The same order as ``plan.keep_best``: the k filters that stay are those of rank 1 to k.

    Examples
    --------
    >>> ranks(np.array([0.5, 1.0, 0.5]))
    array([2, 1, 3])
    """
    order = np.argsort(-scores, kind="stable")
    result = np.empty(len(scores), np.int64)
    result[order] = np.arange(1, len(scores) + 1)
    return result


@dataclass(frozen=True, eq=False)
class RankedLayer:
    """One layer's filters by one criterion, cut at a ratio.

    Attributes
    ----------
    layer : str
        C1..C12.
    scores : (filters,) float64
        In the order of the filters.
    ratio : float
        The share of the filters that is removed.
    """

    layer: str
    scores: np.ndarray
    ratio: float

    @property
    def ranks(self) -> np.ndarray:
        """``ranks`` of the scores."""
        return ranks(self.scores)

    @property
    def kept(self) -> np.ndarray:
        """(filters,) bool, True for a filter that stays."""
        return self.ranks <= kept_count(len(self.scores), self.ratio)

    def document(self) -> dict[str, Any]:
        """Plain JSON: {layer, ratio, scores, ranks, kept}, ``kept`` as the numbers of the filters that stay.

        Examples
        --------
        >>> RankedLayer("C7", np.array([0.5, 1.0, 0.2, 0.7]), 0.5).document()
        {'layer': 'C7', 'ratio': 0.5, 'scores': [0.5, 1.0, 0.2, 0.7], 'ranks': [3, 1, 4, 2], 'kept': [1, 3]}
        """
        return {
            "layer": self.layer,
            "ratio": self.ratio,
            "scores": self.scores.tolist(),
            "ranks": self.ranks.tolist(),
            "kept": np.flatnonzero(self.kept).tolist(),
        }


def rank_correlations(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """Spearman's rank correlation of every pair of criteria over one layer's filters.

    Parameters
    ----------
    scores : mapping of str to (filters,) array
        Each criterion's scores.

    Returns
    -------
    (criteria, criteria) float64
        In the mapping's order, 1 on the diagonal; NaN where all scores of a criterion are equal.
    """
    return _pairwise(list(scores.values()), lambda a, b: np.nan if (rho := spearman(a, b)) is None else rho)


def kept_in_common(scores: Mapping[str, np.ndarray], ratio: float) -> np.ndarray:
    """The share of the kept filters that two criteria agree on at a pruning ratio.

    Returns (criteria, criteria) float64 in [0, 1], 1 on the diagonal; two random selections share ``kept / filters`` on average.
    Raises ``PruningError`` unless the ratio is in [0, 1).
    """
    kept = [np.array(keep_best(values, kept_count(len(values), ratio))) for values in scores.values()]
    return _pairwise(kept, lambda a, b: len(np.intersect1d(a, b)) / len(a))


def neighbours(directions: np.ndarray, index: int, count: int = 5) -> list[tuple[int, float]]:
    """The filters nearest to one, by the similarity criterion's distance.

    Parameters
    ----------
    directions : (filters, taps) array
        The layer's ``similarity.prototypes``.
    index : int
        The filter.
    count : int
        How many neighbours, at most.

    Returns
    -------
    list of (int, float)
        Filter and cosine distance (0: the same direction, 2: the opposite one), nearest first; of equal distances the earlier
        filter is first.

    Raises
    ------
    PruningError
        The layer has no such filter.
    """
    if not 0 <= index < len(directions):
        raise PruningError(f"There is no filter {index}; this layer's are 0 to {len(directions) - 1}.")
    apart = np.clip(1.0 - directions @ directions[index], 0.0, 2.0)
    apart[index] = np.inf
    nearest = np.argsort(apart, kind="stable")[: min(count, len(directions) - 1)]
    return [(int(other), float(apart[other])) for other in nearest]


def largest_channels(kernels: np.ndarray, count: int) -> np.ndarray:
    """The input channels with a filter's largest kernels, by Euclidean length.

    (channels, height, width) -> at most ``count`` channel numbers, the largest kernel first.
    """
    lengths = np.square(kernels, dtype=np.float64).sum(axis=(1, 2))
    return np.argsort(-lengths, kind="stable")[:count]


def _pairwise(items: list[np.ndarray], measure: Callable[[np.ndarray, np.ndarray], float]) -> np.ndarray:
    result = np.eye(len(items))
    for i in range(len(items)):
        for j in range(i):
            result[i, j] = result[j, i] = measure(items[i], items[j])
    return result
