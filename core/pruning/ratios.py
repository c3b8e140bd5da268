"""How many filters stay: from ratios to widths, and how a person writes layers and ratios down."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from core.errors import PruningError
from core.models.cnn import CNN14_WIDTHS, LAYERS, filters_left

T = TypeVar("T")

PAPER_LAYERS = LAYERS[6:]
"""C7..C12, the layers that E-PANNs prunes: they hold 92% of CNN14's parameters."""


def kept_count(filters: int, ratio: float, round_to: int = 1) -> int:
    """Filters that stay of ``filters`` when a share ``ratio`` goes.

    With ``round_to`` 1 that is floor(n (1 - p)), at least one, as in the paper. Otherwise it is the multiple of ``round_to`` nearest
    to n (1 - p), of two equally near ones the larger, but at least ``round_to`` and at most n: no width ends further from what was
    asked than half a step, unless the layer is too narrow for one. A ratio of 0 keeps everything.

    Raises ``PruningError`` unless the ratio is in [0, 1) and ``round_to`` at least 1.
    """
    check_ratio(ratio)
    if check_round_to(round_to) == 1 or ratio == 0:
        return filters_left(filters, ratio)
    steps = math.floor(round(filters * (1 - ratio) / round_to, 9) + 0.5)
    return min(filters, round_to * max(1, steps))


def check_ratio(ratio: float) -> float:
    """Raise ``PruningError`` unless ``ratio`` is a share in [0, 1)."""
    if not 0 <= ratio < 1:
        raise PruningError(f"A pruning ratio is a share from 0 up to, but not including, 1; got {ratio:g}.")
    return ratio


def check_round_to(round_to: int) -> int:
    """Raise ``PruningError`` unless widths can be rounded to multiples of ``round_to``."""
    if round_to < 1:
        raise PruningError(
            f"Widths are rounded to a multiple of a whole number from 1 (no rounding) on; got {round_to}."
        )
    return round_to


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


def parse_ratios(text: str) -> dict[str, float]:
    """Read ``C7=0.5,C8-C10=0.25`` into a ratio a layer; what is said last of a layer holds."""
    found: dict[str, float] = {}
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
        found |= dict.fromkeys(parse_layers(name), check_ratio(ratio))
    return in_order(found)


def kept_widths(widths: Sequence[int], ratios: Mapping[str, float], round_to: int = 1) -> tuple[int, ...]:
    """Widths of C1..C12 after each layer in ``ratios`` has lost that share of its filters."""
    for layer in ratios:
        known_layer(layer, LAYERS)
    return tuple(
        kept_count(width, ratios[layer], round_to) if layer in ratios else width
        for layer, width in zip(LAYERS, widths, strict=True)
    )


def pruned_widths(
    ratio: float,
    layers: Sequence[str] = PAPER_LAYERS,
    widths: Sequence[int] = CNN14_WIDTHS,
    round_to: int = 1,
) -> tuple[int, ...]:
    """Widths of C1..C12 after a share ``ratio`` of the filters of ``layers`` has gone."""
    check_ratio(ratio)
    return kept_widths(widths, dict.fromkeys(layers, ratio), round_to)


def known_layer(layer: str, layers: Sequence[str]) -> str:
    """Raise ``PruningError`` unless ``layer`` is one of ``layers``."""
    if layer not in layers:
        raise PruningError(f"There is no layer {layer[:20]!r} to prune; CNN14's convolutions are C1 to C12.")
    return layer


def in_order(entries: Mapping[str, T]) -> dict[str, T]:
    """Entries by layer, in the network's order."""
    return {layer: entries[layer] for layer in sorted(entries, key=lambda each: (len(each), each))}
