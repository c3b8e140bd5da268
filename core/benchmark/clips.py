"""The input of the engines: pieces of the synthesised examples, as waveforms and as a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from core.audio import SAMPLE_RATE
from core.examples import EXAMPLES, synthesize

Waveforms = npt.NDArray[np.float32]
"""(batch, samples) at 32 kHz."""

FILE_RATE = 48_000  # Hz: the rate of video and most recorders, so that decoding includes resampling


def clips(seconds: float, batch: int, rate: int = SAMPLE_RATE) -> Waveforms:
    """Different pieces of the examples, (batch, samples) at ``rate`` Hz."""
    medley = _medley()
    samples = round(seconds * SAMPLE_RATE)
    pieces = np.stack([np.resize(np.roll(medley, -7 * SAMPLE_RATE * row), samples) for row in range(batch)])
    if rate == SAMPLE_RATE:
        return pieces
    return np.ascontiguousarray(soxr.resample(pieces.T, SAMPLE_RATE, rate).T[:, : round(seconds * rate)])


@lru_cache(maxsize=1)
def _medley() -> npt.NDArray[np.float32]:
    """All examples one after another, (samples,); cached, since synthesising them takes a second."""
    return np.concatenate([synthesize(example.key) for example in EXAMPLES])


def write_recording(path: Path, seconds: float) -> None:
    """A typical FLAC file of that length: stereo, 48 kHz, 16 bits."""
    stereo = soxr.resample(clips(seconds, 2).T, SAMPLE_RATE, FILE_RATE)
    soundfile.write(path, np.clip(stereo, -1, 1), FILE_RATE, format="FLAC", subtype="PCM_16")
