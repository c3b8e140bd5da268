"""Which container a file is, by its first bytes, and whether its outer frame is complete.

The bytes decide, never the file's name. Only the containers of ``formats`` reach a decoder, and each container one
decoder: no library is left to guess.

Sources: RFC 3533 (Ogg pages), RFC 9639 (FLAC), ISO/IEC 11172-3 and 13818-3 (MPEG audio headers), the ID3v2
and Xing headers as their writers define them, ISO/IEC 14496-12 (ftyp), RFC 8794 (EBML).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from core.audio.formats import Container
from core.audio.limits import check_duration, is_truncated
from core.audio.messages import GIVE_WHOLE, audio_error, truncated_error

ID3_SEARCH_BYTES = 65_536  # padding that taggers leave between an ID3 tag and the first frame
OGG_SEARCH_BYTES = 2 * 65_307  # the last page starts within one page's greatest length of the end


@dataclass(frozen=True)
class MpegFrame:
    """One MPEG layer III frame header; ``length`` is the frame's in bytes."""

    length: int
    sample_rate_hz: int
    samples: int
    xing_offset: int  # where a Xing or Info header would stand, from the frame's start


# kbit/s of layer III by bit-rate index (0 is "free", 15 forbidden): MPEG 1, then MPEG 2 and 2.5
_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)


def sniff(stream: BinaryIO, name: str) -> Container:
    """Identify a file's container from its bytes; raises ``AudioError`` for one that is not accepted."""
    start = id3_length(stream)
    stream.seek(start)
    head = stream.read(12)
    if head[:4] in (b"RIFF", b"RF64") and start == 0:
        return Container.WAV
    if head[:4] == b"fLaC":
        return Container.FLAC
    if head[:4] == b"OggS":
        return Container.OGG
    if head[4:8] == b"ftyp":
        return Container.MP4
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return Container.MATROSKA
    if len(head) >= 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Container.AAC
    if first_mpeg_frame(stream) is not None:
        return Container.MP3
    raise audio_error(name, "is not in a format that Pannscope reads")


def id3_length(stream: BinaryIO) -> int:
    """Bytes that an ID3v2 tag takes at the start of a file, 0 without one."""
    stream.seek(0)
    head = stream.read(10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def mpeg_frame(header: bytes) -> MpegFrame | None:
    """Read four bytes as an MPEG layer III frame header, or None."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # version 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    kbps = (_MPEG1_KBPS if first else _MPEG2_KBPS)[bitrate]
    sample_rate_hz = _MPEG1_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1152 if first else 576
    length = samples // 8 * kbps * 1000 // sample_rate_hz + (header[2] >> 1 & 1)
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return MpegFrame(length, sample_rate_hz, samples, 4 + side)


def first_mpeg_frame(stream: BinaryIO) -> tuple[int, MpegFrame] | None:
    """The offset and the header of the first layer III frame that the next frame, or the end of the file, follows.

    Without an ID3 tag it must stand at the very start; after a tag there may be padding.
    """
    start = id3_length(stream)
    stream.seek(start)
    head = stream.read(ID3_SEARCH_BYTES)
    for at in range(len(head) - 3 if start else min(1, len(head) - 3)):
        frame = mpeg_frame(head[at : at + 4])
        if frame is None:
            continue
        stream.seek(start + at + frame.length)
        following = stream.read(4)
        if not following or following[:3] == b"TAG":
            return start + at, frame
        following_frame = mpeg_frame(following)
        if following_frame is not None and following_frame.sample_rate_hz == frame.sample_rate_hz:
            return start + at, frame
    return None


def mp3_declares_length(stream: BinaryIO, size: int, name: str, max_seconds: float | None) -> bool:
    """Whether an MP3 declares its length in a Xing or Info header, which is checked.

    Raises
    ------
    AudioError
        The recording is over the limit, or the file holds fewer bytes than its header says.
    """
    first = first_mpeg_frame(stream)
    if first is None:
        raise audio_error(name, "is an MP3 file whose first frame is damaged or truncated", GIVE_WHOLE)
    offset, frame = first
    stream.seek(offset + frame.xing_offset)
    head = stream.read(16)
    if len(head) < 16 or head[:4] not in (b"Xing", b"Info"):
        return False
    flags, frames, length = struct.unpack(">III", head[4:])
    if not flags & 1 or frames == 0:
        return False
    # three frames less: the encoder's padding
    check_duration(name, (frames - 3) * frame.samples, frame.sample_rate_hz, max_seconds)
    declared_s = frames * frame.samples / frame.sample_rate_hz
    if flags & 2 and length:
        held_s = declared_s * min(1.0, (size - offset) / length)
        if is_truncated(held_s, declared_s):
            raise truncated_error(name, held_s, declared_s)
    return True


def flac_frames(stream: BinaryIO) -> int:
    """The number of samples per channel in a FLAC file's stream information, 0 where the writer did not know it."""
    stream.seek(id3_length(stream) + 8)
    info = stream.read(18)
    return int.from_bytes(info[10:18], "big") & (1 << 36) - 1 if len(info) == 18 else 0


def check_ogg_end(stream: BinaryIO, size: int, name: str) -> tuple[str, ...]:
    """Raise ``AudioError`` where an Ogg file ends within a page; a note where it ends without an end-of-stream mark.

    Ogg has no length in its header, so that these are the signs of a lost end. A recorder that is switched off leaves
    complete pages and no mark: such a file is accepted with a note.
    """
    start = max(0, size - OGG_SEARCH_BYTES)
    stream.seek(start)
    tail = stream.read(OGG_SEARCH_BYTES)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    lacing = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 or len(lacing) < page[26] or len(page) < 27 + len(lacing) + sum(lacing):
        raise audio_error(name, "is an Ogg file that is truncated: its last page is not complete", GIVE_WHOLE)
    return () if page[5] & 4 else ("it has no end-of-stream mark and may be truncated",)
