"""A recording, from whatever a person drops in to one mono waveform at 32 kHz.

Everything is checked here, at the door, so that no later module meets a broken, endless or absurd signal.
WAV, FLAC, Ogg/Opus and MP3 are decoded by libsndfile, M4A/AAC, MP4 and WebM by FFmpeg's libraries (PyAV),
both in blocks that are mixed to mono and resampled (soxr, its HQ setting) as they come: memory grows with
the result, not with the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from core.audio.decoding import open_track
from core.audio.limits import ACCEPTED, check_duration, display_name, refusal
from core.errors import AudioError

SAMPLE_RATE = 32_000  # Hz: what the PANNs are trained on (Kong et al. 2020, section IV-B)
MAX_SECONDS = 600.0
SILENT_PEAK = 2.0**-15  # one step of 16-bit samples
LOUD_PEAK = 1.5  # above the overshoot that lossy codecs and resampling make of a full-scale recording
ABSURD_PEAK = 2.0**32  # beyond float files that hold 32-bit integers; its power spectrum nears float32's end


@dataclass(frozen=True, eq=False)
class Clip:
    """One recording, ready to be tagged.

    Attributes
    ----------
    waveform : (samples,) float32
        Mono, 32 kHz, full scale at ±1, read-only.
    name : str
        The file's last name part, for display; never a path.
    sample_rate_hz, channels : int
        As recorded, before mixing and resampling.
    duration_s : float
        Seconds, counted on the decoded frames.
    sha256 : str
        Of the bytes as given.
    notes : tuple of str
        What a listener should know: that it is silent, that its header had no length, …
    """

    waveform: npt.NDArray[np.float32]
    name: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def silent(self) -> bool:
        """Whether nothing in it is louder than one step of a 16-bit recording."""
        return _peak(self.waveform) <= SILENT_PEAK

    @property
    def samples(self) -> int:
        """Length at 32 kHz."""
        return len(self.waveform)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it holds."""
        return int(self.waveform.nbytes)

    def parts(self, spans: Iterable[tuple[int, int]]) -> Iterator[npt.NDArray[np.float32]]:
        """The samples from ``start`` up to ``end`` for every (start, end) in turn; spans ascend and do not overlap."""
        return (self.waveform[start:end] for start, end in spans)

    def beginning(self, seconds: float) -> npt.NDArray[np.float32]:
        """The first ``seconds`` at most, (samples,)."""
        return next(self.parts([(0, min(self.samples, round(seconds * SAMPLE_RATE)))]))

    def describe(self) -> dict[str, str | int | float]:
        """The clip without its samples, as the command line prints it."""
        return {
            "name": self.name,
            "duration_s": self.duration_s,
            "sample_rate_hz": self.sample_rate_hz,
            "channels": self.channels,
            "sha256": self.sha256,
        }


def load_clip(
    source: bytes | str | os.PathLike[str],
    *,
    name: str | None = None,
    max_seconds: float | None = MAX_SECONDS,
) -> Clip:
    """Decode a recording, check it, mix it to mono and resample it to 32 kHz.

    Parameters
    ----------
    source : the bytes of a file, or the path of one.
    name : what to call it; the path's last part, or "recording", where none is given. Never used as a path.
    max_seconds : the longest recording that is accepted, None for any length.

    Raises
    ------
    AudioError
        In one line: the file is missing, unreadable, empty, no accepted format, cut short, over the limit,
        holds no samples or samples that are no numbers, or its header is absurd.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise AudioError(
            f"A limit of {max_seconds} s accepts no recording. Give a positive number of seconds."
        )
    with _opened(source, name) as (stream, shown), refusing(shown):
        decoding = Decoding(stream, shown, max_seconds)
        samples = (
            bytearray()
        )  # grows in place; a list of blocks would need twice the memory when it is joined
        for block in decoding.blocks():
            samples += block.tobytes()
        digest = _digest(stream)
    waveform = np.frombuffer(samples, dtype=np.float32)
    waveform.setflags(write=False)
    return Clip(
        waveform, shown, decoding.rate, decoding.channels, decoding.duration_s, digest, decoding.notes
    )


def encode_wav(waveform: npt.NDArray[np.floating], sample_rate: int = SAMPLE_RATE) -> bytes:
    """Encode a mono waveform as 16-bit PCM WAV, clipped to ±1 and otherwise at its own level.

    Parameters
    ----------
    waveform : (samples,) float, full scale at ±1.
    sample_rate : Hz.

    Raises
    ------
    AudioError
        The waveform is empty, not one-dimensional, or holds NaN or infinite samples.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0 or not np.isfinite(samples).all():
        raise AudioError(
            f"A waveform of shape {samples.shape} cannot be written as WAV. Give (samples,) finite values."
        )
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0), sample_rate, format="WAV", subtype="PCM_16")
    return encoded.getvalue()


@contextlib.contextmanager
def _opened(source: bytes | str | os.PathLike[str], name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Open the bytes or the regular file (a pipe or a device would never end) and name it for display."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), display_name(name or "recording")
        return
    try:
        path = os.fspath(source)
    except TypeError:
        raise AudioError(
            f"A {type(source).__name__} is no recording. Give the bytes or the path of one."
        ) from None
    shown = display_name(name or os.path.basename(os.fsdecode(path)) or os.fsdecode(path))
    try:
        # by descriptor: what is checked is what is read, a pipe cannot block, and no decoder goes by the
        # file's name
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise refusal(shown, "does not exist", f"Give the path of a recording ({ACCEPTED}).") from None
    except PermissionError:
        raise refusal(shown, "may not be read", "Change its permissions, or give another file.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refusal(
            shown, f"cannot be opened ({reason})", f"Give the path of a recording ({ACCEPTED})."
        ) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise refusal(
            shown, "is a folder" if stat.S_ISDIR(mode) else "is no regular file", f"Give a file ({ACCEPTED})."
        )
    with open(descriptor, "rb") as stream:
        yield stream, shown


class Decoding:
    """One pass over a recording, block by block, and what is known of it afterwards.

    Attributes
    ----------
    rate, channels : as recorded.
    samples, peak : how many blocks at 32 kHz have held so far, and the loudest of them.

    Raises
    ------
    AudioError
        On opening or at any block, see ``load_clip``.
    """

    def __init__(self, stream: BinaryIO, name: str, max_seconds: float | None) -> None:
        self._name, self._max_seconds = name, max_seconds
        self._track, self._said = open_track(stream, name, max_seconds)
        self.rate, self.channels = self._track.sample_rate_hz, self._track.channels
        self._meter = _Meter(name, self.rate)
        self.samples = 0
        self.peak = 0.0

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """The recording mixed to mono at 32 kHz, (samples,) at a time; some may be empty."""
        resampler = (
            None
            if self.rate == SAMPLE_RATE
            else soxr.ResampleStream(self.rate, SAMPLE_RATE, 1, "float32", "HQ")
        )
        with contextlib.closing(self._track.blocks()) as blocks:
            for block in blocks:
                mono = self._meter.mix(block)
                check_duration(self._name, self._meter.frames, self.rate, self._max_seconds)
                yield self._counted(mono if resampler is None else resampler.resample_chunk(mono))
        if resampler is not None:
            yield self._counted(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        frames = self._meter.frames
        if frames == 0:
            raise refusal(self._name, "holds no sound (0 frames)")
        if not self.samples:
            problem = f"holds {frames} frames at {self.rate:,} Hz, less than one sample at {SAMPLE_RATE:,} Hz"
            raise refusal(self._name, problem)

    @property
    def duration_s(self) -> float:
        """Seconds, counted on the decoded frames."""
        return self._meter.frames / self.rate

    @property
    def notes(self) -> tuple[str, ...]:
        """What a listener should know, once all blocks have been read."""
        return (*self._said, *self._meter.notes(self.peak))

    def _counted(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.samples += len(block)
        self.peak = max(self.peak, _peak(block))
        return block


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """Say in one line what the system refuses while a recording is read."""
    try:
        yield
    except OSError as error:
        raise refusal(
            name, f"cannot be read ({error.strerror or error})", "Copy it and try again."
        ) from error
    except MemoryError:
        raise refusal(
            name, "does not fit into this machine's memory", "Cut a shorter part out of it."
        ) from None


class _Meter:
    """Mixes blocks to mono and keeps count: frames so far, and the loudest sample of any channel."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        self._name, self._rate = name, sample_rate_hz
        self.frames = 0
        self._peak = 0.0

    def mix(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(frames, channels) -> (frames,), the mean of the channels; refuses samples that are no numbers."""
        peak = _peak(block)
        if not math.isfinite(peak) or peak > ABSURD_PEAK:
            at = int(np.argmax(~(np.abs(block) <= ABSURD_PEAK).all(axis=1)))
            seconds = (self.frames + at) / self._rate
            problem = f"holds samples that are no numbers or beyond any scale, from {seconds:.2f} s on"
            raise refusal(self._name, problem, "Export it again as 16-bit PCM.")
        self._peak = max(self._peak, peak)
        self.frames += len(block)
        return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)

    def notes(self, mixed_peak: float) -> tuple[str, ...]:
        """What to say about the level, given the peak of the mixed and resampled waveform."""
        if self._peak <= SILENT_PEAK:
            return ("it is silent",)
        if mixed_peak <= SILENT_PEAK:
            return ("its channels cancel each other: mixed to mono it is silent",)
        if self._peak > LOUD_PEAK:
            return (f"it peaks at {self._peak:,.1f} times full scale, so that the tags may be wrong",)
        return ()


def _peak(samples: npt.NDArray[np.float32]) -> float:
    """The largest magnitude, without a second array of that size; NaN where a sample is NaN."""
    return float(np.maximum(samples.max(initial=0.0), -samples.min(initial=0.0)))


def _digest(stream: BinaryIO) -> str:
    stream.seek(0)
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
