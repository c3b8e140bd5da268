"""How a person writes layers and ratios down: ``C7-C12``, ``C7=0.5,C8-C10=0.25``, ``resnet.layer4``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from core.errors import PruningError
from core.models.widths import check_ratio
from core.units import plural

T = TypeVar("T")


def parse_layers(text: str, layers: Sequence[str]) -> tuple[str, ...]:
    """Read names, ranges, parts of a network or patterns of names into some of ``layers``, in their order.

    ``all`` is all of them, ``C7-C12`` a range, ``resnet.layer4`` every layer inside that module, ``*.conv2`` every name that matches.
    Raises ``PruningError`` for what is none of ``layers``.

    Examples
    --------
    >>> parse_layers("c12, C1-C2", ("C1", "C2", "C3", "C12"))
    ('C1', 'C2', 'C12')
    >>> parse_layers("layer1,*.conv2", ("layer1.conv1", "layer1.conv2", "layer2.conv1", "layer2.conv2"))
    ('layer1.conv1', 'layer1.conv2', 'layer2.conv2')
    """
    if text.strip().lower() == "all":
        return tuple(layers)
    chosen: set[str] = set()
    for part in text.split(","):
        matching = _matching(part.strip().lower(), [layer.lower() for layer in layers])
        if not matching:
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            raise PruningError(
                f"Cannot read the layers {shown!r}; give all, or a layer, a range or a list of them from {layers[0]} to {layers[-1]}, "
                f"{_example(layers)}."
            )
        chosen.update(layers[index] for index in matching)
    return tuple(layer for layer in layers if layer in chosen)


def parse_ratios(text: str, layers: Sequence[str]) -> dict[str, float]:
    """Read ``C7=0.5,C8-C10=0.25`` into a ratio per layer; a layer that is given twice takes its last ratio.

    Raises ``PruningError`` for anything else, or a ratio outside [0, 1).

    Examples
    --------
    >>> parse_ratios("C8-C9=0.25,C7=0.5", ("C7", "C8", "C9"))
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
        ratios |= dict.fromkeys(parse_layers(name, layers), check_ratio(ratio))
    return in_layer_order(ratios, layers)


def layers_text(layers: Sequence[str], known: Sequence[str]) -> str:
    """Some of the layers ``known``, in short: a range as 'C7 to C12', all of a network without such numbers as 'all layers', others listed.

    Examples
    --------
    >>> layers_text(("C7", "C8", "C9"), ("C1", "C7", "C8", "C9"))
    'C7 to C9'
    >>> layers_text(("a.0", "a.1", "b.0", "b.2"), ("a.0", "a.1", "b.0", "b.1", "b.2"))
    'a.0, a.1 and 2 more'
    """
    places = [known.index(layer) for layer in layers]
    if not layers:
        return "no layer"
    if len(layers) == 1:
        return layers[0]
    if len(layers) == len(known) and known[0] != "C1":
        return "all layers"
    if places == list(range(places[0], places[-1] + 1)):
        return f"{layers[0]} to {layers[-1]}"
    if len(layers) <= 3:
        return f"{', '.join(layers[:-1])} and {layers[-1]}"
    return f"{layers[0]}, {layers[1]} and {len(layers) - 2} more"


def ratios_text(ratios: Mapping[str, float]) -> str:
    """How much is removed of every layer: listed for up to twelve layers, else in groups of about a tenth, the smallest first.

    Examples
    --------
    >>> ratios_text({"C7": 0.5, "C8": 0.25})
    'C7 50%, C8 25%'
    >>> ratios_text({f"b{i}": share for i, share in enumerate([0.52, 0.5, 0.125, *[0.0] * 11])})
    '0% of 11 layers, 12% of 1 layer, 50 to 52% of 2 layers'
    """
    if len(ratios) <= _LISTED:
        return ", ".join(f"{layer} {100 * ratio:.3g}%" for layer, ratio in ratios.items())
    groups: dict[int, list[float]] = {}
    for ratio in sorted(ratios.values()):
        groups.setdefault(max(ratio > 0, round(10 * ratio)), []).append(100 * ratio)
    return ", ".join(f"{_span(group)} of {plural(len(group), 'layer')}" for group in groups.values())


def _span(percentages: Sequence[float]) -> str:
    low, high = f"{percentages[0]:.0f}", f"{percentages[-1]:.0f}"
    return f"{low}%" if low == high else f"{low} to {high}%"


def in_layer_order(entries: Mapping[str, T], layers: Sequence[str]) -> dict[str, T]:
    """Entries by layer name, in the order of ``layers``; names that are not among them come last."""
    position = {layer: index for index, layer in enumerate(layers)}
    return {
        layer: entries[layer] for layer in sorted(entries, key=lambda name: position.get(name, len(layers)))
    }


_LISTED = 12  # ratios: as many as CNN14 has layers
_SHOWN = 60  # characters of a text that is refused


def _matching(part: str, layers: Sequence[str]) -> list[int]:
    """Indices of the layers that a name, a module, a pattern or a range means; empty where it means none."""
    first, dash, last = (each.strip() for each in part.partition("-"))
    if dash:
        if first not in layers or last not in layers:
            return []
        return list(range(layers.index(first), layers.index(last) + 1))
    return [
        index
        for index, layer in enumerate(layers)
        if layer == part or (part and layer.startswith(f"{part}.")) or fnmatchcase(layer, part)
    ]


def _example(layers: Sequence[str]) -> str:
    if "C7" in layers and "C12" in layers:
        return "such as C7-C12 or C7,C9-C11"
    module = layers[-1].rpartition(".")[0]
    return f"or a part of the network, such as {module}" if module else f"such as {layers[-1]}"
