"""What stays: from a ratio and scores to the kept filters of each layer. A plan is data; ``surgery`` carries it out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import PruningError
from core.models.cnn import CNN14_WIDTHS, LAYERS, Cnn14, filters_left
from core.pruning.importance import criterion, layer_importance

PAPER_LAYERS = LAYERS[6:]
"""C7..C12, the layers that E-PANNs prunes: they hold 92% of CNN14's parameters."""


@dataclass(frozen=True)
class PruningPlan:
    """Kept filters of every pruned layer, as indices into the unpruned layer, ascending.

    Attributes
    ----------
    architecture, criterion, ratio : what the plan is for and how it was found.
    kept : layer -> indices; layers that keep everything are not in it.
    """

    architecture: str
    criterion: str
    ratio: float
    kept: dict[str, tuple[int, ...]]


def kept_count(filters: int, ratio: float) -> int:
    """Filters that stay of ``filters`` when a share ``ratio`` goes; raises ``PruningError`` unless that is in [0, 1)."""
    return filters_left(filters, check_ratio(ratio))


def check_ratio(ratio: float) -> float:
    """Raise ``PruningError`` unless ``ratio`` is a share in [0, 1)."""
    if not 0 <= ratio < 1:
        raise PruningError(f"A pruning ratio is a share from 0 up to, but not including, 1; got {ratio:g}.")
    return ratio


def parse_layers(text: str, layers: Sequence[str] = LAYERS) -> tuple[str, ...]:
    """Read ``C7-C12``, ``C3``, ``C1,C4-C6`` or ``all`` into layer names, in the network's order."""
    if text.strip().lower() == "all":
        return tuple(layers)
    chosen: set[str] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(C\d+)\s*(?:-\s*(C\d+)\s*)?", part, re.IGNORECASE)
        first, last = (match[1].upper(), (match[2] or match[1]).upper()) if match else ("", "")
        if first not in layers or last not in layers or layers.index(first) > layers.index(last):
            raise PruningError(
                f"Cannot read the layers {text!r}; give a layer, a range or a list of them from {layers[0]} to {layers[-1]}, "
                "such as C7-C12 or C7,C9-C11."
            )
        chosen.update(layers[layers.index(first) : layers.index(last) + 1])
    return tuple(layer for layer in layers if layer in chosen)


def pruned_widths(
    ratio: float, layers: Sequence[str] = PAPER_LAYERS, widths: Sequence[int] = CNN14_WIDTHS
) -> tuple[int, ...]:
    """Widths of C1..C12 after a share ``ratio`` of the filters of ``layers`` has gone."""
    return tuple(
        kept_count(width, ratio) if layer in layers else width
        for layer, width in zip(LAYERS, widths, strict=True)
    )


def keep_best(scores: np.ndarray, count: int) -> tuple[int, ...]:
    """Indices of the ``count`` largest scores, ascending; of equal scores the earlier filter stays."""
    return tuple(sorted(int(index) for index in np.argsort(-scores, kind="stable")[:count]))


def plan(
    model: Cnn14, ratio: float, layers: Sequence[str] = PAPER_LAYERS, criterion_name: str = "operator-norm"
) -> PruningPlan:
    """Choose the filters that stay: each layer is scored on its own, from the weights as they are now.

    Raises ``PruningError`` for an impossible ratio, an unknown criterion or layer.
    """
    check_ratio(ratio)
    criterion(criterion_name)
    kept = {}
    for layer in layers:
        scores = layer_importance(model, layer, criterion_name)
        count = kept_count(len(scores), ratio)
        if count < len(scores):
            kept[layer] = keep_best(scores, count)
    return PruningPlan("cnn14", criterion_name, ratio, kept)
