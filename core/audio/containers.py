"""What FFmpeg does not say of a file: where its ID3 tags end, what a WAV header declares, and whether its end is there.

Sources: the ID3v2 header as its writers define it, EBU Tech 3306 (RIFF, RF64), RFC 3533 (Ogg pages), ISO/IEC 11172-3 and 13818-3
(headers of MPEG layer III).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

MAX_TAGS = 64  # ID3 tags one after the other, before a file counts as made of nothing else
MAX_SEARCH_BYTES = 64 << 20
"""Read without a sample, after which a file counts as ended: FFmpeg would search all of it, a second for each 300 MB. Between two blocks of
sound a film of 100 Mbit/s has 20 MB."""

MAX_CHUNKS = 1_000  # of a WAV file, before its samples
UNKNOWN_BYTES_FROM = 0x7FFF_0000  # a writer that cannot seek back leaves 2 GiB or 4 GiB as "unknown length"
_FOLLOWING_BYTES = 1 << 20  # after the samples: a table of ten minutes of AAC has 100 kB
_OGG_SEARCH_BYTES = 2 * 65_307  # the last page starts within one page's greatest length of the end

# kbit/s of layer III by bit-rate index (0 is "free", 15 forbidden): MPEG 1, then MPEG 2 and 2.5
_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)


class Untagged:
    """A file without the ID3 tags at its start: FFmpeg would unpack them, and they can hold zip bombs.

    Its name has the recording's suffix and nothing else; FFmpeg considers it where the bytes leave a doubt. It ends where
    ``MAX_SEARCH_BYTES`` have been read since ``searched`` was last set to 0, at every sample, and for as long as ``ended`` says so.
    """

    def __init__(self, stream: BinaryIO, suffix: str) -> None:
        self.name = f"recording{suffix}"
        self.searched = 0
        self.ended: Callable[[], bool] = lambda: False
        self._stream, self._start = stream, 0
        for _ in range(MAX_TAGS):
            stream.seek(self._start)
            head = stream.read(10)
            if len(head) < 10 or head[:3] != b"ID3":
                break
            length = 0
            for byte in head[6:]:
                length = length << 7 | byte & 0x7F
            self._start += 10 + length + (10 if head[5] & 0x10 else 0)  # 0x10: a footer follows
        self.size = max(0, stream.seek(0, 2) - self._start)
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        if self.searched > MAX_SEARCH_BYTES or self.ended():
            return b""
        data = self._stream.read(size)
        self.searched += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset + self._start if whence == 0 else offset, whence) - self._start

    def tell(self) -> int:
        return self._stream.tell() - self._start


def wav_data_bytes(file: Untagged) -> int | None:
    """How many bytes of samples a WAV file's header declares; None where it was never completed or is another file's.

    The file is left at the first of them.
    """
    file.seek(0)
    if file.read(12)[:4] not in (b"RIFF", b"RF64", b"BW64"):
        return None
    long_size: int | None = None
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return None
        size = struct.unpack("<I", head[4:])[0]
        start = file.tell()
        if head[:4] == b"ds64":
            body = file.read(16)  # the sizes of the whole file and of the samples, 64 bits each
            long_size = struct.unpack("<Q", body[8:])[0] if len(body) == 16 else None
        elif head[:4] == b"data":
            if size == 0xFFFF_FFFF and long_size is not None:
                return long_size
            held = file.size - start
            return None if size == 0 or (size > held and size >= UNKNOWN_BYTES_FROM) else size
        file.seek(start + size + size % 2)
    return None


def ogg_ends(file: Untagged) -> bool:
    """Whether the last page of an Ogg file is complete and marked as the last; a recorder that is switched off marks none."""
    file.seek(max(0, file.size - _OGG_SEARCH_BYTES))
    tail = file.read(_OGG_SEARCH_BYTES)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    lacing = page[27 : 27 + page[26]] if len(page) > 26 else b""
    complete = len(page) > 26 and len(lacing) == page[26] and len(page) >= 27 + len(lacing) + sum(lacing)
    return complete and bool(page[5] & 4)


def another_follows(file: Untagged, end: int) -> bool:
    """Whether a second file of the same kind begins after the last packet of the first one, which ends at byte ``end``.

    Demuxers of files that declare their length stop there: RIFF, AIFF, W64, CAF and MP4. Tags and an MP4's table may stand between.
    """
    file.seek(0)
    head = file.read(12)
    file.seek(end)
    tail = file.read(_FOLLOWING_BYTES)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"FORM"):
        return any(tail[at.start() + 8 : at.start() + 12] == head[8:] for at in re.finditer(head[:4], tail))
    if head[4:8] == b"ftyp":
        return head[4:] in tail
    return head[:4] in (b"caff", b"riff") and head[: 8 if head[:4] == b"riff" else 4] in tail


def mp3_frame_bytes(header: bytes) -> int | None:
    """The length of an MPEG layer III frame that begins so, None where no such frame does.

    >>> mp3_frame_bytes(bytes.fromhex("fffb9000"))  # 128 kbit/s at 44.1 kHz: 144 * 128,000 / 44,100
    417
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # version 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    kbps = (_MPEG1_KBPS if version == 3 else _MPEG2_KBPS)[bitrate]
    sample_rate_hz = _MPEG1_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if version == 3 else 72) * kbps * 1000 // sample_rate_hz + (header[2] >> 1 & 1)
