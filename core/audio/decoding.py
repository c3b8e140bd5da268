"""From a stream of bytes to checked blocks of mono samples at 32 kHz.

WAV, FLAC, Ogg and MP3 are decoded by libsndfile; AAC, MP4 and WebM by FFmpeg's libraries (PyAV). Blocks are mixed to mono
and resampled (soxr, its HQ setting) as they are decoded, so that memory grows with the result and not with the file.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import soxr

from core.audio.av_track import AvTrack
from core.audio.containers import check_ogg_end, flac_frames, id3_length, mp3_declares_length, sniff
from core.audio.formats import Container
from core.audio.limits import check_duration
from core.audio.messages import audio_error
from core.audio.mp4 import check_tables
from core.audio.soundfile_track import SoundFileTrack
from core.audio.wav import CompletedHeader, read_header

SAMPLE_RATE = 32_000  # Hz: what the PANNs are trained on (Kong et al. 2020, section IV-B)
SILENT_PEAK = 2.0**-15  # one step of 16-bit samples
QUIET_DBFS = (
    -60.0
)  # the level of a 16-bit recording's last five bits: what is tagged there is mostly its noise
LOUD_PEAK = 1.5  # above the overshoot that lossy codecs and resampling make of a full-scale recording
MAX_PEAK = 2.0**32  # beyond float files that hold 32-bit integers; its power spectrum nears float32's end


def dbfs(peak: float) -> float:
    """A peak in decibels relative to full scale; minus infinity for 0.

    >>> dbfs(1.0), round(dbfs(0.5), 2)
    (0.0, -6.02)
    """
    return 20 * math.log10(peak) if peak > 0 else -math.inf


def formatted_dbfs(peak: float) -> str:
    """A peak's level as the notes print it, with a true minus sign.

    >>> formatted_dbfs(2**-12)
    '−72 dBFS'
    """
    return f"{dbfs(peak):.0f} dBFS".replace("-", "−")


def open_track(
    stream: BinaryIO, name: str, max_seconds: float | None
) -> tuple[SoundFileTrack | AvTrack, tuple[str, ...]]:
    """Identify a file, check its header, and open the decoder for it.

    Parameters
    ----------
    stream : seekable binary file
    name : str
        What to call the file in a message.
    max_seconds : float or None
        The longest recording that is accepted, None for any length.

    Returns
    -------
    track : SoundFileTrack or AvTrack
        Its ``blocks()`` yields (frames, channels) float32.
    notes : tuple of str
        What the user should know about the file.

    Raises
    ------
    AudioError
        The file is empty, not in an accepted format, over a limit, damaged or truncated.
    """
    size = stream.seek(0, 2)
    if size == 0:
        raise audio_error(name, "is empty (0 bytes)")
    container = sniff(stream, name)
    notes: tuple[str, ...] = ()
    by_soundfile = True
    if container is Container.WAV:
        header = read_header(stream, size, name)
        check_duration(name, header.frames, header.sample_rate_hz, max_seconds)
        notes = header.notes
        if not header.complete:
            stream = cast(BinaryIO, CompletedHeader(stream, header))
    elif container is Container.OGG:
        notes = check_ogg_end(stream, size, name)
    elif container is Container.FLAC:
        by_soundfile = flac_frames(stream) > 0  # libsndfile does not find the end where it is not declared
    elif container is Container.MP3:
        # libsndfile guesses a length that is not declared, and loses the end
        by_soundfile = mp3_declares_length(stream, size, name, max_seconds)
    else:
        by_soundfile = False
        if container is Container.MP4:
            check_tables(stream, size, name)
    if by_soundfile:
        return SoundFileTrack(stream, container, name, max_seconds), notes
    return AvTrack(stream, id3_length(stream), container, name, max_seconds), notes


class Decoder:
    """One pass over a recording, and what it has measured once all blocks have been read.

    Attributes
    ----------
    name : str
        What the recording is called in messages.
    sample_rate_hz, channels : int
        As recorded.
    samples : int
        Length of the blocks so far, at 32 kHz.
    peak : float
        The largest magnitude in the blocks so far, after mixing and resampling.

    Raises
    ------
    AudioError
        On opening or at any block, see ``load_clip``.
    """

    def __init__(self, stream: BinaryIO, name: str, max_seconds: float | None) -> None:
        self.name = name
        self._max_seconds = max_seconds
        self._track, self._file_notes = open_track(stream, name, max_seconds)
        self.sample_rate_hz, self.channels = self._track.sample_rate_hz, self._track.channels
        self.samples = self._frames = 0
        self.peak = self._channel_peak = 0.0

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
                check_duration(self.name, self._frames, self.sample_rate_hz, self._max_seconds)
                yield self._measure(mono if resampler is None else resampler.resample_chunk(mono))
        if resampler is not None:
            yield self._measure(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        if self._frames == 0:
            raise audio_error(self.name, "holds no samples (0 frames)")
        if self.samples == 0:
            problem = f"holds {self._frames} frames at {self.sample_rate_hz:,} Hz, less than one sample at {SAMPLE_RATE:,} Hz"
            raise audio_error(self.name, problem)

    def read(self, limit: float = math.inf) -> npt.NDArray[np.float32]:
        """All blocks as one read-only array, (samples,); of more than ``limit`` samples, everything is checked and none kept."""
        joined = bytearray()  # grows in place; joining a list of blocks would need twice the memory
        for block in self.blocks():
            if self.samples <= limit:
                joined += block.tobytes()
            else:
                joined.clear()
        waveform = np.frombuffer(joined, dtype=np.float32)
        waveform.setflags(write=False)
        return waveform

    @property
    def duration_s(self) -> float:
        """Seconds, counted on the decoded frames."""
        return self._frames / self.sample_rate_hz

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the file and its level."""
        if self._channel_peak <= SILENT_PEAK:
            return (*self._file_notes, "it is silent")
        if self.peak <= SILENT_PEAK:
            return (*self._file_notes, "its channels cancel each other: mixed to mono it is silent")
        if self._channel_peak > LOUD_PEAK:
            loud = f"it peaks at {self._channel_peak:,.1f} times full scale, so that the tags may be wrong"
            return (*self._file_notes, loud)
        if dbfs(self.peak) < QUIET_DBFS:
            quiet = (
                f"it is very quiet: it peaks at {formatted_dbfs(self.peak)}, so that the tags may be wrong"
            )
            return (*self._file_notes, quiet)
        return self._file_notes

    def _mix(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(frames, channels) -> (frames,), the mean of the channels; NaN, infinite and absurd samples are errors."""
        peak = _peak(block)
        if not peak <= MAX_PEAK:  # NaN compares false
            bad = int(np.argmax(~(np.abs(block) <= MAX_PEAK).all(axis=1)))
            seconds = (self._frames + bad) / self.sample_rate_hz
            problem = f"holds NaN, infinite or absurdly large samples, from {seconds:.2f} s on"
            raise audio_error(self.name, problem, "Export it again as 16-bit PCM.")
        self._channel_peak = max(self._channel_peak, peak)
        self._frames += len(block)
        return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)

    def _measure(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.samples += len(block)
        self.peak = max(self.peak, _peak(block))
        return block


def _peak(samples: npt.NDArray[np.float32]) -> float:
    """The largest magnitude, without a second array of that size; NaN where a sample is NaN."""
    return float(np.maximum(samples.max(initial=0.0), -samples.min(initial=0.0)))
