"""What a browser needs to draw a recording of any length: at most 1200 columns of waveform and, of up to ten minutes, of spectrogram.

320,000 raw points took a browser without a graphics card 23 seconds; an envelope and a max-pooled spectrogram of a few
hundred kilobytes look the same on any screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.audio import SAMPLE_RATE
from core.models.frontend import FRONT_END, log_mel

MAX_COLUMNS = 1200
DYNAMIC_RANGE_DB = 80
_CHUNK_S = 10
"""Seconds that are transformed at a time: the spectra of a minute would take 90 MB."""

ReadParts = Callable[[Sequence[tuple[int, int]]], Iterable[np.ndarray]]
"""Yields the samples from start to end for every (start, end), as ``Clip.segments`` does."""


@dataclass(frozen=True, eq=False)
class ClipPicture:
    """The drawable part of a clip.

    Attributes
    ----------
    duration_s : length of the clip in seconds.
    low, high : (bins,) float32, minimum and maximum of the samples in each of ``bins`` equal intervals of time.
    levels : (mel_bins, columns) int8, log-mel in whole dB, max-pooled over the frames of a column, and clipped at
        ``DYNAMIC_RANGE_DB`` below the loudest.
    """

    duration_s: float
    low: np.ndarray
    high: np.ndarray
    levels: np.ndarray

    @property
    def peak(self) -> float:
        """The largest absolute sample."""
        return float(max(self.high.max(), -self.low.min()))


def clip_picture(samples: int, parts: ReadParts, columns: int = MAX_COLUMNS) -> ClipPicture:
    """Summarise a mono recording at 32 kHz for drawing.

    The samples are read in parts, so that a long clip need not be in memory as a whole.

    Parameters
    ----------
    samples : length of the recording, at least 1.
    parts : reads any intervals of it, (end - start,) float32 each.
    columns : the most that the spectrogram has.
    """
    # The same number of whole frames goes into every column.
    group = -(-FRONT_END.frames(samples) // columns)
    column = group * FRONT_END.hop
    step = column * max(1, _CHUNK_S * SAMPLE_RATE // column)
    spans = [(start, min(start + step, samples)) for start in range(0, samples, step)]
    envelope = _Envelope(samples)
    levels = []
    for (start, end), part in zip(spans, parts(spans), strict=True):
        chunk = log_mel(part).T  # (mel_bins, frames)
        if end < samples:
            chunk = chunk[:, : step // FRONT_END.hop]  # the last frame is the first of the next part
        levels.append(max_pool(chunk, -(-chunk.shape[1] // group)))
        envelope.add(start, part)
    decibels = to_decibels(np.concatenate(levels, axis=1))
    return ClipPicture(samples / SAMPLE_RATE, envelope.low, envelope.high, decibels)


def max_pool(columns: np.ndarray, limit: int = MAX_COLUMNS) -> np.ndarray:
    """The maximum of each of at most ``limit`` groups of columns: (rows, n) -> (rows, min(n, limit)).

    Examples
    --------
    >>> max_pool(np.array([[1, 5, 2, 3]]), 2)
    array([[5, 3]])
    """
    width = columns.shape[1]
    if width <= limit:
        return columns
    starts = np.linspace(0, width, limit, endpoint=False).astype(np.int64)
    return np.maximum.reduceat(columns, starts, axis=1)


def to_decibels(levels: np.ndarray) -> np.ndarray:
    """Whole decibels as int8, clipped at ``DYNAMIC_RANGE_DB`` below the loudest."""
    whole = np.rint(levels)
    return np.clip(whole, float(whole.max()) - DYNAMIC_RANGE_DB, 127).astype(np.int8)


class _Envelope:
    """Minimum and maximum of the samples in at most ``MAX_COLUMNS`` equal intervals, collected part by part."""

    def __init__(self, samples: int) -> None:
        bins = min(MAX_COLUMNS, samples)
        self._starts = np.linspace(0, samples, bins, endpoint=False).astype(np.int64)
        self.low, self.high = np.full(bins, np.inf, np.float32), np.full(bins, -np.inf, np.float32)

    def add(self, start: int, part: np.ndarray) -> None:
        """Include the samples of ``part``, the first of which is sample ``start`` of the recording."""
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        last = int(np.searchsorted(self._starts, start + len(part), "left"))
        within = np.maximum(self._starts[first:last], start) - start
        for extremes, extreme in ((self.low, np.minimum), (self.high, np.maximum)):
            extremes[first:last] = extreme(extremes[first:last], extreme.reduceat(part, within))
