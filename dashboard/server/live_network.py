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
    """Every class's probability, the window's length in seconds, and the samples that have come since its end."""

    probabilities: np.ndarray
    length_s: float
    late: int


class LiveNetwork:
    """For the thread that runs the streams' networks. Raises ``ModelError`` where the network takes no windows of that length."""

    def __init__(self, tagger: Tagger, window_s: float, hop_s: float) -> None:
        self.tagger, self.window_s = tagger, window_s
        self._samples = (
            least_samples(tagger.entry) if tagger.entry.window_samples else round(window_s * SAMPLE_RATE)
        )
        self._stream = Stream(tagger, window_s, hop_s)
        self._next = 0  # the sample, as the ring counts them, that the kept feature maps wait for
        self._received = 0

    def run(self, sound: Sound) -> Output | None:
        """The newest output; None where the sound does not complete another hop."""
        if not self._stream.incremental:
            window = sound.samples[-self._samples :]
            return Output(self.tagger.probabilities(window), len(window) / SAMPLE_RATE, 0)
        fresh = sound.written - self._next
        if fresh >= len(sound.samples) or fresh > _BEHIND_S * SAMPLE_RATE:  # all of it is new after a gap
            self._stream.reset()
            self._received, fresh = 0, min(len(sound.samples), round(_AGAIN_S * SAMPLE_RATE))
        outputs = self._stream.push(sound.samples[len(sound.samples) - fresh :])
        self._next = sound.written
        self._received += fresh
        if not outputs:
            return None
        start_s, end_s, probabilities = outputs[-1]
        return Output(probabilities, end_s - start_s, self._received - round(end_s * SAMPLE_RATE))
