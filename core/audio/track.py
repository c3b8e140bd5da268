"""A recording's audio track by FFmpeg's libraries (PyAV), block by block. Imported by the decoder's process only.

FFmpeg recognises the container by its bytes, among the demuxers of ``formats``, and receives a stream without a path, so that no
reference in a file can make it open another. What a file can claim or repeat without end is bounded by the limits of the process
(``worker``), not here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt

from core.audio.containers import (
    MAX_SEARCH_BYTES,
    Untagged,
    another_follows,
    mp3_frame_bytes,
    ogg_ends,
    wav_data_bytes,
)
from core.audio.formats import CODECS, FORMATS, is_accepted_codec, titles_of
from core.audio.limits import (
    BLOCK_FRAMES,
    MAX_CHANNELS,
    check_duration,
    check_layout,
    check_rest,
    check_size,
    is_truncated,
)
from core.audio.messages import CONVERT, GIVE_WHOLE, audio_error, damaged_error, truncated_error

READ_BYTES = 1 << 18  # that FFmpeg reads at a time: each read is a message to the other process
MAX_LOG_LINES = 100_000
"""Of FFmpeg while it opens a file: zeros after a CAF's samples are 250 million chunks, each of which it mentions. Ordinary files have some hundred."""

MISSING_SECONDS = 0.005  # a shorter loss rounds to 0.00 s and is not worth a note

av.logging.set_skip_repeated(False)  # a file may be like the one before

_DECODERS = ",".join(sorted(name for name in av.codecs_available if name.startswith(("pcm_", "adpcm_"))))
_OPTIONS = {
    "format_whitelist": ",".join(dict.fromkeys(form.demuxer for form in FORMATS)),
    # what may be decoded while the header is read; video is not
    "codec_whitelist": ",".join(
        (*CODECS, "mp1float", "mp2float", "mp3float", "amrnb", "amrwb", "dca", _DECODERS)
    ),
    "protocol_whitelist": "none",
}


class Track:
    """An open recording: its layout, and its samples as an iterator of blocks.

    Parameters
    ----------
    stream : seekable binary file
    name : str
        What to call the file in a message.
    suffix : str
        Of the file's name, one of ``formats.SUFFIXES`` or empty.
    max_seconds : float or None
        The longest recording that is accepted, None for any length.

    Attributes
    ----------
    sample_rate_hz, channels : int
        Of the first decoded frame; a header may declare half the rate (HE-AAC) or nothing at all.
    declared_s : float or None
        What the header declares, where it does.
    notes : tuple of str
        What the user should know about the file, complete once all blocks have been read.

    Raises
    ------
    AudioError
        On opening or while reading: it cannot be decoded, holds no audio track, its header is absurd, it is over a limit
        or truncated.
    """

    def __init__(self, stream: BinaryIO, name: str, suffix: str, max_seconds: float | None) -> None:
        self._name, self._max_seconds = name, max_seconds
        self.notes: tuple[str, ...] = ()
        self._file = Untagged(stream, suffix)
        self._end = 0  # of the last packet
        self._wav_bytes = wav_data_bytes(self._file)
        if self._wav_bytes is not None:
            check_rest(name, self._file, self._wav_bytes)
        self._container = self._open()
        try:
            self._stream = self._audio_stream()
            self.declared_s = self._declared_length()
            if self._pcm_bytes and self._container.format.name == "wav" and self.declared_s is None:
                self._note("its header declares no length")
            if self.declared_s is not None:
                if self._wav_bytes is not None and self._wav_bytes > self._file.size:
                    self._refuse_truncated(self.declared_s * self._file.size / self._wav_bytes)
                check_duration(name, self.declared_s, 1, max_seconds)
            self._check_size()
            self._decoded = self._decode()
            first = next(self._decoded, None)  # decoded now, for the layout
            if first is None and not self._stream.codec_context.channels:
                problem = f"declares no number of channels that is accepted (1 to {MAX_CHANNELS})"
                raise audio_error(name, problem, CONVERT)
            if first is None and self.declared_s:
                raise truncated_error(name, 0.0, self.declared_s)
            if first is None:
                raise audio_error(name, "holds no samples (0 frames)")
            self._first = first
        except BaseException:
            self._container.close()
            raise

    def blocks(self) -> Generator[npt.NDArray[np.float32]]:
        """The samples as blocks of (frames, channels), at most 65,536 frames each; closes the file."""
        with contextlib.closing(self._container):
            yield self._first
            yield from self._decoded

    def _open(self) -> Any:
        """The open container. What FFmpeg recognised, and whether it guessed the length from the bit rate, is in its log only."""
        av.logging.set_level(av.logging.DEBUG)
        self._file.seek(0)
        try:
            with av.logging.Capture() as log:
                self._file.ended = lambda: len(log) > MAX_LOG_LINES
                opened = av.open(
                    self._file, metadata_errors="replace", options=_OPTIONS, buffer_size=READ_BYTES
                )
        except MemoryError:
            raise
        except Exception as error:  # FFmpeg's errors come as OSError, ValueError and others
            text = "".join(line for _, _, line in log)
            recognised = re.findall(r"Format (\S+) (?:probed|detected)", text)
            titles = titles_of(recognised[-1]) if recognised else ""
            if not titles or "misdetection possible" in text:
                raise audio_error(self._name, "is not in a format that Pannscope reads") from error
            problem = f"starts like {titles} but cannot be opened: it is damaged or truncated"
            raise audio_error(self._name, problem, GIVE_WHOLE) from error
        finally:
            av.logging.set_level(av.logging.PANIC)
            self._file.ended = lambda: False
        self._doubtful = any("misdetection possible" in line for _, _, line in log)
        self._estimated = any("Estimating duration from bitrate" in line for _, _, line in log)
        return opened

    def _audio_stream(self) -> Any:
        """The default track, else the one with most channels, as FFmpeg's own program chooses."""
        streams = self._container.streams.audio
        if not streams:
            raise audio_error(self._name, "has no audio track")
        if len(streams) > 1:
            default = av.stream.Disposition.default
            chosen = max(
                streams,
                key=lambda one: (bool(one.disposition & default), getattr(one.codec_context, "channels", 0)),
            )
            number = streams.index(chosen) + 1
            self.notes += (f"it has {len(streams)} audio tracks, of which track {number} is used",)
        else:
            chosen = streams[0]
        context = chosen.codec_context
        self._codec = codec = context.codec.canonical_name if context is not None else "an unknown codec"
        if not is_accepted_codec(codec):
            problem = f"is encoded as {codec}, which is not accepted"
            raise audio_error(self._name, problem, CONVERT)
        context.thread_count = 1
        pcm = codec.startswith("pcm_") and context.format is not None
        self._pcm_bytes = context.format.bytes * context.channels if pcm else 0
        if context.sample_rate and context.channels:
            check_layout(self._name, context.sample_rate, context.channels)
        return chosen

    def _check_size(self) -> None:
        """Refuse what is too large for its layout; a file with pictures or video may have any size."""
        context = self._stream.codec_context
        if len(self._container.streams) == 1 and context.sample_rate and context.channels:
            check_size(self._name, self._file.size, context.sample_rate, context.channels, self._max_seconds)

    def _declared_length(self) -> float | None:
        """The declared length in seconds, where the header declares one."""
        stream, context, container = self._stream, self._stream.codec_context, self._container
        if self._container.format.name == "ogg":
            return (
                None  # FFmpeg reads it from the last page, which is not the last of a chained or a cut file
            )
        if self._wav_bytes is not None and context.sample_rate and self._pcm_bytes:
            return self._wav_bytes / (self._pcm_bytes * context.sample_rate)
        if self._estimated or (container.format.name == "wav" and self._pcm_bytes):
            return None
        if stream.duration:
            return float(stream.duration * stream.time_base)
        if container.duration and len(container.streams) == 1:
            return float(container.duration / av.time_base)
        return None

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        """Decode packet by packet. What cannot be decoded is left out, as FFmpeg's program does, and noted."""
        resampler: Any = None
        source: tuple[int, str, str] | None = None
        frames = held = skipped = trailing = 0
        for packet in self._packets():
            try:
                decoded = packet.decode()
                broken = self._is_cut(packet)
            except MemoryError:
                raise
            except Exception:
                decoded, broken = [], self._codec != "mp3" or mp3_frame_bytes(bytes(packet)[:4]) is not None
            if broken:
                trailing += frames > 0 or bool(decoded)
            elif decoded and packet.size:
                skipped, trailing = skipped + trailing, 0
            for frame in decoded:
                frames += 1
                self._file.searched = 0
                given = (int(frame.sample_rate), frame.layout.name, frame.format.name)
                if given != source:
                    if resampler is None:
                        self.sample_rate_hz, self.channels = given[0], frame.layout.nb_channels
                        check_layout(self._name, self.sample_rate_hz, self.channels)
                        layout = frame.layout
                    else:
                        if given[:2] != (source or given)[:2]:
                            self._note("its sample rate or channels change in the middle")
                        for block in self._arrays(resampler.resample(None)):
                            held += len(block)
                            yield block
                    source = given
                    resampler = av.AudioResampler(
                        format="flt", layout=layout, rate=self.sample_rate_hz, frame_size=BLOCK_FRAMES
                    )
                frame.pts = None
                for block in self._arrays(resampler.resample(frame)):
                    held += len(block)
                    check_duration(self._name, held, self.sample_rate_hz, self._max_seconds)
                    yield block
        if resampler is not None:
            for block in self._arrays(resampler.resample(None)):
                held += len(block)
                yield block
        self._judge(frames, held, skipped, trailing)

    def _is_cut(self, packet: Any) -> bool:
        """Whether the file ends before a packet does."""
        if self._codec == "mp3":
            return packet.size < (mp3_frame_bytes(bytes(packet)[:4]) or 0)
        return packet.is_corrupt and not self._pcm_bytes

    def _packets(self) -> Iterator[Any]:
        """The track's packets; an error of the demuxer ends them, as the end of the file does."""
        try:
            for packet in self._container.demux(self._stream):
                self._end = max(self._end, (packet.pos or 0) + packet.size)
                yield packet
        except (av.error.InvalidDataError, av.error.EOFError):
            self._note("its end is damaged or missing")

    def _arrays(self, resampled: Iterator[Any]) -> Iterator[npt.NDArray[np.float32]]:
        """Packed frames as (frames, channels): PyAV 18.1 counts nine planes in a planar frame of eight channels."""
        for plain in resampled:
            yield plain.to_ndarray().reshape(-1, self.channels).astype(np.float32, copy=False)

    def _judge(self, frames: int, held: int, skipped: int, trailing: int) -> None:
        """Refuse what is mostly damaged or has lost its end; note what is not worse."""
        if self._file.searched > MAX_SEARCH_BYTES:
            self._file.searched = 0
            self._note(
                f"{MAX_SEARCH_BYTES >> 20} MB without a sample follow its last one, and the rest was not searched"
            )
        if frames == 0:
            if self._doubtful:
                raise audio_error(self._name, "is not in a format that Pannscope reads")
            return
        held_s = held / self.sample_rate_hz
        if skipped > frames:
            if self._doubtful:
                raise audio_error(self._name, "is not in a format that Pannscope reads")
            raise damaged_error(self._name, held_s, self.declared_s)
        if self.declared_s is not None:
            self._refuse_truncated(held_s)
            missing_s = self.declared_s - held_s
            if missing_s >= MISSING_SECONDS and self._container.format.name == "wav":
                self._note(f"its last {missing_s:.2f} s are missing")
        if skipped:
            self._note(f"{skipped} damaged parts of it were left out")
        if trailing:
            self._note("it ends in the middle of a frame and may be truncated")
        if self._end and another_follows(self._file, self._end):
            self._note("another recording follows in the same file, which is not used")
        if self._container.format.name == "ogg" and not ogg_ends(self._file):
            self._note("it has no end-of-stream mark and may be truncated")

    def _refuse_truncated(self, held_s: float) -> None:
        if self.declared_s is not None and is_truncated(held_s, self.declared_s):
            raise truncated_error(self._name, held_s, self.declared_s)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes += (note,)
