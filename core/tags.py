"""One network's output for one clip: its probabilities by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.audio import Clip
from core.classes import ClassSet


@dataclass(frozen=True)
class Tag:
    """One class and its probability; ``index`` is AudioSet's."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Tags:
    """One network's output for one clip.

    Attributes
    ----------
    model : str
    classes : ClassSet
        The classes of ``probabilities``, in order.
    probabilities : (classes,) float32
        Sigmoid of each class's logit: a clip can have many tags. Where ``output`` is "scenes" their softmax: a clip is one scene.
    runtime : str
        The engine that ran it: "torch" …
    latency_ms : float
        Milliseconds from waveform to probabilities, summed over the windows; decoding is not part of it.
    windows_s : tuple of (float, float)
        Start and end in seconds of every window; the probabilities are their mean.
    notes : tuple of str
        What was done to the clip to make it fit, in sentences.
    model_notes : tuple of str
        What was skipped in the network's file, and what was assumed where it does not say.
    output : str
        "tags", or "scenes" of a network that classifies whole clips.

    Examples
    --------
    >>> three = ClassSet.from_names(["Dog", "Rain", "Speech"])
    >>> tags = Tags("example", three, np.array([0.25, 0.75, 0.5], np.float32), "torch", 1.0, ((0.0, 10.0),))
    >>> [(tag.name, tag.probability) for tag in tags.top(2)]
    [('Rain', 0.75), ('Speech', 0.5)]
    >>> [tag.name for tag in tags.above(0.5)]
    ['Rain', 'Speech']
    """

    model: str
    classes: ClassSet
    probabilities: np.ndarray
    runtime: str
    latency_ms: float
    windows_s: tuple[tuple[float, float], ...]
    notes: tuple[str, ...] = ()
    model_notes: tuple[str, ...] = ()
    output: str = "tags"

    def top(self, k: int = 10) -> list[Tag]:
        """The ``k`` likeliest tags, likeliest first; of equal probabilities the class that comes first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [self._tag(int(position)) for position in order[:k]]

    def above(self, threshold: float) -> list[Tag]:
        """Every tag whose probability is at least ``threshold``, likeliest first."""
        return [tag for tag in self.top(len(self.classes)) if tag.probability >= threshold]

    def _tag(self, position: int) -> Tag:
        return Tag(
            self.classes.indices[position], self.classes.names[position], float(self.probabilities[position])
        )

    def document(self, clip: Clip, top: int | None = None) -> dict[str, Any]:
        """The part of the command line's JSON that describes one network's tags; its notes include the clip's own."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "output": self.output,
            "latency_ms": round(self.latency_ms, 3),
            "windows_s": [list(window) for window in self.windows_s],
            "notes": [*clip.notes, *self.notes, *self.model_notes],
            "tags": [vars(tag).copy() for tag in self.top(len(self.classes) if top is None else top)],
        }
