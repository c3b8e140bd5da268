"""Fidelity: how close a pruned network stays to its parent over a set of clips, without a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.compare import divergences, spearman
from core.errors import PruningError
from core.models.network import Network
from core.models.registry import architecture
from core.windows import mean_probabilities

TOP_K = 5
"""How many of the first tags ``Fidelity.top_k_overlap`` is about."""


@dataclass(frozen=True)
class Fidelity:
    """Agreement of a pruned network with its parent; every figure is a mean over the clips.

    Attributes
    ----------
    clips : int
        Number of clips.
    divergence : float
        Kullback-Leibler divergence of the pruned network's output from the parent's, in nats per clip: each class is a Bernoulli
        variable, and their divergences are summed, those of scenes, which exclude each other, as well. 0 is the same output.
    first_tag : float
        Share of the clips whose likeliest tag stays the likeliest.
    top_k, top_k_overlap : int, float
        Share of the parent's first ``top_k`` tags that are among the pruned network's.
    spearman : float or None
        Rank correlation over all classes, over the clips where it is defined; None where it never is.
    max_abs_difference : float
        The largest difference of a probability in a clip.
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


def fidelity(parent: np.ndarray, pruned: np.ndarray) -> Fidelity:
    """Compare a pruned network's probabilities (clips, classes) with its parent's, of the same shape.

    The first ``TOP_K`` tags are compared, or all classes where there are fewer. Raises ``PruningError`` for shapes that differ, or no clips.

    Examples
    --------
    >>> result = fidelity(np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]]))
    >>> result.first_tag, result.max_abs_difference, round(result.divergence, 4)
    (0.0, 0.5, 1.0986)
    """
    if parent.shape != pruned.shape or parent.ndim != 2 or 0 in parent.shape:
        raise PruningError(
            f"Two networks' probabilities over the same clips are compared, (clips, classes) each; got {parent.shape} and "
            f"{pruned.shape}."
        )
    k = min(TOP_K, parent.shape[1])
    before, after = np.argsort(-parent, kind="stable"), np.argsort(-pruned, kind="stable")
    overlaps = [len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(before, after, strict=True)]
    ranks = [spearman(a, b) for a, b in zip(parent, pruned, strict=True)]
    defined = [rank for rank in ranks if rank is not None]
    return Fidelity(
        clips=len(parent),
        divergence=float(divergences(parent, pruned).mean()),
        first_tag=float((before[:, 0] == after[:, 0]).mean()),
        top_k=k,
        top_k_overlap=float(np.mean(overlaps)),
        spearman=float(np.mean(defined)) if defined else None,
        max_abs_difference=float(np.abs(parent.astype(np.float64) - pruned).max(axis=1).mean()),
    )


def predictions(model: Network, waveforms: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities (clips, classes) float32 of waveforms, each (samples,) at 32 kHz, as tagging computes them on torch."""
    if not waveforms:
        raise PruningError("There are no clips to run the network on; give at least one.")
    entry = architecture(model.architecture)
    return np.stack([mean_probabilities(model.probabilities, waveform, entry) for waveform in waveforms])
