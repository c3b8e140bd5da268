"""Comparing an exported copy with its network: both run on the same recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from torch import Tensor

from core.audio import SAMPLE_RATE
from core.errors import ExportError
from core.examples import EXAMPLES, synthesize
from core.export.formats import Format
from core.models.cnn import MIN_SAMPLES
from core.models.registry import Architecture, architecture
from core.tagging import Tagger
from core.training.data import LabelledClips
from core.windows import mean_probabilities

Network = Callable[[Tensor], Tensor]
"""(1, samples) float32 at the architecture's rate -> (1, classes) probabilities."""

Waveform = npt.NDArray[np.float32]
OnProgress = Callable[[int, int], None]


@lru_cache(maxsize=1)
def check_waveforms() -> tuple[Waveform, ...]:
    """What every export is checked on: synthesised examples of 0.31, 1.7, 8 and 30 s, (samples,) at 32 kHz.

    0.31 s is CNN14's minimum; 1.7 s leaves a remainder at every pooling; 30 s is the longest window that is tagged in one
    piece, made of a piece of every example.
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
    """The absolute differences between a copy's probabilities and the network's, over all classes of some clips.

    Attributes
    ----------
    largest, mean : of the absolute differences.
    first_tag : share of the clips whose likeliest class is the same.
    clips, audio_seconds : how much was compared.
    """

    largest: float
    mean: float
    first_tag: float
    clips: int
    audio_seconds: float


@dataclass(frozen=True)
class Written:
    """What a format's writer reports: the copy's difference, notes in plain sentences, and further measurements."""

    difference: Difference
    notes: list[str]
    measured: dict[str, Any]


@dataclass(frozen=True)
class Web:
    """What a bundle's ``compare.html`` needs besides the network.

    Attributes
    ----------
    baseline : the network to compare with, usually the one that it was pruned from.
    runtime : files of onnxruntime-web by name.
    """

    baseline: Tagger
    runtime: dict[str, Path]


@dataclass(frozen=True, eq=False)
class ExportJob:
    """A network that is being exported, and the recordings that its copies are checked on.

    Attributes
    ----------
    tagger : the network.
    pruning : how it was pruned (a plan's document, its parent, its repair); None if it was not.
    clips : recordings to check on besides the synthesised ones, (samples,) each, at 32 kHz.
    labelled : clips to measure the mAP on, where a format changes it.
    half : store float16 (safetensors).
    web : what its page needs (bundle); None for no page.
    on_progress : called with the seconds of audio that both have run on, and those of all recordings; what it raises ends the export.
    """

    tagger: Tagger
    pruning: dict[str, Any] | None
    clips: Sequence[npt.NDArray[np.floating]] = ()
    labelled: LabelledClips | None = None
    half: bool = False
    web: Web | None = None
    on_progress: OnProgress | None = None
    _reference: dict[int, npt.NDArray[np.float32]] = field(
        default_factory=dict
    )  # by a waveform's position, for the next copy

    @property
    def waveforms(self) -> Sequence[npt.NDArray[np.floating]]:
        """All recordings that a copy is checked on."""
        return (*check_waveforms(), *self.clips)

    @property
    def entry(self) -> Architecture:
        """The network's architecture."""
        return architecture(self.tagger.model.architecture)

    def at_rate(self, waveform: npt.NDArray[np.floating]) -> Waveform:
        """A waveform at 32 kHz as the network takes it: at its rate, repeated where it takes one length only, padded where too short."""
        rate, fixed = self.entry.sample_rate, self.entry.window_samples
        samples = np.asarray(waveform, np.float32)
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples, SAMPLE_RATE, rate)
        if fixed is not None:
            return np.resize(samples, fixed)
        return np.pad(samples, (0, max(0, self.entry.least_samples - len(samples))))

    def compare(
        self, copy: Network, waveforms: Sequence[npt.NDArray[np.floating]] | None = None
    ) -> Difference:
        """Run both on the waveforms (by default all), long and short ones as the tagger does, and compare their probabilities."""
        known = self._reference if waveforms is None else {}
        waveforms = self.waveforms if waveforms is None else waveforms
        network = self.tagger.model.probabilities  # on torch, the reference
        seconds = sum(len(waveform) for waveform in waveforms) / SAMPLE_RATE
        pairs, done_s = [], 0.0
        for number, waveform in enumerate(waveforms):
            given = self.at_rate(waveform)
            if number not in known:
                known[number] = mean_probabilities(network, given)
            pairs.append([known[number], mean_probabilities(copy, given)])
            done_s += len(waveform) / SAMPLE_RATE
            if self.on_progress:
                self.on_progress(round(done_s), round(seconds))
        expected, actual = np.stack(pairs, axis=1)
        differences = np.abs(actual.astype(np.float64) - expected)
        return Difference(
            largest=float(differences.max()),
            mean=float(differences.mean()),
            first_tag=float(np.mean(actual.argmax(axis=1) == expected.argmax(axis=1))),
            clips=len(waveforms),
            audio_seconds=seconds,
        )

    def verify(self, copy: Network, form: Format) -> Difference:
        """``compare``; raises ``ExportError`` where the difference exceeds the format's tolerance, or is NaN."""
        difference = self.compare(copy)
        if form.tolerance is not None and not difference.largest <= form.tolerance:
            raise ExportError(
                f"The {form.name} copy of {self.tagger.name} differs from it by {difference.largest:.2g} in a probability; "
                f"{form.tolerance:g} is accepted, so nothing was written. Check that its weights are finite and of a usual size "
                "(pannscope tag), and report it if they are."
            )
        return difference
