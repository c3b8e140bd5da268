"""Where two networks' tags over time part most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.events.over_time import Timeline


@dataclass(frozen=True)
class Difference:
    """A class, its probability in both networks, and the seconds between which they differ so much."""

    index: int
    name: str
    start_s: float
    end_s: float
    baseline: float
    candidate: float

    @property
    def value(self) -> float:
        """Candidate minus baseline."""
        return self.candidate - self.baseline

    @property
    def middle_s(self) -> float:
        """The middle of the stretch."""
        return (self.start_s + self.end_s) / 2


def largest_differences(baseline: Timeline, candidate: Timeline, *, least: float) -> list[Difference]:
    """The stretches and classes in which two networks differ most, the largest difference first.

    Each class has at most one, its largest, of at least ``least``; of equal ones the earliest. Networks whose rows have other borders are compared
    between any two borders.

    Examples
    --------
    >>> from core.classes import ClassSet
    >>> def timeline(*values):
    ...     edges = np.arange(len(values) + 1.0)
    ...     return Timeline("", ClassSet.from_names(["Rain", "Siren"]), edges, np.array(values, np.float32))
    >>> wide, narrow = timeline((0.25, 0.5), (0.75, 0.5)), timeline((0.25, 0.25), (0.25, 0.5))
    >>> for difference in largest_differences(wide, narrow, least=0.1):
    ...     print(difference.name, difference.start_s, difference.end_s, difference.value)
    Rain 1.0 2.0 -0.5
    Siren 0.0 1.0 -0.25
    """
    end = min(baseline.edges_s[-1], candidate.edges_s[-1])
    edges = np.union1d(baseline.edges_s, candidate.edges_s)
    edges = edges[edges <= end]
    shared = sorted(set(baseline.classes.indices) & set(candidate.classes.indices))
    sides = [(side, np.searchsorted(side.edges_s, edges[:-1], "right") - 1) for side in (baseline, candidate)]
    found = []
    for index in shared:
        before, after = (side.probabilities[rows, side.classes.indices.index(index)] for side, rows in sides)
        at = int(np.argmax(np.abs(after - before)))
        name = baseline.classes.names[baseline.classes.indices.index(index)]
        span = (float(edges[at]), float(edges[at + 1]))
        found.append(Difference(index, name, *span, float(before[at]), float(after[at])))
    found = [difference for difference in found if abs(difference.value) >= least]
    return sorted(
        found, key=lambda difference: (-abs(difference.value), difference.start_s, difference.index)
    )
