"""The header of a WAV file, read here before a decoder receives the file.

A RIFF file names its codec by a format tag. Only uncompressed samples are accepted (PCM, float, and the extensible tag
whose subformat is one of these); old compressed codecs are not, because nobody records in them and their decoders have
been a way into programs. Chunk sizes are never trusted: nothing is read or allocated by them.

Sources: Microsoft, "Multiple channel audio data and WAVE files" (format tags, extensible layout); EBU Tech
3306 (RF64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from core.audio.limits import check_layout, is_truncated
from core.audio.messages import CONVERT, GIVE_WHOLE, audio_error, truncated_error

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""KSDATAFORMAT_SUBTYPE_*: the tag, then these 14 bytes."""
KNOWN_TAGS = {
    0x0002: "MS ADPCM",
    0x0006: "A-law",
    0x0007: "µ-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721",
    0x0050: "MPEG layer 2",
    0x0055: "MP3",
    0x00FF: "AAC",
    0x0161: "WMA",
}
SAMPLE_BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}
MAX_CHUNKS = 1_000
UNKNOWN_SIZES_FROM = 0x7FFF_0000  # a writer that cannot seek back leaves 2 GiB or 4 GiB as "unknown length"
MISSING_SECONDS = 0.005  # a shorter loss rounds to 0.00 s and is not worth a note


@dataclass(frozen=True)
class WavHeader:
    """What a WAV file declares, and what it holds.

    Attributes
    ----------
    sample_rate_hz, channels : int
    frames : int
        That the file holds.
    size_offset : int
        Where in the file the samples' size is written.
    held_bytes : int
        Of samples.
    complete : bool
        Whether the writer filled in that size at the end.
    notes : tuple of str
        What the user should know about the length.
    """

    sample_rate_hz: int
    channels: int
    frames: int
    size_offset: int
    held_bytes: int
    complete: bool
    notes: tuple[str, ...]


class CompletedHeader:
    """A WAV file without the size of its samples in the header, read with that size filled in."""

    def __init__(self, stream: BinaryIO, header: WavHeader) -> None:
        self._stream, self._offset = stream, header.size_offset
        self._word = struct.pack("<I", min(header.held_bytes, 0xFFFF_FFFE))

    def read(self, size: int = -1) -> bytes:
        start = self._stream.tell()
        data = self._stream.read(size)
        first, last = max(start, self._offset), min(start + len(data), self._offset + 4)
        if first >= last:
            return data
        size_bytes = self._word[first - self._offset : last - self._offset]
        return data[: first - start] + size_bytes + data[last - start :]

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


@dataclass(frozen=True)
class _Format:
    tag: int
    channels: int
    sample_rate_hz: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8


def read_header(stream: BinaryIO, size: int, name: str) -> WavHeader:
    """Check the chunks of a RIFF or RF64 file and measure how many samples it holds.

    Parameters
    ----------
    stream : seekable binary file
        Its position is not kept.
    size : int
        Its length in bytes.
    name : str
        What to call the file in a message.

    Raises
    ------
    AudioError
        It is not a WAVE file, its format tag is not PCM, float or extensible, a chunk that is needed is missing or
        broken, there are no samples, or the file ends long before its header says.
    """
    stream.seek(0)
    head = stream.read(12)
    if len(head) < 12 or head[8:12] != b"WAVE":
        raise audio_error(name, "is a RIFF file but not a WAVE recording")
    layout: _Format | None = None
    long_size: int | None = None
    data: tuple[int, int] | None = None  # offset, declared size
    offset = 12
    for _ in range(MAX_CHUNKS + 1):  # and one pass that finds the end
        if offset >= size:
            break
        stream.seek(offset)
        chunk = stream.read(8)
        if len(chunk) < 8:
            break
        kind, declared = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        start = offset + 8
        if kind == b"ds64":
            long_size = _long_data_size(stream.read(24))
        elif kind == b"fmt ":
            if layout is not None:
                raise audio_error(name, "has two format chunks, so that its layout is ambiguous", CONVERT)
            layout = _format(stream.read(min(declared, 40)), name)
        elif kind == b"data":
            if layout is None:
                raise audio_error(name, "is a WAV file with its samples before their format", CONVERT)
            if data is not None:
                raise audio_error(name, "has two data chunks; one is accepted", CONVERT)
            if declared == 0xFFFF_FFFF and long_size is not None:
                declared = long_size
            data = (start, declared)
        offset = start + declared + declared % 2
    else:
        raise audio_error(name, f"has more than {MAX_CHUNKS:,} chunks, as no recorder writes", CONVERT)
    if layout is None:
        raise audio_error(name, "is a WAV file without a format chunk, truncated or damaged", GIVE_WHOLE)
    if data is None:
        raise audio_error(
            name, "is a WAV file without samples (no data chunk), truncated or damaged", GIVE_WHOLE
        )
    return _measure(stream, layout, data, size, name)


def _long_data_size(ds64: bytes) -> int | None:
    """The data size in an RF64 file's ds64 chunk (after the 64-bit RIFF size)."""
    return struct.unpack("<Q", ds64[8:16])[0] if len(ds64) >= 16 else None


def _format(body: bytes, name: str) -> _Format:
    if len(body) < 16:
        raise audio_error(name, "is a WAV file with a broken format chunk, truncated or damaged", GIVE_WHOLE)
    tag, channels, rate, _, block_align, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == EXTENSIBLE:
        if len(body) < 40:
            raise audio_error(name, "is a WAV file with a broken extensible format chunk", CONVERT)
        tag = struct.unpack("<H", body[24:26])[0]
        if body[26:40] != SUBFORMAT_TAIL:
            problem = "is a WAV file of an unknown subformat; PCM and float samples are accepted"
            raise audio_error(name, problem, CONVERT)
    if tag not in SAMPLE_BITS:
        codec = f"0x{tag:04X}" + (f" ({KNOWN_TAGS[tag]})" if tag in KNOWN_TAGS else "")
        problem = f"is a WAV file with format tag {codec}; PCM and float samples are accepted"
        raise audio_error(name, problem, CONVERT)
    check_layout(name, rate, channels)
    if bits not in SAMPLE_BITS[tag] or block_align != channels * bits // 8:
        kind = "float" if tag == FLOAT else "PCM"
        accepted = ", ".join(map(str, SAMPLE_BITS[tag]))
        declared = f"declares {bits} bits a sample in frames of {block_align} bytes"
        raise audio_error(name, f"{declared}; {kind} of {accepted} bits is accepted", CONVERT)
    return _Format(tag, channels, rate, bits)


def _measure(stream: BinaryIO, layout: _Format, data: tuple[int, int], size: int, name: str) -> WavHeader:
    """Compare the declared length of the samples with what the file holds."""
    start, declared = data
    held = max(0, size - start)
    notes: tuple[str, ...] = ()
    if declared > held and declared >= UNKNOWN_SIZES_FROM:
        declared, notes = held, ("its header declares no length",)
    elif declared == 0 and held > 0 and not _is_chunk(stream, start, held):
        declared, notes = held, ("its header was never completed (length 0)",)
    complete = not notes
    per_second = layout.frame_bytes * layout.sample_rate_hz
    frames = min(declared, held) // layout.frame_bytes
    if is_truncated(held / per_second, declared / per_second) or (frames == 0 and declared > held):
        raise truncated_error(name, held / per_second, declared / per_second)
    if frames == 0:
        raise audio_error(name, "holds no samples (0 frames)")
    missing_s = max(0, declared - held) / per_second
    if missing_s >= MISSING_SECONDS:
        notes = (f"its last {missing_s:.2f} s are missing",)
    return WavHeader(layout.sample_rate_hz, layout.channels, frames, start - 4, held, complete, notes)


def _is_chunk(stream: BinaryIO, offset: int, held: int) -> bool:
    """Whether another chunk follows an empty data chunk, and not samples whose length was not written."""
    stream.seek(offset)
    chunk = stream.read(8)
    letters = all(32 <= letter < 127 for letter in chunk[:4])
    return len(chunk) < 8 or (letters and struct.unpack("<I", chunk[4:])[0] <= held - 8)
