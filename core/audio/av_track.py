"""AAC, MP4 and WebM by PyAV, block by block (and FLAC and MP3 files that do not declare their length).

The demuxer is named, never guessed, and only codecs that such recordings use are decoded. FFmpeg receives a stream of
bytes without a name, so that no reference in a file can make it open another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from core.audio.formats import Container
from core.audio.limits import check_duration, check_layout, is_truncated
from core.audio.messages import CONVERT, GIVE_WHOLE, audio_error, damaged_error, truncated_error
from core.errors import AudioError

CODECS = ("aac", "alac", "mp3", "mp3float", "opus", "vorbis", "flac", "ac3", "eac3")
MAX_PACKETS_PER_SECOND = 2_000
"""Opus packets of 2.5 ms are 400 a second; the rest is for video and other tracks."""

SPARE_PACKETS = 100_000


class _Untagged:
    """A nameless file from ``start`` on: FFmpeg receives no ID3 tag (they can hold zip bombs) and no path."""

    name = "recording"

    def __init__(self, stream: BinaryIO, start: int) -> None:
        self._stream, self._start = stream, start
        stream.seek(start)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset + self._start if whence == 0 else offset, whence) - self._start

    def tell(self) -> int:
        return self._stream.tell() - self._start


class AvTrack:
    """An open recording: its layout, and its samples as an iterator of blocks.

    Parameters
    ----------
    stream : seekable binary file
    start : int
        Bytes of an ID3 tag to leave out.
    container : Container
    name : str
        What to call the file in a message.
    max_seconds : float or None
        The longest recording that is accepted, None for any length.

    Attributes
    ----------
    sample_rate_hz, channels : int
        Of the first decoded frame; a header may declare half the rate (HE-AAC) or nothing at all.

    Raises
    ------
    AudioError
        On opening or while reading: it cannot be decoded, holds no audio track, its header is absurd, it is over a limit
        or truncated.
    """

    def __init__(
        self, stream: BinaryIO, start: int, container: Container, name: str, max_seconds: float | None
    ) -> None:
        import av  # here and not above: it loads 60 MB of libraries that a WAV file does not need

        self._name, self._max_seconds = name, max_seconds
        # FFmpeg guesses the length of these two from the bit rate
        self._declares_length = container not in (Container.AAC, Container.MP3)
        try:
            self._container: Any = av.open(
                _Untagged(stream, start), mode="r", format=container.value, metadata_errors="replace"
            )
        except Exception as error:  # FFmpeg's errors come as OSError, ValueError and others
            problem = f"starts like {container.title} but cannot be opened: it is damaged or truncated"
            raise audio_error(name, problem, GIVE_WHOLE) from error
        try:
            self._stream = self._audio_stream()
            self._declared_s = self._container.duration / av.time_base if self._container.duration else None
            self._check_header()
            self._decoded = self._decode(av)
            first = next(self._decoded, None)  # decoded now, for the layout
            if first is None:
                raise audio_error(name, "holds no samples (0 frames)")
            self._first = first
            self.sample_rate_hz, self.channels = self._layout
        except BaseException:
            self._container.close()
            raise

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """The samples as blocks of (frames, channels), one a frame of the codec; closes the file."""
        with contextlib.closing(self._container):
            yield self._first
            yield from self._decoded

    def _audio_stream(self) -> Any:
        if not self._container.streams.audio:
            raise audio_error(self._name, "has no audio track")
        stream = self._container.streams.audio[0]
        codec = getattr(stream.codec_context, "name", None)
        if codec not in CODECS:
            problem = f"is encoded as {codec or 'an unknown codec'}; AAC, ALAC, MP3, Opus, Vorbis and FLAC are accepted"
            raise audio_error(self._name, problem, CONVERT)
        return stream

    def _check_header(self) -> None:
        """Check what the header declares, if anything (the first frame is checked again)."""
        context = self._stream.codec_context
        if context.sample_rate and context.channels:
            check_layout(self._name, context.sample_rate, context.channels)
        if self._declares_length and self._stream.duration and self._stream.time_base:
            check_duration(
                self._name, float(self._stream.duration * self._stream.time_base), 1, self._max_seconds
            )
        elif self._declares_length and self._declared_s and len(self._container.streams) == 1:
            check_duration(self._name, self._declared_s, 1, self._max_seconds)

    def _decode(self, av: Any) -> Iterator[npt.NDArray[np.float32]]:
        """Decode packet by packet, and count everything that a hostile file could repeat without end."""
        resampler: Any = None
        sample_format = ""
        held = packets = 0
        begin, end = float("inf"), 0.0
        try:
            for packet in self._container.demux():
                packets += 1
                self._check_packets(packets)
                if packet.pts is not None:
                    begin = min(begin, float(packet.pts * packet.time_base))
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index != self._stream.index:
                    continue
                for frame in packet.decode():
                    if resampler is None:
                        self._layout = (int(frame.sample_rate), len(frame.layout.channels))
                        check_layout(self._name, *self._layout)
                        # to packed samples: PyAV 18.1 counts nine planes in a planar frame of eight
                        # channels and reads beyond it
                        resampler = av.AudioResampler(
                            format="flt", layout=frame.layout, rate=frame.sample_rate
                        )
                        sample_format = frame.format.name
                    elif (int(frame.sample_rate), len(frame.layout.channels)) != self._layout or (
                        frame.format.name != sample_format
                    ):
                        raise audio_error(
                            self._name, "changes its sample rate or channels in the middle", CONVERT
                        )
                    frame.pts = None
                    for plain in resampler.resample(frame):
                        held += plain.samples
                        check_duration(self._name, held, self._layout[0], self._max_seconds)
                        yield plain.to_ndarray().reshape(-1, self._layout[1]).astype(np.float32, copy=False)
        except AudioError:
            raise
        except Exception as error:
            raise damaged_error(self._name, held / self._layout[0] if held else 0.0) from error
        if (
            self._declares_length
            and self._declared_s
            and held
            and is_truncated(end - begin, self._declared_s)
        ):
            raise truncated_error(self._name, end - begin, self._declared_s)

    def _check_packets(self, packets: int) -> None:
        if (
            self._max_seconds is not None
            and packets > SPARE_PACKETS + MAX_PACKETS_PER_SECOND * self._max_seconds
        ):
            raise audio_error(
                self._name, "holds more packets than a recording of the accepted length", CONVERT
            )
