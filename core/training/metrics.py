"""Quality on labelled clips: average precision, ROC AUC and d' per class and overall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from core.classes import ClassSet
from core.errors import DataError


@dataclass(frozen=True)
class ClassQuality:
    """Quality for one class: average precision, and area under the ROC curve (None where every clip is positive)."""

    name: str
    average_precision: float
    auc: float | None
    positives: int

    @property
    def d_prime(self) -> float | None:
        """Separation of the class's positives from the others; None where it is infinite or unknown."""
        return d_prime(self.auc)


@dataclass(frozen=True)
class Quality:
    """Quality over a set of clips; classes that no clip carries are left out of ``per_class`` and of the means.

    ``accuracy`` is the share of clips whose likeliest class is their own: of networks of scenes; None of taggers.
    """

    clips: int
    mean_average_precision: float
    auc: float | None
    d_prime: float | None
    per_class: tuple[ClassQuality, ...]
    accuracy: float | None = None

    def document(self) -> dict[str, Any]:
        """The JSON object that ``pannscope evaluate --json`` prints."""
        return {
            "clips": self.clips,
            "classes": len(self.per_class),
            "mAP": self.mean_average_precision,
            "accuracy": self.accuracy,
            "auc": self.auc,
            "d_prime": self.d_prime,
            "per_class": [vars(entry) | {"d_prime": entry.d_prime} for entry in self.per_class],
        }


def d_prime(auc: float | None) -> float | None:
    """Separation of two unit Gaussians that give this AUC: sqrt(2) Phi^-1(AUC) (audioset_tagging_cnn, utilities.py).

    None where it is infinite (AUC 0 or 1) or unknown.

    Examples
    --------
    >>> d_prime(0.5)
    0.0
    """
    if auc is None or not 0.0 < auc < 1.0:
        return None
    return math.sqrt(2.0) * NormalDist().inv_cdf(auc)


def quality(targets: np.ndarray, probabilities: np.ndarray, classes: ClassSet) -> Quality:
    """Score probabilities (clips, classes) against targets of the same shape.

    Average precision and AUC are scikit-learn's, per class, and the means are over classes, as in audioset_tagging_cnn
    (``pytorch/evaluate.py``). Raises ``DataError`` if no class has a positive clip.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score  # 75 MB, which the pages do not need

    entries = []
    for column, name in enumerate(classes.names):
        truth, score = targets[:, column], probabilities[:, column]
        positives = int(truth.sum())
        if positives == 0:
            continue
        auc = float(roc_auc_score(truth, score)) if positives < len(truth) else None
        entries.append(ClassQuality(name, float(average_precision_score(truth, score)), auc, positives))
    if not entries:
        raise DataError("None of these clips carries a class of this model, so there is nothing to score.")
    aucs = [entry.auc for entry in entries if entry.auc is not None]
    mean_auc = float(np.mean(aucs)) if aucs else None
    return Quality(
        clips=len(targets),
        mean_average_precision=float(np.mean([entry.average_precision for entry in entries])),
        auc=mean_auc,
        d_prime=d_prime(mean_auc),
        per_class=tuple(entries),
    )
