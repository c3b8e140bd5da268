"""What two networks' embeddings of the same labelled clips are compared by: probe, neighbours, kernel alignment and Fréchet distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

Values = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]
Rows = npt.NDArray[np.int64]


def centred(embeddings: Values) -> Values:
    """Every unit's mean is zero."""
    return embeddings - embeddings.mean(axis=0)


def cka(first: Values, second: Values) -> float:
    """Linear centred kernel alignment of two (clips, units) (Kornblith et al., ICML 2019), by the clips' Gram matrices."""
    grams = [each @ each.T for each in (centred(first), centred(second))]
    cross, own, other = (float((a * b).sum()) for a, b in (grams, grams[:1] * 2, grams[1:] * 2))
    return cross / np.sqrt(own * other)


def frechet_distances(embeddings: Values, labels: Names, components: int) -> Values:
    """Fréchet distances of every two classes, as normal distributions over the first principal components (Kilgour et al., Interspeech 2019)."""
    own = centred(embeddings)
    strengths, directions = np.linalg.eigh(own @ own.T)
    scores = directions[:, -components:] * np.sqrt(strengths[-components:].clip(0))
    parts = [scores[labels == label] for label in np.unique(labels)]
    means, covariances = (
        np.array([part.mean(axis=0) for part in parts]),
        np.array([np.cov(part.T) for part in parts]),
    )
    one, two = np.array(list(combinations(range(len(parts)), 2))).T
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues, which are not negative.
    roots = np.sqrt(np.linalg.eigvals(covariances[one] @ covariances[two]).real.clip(0)).sum(axis=1)
    traces = np.trace(covariances[one] + covariances[two], axis1=1, axis2=2)
    return np.asarray(((means[one] - means[two]) ** 2).sum(axis=1) + traces - 2 * roots)


def ranking(first: Values, second: Values, labels: Names, components: int) -> float:
    """Spearman's rank correlation of the Fréchet distances of every two classes, by one network and by another."""
    distances = (frechet_distances(each, labels, components) for each in (first, second))
    return float(spearmanr(*distances).statistic)


def probe(train: Values, labels: Names, test: Values) -> Names:
    """The labels of a logistic regression on standardised units."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    found: Names = regression.fit(train, labels).predict(test)
    return found


def nearest(train: Values, labels: Names, test: Values) -> Names:
    """The label of the clip with the largest cosine similarity."""
    directions = [each / np.linalg.norm(each, axis=1, keepdims=True).clip(1e-12) for each in (train, test)]
    return labels[(directions[1] @ directions[0].T).argmax(axis=1)]


def correct(
    method: Callable[[Values, Names, Values], Names],
    values: Values,
    labels: Names,
    folds: Names,
    held_out: Sequence[str],
) -> Values:
    """1 for every clip of the held-out folds that gets its label from the clips of all folds but its own, else 0."""
    found = np.empty_like(labels)
    for fold in held_out:
        inside = folds == fold
        found[inside] = method(values[~inside], labels[~inside], values[inside])
    return (found == labels)[np.isin(folds, held_out)].astype(np.float64)


def interval(measure: Callable[[Rows], float], labels: Names, times: int, *, strata: bool = False) -> str:
    """A measure of all clips, and its 95 % interval over clips drawn with replacement, of each label as many as there are with ``strata``."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def draw() -> Rows:
        if strata:
            return np.concatenate([rng.choice(group, len(group)) for group in groups])
        return rng.integers(len(labels), size=len(labels))

    low, high = np.percentile([measure(draw()) for _ in range(times)], [2.5, 97.5])
    return f"{measure(np.arange(len(labels))):.3f} ({low:.3f} to {high:.3f})"
