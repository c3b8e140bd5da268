"""Holding a copy of a network against the network: the same recordings through both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.audio import SAMPLE_RATE
from core.errors import ExportError
from core.export.formats import Format
from core.models.cnn import MIN_SAMPLES
from core.synthesis import EXAMPLES, synthesise
from core.tagging import Tagger, mean_probabilities

Network = Callable[[Tensor], Tensor]
"""(1, samples) float32 at 32 kHz -> (1, classes) probabilities."""

Waveform = npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def check_waveforms() -> tuple[Waveform, ...]:
    """What every export is checked on: synthesised examples of 0.31, 1.7, 8 and 30 s, (samples,) at 32 kHz.

    The shortest is the least the network accepts; 1.7 s leaves a remainder at every pooling; 30 s is the longest window that
    is tagged in one piece, a piece of every example one after the other.
    """
    sounds = {example.key: synthesise(example.key) for example in EXAMPLES}
    share = round(30 * SAMPLE_RATE / len(sounds))
    medley = np.concatenate([sound[:share] for sound in sounds.values()])
    return (
        sounds["rain"][:MIN_SAMPLES],
        sounds["clock"][: round(1.7 * SAMPLE_RATE)],
        sounds["siren"][: 8 * SAMPLE_RATE],
        medley[: 30 * SAMPLE_RATE],
    )


@dataclass(frozen=True)
class Difference:
    """How far a copy's probabilities are from the network's, over all classes of some clips."""

    largest: float
    mean: float
    first_tag: float
    clips: int
    audio_seconds: float


@dataclass(frozen=True, eq=False)
class Job:
    """A network that is being exported, and the recordings that its copies are checked on.

    Attributes
    ----------
    tagger : the network.
    plan : the document of the plan that it was pruned by, None if it was not.
    waveforms : (samples,) each, at 32 kHz.
    half : store float16 where the format can.
    """

    tagger: Tagger
    plan: dict[str, Any] | None
    waveforms: Sequence[npt.NDArray[np.floating]]
    half: bool = False

    @cached_property
    def expected(self) -> npt.NDArray[np.float32]:
        """The network's own probabilities, (clips, classes)."""
        return np.stack([self.tagger.probabilities(waveform) for waveform in self.waveforms])

    def difference(self, copy: Network) -> Difference:
        """Run every waveform through ``copy``, long and short ones as the tagger does it, and compare."""
        found = np.stack([mean_probabilities(copy, waveform) for waveform in self.waveforms])
        apart = np.abs(found.astype(np.float64) - self.expected)
        return Difference(
            largest=float(apart.max()),
            mean=float(apart.mean()),
            first_tag=float(np.mean(found.argmax(axis=1) == self.expected.argmax(axis=1))),
            clips=len(self.waveforms),
            audio_seconds=sum(len(waveform) for waveform in self.waveforms) / SAMPLE_RATE,
        )

    def verified(self, copy: Network, form: Format) -> Difference:
        """``difference``; raises ``ExportError`` where it is beyond what the format may differ by (or not a number)."""
        found = self.difference(copy)
        if form.tolerance is not None and not found.largest <= form.tolerance:
            raise ExportError(
                f"The {form.name} copy of {self.tagger.name} differs from it by {found.largest:.2g} in a probability, and "
                f"{form.tolerance:g} is the most that passes, so nothing was written. Check that its weights are finite and "
                "of a usual size (pannscope tag), and report it if they are."
            )
        return found
