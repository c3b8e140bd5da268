"""One layer, ranked and cut: what every section of the Filters page starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dashboard import formats
from dashboard.filters.settings import FilterSettings


@dataclass(frozen=True, eq=False)
class LayerView:
    """A ranked layer and the selected filter.

    Attributes
    ----------
    settings : network, layer, criterion and ratio.
    scores : (filters,) by the criterion.
    order : the filters, most important first.
    kept : how many of them are kept.
    selected : index of the selected filter.
    """

    settings: FilterSettings
    scores: np.ndarray
    order: list[int]
    kept: int
    selected: int

    @property
    def network(self) -> str:
        """The network's name."""
        return self.settings.network

    @property
    def layer(self) -> str:
        """The layer's name."""
        return self.settings.layer

    def rank(self, index: int) -> int:
        """A filter's rank, 1 the most important."""
        return self.order.index(index) + 1

    def is_kept(self, index: int) -> bool:
        """Whether a filter is kept."""
        return self.rank(index) <= self.kept

    def headline(self) -> str:
        """The page's first sentence."""
        count = len(self.order)
        if self.kept == count:
            return f"All {formats.whole(count)} filters of {self.layer} are kept"
        removed = float(self.scores[self.order[self.kept :]].sum() / self.scores.sum())
        return (
            f"{self.layer} keeps {formats.whole(self.kept)} of {formats.whole(count)} filters · "
            f"the removed ones have {formats.percent(removed)} of the total importance"
        )
