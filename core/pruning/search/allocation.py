"""Allocation of a budget to the layers: the ratios with the smallest predicted loss.

A configuration is one step on a ladder of ratios for each group of layers that share their filters, most of them groups of one. Its
cost is counted (``costs``); its loss is predicted from a measured
``Sensitivity``. The loss of several layers exceeds the sum of their losses, so roots are summed: the prediction is (sum of
loss^(1/e))^e with an exponent e from 1 (losses add up) to 2 (changes of the output add up, and the loss grows with their square).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.models.groups import groups
from core.models.widths import kept_count
from core.profiling.costs import Quantity, costs
from core.pruning.search.sensitivity import Sensitivity

STEP = 0.01
"""Ratios are whole per cents: finer ones change a filter or two, and are hard to read."""

# Loss per unpruned network's cost (the Lagrange multiplier), as a multiple of the largest measured loss.
_PRICES = np.geomspace(1e-3, 1e3, 73)
_SWEEPS = 30  # of coordinate descent; it converges after 3 to 10
_NEAREST = 6  # configurations below the requested share that are widened to it
_WIDER = (1, 2, 4, 8, 16, 32)  # steps that one layer is widened by in an exchange


@dataclass(frozen=True, eq=False)
class Ladder:
    """The ratios that a group may be pruned by, and how many filters each of them keeps, widest first."""

    ratios: tuple[float, ...]
    filters: np.ndarray


class Allocation:
    """The ladders of all groups of a network, the cost of their steps, and the best configurations by predicted loss.

    A configuration is an int array (groups,) of steps, 0 for a group that keeps everything.

    Parameters
    ----------
    architecture : str
        The registry's name of the network.
    config : object
        The unpruned network's configuration.
    sensitivity : Sensitivity
        The loss of each group pruned alone; others are not pruned, and none beyond the largest measured ratio.
    round_to : int
        Round the number of kept filters to a multiple of this.
    """

    def __init__(self, architecture: str, config: Any, sensitivity: Sensitivity, round_to: int = 1) -> None:
        self._sensitivity = sensitivity
        self._groups = groups(architecture, config)
        self._costs = costs(architecture, config)
        largest = max(sensitivity.ratios)
        self.ladders = tuple(
            _ladder(group.channels, largest if group.name in sensitivity.layers else 0.0, round_to)
            for group in self._groups
        )
        self._filters = _padded([ladder.filters for ladder in self.ladders])  # (groups, steps)

    def ratios(self, steps: np.ndarray) -> dict[str, float]:
        """The ratio of every group that is pruned."""
        chosen = zip(self._groups, self.ladders, steps, strict=True)
        return {group.name: ladder.ratios[step] for group, ladder, step in chosen if step}

    def share(self, steps: np.ndarray, kind: Quantity) -> float:
        """Remaining share of the unpruned network's parameters, or of its MACs in the paper's convention."""
        return self._costs[kind].of(self._channels(steps)) / self._unpruned(kind)

    def unpruned(self) -> np.ndarray:
        """No group pruned."""
        return np.zeros(len(self.ladders), int)

    def smallest(self) -> np.ndarray:
        """Every group pruned by the largest measured ratio."""
        return np.array([len(ladder.filters) - 1 for ladder in self.ladders])

    def uniform(self, chosen: Collection[str], ratio: float) -> np.ndarray:
        """One ratio for all of the groups ``chosen``, rounded down to a step of each ladder."""
        steps = [
            int(np.searchsorted(ladder.ratios, ratio + 1e-9) - 1) if group.name in chosen else 0
            for group, ladder in zip(self._groups, self.ladders, strict=True)
        ]
        return np.array(steps)

    def predicted(self, steps: np.ndarray, exponent: float) -> float:
        """The predicted loss of a configuration."""
        return float(
            sum(losses[step] for losses, step in zip(self._roots(exponent), steps, strict=True)) ** exponent
        )

    def path(self, kind: Quantity, exponent: float) -> Callable[[float], np.ndarray]:
        """A function from a share of the cost to the configuration with the smallest predicted loss that costs no more.

        For a series of prices, loss plus price times cost is minimised one group at a time until nothing changes. That starts once from the smallest configuration and once from the unpruned one, since roots of losses
        need not be convex. The configurations just below the requested share are widened, step by step, where that gains most for its
        cost, and the best of them is improved by exchanges between two layers.
        """
        roots = self._roots(exponent)
        largest = max(float(losses[-1]) for losses in roots) or 1.0
        configurations = [self.smallest(), self.unpruned()]
        for start, prices in ((configurations[0], _PRICES[::-1]), (configurations[1], _PRICES)):
            steps = start
            for price in prices:
                steps = self._descend(steps.copy(), roots, price * largest, kind)
                configurations.append(steps)
        shares = {tuple(steps.tolist()): self.share(steps, kind) for steps in configurations}

        def best(share: float) -> np.ndarray:
            nearest = sorted((steps for steps in shares if shares[steps] <= share), key=shares.__getitem__)[
                -_NEAREST:
            ]
            widened = (self._widened(np.array(steps), roots, share, kind) for steps in nearest)
            return self._exchanged(min(widened, key=lambda steps: _lost(roots, steps)), roots, share, kind)

        return best

    def widest(self, steps: np.ndarray, group: int, share: float, kind: Quantity) -> np.ndarray | None:
        """The configuration with ``group`` as wide as ``share`` allows; None if even its last step costs too much."""
        fits = self._shares_along(steps, group, kind) <= share
        if not fits[-1]:
            return None
        changed = steps.copy()
        changed[group] = int(fits.argmax())
        return changed

    def moved(self, steps: np.ndarray, group: int, change: float, kind: Quantity) -> np.ndarray | None:
        """The configuration with ``group`` narrower (``change`` below 0) or wider by about that share of the whole cost.

        At least one step, as far as the ladder goes; None where it has no step in that direction.
        """
        at, last = steps[group], len(self.ladders[group].filters) - 1
        candidates = np.arange(at + 1, last + 1) if change < 0 else np.arange(at - 1, -1, -1)
        if not len(candidates):
            return None
        shares = self._shares_along(steps, group, kind)
        far = abs(shares[candidates] - shares[at]) >= abs(change)
        changed = steps.copy()
        changed[group] = candidates[far.argmax() if far.any() else -1]
        return changed

    def _channels(self, steps: np.ndarray) -> np.ndarray:
        return self._filters[np.arange(len(steps)), steps].astype(np.float64)

    def _unpruned(self, kind: Quantity) -> float:
        return self._costs[kind].of(self._costs[kind].unpruned)

    def _shares_along(self, steps: np.ndarray, group: int, kind: Quantity) -> np.ndarray:
        """The share of the cost at every step of one group's ladder, the others as they are."""
        constants, slopes, squares = (
            values[group] for values in self._costs[kind].along(self._channels(steps))
        )
        filters = self.ladders[group].filters.astype(np.float64)
        return np.asarray((constants + (slopes + squares * filters) * filters) / self._unpruned(kind))

    def _roots(self, exponent: float) -> list[np.ndarray]:
        """For each group and step the root of its own loss, interpolated, never decreasing with the ratio."""
        roots = []
        for group, ladder in zip(self._groups, self.ladders, strict=True):
            if group.name not in self._sensitivity.layers:
                roots.append(np.zeros(1))
                continue
            # By the share of filters that is removed: whole filters, so not exactly the ratio.
            width = int(ladder.filters[0])
            measured = [1 - kept_count(width, ratio) / width for ratio in (0.0, *self._sensitivity.ratios)]
            row = self._sensitivity.loss[self._sensitivity.layers.index(group.name)]
            losses = np.maximum.accumulate(np.array([0.0, *row]))
            roots.append(np.interp(1 - ladder.filters / width, measured, losses ** (1 / exponent)))
        return roots

    def _descend(
        self, steps: np.ndarray, roots: list[np.ndarray], price: float, kind: Quantity
    ) -> np.ndarray:
        for _ in range(_SWEEPS):
            before = steps.copy()
            for group, losses in enumerate(roots):
                steps[group] = int((losses + price * self._shares_along(steps, group, kind)).argmin())
            if (steps == before).all():
                break
        return steps

    def _widened(
        self, steps: np.ndarray, roots: list[np.ndarray], share: float, kind: Quantity
    ) -> np.ndarray:
        while True:
            present = self.share(steps, kind)
            gains = []
            for group, losses in enumerate(roots):
                if steps[group] == 0:
                    continue
                cost = self._shares_along(steps, group, kind)[steps[group] - 1]
                if cost <= share:
                    gain = losses[steps[group]] - losses[steps[group] - 1]
                    gains.append((gain / max(cost - present, 1e-12), group))
            if not gains:
                return steps
            steps[max(gains)[1]] -= 1

    def _exchanged(
        self, steps: np.ndarray, roots: list[np.ndarray], share: float, kind: Quantity
    ) -> np.ndarray:
        """The configuration after every exchange that lowers the predicted loss: one group wider, another narrower to pay for it."""
        padded = _padded(roots)
        improved = True
        while improved:
            improved = False
            for first in range(len(steps)):
                second: int | None = -1
                while second is not None:
                    steps, second = self._exchange(steps, padded, (first, second + 1), share, kind)
                    improved = improved or second is not None
        return steps

    def _exchange(
        self, steps: np.ndarray, roots: np.ndarray, pair: tuple[int, int], share: float, kind: Quantity
    ) -> tuple[np.ndarray, int | None]:
        """The first exchange of a group that lowers the loss, with the groups from a second one on, and which that was.

        All narrower groups are tried at once: a network with fifty groups has 2,450 pairs.
        """
        first, start = pair
        every = np.arange(len(steps))
        best: tuple[int, np.ndarray] | None = None
        for wider in _WIDER:
            if steps[first] < wider:
                break
            changed = steps.copy()
            changed[first] -= wider
            polynomial = self._costs[kind].along(self._channels(changed))
            constants, slopes, squares = (values[:, None] for values in polynomial)
            costs_along = constants + (slopes + squares * self._filters) * self._filters
            fits = (
                costs_along / self._unpruned(kind) <= share
            )  # (groups, steps); the last column is the narrowest
            widest = fits.argmax(axis=1)
            lost = roots[every, changed].sum() - roots[every, changed] + roots[every, widest]
            better = (
                fits[:, -1] & (lost < roots[every, steps].sum() - 1e-9) & (every >= start) & (every != first)
            )
            if better.any() and (best is None or better.argmax() < best[0]):
                second = int(better.argmax())
                changed[second] = widest[second]
                best = second, changed
        return (steps, None) if best is None else (best[1], best[0])


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of different lengths as one array, each continued by its last number."""
    length = max(map(len, rows))
    return np.stack([np.pad(row, (0, length - len(row)), mode="edge") for row in rows])


def _lost(roots: list[np.ndarray], steps: np.ndarray) -> float:
    return float(sum(losses[step] for losses, step in zip(roots, steps, strict=True)))


def _ladder(width: int, largest: float, round_to: int) -> Ladder:
    """Every width that a whole per cent results in, with the smallest such ratio."""
    ratios, filters = [0.0], [width]
    for step in range(1, round(largest / STEP) + 1):
        ratio = round(step * STEP, 4)
        kept = kept_count(width, ratio, round_to)
        if kept < filters[-1] and ratio <= largest + 1e-9:
            ratios.append(ratio)
            filters.append(kept)
    return Ladder(tuple(ratios), np.array(filters))
