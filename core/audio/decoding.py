"""From a stream of bytes to checked blocks of mono samples at 32 kHz. Imported by the decoder's process only.

Blocks are mixed to mono and resampled (soxr, its HQ setting) as they are decoded, so that memory grows with the result and not
with the file.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soxr

from core.audio.facts import Facts, Job
from core.audio.levels import MAX_PEAK, level_notes
from core.audio.limits import SAMPLE_RATE, check_duration
from core.audio.messages import audio_error
from core.audio.track import Track
from core.units import plural


class Decoder:
    """One pass over a recording, and what it has measured once all blocks have been read.

    Parameters
    ----------
    stream : seekable binary file
    job : Job
        What to decode of it.

    Raises
    ------
    AudioError
        On opening or at any block, see ``load_clip``.
    """

    def __init__(self, stream: BinaryIO, job: Job) -> None:
        self._name, self._job = job.name, job
        self._track = Track(stream, job.name, job.suffix, job.max_seconds)
        self.sample_rate_hz, self.channels = self._track.sample_rate_hz, self._track.channels
        self.declared_s = self._track.declared_s
        if job.channel > self.channels:
            problem = f"has {plural(self.channels, 'channel')}, and channel {job.channel} was chosen"
            accepted = f"1 to {self.channels}" if self.channels > 1 else "1"
            raise audio_error(self._name, problem, f"Choose {accepted}, mean or loudest.")
        self._frames = self._samples = 0
        self._peak = self._channel_peak = self._mixed_square = 0.0
        self._squares = np.zeros(self.channels)

    @property
    def seconds(self) -> float:
        """Decoded so far."""
        return self._frames / self.sample_rate_hz

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """The recording as mono blocks at 32 kHz, (samples,) each; a block may be empty."""
        resampler = (
            None
            if self.sample_rate_hz == SAMPLE_RATE
            else soxr.ResampleStream(self.sample_rate_hz, SAMPLE_RATE, 1, "float32", "HQ")
        )
        with contextlib.closing(self._track.blocks()) as blocks:
            for block in blocks:
                mono = self._mix(block)
                check_duration(self._name, self._frames, self.sample_rate_hz, self._job.max_seconds)
                yield self._measure(mono if resampler is None else resampler.resample_chunk(mono))
        if resampler is not None:
            yield self._measure(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        if self._frames == 0:
            raise audio_error(self._name, "holds no samples (0 frames)")
        if self._samples == 0:
            problem = f"holds {self._frames} frames at {self.sample_rate_hz:,} Hz, less than one sample at {SAMPLE_RATE:,} Hz"
            raise audio_error(self._name, problem)

    def facts(self) -> Facts:
        """What is known of the recording, once every block has been read."""
        rms = [math.sqrt(square / self._frames) for square in self._squares]
        used = rms if self._job.channel == 0 else [rms[self._job.channel - 1]]
        mixed = math.sqrt(self._mixed_square / self._frames)
        return Facts(
            sample_rate_hz=self.sample_rate_hz,
            channels=self.channels,
            frames=self._frames,
            samples=self._samples,
            peak=self._peak,
            channel_rms=tuple(rms),
            notes=(*self._track.notes, *level_notes(self._peak, self._channel_peak, mixed, used)),
        )

    def _mix(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(frames, channels) -> (frames,), one channel or the mean; NaN, infinite and absurd samples are errors."""
        peak = _peak(block)
        if not peak <= MAX_PEAK:  # NaN compares false
            bad = int(np.argmax(~(np.abs(block) <= MAX_PEAK).all(axis=1)))
            seconds = (self._frames + bad) / self.sample_rate_hz
            problem = f"holds NaN, infinite or absurdly large samples, from {seconds:.2f} s on"
            raise audio_error(self._name, problem, "Export it again as 16-bit PCM.")
        self._frames += len(block)
        self._squares += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        if self._job.channel:
            mono = np.ascontiguousarray(block[:, self._job.channel - 1])
            peak = _peak(mono)
        else:
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        self._channel_peak = max(self._channel_peak, peak)
        self._mixed_square += float(np.einsum("i,i->", mono, mono, dtype=np.float64))
        return mono

    def _measure(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self._samples += len(block)
        self._peak = max(self._peak, _peak(block))
        return block


def _peak(samples: npt.NDArray[np.float32]) -> float:
    """The largest magnitude, without a second array of that size; NaN where a sample is NaN."""
    return float(np.maximum(samples.max(initial=0.0), -samples.min(initial=0.0)))
