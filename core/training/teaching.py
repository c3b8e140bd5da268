"""What a student learns from its teacher: which classes, and what its outputs are held against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from core.classes import ClassSet, audioset
from core.errors import DataError

CLASSES_PER_UNIT = 10.0
"""The binary cross-entropy is summed over the classes and divided by this: 53 times its mean over AudioSet's 527."""


def common_classes(student: ClassSet, teacher: ClassSet) -> tuple[list[int], list[int]]:
    """Outputs of the student, and the teacher's for the same AudioSet classes; raises ``DataError`` where there are none.

    Of one ``ClassSet``, as a network and its pruned copy have, all outputs, whatever they are called.

    Examples
    --------
    >>> common_classes(ClassSet((74, 0)), ClassSet((0, 1, 74)))
    ([0, 1], [2, 0])
    """
    if student is teacher:
        return list(range(len(student))), list(range(len(student)))
    columns = {index: column for column, index in enumerate(teacher.indices)}
    own = [
        column for column, index in enumerate(student.indices) if index in columns and index < len(audioset())
    ]
    if not own:
        raise DataError(
            f"The student's {len(student)} classes ({student.names[0]}, …) and the teacher's {len(teacher)} ({teacher.names[0]}, …) "
            "have none in common; give another teacher, or --new-outputs to give the student the teacher's classes."
        )
    return own, [columns[student.indices[column]] for column in own]


def soft_loss(
    logits: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    known: Tensor,
    labels_share: float,
    divergence: float,
) -> Tensor:
    """Binary cross-entropy against the teacher's probabilities, and the divergence of the two softmaxes.

    All of (batch, classes); ``labels`` enter where they are ``known``. Binary cross-entropy is linear in its target, so that a
    mixed target is the mean of two losses.
    """
    targets = torch.sigmoid(teacher)
    if labels_share > 0:
        targets = torch.where(known, targets.lerp(labels, labels_share), targets)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    loss = loss / (CLASSES_PER_UNIT * len(logits))
    if divergence > 0:
        between = F.kl_div(
            F.log_softmax(logits, 1), F.log_softmax(teacher, 1), reduction="batchmean", log_target=True
        )
        loss = loss + divergence * between
    return loss
