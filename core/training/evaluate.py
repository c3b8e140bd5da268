"""Quality of a tagger on labelled clips, through the same path that tags a single clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from core.tagging import Tagger
from core.training.data import LabelledClips
from core.training.metrics import Quality, quality


def predict(
    tagger: Tagger, clips: LabelledClips, on_progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Probabilities (clips, classes) of every clip, each tagged in full length; ``on_progress`` is called with (done, total)."""
    probabilities = np.zeros((len(clips), len(tagger.classes)), np.float32)
    for row in range(len(clips)):
        probabilities[row] = tagger.probabilities(clips.waveform(row))
        if on_progress:
            on_progress(row + 1, len(clips))
    return probabilities


def evaluate(
    tagger: Tagger, clips: LabelledClips, on_progress: Callable[[int, int], None] | None = None
) -> Quality:
    """Score a tagger on clips whose targets have its classes (``read_manifest(..., classes=tagger.classes)``).

    Of a network of scenes the accuracy is measured, too; ``DataError`` is raised where a clip has not exactly one class.
    """
    scenes = clips.single_labels() if tagger.entry.output == "scenes" else None
    probabilities = predict(tagger, clips, on_progress)
    result = quality(clips.targets, probabilities, tagger.classes)
    if scenes is None:
        return result
    return replace(result, accuracy=float((probabilities.argmax(axis=1) == scenes).mean()))
