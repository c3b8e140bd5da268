"""What a browser needs to draw a recording, whatever its length: at most 1200 columns of each picture.

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
"""So much is transformed at a time: the spectra of a minute would take 90 MB."""

Parts = Callable[[Sequence[tuple[int, int]]], Iterable[np.ndarray]]
"""The samples from start up to end for every (start, end): ``Clip.parts``."""


@dataclass(frozen=True, eq=False)
class ClipPicture:
    """The drawable part of a clip.

    Attributes
    ----------
    duration_s : length of the clip in seconds.
    low, high : (bins,) float32, the least and the greatest sample of every bin of time.
    levels : (mel_bins, columns) int8, log-mel in whole dB, the loudest of every column; the range is the picture's
        own loudest value and ``DYNAMIC_RANGE_DB`` below it.
    """

    duration_s: float
    low: np.ndarray
    high: np.ndarray
    levels: np.ndarray

    @property
    def peak(self) -> float:
        """The largest absolute sample."""
        return float(max(self.high.max(), -self.low.min())) if self.low.size else 0.0


def envelope(waveform: np.ndarray, bins: int = MAX_COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest sample in each of at most ``bins`` equal stretches: two (bins,) float32 arrays."""
    bins = max(1, min(bins, len(waveform)))
    starts = np.linspace(0, len(waveform), bins, endpoint=False).astype(np.int64)
    return (
        np.minimum.reduceat(waveform, starts).astype(np.float32),
        np.maximum.reduceat(waveform, starts).astype(np.float32),
    )


def max_pool(columns: np.ndarray, limit: int = MAX_COLUMNS) -> np.ndarray:
    """The greatest value of each of at most ``limit`` groups of columns: (rows, n) -> (rows, min(n, limit))."""
    width = columns.shape[1]
    if width <= limit:
        return columns
    starts = np.linspace(0, width, limit, endpoint=False).astype(np.int64)
    return np.maximum.reduceat(columns, starts, axis=1)


def to_decibels(levels: np.ndarray) -> np.ndarray:
    """Whole decibels in one byte each, no lower than ``DYNAMIC_RANGE_DB`` below the loudest."""
    whole = np.rint(levels)
    return np.clip(whole, float(whole.max()) - DYNAMIC_RANGE_DB, 127).astype(np.int8)


def draw(waveform: np.ndarray) -> ClipPicture:
    """The picture of a mono waveform at 32 kHz, (samples,) float32."""
    return draw_parts(len(waveform), lambda spans: (waveform[start:end] for start, end in spans))


def draw_parts(samples: int, parts: Parts) -> ClipPicture:
    """The picture of ``samples`` samples that come in parts, so that a long clip need never be there as a whole.

    Of a long clip, the same number of frames go into every column.
    """
    group = -(-FRONT_END.frames(samples) // MAX_COLUMNS)  # frames of one column
    column = group * FRONT_END.hop  # samples of one column
    step = column * max(1, _CHUNK_S * SAMPLE_RATE // column)
    spans = [(start, min(start + step, samples)) for start in range(0, max(1, samples), step)]
    extremes = _Envelope(samples)
    pieces = []
    for (start, end), part in zip(spans, parts(spans), strict=True):
        levels = log_mel(part).T  # (mel_bins, frames)
        if end < samples:
            levels = levels[:, : step // FRONT_END.hop]  # the last frame is the first of the next piece
        pieces.append(max_pool(levels, -(-levels.shape[1] // group)))
        extremes.add(start, part)
    levels = to_decibels(np.concatenate(pieces, axis=1))
    return ClipPicture(samples / SAMPLE_RATE, extremes.low, extremes.high, levels)


class _Envelope:
    """``envelope`` of samples that come in parts."""

    def __init__(self, samples: int) -> None:
        bins = max(1, min(MAX_COLUMNS, samples))
        self._starts = np.linspace(0, samples, bins, endpoint=False).astype(np.int64)
        self.low, self.high = np.full(bins, np.inf, np.float32), np.full(bins, -np.inf, np.float32)

    def add(self, start: int, part: np.ndarray) -> None:
        """Take in the samples from ``start`` on."""
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        last = int(np.searchsorted(self._starts, start + len(part), "left"))
        within = np.maximum(self._starts[first:last], start) - start
        for found, extreme in ((self.low, np.minimum), (self.high, np.maximum)):
            found[first:last] = extreme(found[first:last], extreme.reduceat(part, within))
