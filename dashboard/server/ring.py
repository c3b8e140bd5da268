"""The last seconds of a live stream, at 32 kHz."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from core.audio import SAMPLE_RATE


class Sound(NamedTuple):
    """What a ring holds: (samples,) float32, how many it was ever given, and its end as a position, at the browser's rate, and in seconds."""

    samples: np.ndarray
    written: int
    position: int
    rate: int
    end_s: float


class Ring:
    """Keeps the newest samples of a sound that arrives in pieces.

    A piece says where it starts, counted in the browser's samples: what was sent twice is used once, and what is missing is noticed. Times are
    seconds since the first piece, missing stretches included.

    Examples
    --------
    >>> ring = Ring(0.5)
    >>> ring.write(0, 32_000, np.zeros(12_000, np.int16)), ring.write(8_000, 32_000, np.ones(8_000, np.int16))
    (True, True)
    >>> ring.position, ring.end_s, ring.start_s, int(np.count_nonzero(ring.sound().samples))
    (16000, 0.5, 0.0, 4000)
    >>> ring.write(32_000, 32_000, np.ones(8_000, np.int16)), ring.start_s, ring.end_s
    (False, 1.0, 1.25)
    """

    def __init__(self, seconds: float) -> None:
        self._size = round(seconds * SAMPLE_RATE)
        self._samples: np.ndarray | None = None  # made with the first piece
        self._written = self._filled = 0
        self._origin: int | None = None
        self._rate = SAMPLE_RATE
        self._resample: Any | None = None
        self._begun_s = 0.0  # of what came before the rate changed
        self.position = 0
        """Where the next piece should start, in the browser's samples."""

    @property
    def length_s(self) -> float:
        """Seconds that it holds."""
        return self._filled / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """Time of its newest sample."""
        return 0.0 if self._origin is None else self._begun_s + (self.position - self._origin) / self._rate

    @property
    def start_s(self) -> float:
        """Time of its oldest sample."""
        return max(0.0, self.end_s - self.length_s)

    def received_s(self, since: int) -> float:
        """Seconds that came after a position."""
        return (self.position - since) / self._rate

    def write(self, start: int, rate: int, samples: np.ndarray) -> bool:
        """Append a piece, int16 at ``rate``; False where sound is missing before it, or the rate changed: all older samples are dropped."""
        follows = self._origin is None or (rate == self._rate and start <= self.position)
        if self._origin is None or rate != self._rate:
            self._begun_s, self._origin, self.position = self.end_s, start, start
            self._rate = rate
        if not follows or self._samples is None:
            self.clear()
            self._resample = None if rate == SAMPLE_RATE else _resampler(rate)
        fresh = samples[max(0, self.position - start) :] if follows else samples
        self.position = max(self.position, start + len(samples))
        piece = fresh.astype(np.float32) / 32768
        if self._resample is not None:
            piece = self._resample.resample_chunk(piece)
        self._append(piece[-self._size :])
        return follows

    def sound(self) -> Sound:
        """A copy of all that it holds."""
        samples = np.zeros(0, np.float32)
        if self._samples is not None:
            samples = self._samples[(self._written - self._filled + np.arange(self._filled)) % self._size]
        return Sound(samples, self._written, self.position, self._rate, self.end_s)

    def clear(self) -> None:
        """Free the samples; times and positions go on."""
        self._samples, self._filled = None, 0

    def _append(self, piece: np.ndarray) -> None:
        if self._samples is None:
            self._samples = np.zeros(self._size, np.float32)
        self._samples[(self._written + np.arange(len(piece))) % self._size] = piece
        self._written += len(piece)
        self._filled = min(self._size, self._filled + len(piece))


def _resampler(rate: int) -> Any:
    import soxr  # only browsers that cannot record at 32 kHz need it

    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32")
