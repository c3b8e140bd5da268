"""Allocation of a budget to the layers: the ratios with the smallest predicted loss.

A configuration is one step on a ladder of ratios for each layer. Its cost is counted; its loss is predicted from a measured
``Sensitivity``. The loss of several layers exceeds the sum of their losses, so roots are summed: the prediction is (sum of
loss^(1/e))^e with an exponent e from 1 (losses add up) to 2 (changes of the output add up, and the loss grows with their square).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from core.models.cnn import LAYERS, Cnn14Config
from core.models.widths import kept_count
from core.profiling import Counts, count
from core.pruning.search.sensitivity import Sensitivity

Counted = Literal["params", "macs"]

STEP = 0.01
"""Ratios are whole per cents: finer ones change a filter or two, and are hard to read."""

# Loss per unpruned network's cost (the Lagrange multiplier), as a multiple of the largest measured loss.
_PRICES = np.geomspace(1e-3, 1e3, 73)
_SWEEPS = 30  # of coordinate descent; it converges after 3 to 10
_NEAREST = 6  # configurations below the requested share that are widened to it
_SECONDS = 10.0  # MACs are counted for AudioSet's clips; the shares barely depend on it


@dataclass(frozen=True, eq=False)
class Ladder:
    """The ratios that a layer may be pruned by, and how many filters each of them keeps, widest first."""

    ratios: tuple[float, ...]
    filters: np.ndarray


class Allocation:
    """The ladders of all layers of a network, the cost of their steps, and the best configurations by predicted loss.

    A configuration is an int array (12,) of steps, 0 for a layer that keeps everything.

    Parameters
    ----------
    config : Cnn14Config
        The unpruned network.
    sensitivity : Sensitivity
        The loss of each layer pruned alone; other layers are not pruned, and no layer beyond the largest measured ratio.
    round_to : int
        Round the number of kept filters to a multiple of this.
    """

    def __init__(self, config: Cnn14Config, sensitivity: Sensitivity, round_to: int = 1) -> None:
        self._config = config
        self._sensitivity = sensitivity
        self.ladders = tuple(
            _ladder(width, max(sensitivity.ratios) if layer in sensitivity.layers else 0.0, round_to)
            for layer, width in zip(LAYERS, config.widths, strict=True)
        )
        self._unpruned = count(config, _SECONDS)
        self._shares: dict[tuple[str | int, ...], float] = {}

    def widths(self, steps: np.ndarray) -> tuple[int, ...]:
        """Filters of C1..C12."""
        return tuple(int(ladder.filters[step]) for ladder, step in zip(self.ladders, steps, strict=True))

    def ratios(self, steps: np.ndarray) -> dict[str, float]:
        """The ratio of every layer that is pruned."""
        chosen = zip(LAYERS, self.ladders, steps, strict=True)
        return {layer: ladder.ratios[step] for layer, ladder, step in chosen if step}

    def share(self, steps: np.ndarray, kind: Counted) -> float:
        """Remaining share of the unpruned network's parameters, or of its MACs in the paper's convention."""
        return self._share(self.widths(steps), kind)

    def smallest(self) -> np.ndarray:
        """Every layer pruned by the largest measured ratio."""
        return np.array([len(ladder.filters) - 1 for ladder in self.ladders])

    def uniform(self, layers: Sequence[str], ratio: float) -> np.ndarray:
        """One ratio for all of ``layers``, rounded down to a step of each ladder."""
        steps = [
            int(np.searchsorted(ladder.ratios, ratio + 1e-9) - 1) if layer in layers else 0
            for layer, ladder in zip(LAYERS, self.ladders, strict=True)
        ]
        return np.array(steps)

    def predicted(self, steps: np.ndarray, exponent: float) -> float:
        """The predicted loss of a configuration."""
        return float(
            sum(losses[step] for losses, step in zip(self._roots(exponent), steps, strict=True)) ** exponent
        )

    def path(self, kind: Counted, exponent: float) -> Callable[[float], np.ndarray]:
        """A function from a share of the cost to the configuration with the smallest predicted loss that costs no more.

        For a series of prices, loss plus price times cost is minimized one layer at a time until nothing changes: the cost is linear
        in every single width. That starts once from the smallest configuration and once from the unpruned one, since roots of losses
        need not be convex. The configurations just below the requested share are widened, step by step, where that gains most for its
        cost, and the best of them is improved by exchanges between two layers.
        """
        roots = self._roots(exponent)
        largest = max(float(losses[-1]) for losses in roots) or 1.0
        configurations = [self.smallest(), np.zeros(len(LAYERS), int)]
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

    def widest(self, steps: np.ndarray, layer: int, share: float, kind: Counted) -> np.ndarray | None:
        """The configuration with ``layer`` as wide as ``share`` allows; None if even its last step costs too much."""
        changed = steps.copy()
        low, high = 0, len(self.ladders[layer].filters) - 1
        changed[layer] = high
        if self.share(changed, kind) > share:
            return None
        while low < high:
            changed[layer] = (low + high) // 2
            if self.share(changed, kind) <= share:
                high = int(changed[layer])
            else:
                low = int(changed[layer]) + 1
        changed[layer] = high
        return changed

    def moved(self, steps: np.ndarray, layer: int, change: float, kind: Counted) -> np.ndarray | None:
        """The configuration with ``layer`` narrower (``change`` below 0) or wider by about that share of the whole cost.

        At least one step, as far as the ladder goes; None where it has no step in that direction.
        """
        direction = 1 if change < 0 else -1
        cost = self.share(steps, kind)
        changed = steps.copy()
        while 0 <= changed[layer] + direction < len(self.ladders[layer].filters):
            changed[layer] += direction
            if abs(self.share(changed, kind) - cost) >= abs(change):
                break
        return None if changed[layer] == steps[layer] else changed

    def _share(self, widths: Sequence[int], kind: Counted) -> float:
        key = (kind, *widths)
        if key not in self._shares:
            counts = count(Cnn14Config(tuple(widths), self._config.classes, self._config.embedding), _SECONDS)
            self._shares[key] = _counted(counts, kind) / _counted(self._unpruned, kind)
        return self._shares[key]

    def _roots(self, exponent: float) -> list[np.ndarray]:
        """For each layer and step the root of its own loss, interpolated, never decreasing with the ratio."""
        roots = []
        for layer, ladder in zip(LAYERS, self.ladders, strict=True):
            if layer not in self._sensitivity.layers:
                roots.append(np.zeros(1))
                continue
            # By the share of filters that is removed: whole filters, so not exactly the ratio.
            width = int(ladder.filters[0])
            measured = [1 - kept_count(width, ratio) / width for ratio in (0.0, *self._sensitivity.ratios)]
            row = self._sensitivity.loss[self._sensitivity.layers.index(layer)]
            losses = np.maximum.accumulate(np.array([0.0, *row]))
            roots.append(np.interp(1 - ladder.filters / width, measured, losses ** (1 / exponent)))
        return roots

    def _descend(self, steps: np.ndarray, roots: list[np.ndarray], price: float, kind: Counted) -> np.ndarray:
        for _ in range(_SWEEPS):
            before = steps.copy()
            for layer, (ladder, losses) in enumerate(zip(self.ladders, roots, strict=True)):
                widths = list(self.widths(steps))
                widths[layer] = 1
                first = self._share(widths, kind)
                widths[layer] = 2
                slope = self._share(widths, kind) - first
                steps[layer] = int((losses + price * slope * ladder.filters).argmin())
            if (steps == before).all():
                break
        return steps

    def _widened(self, steps: np.ndarray, roots: list[np.ndarray], share: float, kind: Counted) -> np.ndarray:
        while True:
            present = self.share(steps, kind)
            gains = []
            for layer, losses in enumerate(roots):
                if steps[layer] == 0:
                    continue
                wider = steps.copy()
                wider[layer] -= 1
                cost = self.share(wider, kind)
                if cost <= share:
                    gain = losses[steps[layer]] - losses[steps[layer] - 1]
                    gains.append((gain / max(cost - present, 1e-12), layer))
            if not gains:
                return steps
            steps[max(gains)[1]] -= 1

    def _exchanged(
        self, steps: np.ndarray, roots: list[np.ndarray], share: float, kind: Counted
    ) -> np.ndarray:
        """The configuration after every exchange that lowers the predicted loss: one layer wider, another narrower to pay for it."""
        improved = True
        while improved:
            improved = False
            for first, second in permutations(range(len(LAYERS)), 2):
                for wider in (1, 2, 4, 8, 16, 32):
                    changed = steps.copy()
                    changed[first] -= wider
                    if changed[first] < 0:
                        break
                    changed_back = self.widest(changed, second, share, kind)
                    if changed_back is not None and _lost(roots, changed_back) < _lost(roots, steps) - 1e-9:
                        steps, improved = changed_back, True
                        break
        return steps


def _lost(roots: list[np.ndarray], steps: np.ndarray) -> float:
    return float(sum(losses[step] for losses, step in zip(roots, steps, strict=True)))


def _counted(counts: Counts, kind: Counted) -> int:
    return counts.macs if kind == "macs" else counts.params_trainable


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
