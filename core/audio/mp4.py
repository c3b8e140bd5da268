"""The counts that an MP4's tables declare, added up before FFmpeg builds an index from them.

A table of an MP4 can declare "16 million samples, all of one size" in twelve bytes, and the demuxer would make 24 bytes
of index for each (measured: a file of 10 kB took 600 MB).

Source: ISO/IEC 14496-12, sections 8.6 to 8.8 (stts, ctts, stsz, stz2, stsc, stco, co64, elst, trun).
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

import numpy as np

from core.audio.messages import CONVERT, GIVE_WHOLE, audio_error

MAX_SAMPLES = 4_000_000  # 23 hours of AAC at 48 kHz; 100 MB of index
MAX_HEADER_BYTES = 64 << 20
MAX_BOXES = 100_000
_TABLES = re.compile(rb"st[st]s|stz2|stsz|ctts|stsc|stco|co64|elst|trun|cmov|saiz|senc")


def check_tables(stream: BinaryIO, size: int, name: str) -> None:
    """Check that an MP4's tables declare no more samples than a recording can have.

    The tables are searched by their names anywhere outside the media data, so that no nesting hides one.

    Raises
    ------
    AudioError
        The tables are absurd, compressed or encrypted, or there are none (the file has lost its end).
    """
    offset = header_bytes = samples = 0
    has_tables = False
    for _ in range(MAX_BOXES):
        stream.seek(offset)
        box = stream.read(16)
        if len(box) < 8:
            break
        length, kind = struct.unpack(">I", box[:4])[0], box[4:8]
        if length == 1 and len(box) == 16:
            length = struct.unpack(">Q", box[8:])[0]
        elif length == 0:
            length = size - offset
        if length < 8:
            break
        if kind in (b"moov", b"moof"):
            has_tables = True
        if kind != b"mdat":
            header_bytes += min(length, size - offset)
            if header_bytes > MAX_HEADER_BYTES:
                raise audio_error(name, "has larger tables than any recording", CONVERT)
            stream.seek(offset)
            samples += _declared_samples(stream.read(length), name)
            if samples > MAX_SAMPLES:
                raise audio_error(name, f"declares {samples:,} packets, more than any recording has", CONVERT)
        offset += length
        if offset >= size:
            break
    else:
        raise audio_error(name, f"has more than {MAX_BOXES:,} boxes, as no recorder writes", CONVERT)
    if not has_tables:
        raise audio_error(name, "has lost its table of contents: it is damaged or truncated", GIVE_WHOLE)


def _declared_samples(header: bytes, name: str) -> int:
    """The most samples that the tables in one top-level box could make a demuxer index."""
    runs = longest = edits = 0
    chunks, spans = 0, []
    for match in _TABLES.finditer(header):
        kind, at = match.group(), match.end()
        if kind in (b"cmov", b"saiz", b"senc"):
            raise audio_error(name, "is compressed or copy-protected in a way that is not accepted", CONVERT)
        first, second = _words(header, at + 4, 2)
        if kind in (b"stsz", b"stz2"):
            longest = max(longest, second)
        elif kind == b"trun":
            runs += first
        elif kind == b"elst":
            edits = max(edits, first)
        elif kind in (b"stco", b"co64"):
            chunks = max(chunks, first)
        elif kind == b"stsc":
            spans.append(_table(header, at + 8, first, 3))
        elif kind in (b"stts", b"ctts"):
            longest = max(longest, int(_table(header, at + 8, first, 2)[:, 0].sum()))
    for span in spans:
        begins = np.minimum(span[:, 0], chunks + 1)
        ends = np.append(begins[1:], chunks + 1)
        longest = max(longest, int((np.maximum(ends - begins, 0) * span[:, 1]).sum()))
    return runs + longest * max(1, edits)


def _words(header: bytes, at: int, count: int) -> tuple[int, ...]:
    """Big-endian 32-bit words; zeros where the box is truncated."""
    return struct.unpack(f">{count}I", header[at : at + 4 * count].ljust(4 * count, b"\0"))


def _table(header: bytes, at: int, rows: int, columns: int) -> np.ndarray:
    """(rows, columns) int64; fewer rows where the box holds fewer."""
    held = max(0, min(rows, (len(header) - at) // (4 * columns)))
    words = np.frombuffer(header, dtype=">u4", count=held * columns, offset=min(at, len(header)))
    return words.astype(np.int64).reshape(held, columns)
