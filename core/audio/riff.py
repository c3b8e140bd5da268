"""The chunks of a WAV file, read by ourselves before any decoder sees the file.

A RIFF file names its codec by a format tag. Only uncompressed samples are let through (PCM, float, and the
extensible tag whose subformat is one of these); old compressed codecs are refused here, because nobody
records in them and their decoders have been a way into programs. Chunk sizes are never trusted: nothing is
read or allocated by them.

Sources: Microsoft, "Multiple channel audio data and WAVE files" (format tags, extensible layout); EBU Tech
3306 (RF64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from core.audio.limits import CONVERT, GIVE_WHOLE, check_layout, is_truncated, refusal, truncated

PCM, FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
SUBFORMAT_TAIL = bytes.fromhex(
    "000000001000800000aa00389b71"
)  # KSDATAFORMAT_SUBTYPE_*: the tag, then these 14 bytes
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
UNKNOWN_SIZES_FROM = (
    0x7FFF_0000  # a writer that could not seek back leaves 2 GiB or 4 GiB as its "unknown length"
)


@dataclass(frozen=True)
class RiffHeader:
    """What a WAV file says of itself, the frames it really holds, and where the samples' size is written.

    ``finished`` tells whether the writer filled that size in when it was done.
    """

    sample_rate_hz: int
    channels: int
    frames: int
    size_offset: int
    held_bytes: int
    finished: bool
    notes: tuple[str, ...]


class Finished:
    """A WAV file whose header was never finished, with the size of its samples filled in as it is read."""

    def __init__(self, stream: BinaryIO, header: RiffHeader) -> None:
        self._stream, self._at = stream, header.size_offset
        self._word = struct.pack("<I", min(header.held_bytes, 0xFFFF_FFFE))

    def read(self, size: int = -1) -> bytes:
        begin = self._stream.tell()
        data = self._stream.read(size)
        first, last = max(begin, self._at), min(begin + len(data), self._at + 4)
        if first >= last:
            return data
        return data[: first - begin] + self._word[first - self._at : last - self._at] + data[last - begin :]

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


def read_riff(stream: BinaryIO, size: int, name: str) -> RiffHeader:
    """Check the chunks of a RIFF or RF64 file and find out how much sound is in it.

    Parameters
    ----------
    stream : seekable binary file, of `size` bytes; its position is not kept.
    name : what to call the file in a message.

    Raises
    ------
    AudioError
        It is no WAVE file, its format tag is not PCM, float or extensible, a chunk that is needed is
        missing or broken, there are no samples, or the file ends long before its header says.
    """
    stream.seek(0)
    head = stream.read(12)
    if len(head) < 12 or head[8:12] != b"WAVE":
        raise refusal(name, "is a RIFF file but no WAVE recording")
    layout: _Format | None = None
    long_size: int | None = None
    data: tuple[int, int] | None = None  # offset, declared size
    offset = 12
    for _ in range(MAX_CHUNKS):
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
                raise refusal(name, "has two format chunks, so that its samples cannot be told", CONVERT)
            layout = _format(stream.read(min(declared, 40)), name)
        elif kind == b"data":
            if layout is None:
                raise refusal(name, "is a WAV file with its samples before their format", CONVERT)
            if data is not None:
                raise refusal(name, "has two data chunks; one is accepted", CONVERT)
            if declared == 0xFFFF_FFFF and long_size is not None:
                declared = long_size
            data = (start, declared)
        offset = start + declared + declared % 2
    else:
        raise refusal(
            name, f"has more than {MAX_CHUNKS:,} chunks and is no WAV file that a recorder writes", CONVERT
        )
    if layout is None:
        raise refusal(name, "is a WAV file without a format chunk, cut short or damaged", GIVE_WHOLE)
    if data is None:
        raise refusal(name, "is a WAV file without samples (no data chunk), cut short or damaged", GIVE_WHOLE)
    return _measure(stream, layout, data, size, name)


def _long_data_size(ds64: bytes) -> int | None:
    """The data size in an RF64 file's ds64 chunk (after the 64-bit RIFF size)."""
    return struct.unpack("<Q", ds64[8:16])[0] if len(ds64) >= 16 else None


def _format(body: bytes, name: str) -> _Format:
    if len(body) < 16:
        raise refusal(name, "is a WAV file with a broken format chunk, cut short or damaged", GIVE_WHOLE)
    tag, channels, rate, _, block_align, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == EXTENSIBLE:
        if len(body) < 40:
            raise refusal(name, "is a WAV file with a broken extensible format chunk", CONVERT)
        tag = struct.unpack("<H", body[24:26])[0]
        if body[26:40] != SUBFORMAT_TAIL:
            raise refusal(
                name, "is a WAV file of an unknown subformat; PCM and float samples are accepted", CONVERT
            )
    if tag not in SAMPLE_BITS:
        called = f"0x{tag:04X}" + (f" ({KNOWN_TAGS[tag]})" if tag in KNOWN_TAGS else "")
        raise refusal(
            name, f"is a WAV file with format tag {called}; PCM and float samples are accepted", CONVERT
        )
    check_layout(name, rate, channels)
    if bits not in SAMPLE_BITS[tag] or block_align != channels * bits // 8:
        kind = "float" if tag == FLOAT else "PCM"
        accepted = ", ".join(map(str, SAMPLE_BITS[tag]))
        said = f"says {bits} bits a sample in frames of {block_align} bytes"
        problem = f"{said}; {kind} of {accepted} bits is accepted"
        raise refusal(name, problem, CONVERT)
    return _Format(tag, channels, rate, bits)


def _measure(stream: BinaryIO, layout: _Format, data: tuple[int, int], size: int, name: str) -> RiffHeader:
    """Compare the declared length of the samples with what the file holds."""
    start, declared = data
    held = max(0, size - start)
    notes: tuple[str, ...] = ()
    if declared > held and declared >= UNKNOWN_SIZES_FROM:
        declared, notes = held, ("its header does not say how long it is",)
    elif declared == 0 and held > 0 and not _is_chunk(stream, start, held):
        declared, notes = held, ("its header was never finished (length 0)",)
    finished = not notes
    per_second = layout.frame_bytes * layout.sample_rate_hz
    frames = min(declared, held) // layout.frame_bytes
    if is_truncated(held / per_second, declared / per_second) or (frames == 0 and declared > held):
        raise truncated(name, held / per_second, declared / per_second)
    if frames == 0:
        raise refusal(name, "holds no sound (0 frames)")
    missing_s = max(0, declared - held) / per_second
    if missing_s >= 0.005:
        notes = (f"its last {missing_s:.2f} s are missing",)
    return RiffHeader(layout.sample_rate_hz, layout.channels, frames, start - 4, held, finished, notes)


def _is_chunk(stream: BinaryIO, offset: int, held: int) -> bool:
    """Whether one more chunk follows an empty data chunk (and not sound of unwritten length)."""
    stream.seek(offset)
    chunk = stream.read(8)
    letters = all(32 <= letter < 127 for letter in chunk[:4])
    return len(chunk) < 8 or (letters and struct.unpack("<I", chunk[4:])[0] <= held - 8)
