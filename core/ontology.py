"""Classes in the order of AudioSet's ontology: a parent, and its children below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from core.classes import audioset, paths_of

OTHERS = "Not in AudioSet"
"""What classes stand under that AudioSet does not have."""


@dataclass(frozen=True)
class Place:
    """Where one of several classes stands among them.

    Attributes
    ----------
    index : int
        As in ``ClassSet``.
    depth : int
        How many of these classes it stands under.
    heading : tuple of str or None
        Of the first of a group: the names of what they stand under that is not among these classes, outermost first; empty
        for a top-level category. None for the others.
    """

    index: int
    depth: int
    heading: tuple[str, ...] | None = None


def grouped(indices: Sequence[int]) -> list[Place]:
    """Classes with each one's children directly below it; siblings, and groups, in the order of the first of each among ``indices``.

    A class that has several parents in the ontology stands under the first one alone, whatever the other classes are
    (``other_parents`` has the rest).

    Parameters
    ----------
    indices : sequence of int
        Of classes, as in ``ClassSet``, in the order in which they count: the likeliest first.

    Examples
    --------
    >>> names = [known.name for known in audioset()]
    >>> for place in grouped([names.index(name) for name in ("Tick-tock", "Rain", "Tick", "Clock")]):
    ...     print(" > ".join(place.heading or ()), "|", "  " * place.depth + names[place.index])
    Sounds of things > Mechanisms | Clock
     |   Tick-tock
     |   Tick
    Natural sounds > Water | Rain
    """
    known = audioset()
    listed = {known[index].name: index for index in indices if index < len(known)}
    rank = {index: position for position, index in enumerate(indices)}
    children: dict[int | tuple[str, ...], list[int]] = {}
    for index in indices:
        path = known[index].paths[0] if index < len(known) else (OTHERS,)
        above = [listed[name] for name in path if name in listed]
        # A top-level category is a group of its own.
        children.setdefault(above[-1] if above else path or (known[index].name,), []).append(index)

    def first(index: int) -> int:
        return min([rank[index], *map(first, children.get(index, ()))])

    def below(index: int, depth: int) -> Iterable[Place]:
        yield Place(index, depth)
        for child in sorted(children.get(index, ()), key=first):
            yield from below(child, depth + 1)

    groups = {
        parent: sorted(members, key=first)
        for parent, members in children.items()
        if isinstance(parent, tuple)
    }
    places: list[Place] = []
    for heading, members in sorted(groups.items(), key=lambda group: first(group[1][0])):
        under = [place for member in members for place in below(member, 0)]
        top = under[0].index < len(known) and not known[under[0].index].paths[0]
        places += [replace(under[0], heading=() if top else heading), *under[1:]]
    return places


def other_parents(index: int) -> tuple[str, ...]:
    """The parents of a class besides the one that it stands under; none for most.

    Examples
    --------
    >>> names = [known.name for known in audioset()]
    >>> other_parents(names.index("Hiss")), other_parents(names.index("Rain"))
    (('Snake', 'Steam', 'Onomatopoeia'), ())
    """
    parents = dict.fromkeys(path[-1] for path in paths_of(index) if path)
    return tuple(parents)[1:]


def has_audioset_classes(names: Iterable[str]) -> bool:
    """Whether AudioSet has one of these classes."""
    return not {known.name for known in audioset()}.isdisjoint(names)
