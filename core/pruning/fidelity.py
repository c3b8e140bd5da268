"""Fidelity: how close a pruned network stays to its parent over a set of clips, without a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compare import spearman
from core.errors import PruningError
from core.models.cnn import Cnn14
from core.windows import mean_probabilities

CLIPPED = 1e-7
"""Probabilities are kept this far from 0 and 1 before a logarithm is taken: float32 has 1.2e-7 between 1 and its neighbour."""


@dataclass(frozen=True)
class Fidelity:
    """Agreement of a pruned network with its parent; every figure is a mean over the clips.

    Attributes
    ----------
    clips : how many there were.
    divergence : Kullback-Leibler divergence of the pruned network's answer from the parent's, in nats a clip: each class is a coin
        with its own probability, and the coins' divergences are added up. 0 is the same answer.
    first_tag : share of the clips whose likeliest tag stays the likeliest.
    top_k, top_k_overlap : share of the parent's first ``top_k`` tags that are among the pruned network's.
    spearman : rank correlation of the two orders of all classes, over the clips where it is defined; None where it never is.
    max_abs_difference : the largest difference of a probability in a clip.
    """

    clips: int
    divergence: float
    first_tag: float
    top_k: int
    top_k_overlap: float
    spearman: float | None
    max_abs_difference: float

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return vars(self).copy()


def fidelity(parent: np.ndarray, pruned: np.ndarray, top_k: int = 5) -> Fidelity:
    """Hold a pruned network's probabilities (clips, classes) against its parent's, of the same shape.

    ``top_k`` is cut down to the number of classes. Raises ``PruningError`` for shapes that do not fit, no clips, or ``top_k`` under 1.
    """
    if parent.shape != pruned.shape or parent.ndim != 2 or 0 in parent.shape:
        raise PruningError(
            f"Two networks' probabilities over the same clips are compared, (clips, classes) each; got {parent.shape} and "
            f"{pruned.shape}."
        )
    if top_k < 1:
        raise PruningError(f"The number of tags to compare has to be at least 1; got {top_k}.")
    k = min(top_k, parent.shape[1])
    before, after = np.argsort(-parent, kind="stable"), np.argsort(-pruned, kind="stable")
    stay = [len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(before, after, strict=True)]
    ranks = [spearman(a, b) for a, b in zip(parent, pruned, strict=True)]
    defined = [rank for rank in ranks if rank is not None]
    return Fidelity(
        clips=len(parent),
        divergence=float(divergences(parent, pruned).mean()),
        first_tag=float((before[:, 0] == after[:, 0]).mean()),
        top_k=k,
        top_k_overlap=float(np.mean(stay)),
        spearman=float(np.mean(defined)) if defined else None,
        max_abs_difference=float(np.abs(parent.astype(np.float64) - pruned).max(axis=1).mean()),
    )


def divergences(parent: np.ndarray, pruned: np.ndarray) -> np.ndarray:
    """Each clip's divergence in nats, (clips,): the sum over classes of p log(p / q) + (1 - p) log((1 - p) / (1 - q))."""
    p, q = (np.clip(values.astype(np.float64), CLIPPED, 1 - CLIPPED) for values in (parent, pruned))
    return np.asarray((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(axis=-1))


def predictions(model: Cnn14, waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (clips, classes) float32 of waveforms, each (samples,) at 32 kHz, as tagging computes them."""
    if not waveforms:
        raise PruningError("There are no clips to listen to; give at least one.")
    return np.stack([mean_probabilities(model.probabilities, waveform) for waveform in waveforms])
