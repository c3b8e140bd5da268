"""How a person writes layers and ratios down: ``C7-C12``, ``C7=0.5,C8-C10=0.25``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from core.errors import PruningError
from core.models.cnn import LAYERS
from core.models.widths import check_ratio

T = TypeVar("T")


def parse_layers(text: str) -> tuple[str, ...]:
    """Read ``C7-C12``, ``C3``, ``C1,C4-C6`` or ``all`` into layer names, in the network's order.

    Raises ``PruningError`` for anything else.

    Examples
    --------
    >>> parse_layers("C12, C1-C2")
    ('C1', 'C2', 'C12')
    """
    if text.strip().lower() == "all":
        return LAYERS
    chosen: set[str] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(C\d+)\s*(?:-\s*(C\d+)\s*)?", part, re.IGNORECASE)
        first, last = (match[1].upper(), (match[2] or match[1]).upper()) if match else ("", "")
        if first not in LAYERS or last not in LAYERS or LAYERS.index(first) > LAYERS.index(last):
            raise PruningError(
                f"Cannot read the layers {text!r}; give a layer, a range or a list of them from {LAYERS[0]} to {LAYERS[-1]}, "
                "such as C7-C12 or C7,C9-C11."
            )
        chosen.update(LAYERS[LAYERS.index(first) : LAYERS.index(last) + 1])
    return tuple(layer for layer in LAYERS if layer in chosen)


def parse_ratios(text: str) -> dict[str, float]:
    """Read ``C7=0.5,C8-C10=0.25`` into a ratio per layer; a layer that is given twice takes its last ratio.

    Raises ``PruningError`` for anything else, or a ratio outside [0, 1).

    Examples
    --------
    >>> parse_ratios("C8-C9=0.25,C7=0.5")
    {'C7': 0.5, 'C8': 0.25, 'C9': 0.25}
    """
    ratios: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = part.partition("=")
        try:
            ratio = float(share)
        except ValueError:
            ratio = math.nan
        if not equals or math.isnan(ratio):
            raise PruningError(
                f"Cannot read the ratios {text!r}; give a share for each layer or range of layers, such as C7=0.5,C8-C12=0.25."
            )
        ratios |= dict.fromkeys(parse_layers(name), check_ratio(ratio))
    return in_layer_order(ratios)


def in_layer_order(entries: Mapping[str, T]) -> dict[str, T]:
    """Entries by layer name, in the network's order."""
    return {layer: entries[layer] for layer in sorted(entries, key=lambda name: (len(name), name))}
