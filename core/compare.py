"""Two models on one clip: their tags row by row, and how far they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.audio import Clip
from core.errors import ModelError
from core.tagging import Tagger, Tags


@dataclass(frozen=True)
class Row:
    """One class as both models see it; a probability is None where a model does not know the class."""

    index: int
    name: str
    baseline: float | None
    candidate: float | None

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline, where both know the class."""
        if self.baseline is None or self.candidate is None:
            return None
        return self.candidate - self.baseline

    @property
    def largest(self) -> float:
        """The larger of the two probabilities."""
        return max(value for value in (self.baseline, self.candidate) if value is not None)


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on a clip, over the classes that both know.

    Attributes
    ----------
    top_k, top_k_overlap : how many of the first ``top_k`` tags of one are among the first ``top_k`` of the other.
    spearman : Spearman's rank correlation of the two orders of all shared classes; None where one of them has no order
        (all probabilities equal, or fewer than two shared classes).
    max_abs_difference, max_difference_tag : the largest difference of probability, and where it is.
    threshold, gained, lost : tags that only the candidate, or only the baseline, gives at least this probability.
    shared_classes : number of classes that both know.
    """

    top_k: int
    top_k_overlap: int
    spearman: float | None
    max_abs_difference: float
    max_difference_tag: str
    threshold: float
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    shared_classes: int

    def document(self) -> dict[str, Any]:
        """The ``agreement`` object of the command line's JSON."""
        return vars(self) | {"gained": list(self.gained), "lost": list(self.lost)}


def agreement(baseline: Tags, candidate: Tags, *, top_k: int = 10, threshold: float = 0.5) -> Agreement:
    """Measure agreement over the shared classes, matched by their AudioSet index.

    Raises ``ModelError`` if the models share no class, or a setting is out of its range.
    """
    if top_k < 1:
        raise ModelError(f"The number of tags to compare has to be at least 1; got {top_k}.")
    if not 0 < threshold < 1:
        raise ModelError(f"A threshold is a probability between 0 and 1; got {threshold:g}.")
    shared = sorted(set(baseline.classes.indices) & set(candidate.classes.indices))
    if not shared:
        raise ModelError(
            f"{baseline.model} and {candidate.model} have no class in common, so they cannot be compared."
        )
    names = dict(zip(baseline.classes.indices, baseline.classes.names, strict=True))
    a, b = _aligned(baseline, shared), _aligned(candidate, shared)
    k = min(top_k, len(shared))
    overlap = set(np.argsort(-a, kind="stable")[:k]) & set(np.argsort(-b, kind="stable")[:k])
    furthest = int(np.argmax(np.abs(a - b)))
    return Agreement(
        top_k=k,
        top_k_overlap=len(overlap),
        spearman=spearman(a, b),
        max_abs_difference=float(abs(a[furthest] - b[furthest])),
        max_difference_tag=names[shared[furthest]],
        threshold=threshold,
        gained=tuple(names[shared[i]] for i in np.flatnonzero((b >= threshold) & (a < threshold))),
        lost=tuple(names[shared[i]] for i in np.flatnonzero((a >= threshold) & (b < threshold))),
        shared_classes=len(shared),
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation, equal values sharing the mean of their ranks; None where it is not defined."""
    if len(a) < 2:
        return None
    ranks = [_mean_ranks(values) for values in (a, b)]
    if min(float(np.ptp(rank)) for rank in ranks) == 0.0:
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def rows(baseline: Tags, candidate: Tags) -> list[Row]:
    """Every class that at least one model knows, largest probability first."""
    left = {tag.index: tag for tag in baseline.top(len(baseline.classes))}
    right = {tag.index: tag for tag in candidate.top(len(candidate.classes))}
    found = []
    for index in sorted(left.keys() | right.keys()):
        a, b = left.get(index), right.get(index)
        name = a.name if a else right[index].name
        found.append(Row(index, name, a.probability if a else None, b.probability if b else None))
    return sorted(found, key=lambda row: (-row.largest, row.index))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two models' tags of one clip, and their agreement."""

    clip: Clip
    baseline: Tags
    candidate: Tags
    agreement: Agreement

    def document(self, top: int | None = None) -> dict[str, Any]:
        """What ``pannscope compare --json`` prints: {clip, baseline, candidate, agreement}."""
        return {
            "clip": self.clip.describe(),
            "baseline": self.baseline.document(self.clip, top),
            "candidate": self.candidate.document(self.clip, top),
            "agreement": self.agreement.document(),
        }


def compare(
    clip: Clip, baseline: Tagger, candidate: Tagger, *, top_k: int = 10, threshold: float = 0.5
) -> Comparison:
    """Tag a clip with both models, one after the other, and measure how far they agree."""
    left, right = baseline.tag(clip), candidate.tag(clip)
    return Comparison(clip, left, right, agreement(left, right, top_k=top_k, threshold=threshold))


def _aligned(tags: Tags, indices: list[int]) -> np.ndarray:
    position = {index: place for place, index in enumerate(tags.classes.indices)}
    return tags.probabilities[[position[index] for index in indices]].astype(np.float64)


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[groups]
