"""Measured time: one clip, waveform to probabilities, on this machine as it is now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Measured time of one clip in milliseconds, waveform to probabilities: median, quartiles and range over ``repeats`` warm runs."""

    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    low_ms: float
    high_ms: float
    repeats: int

    @classmethod
    def of(cls, times_ms: Sequence[float]) -> Latency:
        """Summarise measured times; quartiles are interpolated linearly.

        Examples
        --------
        >>> Latency.of([10.0, 20.0, 30.0]).lower_quartile_ms
        15.0
        """
        low, lower, median, upper, high = np.percentile(times_ms, [0, 25, 50, 75, 100]).tolist()
        return cls(median, lower, upper, low, high, len(times_ms))

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return vars(self).copy()


WARMUP = 1  # rounds that do not count: the first pass builds the engine and its buffers


def measure_latencies(
    runs: Sequence[Callable[[np.ndarray], object]], waveform: np.ndarray, repeats: int = 7
) -> tuple[Latency, ...]:
    """Time networks alternately, after ``WARMUP`` rounds that do not count.

    All of them run once in every round, so that other load on the machine slows them alike.

    Parameters
    ----------
    runs : sequence of callable
        What is timed: ``Tagger.probabilities`` …
    waveform : (samples,) array of float
        The clip that each of them is called with.
    repeats : int
        Rounds that count.
    """
    times: list[list[float]] = [[] for _ in runs]
    for round_ in range(WARMUP + repeats):
        for run, measured in zip(runs, times, strict=True):
            started = time.perf_counter()
            run(waveform)
            if round_ >= WARMUP:
                measured.append(1e3 * (time.perf_counter() - started))
    return tuple(Latency.of(measured) for measured in times)
