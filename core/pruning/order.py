"""How much the published operator norm depends on the order of a layer's filters.

The criterion adds up a filter's responses over the input channels, and a response's sign is arbitrary: the sign of a singular
vector is not defined. The published code orients each channel so that filter 0 responds positively. Filter 0 is therefore the one
filter whose responses never cancel. The responses are otherwise the same in any order, so the result depends only on which filter
comes first: trying each filter in first position covers every permutation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.models.widths import kept_count
from core.pruning.criteria import responses

_BLOCK = (
    256  # first filters at a time: the sums of C12 in one piece would take 34 MB, and their order the same
)


@dataclass(frozen=True, eq=False)
class OrderDependence:
    """One layer, with each of its filters placed first in turn.

    Attributes
    ----------
    filters, kept : int
        Filters of the layer, and how many of them stay.
    stays : (filters,) float64
        Entry r is the share of the filters kept in the file's order (filter 0 first) that are also kept with filter r first.
        Entry 0 is 1.
    rank_when_first : (filters,) int
        Entry r is the rank of filter r when it is first.
    """

    filters: int
    kept: int
    stays: np.ndarray
    rank_when_first: np.ndarray

    @property
    def others(self) -> np.ndarray:
        """``stays`` without the file's own order: (filters - 1,), or (1,) for a layer of one filter."""
        return self.stays[1:] if self.filters > 1 else self.stays

    @property
    def mean_stays(self) -> float:
        """Mean of ``others``."""
        return float(self.others.mean())

    @property
    def chance(self) -> float:
        """The share that two random selections have in common on average."""
        return self.kept / self.filters

    @property
    def first_ranks_first(self) -> float:
        """The share of the filters that rank first when they are placed first."""
        return float((self.rank_when_first == 1).mean())


def order_dependence(weight: np.ndarray, ratio: float) -> OrderDependence:
    """Place every filter of a layer first in turn, and compare which filters the operator norm then keeps.

    Parameters
    ----------
    weight : (filters, input channels, height, width) array
        The layer's weights.
    ratio : float
        Pruning ratio.

    Raises
    ------
    PruningError
        The ratio is not in [0, 1).

    Examples
    --------
    >>> weight = np.random.default_rng(0).standard_normal((8, 3, 3, 3))
    >>> result = order_dependence(weight, 0.5)
    >>> result.kept, float(result.stays[0]), result.chance
    (4, 1.0, 0.5)
    """
    filters = len(weight)
    kept = kept_count(filters, ratio)
    projections = responses(weight)  # (input channels, filters)
    stays, ranks = np.empty(filters), np.empty(filters, np.int64)
    kept_in_file_order = np.zeros(filters, bool)
    for start in range(0, filters, _BLOCK):
        signs = np.where(projections[:, start : start + _BLOCK] < 0, -1.0, 1.0)
        scores = (signs.T @ projections) ** 2  # (first filters of this block, filters)
        order = np.argsort(-scores, axis=1, kind="stable")
        if start == 0:
            kept_in_file_order[order[0, :kept]] = True
        stays[start : start + _BLOCK] = kept_in_file_order[order[:, :kept]].mean(axis=1)
        firsts = np.arange(start, min(start + _BLOCK, filters))[:, None]
        ranks[start : start + _BLOCK] = (order == firsts).argmax(axis=1) + 1
    return OrderDependence(filters, kept, stays, ranks)
