"""What a browser needs to draw a recording, whatever its length: at most 1200 columns of each picture.

320,000 raw points took a browser without a graphics card 23 seconds; an envelope and a max-pooled spectrogram of a few
hundred kilobytes look the same on any screen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.audio import SAMPLE_RATE
from core.logmel import FRONT_END, log_mel

MAX_COLUMNS = 1200
DYNAMIC_RANGE_DB = 80
_CHUNK_S = 60


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
    """The picture of a mono waveform at 32 kHz, (samples,) float32.

    Of a long clip, the same number of frames go into every column, and about a minute is transformed at a time, so that
    memory stays bounded.
    """
    group = -(-FRONT_END.frames(len(waveform)) // MAX_COLUMNS)  # frames of one column
    column = group * FRONT_END.hop  # samples of one column
    step = column * max(1, _CHUNK_S * SAMPLE_RATE // column)
    pieces = []
    for start in range(0, max(1, len(waveform)), step):
        levels = log_mel(waveform[start : start + step]).T  # (mel_bins, frames)
        if start + step < len(waveform):
            levels = levels[:, : step // FRONT_END.hop]  # the last frame is the first of the next piece
        pieces.append(max_pool(levels, -(-levels.shape[1] // group)))
    low, high = envelope(waveform)
    return ClipPicture(len(waveform) / SAMPLE_RATE, low, high, to_decibels(np.concatenate(pieces, axis=1)))
