"""How much the published operator norm depends on the order of a layer's filters.

The criterion adds up a filter's responses over the input channels, and a response's sign is arbitrary: singular vectors have
none of their own. The published code turns each channel so that filter 0 responds positively. Filter 0 is therefore the one
filter whose responses never cancel. Everything else about the responses is the same in any order, so the outcome depends on
nothing but which filter comes first: trying each of them in the first place is trying every permutation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.models.widths import kept_count
from core.pruning.criteria import responses

_BLOCK = 256  # first filters at a time: the sums of C12 in one piece would take 34 MB, and their order as much again


@dataclass(frozen=True, eq=False)
class OrderDependence:
    """One layer, with each of its filters in turn put first.

    Attributes
    ----------
    filters, kept : how many the layer has, and how many of them stay.
    stays : (filters,) float64; entry r is the share of the kept filters (in the order of the file, filter 0 first) that also
        stay with filter r first. Entry 0 is 1.
    rank_when_first : (filters,) whole numbers; entry r is the rank of filter r when it is first.
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
        """The share that stays on average over all other first filters."""
        return float(self.others.mean())

    @property
    def chance(self) -> float:
        """The share that two draws of lots would have in common on average."""
        return self.kept / self.filters

    @property
    def first_ranks_first(self) -> float:
        """The share of the filters that rank first as soon as they come first."""
        return float((self.rank_when_first == 1).mean())


def order_dependence(weight: np.ndarray, ratio: float) -> OrderDependence:
    """Put every filter of a layer first in turn, and see which filters the operator norm then keeps.

    Parameters
    ----------
    weight : (filters, input channels, height, width).
    ratio : the share of the filters that go.

    Raises ``PruningError`` unless the ratio is in [0, 1).
    """
    filters = len(weight)
    kept = kept_count(filters, ratio)
    found = responses(weight)  # (input channels, filters)
    stays, own = np.empty(filters), np.empty(filters, np.int64)
    usual = np.zeros(filters, bool)
    for start in range(0, filters, _BLOCK):
        signs = np.where(found[:, start : start + _BLOCK] < 0, -1.0, 1.0)
        scores = (signs.T @ found) ** 2  # (first filters of this block, filters)
        order = np.argsort(-scores, axis=1, kind="stable")
        if start == 0:
            usual[order[0, :kept]] = True
        stays[start : start + _BLOCK] = usual[order[:, :kept]].mean(axis=1)
        firsts = np.arange(start, min(start + _BLOCK, filters))[:, None]
        own[start : start + _BLOCK] = (order == firsts).argmax(axis=1) + 1
    return OrderDependence(filters, kept, stays, own)
