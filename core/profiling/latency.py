"""Measured time: one clip, waveform to probabilities, on this machine as it is now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Timed(Protocol):
    """What can be timed; a ``Tagger`` is."""

    def probabilities(self, waveform: np.ndarray) -> np.ndarray:
        """(samples,) at 32 kHz -> (classes,)."""


@dataclass(frozen=True)
class Latency:
    """Measured time of one clip, waveform to probabilities: median, quartiles and range over ``repeats`` warm runs."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    low_ms: float
    high_ms: float
    repeats: int

    @classmethod
    def of(cls, times_ms: Sequence[float]) -> Latency:
        """Sum up measured times; quartiles are interpolated between neighbours."""
        low, lower, median, upper, high = np.percentile(times_ms, [0, 25, 50, 75, 100]).tolist()
        return cls(median, lower, upper, low, high, len(times_ms))

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return vars(self).copy()


WARMUP = 1  # rounds that do not count: the first pass makes the engine and its buffers


def measure_latencies(
    taggers: Sequence[Timed], waveform: np.ndarray, repeats: int = 7
) -> tuple[Latency, ...]:
    """Time taggers on a waveform (samples,), turn about, after one round that does not count.

    One after the other in every round, so that whatever else the machine does in between slows all of them alike.
    """
    times: list[list[float]] = [[] for _ in taggers]
    for turn in range(WARMUP + repeats):
        for tagger, taken in zip(taggers, times, strict=True):
            started = time.perf_counter()
            tagger.probabilities(waveform)
            if turn >= WARMUP:
                taken.append(1e3 * (time.perf_counter() - started))
    return tuple(Latency.of(taken) for taken in times)
