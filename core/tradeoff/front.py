"""The Pareto front: what nothing else beats in both quality and cost."""

from __future__ import annotations

from collections.abc import Mapping


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other one beats: none costs at most as much and is at least as good, and one of them strictly so.

    Parameters
    ----------
    points : mapping of str to (float, float)
        Name -> (cost, quality).

    Returns
    -------
    list of str
        From the cheapest to the best.

    Examples
    --------
    >>> pareto_front({"small": (1, 0.3), "middle": (2, 0.3), "large": (3, 0.5)})
    ['small', 'large']
    """
    front: list[str] = []
    best: tuple[float, float] | None = None  # cost and quality of the last one on the front
    for name, (cost, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if best is None or quality > best[1] or (cost, quality) == best:
            front.append(name)
            best = (cost, quality)
    return front
