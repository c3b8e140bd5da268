"""Holding a copy of a network against the network: the same recordings through both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.audio import SAMPLE_RATE
from core.errors import ExportError
from core.examples import EXAMPLES, synthesize
from core.export.formats import Format
from core.models.cnn import MIN_SAMPLES
from core.tagging import Tagger
from core.training.data import LabelledClips
from core.windows import mean_probabilities

Network = Callable[[Tensor], Tensor]
"""(1, samples) float32 at 32 kHz -> (1, classes) probabilities."""

Waveform = npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def check_waveforms() -> tuple[Waveform, ...]:
    """What every export is checked on: synthesised examples of 0.31, 1.7, 8 and 30 s, (samples,) at 32 kHz.

    The shortest is the least the network accepts; 1.7 s leaves a remainder at every pooling; 30 s is the longest window that
    is tagged in one piece, a piece of every example one after the other.
    """
    sounds = {example.key: synthesize(example.key) for example in EXAMPLES}
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


@dataclass(frozen=True)
class Written:
    """What a format's writer found: how far its copy is off, what to know of it, and further figures."""

    difference: Difference
    notes: list[str]
    measured: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """A network that is being exported, and the recordings that its copies are checked on.

    Attributes
    ----------
    tagger : the network.
    pruning : what is known of how it was pruned (a plan's document, its parent, its repair), None if it was not.
    given : recordings to check on besides the synthesised ones, (samples,) each, at 32 kHz.
    labelled : clips to state the mAP on, where a format loses some.
    half : store float16 where the format can.
    """

    tagger: Tagger
    pruning: dict[str, Any] | None
    given: Sequence[npt.NDArray[np.floating]] = ()
    labelled: LabelledClips | None = None
    half: bool = False

    @property
    def waveforms(self) -> Sequence[npt.NDArray[np.floating]]:
        """Everything that a copy is checked on."""
        return (*check_waveforms(), *self.given)

    def difference(
        self, copy: Network, waveforms: Sequence[npt.NDArray[np.floating]] | None = None
    ) -> Difference:
        """Run waveforms through both, long and short ones as the tagger does it, and compare their probabilities."""
        heard = self.waveforms if waveforms is None else waveforms
        network = self.tagger.model.probabilities  # on torch, which is what a copy is held against
        expected = np.stack([mean_probabilities(network, waveform) for waveform in heard])
        found = np.stack([mean_probabilities(copy, waveform) for waveform in heard])
        apart = np.abs(found.astype(np.float64) - expected)
        return Difference(
            largest=float(apart.max()),
            mean=float(apart.mean()),
            first_tag=float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1))),
            clips=len(heard),
            audio_seconds=sum(len(waveform) for waveform in heard) / SAMPLE_RATE,
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
