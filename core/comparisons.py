"""Two to four networks on one clip: their tags in one order of classes, and how far every two of them agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from core.audio import Clip
from core.compare import Comparison, agreement
from core.errors import ModelError
from core.tags import Tags
from core.units import THRESHOLD

MOST = 4
"""Networks that are compared at a time: four panels side by side are what a page can show."""


@dataclass(frozen=True)
class ClassRow:
    """One class and each network's probability of it, in the networks' order; None where a network does not have the class."""

    index: int
    name: str
    probabilities: tuple[float | None, ...]

    @property
    def largest(self) -> float:
        """The largest of the probabilities."""
        return max(value for value in self.probabilities if value is not None)

    @property
    def difference(self) -> float | None:
        """Of two networks the second's probability minus the first's; of more the largest minus the smallest. None unless two have the class.

        Examples
        --------
        >>> ClassRow(0, "Speech", (0.75, 0.5)).difference, ClassRow(0, "Speech", (0.75, None, 1.0)).difference
        (-0.25, 0.25)
        """
        known = [value for value in self.probabilities if value is not None]
        if len(known) < 2:
            return None
        return known[1] - known[0] if len(self.probabilities) == 2 else max(known) - min(known)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Two to four networks' tags of one clip, and every two of them compared.

    Attributes
    ----------
    tags : tuple of Tags
        Each network's.
    pairs : tuple of Comparison
        The first network with the second, the third and the fourth, then the second with those after it, and so on.
    """

    tags: tuple[Tags, ...]
    pairs: tuple[Comparison, ...]

    @classmethod
    def of(cls, pair: Comparison) -> Comparisons:
        """Of two networks that were compared."""
        return cls((pair.baseline, pair.candidate), (pair,))

    @property
    def clip(self) -> Clip:
        """The recording."""
        return self.first.clip

    @property
    def first(self) -> Comparison:
        """The first two networks."""
        return self.pairs[0]

    @property
    def of_baseline(self) -> tuple[Comparison, ...]:
        """The first network with each of the others."""
        return self.pairs[: len(self.tags) - 1]

    def rows(self) -> list[ClassRow]:
        """Every class that at least one network has, the largest probability first; of equal ones, in AudioSet's order."""
        return class_rows(self.tags)

    def document(self, top: int | None = None) -> dict[str, Any]:
        """What ``pannscope compare --json`` prints: the document of the first two and, of more than two, ``others`` and ``pairwise``."""
        document = self.first.document(top)
        if len(self.tags) == 2:
            return document
        pairwise = [
            {
                "baseline": pair.baseline.model,
                "candidate": pair.candidate.model,
                **pair.agreement_document(),
            }
            for pair in self.pairs
        ]
        others = [tags.document(self.clip, top) for tags in self.tags[2:]]
        return document | {"others": others, "pairwise": pairwise}


def class_rows(tags: Sequence[Tags]) -> list[ClassRow]:
    """Every class that at least one network has, the largest probability first; of equal ones, in AudioSet's order.

    Examples
    --------
    >>> import numpy as np
    >>> from core.classes import ClassSet
    >>> def tags(indices, *values):
    ...     return Tags("", ClassSet(indices), np.array(values, np.float32), "torch", 1.0, ((0.0, 1.0),))
    >>> [(row.name, row.probabilities) for row in class_rows([tags((0, 289), 0.25, 0.5), tags((0,), 0.75)])]
    [('Speech', (0.25, 0.75)), ('Rain', (0.5, None))]
    """
    columns = [{tag.index: tag for tag in each.top(len(each.classes))} for each in tags]
    names = {index: tag.name for column in columns for index, tag in column.items()}
    rows = [
        ClassRow(
            index,
            name,
            tuple(column[index].probability if index in column else None for column in columns),
        )
        for index, name in names.items()
    ]
    return sorted(rows, key=lambda row: (-row.largest, row.index))


def compare_every_two(
    clip: Clip, tags: Sequence[Tags], *, top_k: int = 10, threshold: float = THRESHOLD
) -> Comparisons:
    """Measure how far every two of two to four networks agree on a clip.

    Parameters
    ----------
    clip : Clip
        The recording.
    tags : sequence of Tags
        Each network's tags of it.
    top_k, threshold : int, float
        As in ``compare.agreement``.

    Raises
    ------
    ModelError
        There are fewer than two networks or more than ``MOST``, or two of them cannot be compared.

    Examples
    --------
    >>> from core.examples import example_clip
    >>> from core.tagging import load_tagger
    >>> clip = example_clip("rain")
    >>> cnn14, epanns = (load_tagger(name, runtime="torch").tag(clip) for name in ("demo-cnn14", "demo-epanns"))
    >>> [pair.agreement.max_abs_difference > 0 for pair in compare_every_two(clip, [cnn14, epanns, cnn14]).pairs]
    [True, False, True]
    """
    check_count(len(tags))
    pairs = tuple(
        Comparison(clip, before, after, agreement(before, after, top_k=top_k, threshold=threshold))
        for before, after in combinations(tags, 2)
    )
    return Comparisons(tuple(tags), pairs)


def check_count(networks: int) -> None:
    """Raise ``ModelError`` where as many networks cannot be compared.

    Examples
    --------
    >>> check_count(5)
    Traceback (most recent call last):
    core.errors.ModelError: 2 to 4 networks are compared at a time; got 5.
    """
    if not 2 <= networks <= MOST:
        raise ModelError(f"2 to {MOST} networks are compared at a time; got {networks}.")
