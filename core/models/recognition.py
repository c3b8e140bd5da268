"""Which architectures have the tensors of a state dict: by their names first, which is quick, then by their shapes.

An entry with ``marks`` is known by these alone: nothing of it is built, and no package of it imported, for a file without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from torch import Tensor

from core.errors import ModelError
from core.models.fitting import check_keys, difference, learned
from core.models.frontend import shapes_only
from core.models.registry import ARCHITECTURES, Architecture, architecture

_ANCHOR = "bn0.weight"
"""Most networks have it outside their blocks: what stands before it is the prefix of all names."""


def tensor_names() -> Mapping[str, frozenset[str]]:
    """The names of the tensors of every architecture without marks, without counters and the front end's."""
    return {name: names for name, (names, _) in _templates().items()}


def anchors() -> Iterator[str]:
    """Tensors that show where a network's names begin: an architecture's marks, ``bn0``, or those of output layers."""
    for entry in ARCHITECTURES.values():
        yield from entry.marks
    yield _ANCHOR
    yield from sorted({output for _, output in _templates().values()})


def marked(names: Iterable[str]) -> Architecture | None:
    """The architecture of which some of the names are a mark."""
    own = set(names)
    return next((entry for entry in ARCHITECTURES.values() if not own.isdisjoint(entry.marks)), None)


@cache
def _templates() -> Mapping[str, tuple[frozenset[str], str]]:
    """Names of the tensors of architectures without marks, and of their output layers'; a third of a second, the first time."""
    found = {}
    for name, entry in ARCHITECTURES.items():
        if entry.marks:
            continue
        with shapes_only():
            network = entry.template()
        found[name] = frozenset(learned(network.state_dict())), f"{network.output_layers[0]}.weight"
    return found


def recognize(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The architectures of which a state dict has exactly the tensors, of shapes that fit each other.

    Only names and shapes are looked at. Networks that differ in what they compute alone, as ``cnn14`` and
    ``cnn14-decision-level-max`` do, have the same tensors; so have 16 kHz and 32 kHz where a file lacks the front end.
    Where the shapes are some architecture's published ones, those that only fit when narrowed are left out.

    Raises
    ------
    ModelError
        None fits; the message names the closest one, and what differs from it.
    """
    own = frozenset(learned(state))
    known = marked(own)
    if known is not None:
        known.from_state(dict(state))
        return (known.name,)
    published: list[str] = []
    narrower: list[str] = []
    wider: list[str] = []
    problems: list[str] = []
    for name in (name for name, names in tensor_names().items() if names == own):
        try:
            if _has_shapes(name, state):  # without a pass, for which torch imports its compiler: 70 MB
                published.append(name)
                continue
            config = architecture(name).from_state(dict(state))
        except ModelError as error:
            problems.append(f"{architecture(name).title} comes closest: {error}")
            continue
        whole = architecture(name).configure().widths
        fitting = all(width <= full for width, full in zip(config.widths, whole, strict=True))
        (published if config.widths == whole else narrower if fitting else wider).append(name)
    if not (published or narrower or wider):
        raise ModelError(f"its tensors are no network's that Pannscope builds; {_closest(own, problems)}")
    return tuple(published or narrower or wider)


def _has_shapes(name: str, state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors, whose names are an architecture's, have the published network's shapes; raises ``ModelError`` as ``check_keys``."""
    with shapes_only():
        network = architecture(name).template()
    check_keys(network, state)
    return all(value.shape == state[key].shape for key, value in learned(network.state_dict()).items())


def _closest(own: frozenset[str], problems: list[str]) -> str:
    """Which architecture comes closest to these names, and what differs."""
    if problems:
        return problems[0]
    names = tensor_names()
    nearest = max(names, key=lambda name: (len(names[name] & own), -len(names[name] - own)))
    if not names[nearest] & own:
        return "none of them has a name that any of these has."
    return f"{architecture(nearest).title} comes closest: {difference(sorted(names[nearest]), own)}."
