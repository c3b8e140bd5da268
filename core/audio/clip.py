"""A recording as every consumer sees it: what is known of it, and its samples in segments.

``DecodedClip`` keeps its samples. ``StreamedClip`` keeps the file, or its path, and decodes it again whenever it is read: ten minutes
are 77 MB of samples, the file is about a tenth of that, and one more pass of decoding takes a second. ``UncheckedClip`` is a long
recording before its first pass has ended.
"""

from __future__ import annotations

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.audio.facts import Job
from core.audio.levels import SILENT_PEAK, dbfs
from core.audio.limits import SAMPLE_RATE
from core.audio.messages import read_errors
from core.audio.pool import Decoding
from core.errors import AudioError

_BLOCK = 10 * SAMPLE_RATE


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip(ABC):
    """One recording: mono, 32 kHz, full scale at ±1, at least one sample.

    Attributes
    ----------
    name : str
        The last part of the file's name, for display; never used as a path.
    sample_rate_hz, channels : int
        As recorded, before mixing and resampling.
    duration_s : float
        Seconds, counted on the decoded frames.
    sha256 : str
        Of the file's bytes.
    samples : int
        Length at 32 kHz.
    peak : float
        The largest magnitude of a sample.
    channel_rms : tuple of float
        Root mean square of every channel as recorded, before mixing.
    channel : int
        The channel that the samples are, counted from 1; 0 for the mean of all.
    notes : tuple of str
        What the user should know: that it is silent or very quiet, that its header declared no length, …
    """

    name: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    sha256: str
    samples: int
    peak: float
    channel_rms: tuple[float, ...]
    channel: int
    notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of memory that it holds."""

    @abstractmethod
    def segments(self, spans: Iterable[tuple[int, int]]) -> Generator[npt.NDArray[np.float32]]:
        """The samples from ``start`` up to ``end`` for every (start, end) of ``spans``, which ascend and do not overlap."""

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """All samples in order, a few seconds at a time."""
        starts = range(0, self.samples, _BLOCK)
        return self.segments((start, min(start + _BLOCK, self.samples)) for start in starts)

    @property
    def silent(self) -> bool:
        """Whether no sample is larger than one step of a 16-bit recording."""
        return self.peak <= SILENT_PEAK

    @property
    def peak_dbfs(self) -> float:
        """The peak in decibels relative to full scale, minus infinity where every sample is 0."""
        return dbfs(self.peak)

    @property
    def channel_spread_db(self) -> float:
        """The loudest channel's level above the quietest one's, infinite beside a silent channel."""
        loudest, quietest = max(self.channel_rms), min(self.channel_rms)
        return dbfs(loudest) - dbfs(quietest) if loudest > quietest else 0.0

    def beginning(self, seconds: float) -> npt.NDArray[np.float32]:
        """The first ``seconds`` at most, (samples,)."""
        return next(self.segments([(0, min(self.samples, round(seconds * SAMPLE_RATE)))]))

    def describe(self) -> dict[str, str | int | float | None]:
        """The clip without its samples, as the command line prints it."""
        return {
            "name": self.name,
            "duration_s": self.duration_s,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "channel": self.channel or "mean",
            "sha256": self.sha256,
            "silent": self.silent,
            "peak_dbfs": round(self.peak_dbfs, 1) if self.peak else None,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class DecodedClip(Clip):
    """A clip whose samples are in memory.

    Attributes
    ----------
    waveform : (samples,) float32
        Read-only.
    """

    waveform: npt.NDArray[np.float32] = field(repr=False)

    @property
    def nbytes(self) -> int:
        return int(self.waveform.nbytes)

    def segments(self, spans: Iterable[tuple[int, int]]) -> Generator[npt.NDArray[np.float32]]:
        return (self.waveform[start:end] for start, end in spans)


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedClip(Clip):
    """A clip that is decoded again whenever its samples are read, equal to those of ``DecodedClip``.

    Attributes
    ----------
    source : bytes or Path
        The file, or where it is.
    job : Job
        How it was decoded.
    """

    source: bytes | Path = field(repr=False)
    job: Job = field(repr=False)

    @property
    def nbytes(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else 0

    def segments(self, spans: Iterable[tuple[int, int]]) -> Generator[npt.NDArray[np.float32]]:
        with contextlib.closing(self._decoded()) as blocks:
            position, ahead = 0, np.zeros(0, np.float32)  # ``ahead``: what is decoded from ``position`` on
            for start, end in spans:
                pieces, decoded = [ahead[max(0, start - position) :]], position + len(ahead)
                while decoded < end and (block := next(blocks, None)) is not None:
                    pieces.append(block[max(0, start - decoded) :])
                    decoded += len(block)
                if decoded < end:
                    raise AudioError(
                        f'"{self.name}" has become shorter while it was read. Copy it and try again.'
                    )
                ahead = np.concatenate(pieces)
                del pieces  # or every block would be in memory twice
                yield ahead[: end - start]
                position, ahead = end, ahead[end - start :].copy()

    def _decoded(self) -> Generator[npt.NDArray[np.float32]]:
        """All of the file, in the decoder's blocks."""
        with (
            read_errors(self.name),
            io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb") as stream,
            contextlib.closing(Decoding(stream, self.job).blocks()) as blocks,
        ):
            yield from blocks


@dataclass(frozen=True, eq=False, kw_only=True)
class UncheckedClip(StreamedClip):
    """A recording of which only the beginning has been decoded: its length is an estimate, and its levels are unknown.

    Its blocks are those of the whole file, however long it is, and raise ``AudioError`` where it turns out to be damaged.
    """

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        return self._decoded()
