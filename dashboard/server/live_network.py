"""One network on a live stream's sound: what is new where its feature maps can be kept, else a pass over the newest window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from core.audio import SAMPLE_RATE
from core.streaming import Stream
from core.tagging import Tagger
from core.windows import least_samples
from dashboard.server.ring import Sound

_BEHIND_S, _AGAIN_S = 2.0, 1.0
"""What keeps feature maps begins anew, with the second number's newest seconds, where more sound than the first has come since: hops are left out, not queued."""


class Output(NamedTuple):
    """Every class's probability, and the length in seconds of the window, which ends with the sound."""

    probabilities: np.ndarray
    length_s: float


class LiveNetwork:
    """For the thread that runs the streams' networks. Raises ``ModelError`` where the network takes no windows of that length."""

    def __init__(self, tagger: Tagger, window_s: float) -> None:
        self.tagger, self.window_s = tagger, window_s
        self._samples = (
            least_samples(tagger.entry) if tagger.entry.window_samples else round(window_s * SAMPLE_RATE)
        )
        self._stream = Stream(tagger, window_s, hop_s=None)
        self._next = 0  # the sample, as the ring counts them, that the kept feature maps wait for

    def run(self, sound: Sound) -> Output:
        """The output of the window that ends with the sound."""
        if not self._stream.incremental:
            window = sound.samples[-self._samples :]
            return Output(self.tagger.probabilities(window), len(window) / SAMPLE_RATE)
        fresh = sound.written - self._next
        if fresh >= len(sound.samples) or fresh > _BEHIND_S * SAMPLE_RATE:  # all of it is new after a gap
            self._stream.reset()
            fresh = min(len(sound.samples), round(_AGAIN_S * SAMPLE_RATE))
        (output,) = self._stream.push(sound.samples[len(sound.samples) - fresh :])
        self._next = sound.written
        return Output(output.probabilities, output.end_s - output.start_s)
