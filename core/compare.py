"""Two networks on one clip: which tags are kept, lost and gained at a threshold, and how far the outputs differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from core.audio import Clip
from core.errors import ModelError
from core.tagging import Tagger
from core.tags import Tags
from core.units import THRESHOLD

MARKED_FROM = 0.10
"""Two probabilities of a class that differ by at least this much are marked and named; smaller differences are easy to read as they are."""

Change = Literal["kept", "lost", "gained", "one-sided", "below"]

CLIPPED = 1e-7
"""Probabilities are clipped to this distance from 0 and 1 before the logarithm: float32 has 1.2e-7 between 1 and its neighbour."""


@dataclass(frozen=True)
class Row:
    """One class in both networks' tags; a probability is None where a network does not have the class."""

    index: int
    name: str
    baseline: float | None
    candidate: float | None

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline; None unless both have the class."""
        if self.baseline is None or self.candidate is None:
            return None
        return self.candidate - self.baseline

    @property
    def largest(self) -> float:
        """The larger of the two probabilities."""
        return max(value for value in (self.baseline, self.candidate) if value is not None)

    def change(self, threshold: float) -> Change:
        """What became of the tag: a probability of exactly ``threshold`` recognises it.

        "kept" where both networks recognise it, "lost" where only the baseline does, "gained" where only the candidate does;
        "one-sided" where the one network that has the class does; "below" where none does.

        Examples
        --------
        >>> Row(378, "Clock", 0.95, 0.46).change(0.5), Row(378, "Clock", 0.5, 0.5).change(0.5)
        ('lost', 'kept')
        """
        before, after = (
            value is not None and value >= threshold for value in (self.baseline, self.candidate)
        )
        if not (before or after):
            return "below"
        if self.difference is None:
            return "one-sided"
        return "kept" if before and after else "lost" if before else "gained"


@dataclass(frozen=True)
class Agreement:
    """How far two networks agree on a clip, over the classes that both have.

    The tags that count are those with at least ``threshold`` in either network; below it probabilities are mostly noise.

    Attributes
    ----------
    threshold : float
        Probability from which on a network recognises a tag.
    counted : tuple of Row
        The tags that count, the largest probability first; of equal ones, in AudioSet's order.
    one_sided : tuple of Row
        Tags with at least ``threshold`` of classes that only one network has: neither lost nor gained.
    likeliest : Row
        The shared class with the largest probability, counted or not.
    divergence : float
        ``divergences`` of the candidate's output from the baseline's, nats.
    top_k, top_k_overlap : int
        How many of the first ``top_k`` tags of one network are among the first ``top_k`` of the other, whatever their probability.
    spearman : float or None
        Spearman's rank correlation over all shared classes; None where it is not defined (``spearman``).
    max_abs_difference : float
        The largest difference of a probability.
    max_difference_tag : str
        The class that has it.
    shared_classes : int
        Number of classes that both networks have.
    """

    threshold: float
    counted: tuple[Row, ...]
    one_sided: tuple[Row, ...]
    likeliest: Row
    divergence: float
    top_k: int
    top_k_overlap: int
    spearman: float | None
    max_abs_difference: float
    max_difference_tag: str
    shared_classes: int

    def rows_of(self, change: Change) -> list[Row]:
        """The counted tags that are kept, lost or gained, the largest probability first."""
        return [row for row in self.counted if row.change(self.threshold) == change]

    @property
    def kept(self) -> tuple[str, ...]:
        """Tags that both networks recognise, in AudioSet's order."""
        return self._names("kept")

    @property
    def lost(self) -> tuple[str, ...]:
        """Tags that the baseline alone recognises, in AudioSet's order."""
        return self._names("lost")

    @property
    def gained(self) -> tuple[str, ...]:
        """Tags that the candidate alone recognises, in AudioSet's order."""
        return self._names("gained")

    @property
    def kept_share(self) -> float | None:
        """Kept tags / (kept + lost + gained): the Jaccard index of both sets of tags. None where neither network has a tag."""
        return len(self.kept) / len(self.counted) if self.counted else None

    def document(self) -> dict[str, Any]:
        """The ``agreement`` object of the command line's JSON."""
        return {
            "threshold": self.threshold,
            "kept": list(self.kept),
            "lost": list(self.lost),
            "gained": list(self.gained),
            "shared_above_threshold": len(self.kept),
            "kept_share": self.kept_share,
            "divergence": self.divergence,
            "top_k": self.top_k,
            "top_k_overlap": self.top_k_overlap,
            "spearman": self.spearman,
            "max_abs_difference": self.max_abs_difference,
            "max_difference_tag": self.max_difference_tag,
            "shared_classes": self.shared_classes,
        }

    def _names(self, change: Change) -> tuple[str, ...]:
        return tuple(row.name for row in sorted(self.rows_of(change), key=lambda row: row.index))


def differs(difference: float) -> bool:
    """Whether two probabilities with this difference are marked as different; half a millionth is left to rounding.

    Examples
    --------
    >>> differs(0.6 - 0.5), differs(-0.0999)
    (True, False)
    """
    return round(abs(difference), 6) >= MARKED_FROM


def agreement(baseline: Tags, candidate: Tags, *, top_k: int = 10, threshold: float = THRESHOLD) -> Agreement:
    """Measure the agreement of two networks' tags of one clip, over the shared classes, matched by their AudioSet index.

    Parameters
    ----------
    baseline, candidate : Tags
        Their tags.
    top_k : int
        How many of the first tags to compare, cut to the number of shared classes.
    threshold : float
        Probability between 0 and 1 from which on a network recognises a tag.

    Raises
    ------
    ModelError
        The networks share no class, or a setting is out of its range.

    Examples
    --------
    >>> from core.classes import ClassSet
    >>> def tags(name, speech, rain):
    ...     return Tags(name, ClassSet((0, 289)), np.array([speech, rain], np.float32), "torch", 1.0, ((0.0, 10.0),))
    >>> result = agreement(tags("wide", 0.75, 0.25), tags("narrow", 0.5, 0.75), top_k=1, threshold=0.5)
    >>> result.kept, result.lost, result.gained, result.kept_share
    (('Speech',), (), ('Rain',), 0.5)
    >>> result.top_k_overlap, result.max_abs_difference
    (0, 0.5)
    """
    if top_k < 1:
        raise ModelError(f"The number of tags to compare has to be at least 1; got {top_k}.")
    if not 0 < threshold < 1:
        raise ModelError(f"A threshold is a probability between 0 and 1; got {threshold:g}.")
    shared = sorted(set(baseline.classes.indices) & set(candidate.classes.indices))
    if baseline.output != candidate.output:
        scenes, tags = sorted((baseline, candidate), key=lambda each: each.output)
        raise ModelError(
            f"{scenes.model} outputs the one scene of a clip and {tags.model} its tags, so they cannot be compared."
        )
    if not shared:
        raise ModelError(
            f"{baseline.model} and {candidate.model} have no class in common, so they cannot be compared."
        )
    listed = rows(baseline, candidate)
    both = [row for row in listed if row.difference is not None]
    furthest = max(both, key=lambda row: (abs(row.difference or 0.0), -row.index))
    a, b = _aligned(baseline, shared), _aligned(candidate, shared)
    k = min(top_k, len(shared))
    overlap = set(np.argsort(-a, kind="stable")[:k]) & set(np.argsort(-b, kind="stable")[:k])
    return Agreement(
        threshold=threshold,
        counted=tuple(row for row in both if row.change(threshold) != "below"),
        one_sided=tuple(row for row in listed if row.change(threshold) == "one-sided"),
        likeliest=both[0],
        divergence=float(divergences(a, b)),
        top_k=k,
        top_k_overlap=len(overlap),
        spearman=spearman(a, b),
        max_abs_difference=abs(furthest.difference or 0.0),
        max_difference_tag=furthest.name,
        shared_classes=len(shared),
    )


def divergences(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Each clip's Kullback-Leibler divergence of probabilities (..., classes) from ``before``, in nats, (...).

    Each class is a Bernoulli variable, and their divergences are summed: p log(p / q) + (1 - p) log((1 - p) / (1 - q)).

    Examples
    --------
    >>> round(float(divergences(np.array([0.75, 0.25]), np.array([0.25, 0.75]))), 4)
    1.0986
    """
    p, q = (np.clip(values.astype(np.float64), CLIPPED, 1 - CLIPPED) for values in (before, after))
    return np.asarray((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=-1))


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of two arrays (values,); equal values share the mean of their ranks.

    None where it is not defined: fewer than two values, or all values of one array equal.

    Examples
    --------
    >>> round(spearman(np.array([0.1, 0.2, 0.3]), np.array([3.0, 5.0, 4.0])), 6)
    0.5
    """
    if len(a) < 2:
        return None
    ranks = [_mean_ranks(values) for values in (a, b)]
    if min(float(np.ptp(rank)) for rank in ranks) == 0.0:
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def rows(baseline: Tags, candidate: Tags) -> list[Row]:
    """Every class that at least one network has, the largest probability first."""
    left = {tag.index: tag for tag in baseline.top(len(baseline.classes))}
    right = {tag.index: tag for tag in candidate.top(len(candidate.classes))}
    merged = []
    for index in sorted(left.keys() | right.keys()):
        a, b = left.get(index), right.get(index)
        name = a.name if a else right[index].name
        merged.append(Row(index, name, a.probability if a else None, b.probability if b else None))
    return sorted(merged, key=lambda row: (-row.largest, row.index))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two networks' tags of one clip, and their agreement."""

    clip: Clip
    baseline: Tags
    candidate: Tags
    agreement: Agreement

    @property
    def shared(self) -> tuple[str, ...] | None:
        """The classes that both networks have, in AudioSet's order; None where both have the same."""
        first, second = (
            dict(zip(each.classes.indices, each.classes.names, strict=True))
            for each in (self.baseline, self.candidate)
        )
        if first.keys() == second.keys():
            return None
        return tuple(first[index] for index in sorted(first.keys() & second.keys()))

    def document(self, top: int | None = None) -> dict[str, Any]:
        """What ``pannscope compare --json`` prints: {clip, baseline, candidate, agreement}."""
        return {
            "clip": self.clip.describe(),
            "baseline": self.baseline.document(self.clip, top),
            "candidate": self.candidate.document(self.clip, top),
            "agreement": self.agreement_document(),
        }

    def agreement_document(self) -> dict[str, Any]:
        """The ``agreement`` object, with the classes that both have where one has others as well."""
        return self.agreement.document() | {"shared": self.shared and list(self.shared)}


def compare(
    clip: Clip, baseline: Tagger, candidate: Tagger, *, top_k: int = 10, threshold: float = THRESHOLD
) -> Comparison:
    """Tag a clip with two networks, one after the other, and measure how far they agree.

    Parameters
    ----------
    clip : Clip
        A recording.
    baseline, candidate : Tagger
        The networks.
    top_k, threshold : int, float
        As in ``agreement``.

    Examples
    --------
    >>> from core.examples import example_clip
    >>> from core.tagging import load_tagger
    >>> taggers = [load_tagger(name, runtime="torch") for name in ("demo-cnn14", "demo-epanns")]
    >>> compare(example_clip("clock"), *taggers, top_k=2).agreement.top_k_overlap
    2
    """
    left, right = baseline.tag(clip), candidate.tag(clip)
    return Comparison(clip, left, right, agreement(left, right, top_k=top_k, threshold=threshold))


def _aligned(tags: Tags, indices: list[int]) -> np.ndarray:
    position = {index: column for column, index in enumerate(tags.classes.indices)}
    return tags.probabilities[[position[index] for index in indices]].astype(np.float64)


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[groups]
