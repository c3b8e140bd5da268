#!/usr/bin/env python
"""Does pruning keep the embedding? Parent, pruned and repaired networks on labelled folds: a Markdown table on stdout (docs/embeddings.md).

    python scripts/embedding_study.py ../shared/clips runs/embeddings

Each network's embeddings are saved in the second folder as soon as they are computed; the same command goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from core.api import plan, prune, repair
from core.audio import DecodedClip, load_clip
from core.files import atomic_write
from core.tagging import Tagger, load_tagger
from core.training.data import read_rows

PARENT = "demo-cnn14"
RATIOS = (0.25, 0.5, 0.75)
CALIBRATION = 8  # every eighth clip is for the repair, and is not measured on
RESAMPLED = 1000
COMPONENTS = 16  # of the embedding, since a class has 27 clips or more

Values = npt.NDArray[np.float64]


def networks(calibration: Callable[[], list[DecodedClip]]) -> Iterator[tuple[str, Callable[[], Tagger]]]:
    """What is compared, by name; each is built when its embeddings are missing."""

    def pruned(ratio: float) -> Tagger:
        parent = load_tagger(PARENT)
        return prune(parent, plan(parent, ratio))

    def repaired(ratio: float) -> Tagger:
        parent = load_tagger(PARENT)
        return repair(parent, plan(parent, ratio), calibration())

    yield "parent", lambda: load_tagger(PARENT)
    for ratio in RATIOS:
        yield f"{ratio:.0%} pruned", lambda ratio=ratio: pruned(ratio)  # type: ignore[misc]
        yield f"{ratio:.0%} repaired", lambda ratio=ratio: repaired(ratio)  # type: ignore[misc]
    yield "50% and taught again (demo-epanns)", lambda: load_tagger("demo-epanns")


def centred(embeddings: Values) -> Values:
    """Every unit's mean is zero."""
    return embeddings - embeddings.mean(axis=0)


def cka(first: Values, second: Values) -> float:
    """Linear centred kernel alignment of two (clips, units) (Kornblith et al., ICML 2019), by the clips' Gram matrices."""
    grams = [each @ each.T for each in (centred(first), centred(second))]
    cross, own, other = (float((a * b).sum()) for a, b in (grams, grams[:1] * 2, grams[1:] * 2))
    return cross / np.sqrt(own * other)


def frechet_distances(embeddings: Values, labels: npt.NDArray[np.str_]) -> Values:
    """Fréchet distances of every two classes' embeddings, as normal distributions over the first principal components (Kilgour et al., Interspeech 2019)."""
    axes = np.linalg.svd(centred(embeddings), full_matrices=False)[2][:COMPONENTS]
    parts = [embeddings[labels == label] @ axes.T for label in np.unique(labels)]
    means, covariances = [part.mean(axis=0) for part in parts], [np.cov(part.T) for part in parts]
    return np.array(
        [
            ((means[one] - means[two]) ** 2).sum()
            + np.trace(covariances[one] + covariances[two])
            - 2 * np.sqrt(np.linalg.eigvals(covariances[one] @ covariances[two]).real.clip(0)).sum()
            for one, two in combinations(range(len(parts)), 2)
        ]
    )


def probe(train: Values, labels: npt.NDArray[np.str_], test: Values) -> npt.NDArray[np.str_]:
    """The labels of a logistic regression on standardised units."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        .fit(train, labels)
        .predict(test)
    )


def nearest(train: Values, labels: npt.NDArray[np.str_], test: Values) -> npt.NDArray[np.str_]:
    """The label of the clip with the largest cosine similarity."""
    directions = [each / np.linalg.norm(each, axis=1, keepdims=True).clip(1e-12) for each in (train, test)]
    return labels[(directions[1] @ directions[0].T).argmax(axis=1)]


def correct(
    method: Callable[..., npt.NDArray[np.str_]],
    values: Values,
    labels: npt.NDArray[np.str_],
    folds: npt.NDArray[np.str_],
) -> Values:
    """1 for every clip that gets its label from the clips of the other folds, else 0."""
    found = np.empty_like(labels)
    for fold in np.unique(folds):
        inside = folds == fold
        found[inside] = method(values[~inside], labels[~inside], values[inside])
    return (found == labels).astype(np.float64)


def interval(measure: Callable[[npt.NDArray[np.int64]], float], clips: int, times: int) -> str:
    """A measure of all clips, and its 95 % interval over clips drawn with replacement."""
    rng = np.random.default_rng(0)
    drawn = [measure(rng.integers(clips, size=clips)) for _ in range(times)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{measure(np.arange(clips)):.3f} ({low:.3f} to {high:.3f})"


def main(clips: Path, folder: Path) -> None:
    """Compute what is missing, and print the table."""
    rows = read_rows(clips / "meta.csv")
    taken = [number for number in range(len(rows)) if number % CALIBRATION]
    paths = [clips / "audio" / row["filename"] for row in rows]
    labels, folds = (np.array([rows[number][column] for number in taken]) for column in ("category", "fold"))

    def calibration() -> list[DecodedClip]:
        return [load_clip(path) for path in paths[::CALIBRATION]]

    waveforms: list[npt.NDArray[np.float32]] = []
    print(f"{len(taken)} clips, {len(np.unique(labels))} classes, {len(np.unique(folds))} folds\n")
    print(
        "| network | linear probe | nearest neighbour | CKA with the parent | Fréchet ranking |\n|---|---|---|---|---|"
    )
    parent = np.empty(0)
    for name, built in networks(calibration):
        path = folder / f"{name}.npy"
        if not path.exists():
            waveforms = waveforms or [load_clip(paths[number]).waveform for number in taken]
            embeddings = built().embeddings(waveforms)
            with atomic_write(path) as draft, draft.open("wb") as file:
                np.save(file, embeddings)
        values = np.load(path).astype(np.float64)
        parent = parent if parent.size else values
        cells = [
            interval(lambda chosen, right=right: float(right[chosen].mean()), len(taken), RESAMPLED)  # type: ignore[misc]
            for right in (correct(method, values, labels, folds) for method in (probe, nearest))
        ]
        alike = interval(
            lambda chosen, pair=(parent, values): cka(pair[0][chosen], pair[1][chosen]),  # type: ignore[misc]
            len(taken),
            RESAMPLED // 5,
        )
        ranking = spearmanr(*(frechet_distances(each, labels) for each in (parent, values))).statistic
        print(f"| {name} | {' | '.join([*cells, alike])} | {ranking:.2f} |", flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    main(Path(sys.argv[1]), folder)
