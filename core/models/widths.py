"""How many filters stay: the arithmetic from pruning ratios to widths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from core.errors import PruningError
from core.models.cnn import CNN14_WIDTHS, LAYERS

PAPER_LAYERS = LAYERS[6:]
"""C7..C12, the layers that E-PANNs prunes: they hold 92% of CNN14's parameters."""


def kept_count(filters: int, ratio: float, round_to: int = 1) -> int:
    """Number of filters that stay when a share ``ratio`` of a layer is removed.

    Parameters
    ----------
    filters : filters of the layer before, n.
    ratio : pruning ratio p in [0, 1).
    round_to : 1 gives floor(n (1 - p)), at least one, as in the paper. Otherwise the multiple of ``round_to`` nearest to
        n (1 - p), the larger of two equally near ones, but at least ``round_to`` and at most n. A ratio of 0 keeps everything.

    Raises
    ------
    PruningError
        The ratio is not in [0, 1), or ``round_to`` is below 1.

    Examples
    --------
    >>> kept_count(2048, 0.75)
    512
    >>> kept_count(10, 0.99)
    1
    >>> kept_count(100, 0.3, round_to=16)
    64
    """
    check_ratio(ratio)
    # The product is guarded against floating error: 10 filters at ratio 0.9 keep 1, not floor(0.9999999999999998).
    if check_round_to(round_to) == 1 or ratio == 0:
        return max(1, math.floor(round(filters * (1 - ratio), 9)))
    multiples = math.floor(round(filters * (1 - ratio) / round_to, 9) + 0.5)
    return min(filters, round_to * max(1, multiples))


def kept_widths(widths: Sequence[int], ratios: Mapping[str, float], layers: Sequence[str]) -> tuple[int, ...]:
    """Widths of ``layers`` after each that is in ``ratios`` is pruned by its own ratio.

    Raises ``PruningError`` for an unknown layer, and as ``kept_count`` does.

    Examples
    --------
    >>> kept_widths((64, 64, 128), {"C1": 0.5, "C3": 0.75}, ("C1", "C2", "C3"))
    (32, 64, 32)
    """
    for layer in ratios:
        check_layer(layer, layers)
    return tuple(
        kept_count(width, ratios[layer]) if layer in ratios else width
        for layer, width in zip(layers, widths, strict=True)
    )


def pruned_widths(
    ratio: float,
    layers: Sequence[str] = PAPER_LAYERS,
    widths: Sequence[int] = CNN14_WIDTHS,
) -> tuple[int, ...]:
    """Widths of CNN14's C1..C12 after all of ``layers`` are pruned by one ratio; raises as ``kept_widths`` does.

    Examples
    --------
    >>> pruned_widths(0.5)
    (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 1024, 1024)
    """
    check_ratio(ratio)
    return kept_widths(widths, dict.fromkeys(layers, ratio), LAYERS)


def check_ratio(ratio: float) -> float:
    """Raise ``PruningError`` unless ``ratio`` is in [0, 1)."""
    if not 0 <= ratio < 1:
        raise PruningError(f"A pruning ratio is a share from 0 up to, but not including, 1; got {ratio:g}.")
    return ratio


def check_round_to(round_to: int) -> int:
    """Raise ``PruningError`` unless widths can be rounded to multiples of ``round_to``."""
    if round_to < 1:
        raise PruningError(
            f"Widths are rounded to a multiple of a whole number, at least 1 (no rounding); got {round_to}."
        )
    return round_to


def check_layer(layer: str, layers: Sequence[str]) -> str:
    """Raise ``PruningError`` unless ``layer`` is one of ``layers``."""
    if layer not in layers:
        raise PruningError(
            f"There is no layer {layer[:60]!r} to prune; this network's are {layers[0]} to {layers[-1]}."
        )
    return layer
