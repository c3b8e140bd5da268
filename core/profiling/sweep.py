"""One network's costs over a series of pruning ratios, fast enough to be drawn while a slider moves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from core.models.cnn import Cnn14Config
from core.models.groups import by_group, groups, pruned_config
from core.models.widths import kept_count
from core.profiling.costs import costs
from core.profiling.published import PAPER, paper_figures

SWEEP_RATIOS = tuple(step / 20 for step in range(19))
"""0, 5, 10 … 90%."""


@dataclass(frozen=True)
class SweepPoint:
    """The network at one ratio: its learned parameters, its MACs for 10 s in the paper's convention, and the paper's figures if it has any."""

    ratio: float
    params_trainable: int
    macs: int
    paper: dict[str, float] | None


@lru_cache(maxsize=32)
def sweep(
    architecture: str,
    config: Any,
    layers: tuple[str, ...],
    round_to: int = 1,
    *,
    ratios: tuple[float, ...] = SWEEP_RATIOS,
) -> tuple[SweepPoint, ...]:
    """The costs of a network with ``layers`` pruned by each of ``ratios``; they are ``profile``'s.

    Parameters
    ----------
    architecture : str
        A name of the registry.
    config : object
        The unpruned network's configuration.
    layers : tuple of str
        The layers that are pruned; one stands for all that share its filters.
    round_to : int
        Round the number of kept filters to a multiple of this.
    ratios : tuple of float
        The pruning ratios, each in [0, 1).

    Raises
    ------
    ModelError, PruningError
        An unknown architecture or layer.

    Examples
    --------
    >>> from core.models.registry import architecture
    >>> points = sweep("cnn6", architecture("cnn6").configure(), ("C4",))
    >>> points[10].ratio, points[10].params_trainable
    (0.5, 3067471)
    """
    chosen = by_group(architecture, dict.fromkeys(layers, 0.0))
    cost, found = costs(architecture, config), groups(architecture, config)
    points = []
    for ratio in ratios:
        kept = [
            kept_count(group.channels, ratio, round_to) if group.name in chosen else group.channels
            for group in found
        ]
        channels = np.array(kept, np.float64)
        paper = None
        if ratio in PAPER and isinstance(config, Cnn14Config):
            paper = paper_figures(pruned_config(architecture, config, dict.fromkeys(chosen, ratio), round_to))
        points.append(
            SweepPoint(ratio, round(cost["params"].of(channels)), round(cost["macs"].of(channels)), paper)
        )
    return tuple(points)
