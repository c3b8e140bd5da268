"""How far a student agrees with its teacher on recordings that it does not learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DECISION = 0.5
"""A teacher's probability from which a class counts as recognised."""


@dataclass(frozen=True)
class TeacherAgreement:
    """Agreement over a set of recordings.

    Attributes
    ----------
    first_in_three : share of recordings whose likeliest class is among the teacher's first three.
    first_five : share whose first five classes hold the teacher's likeliest one.
    difference : mean absolute difference of probabilities over the teacher's ten likeliest classes.
    kept : of the tags that either network gives 0.5, the share that both do, over all recordings; None without any.
    mean_average_precision : over the classes that the teacher gives 0.5 somewhere, against these decisions; None without any.
    """

    first_in_three: float
    first_five: float
    difference: float
    kept: float | None
    mean_average_precision: float | None

    def document(self) -> dict[str, float]:
        """The figures of one line of the metrics file."""
        values = {
            "first_in_three": self.first_in_three,
            "first_five": self.first_five,
            "difference": self.difference,
        }
        if self.kept is not None:
            values["kept"] = self.kept
        if self.mean_average_precision is not None:
            values["mAP"] = self.mean_average_precision
        return {name: round(value, 6) for name, value in values.items()}


def teacher_agreement(teacher: npt.NDArray[np.float32], student: npt.NDArray[np.float32]) -> TeacherAgreement:
    """Compare probabilities (recordings, classes) of the same recordings and classes.

    Examples
    --------
    >>> teacher = np.array([[0.9, 0.2, 0.1, 0.0], [0.0, 0.1, 0.2, 0.6]], np.float32)
    >>> student = np.array([[0.7, 0.2, 0.1, 0.0], [0.8, 0.1, 0.2, 0.6]], np.float32)
    >>> result = teacher_agreement(teacher, student)
    >>> result.first_in_three, result.first_five, round(result.difference, 3), result.mean_average_precision
    (0.5, 1.0, 0.125, 0.75)
    >>> result.kept
    0.6666666666666666
    """
    from sklearn.metrics import average_precision_score  # 75 MB, which the pages need only while they heal

    order = np.argsort(-teacher, axis=1, kind="stable")
    own = np.argsort(-student, axis=1, kind="stable")
    ten = order[:, :10]
    decisions, theirs = teacher >= DECISION, student >= DECISION
    either = int((decisions | theirs).sum())
    scored = [
        float(average_precision_score(decisions[:, column], student[:, column]))
        for column in np.flatnonzero(decisions.any(axis=0))
    ]
    return TeacherAgreement(
        first_in_three=float((order[:, :3] == own[:, :1]).any(axis=1).mean()),
        first_five=float((own[:, :5] == order[:, :1]).any(axis=1).mean()),
        difference=float(
            np.abs(np.take_along_axis(teacher, ten, 1) - np.take_along_axis(student, ten, 1)).mean()
        ),
        kept=int((decisions & theirs).sum()) / either if either else None,
        mean_average_precision=float(np.mean(scored)) if scored else None,
    )
