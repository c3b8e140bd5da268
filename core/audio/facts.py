"""What the two sides of the decoder's pipe exchange: a job, facts about a recording, and the messages that carry them.

Messages are a letter, a length and that many bytes; plain data is JSON, never pickle, so that a process that a hostile file has taken
over can send nothing but numbers and text.

To the worker: JOB, then ANSWER to each READ, and NEXT or STOP after each BLOCK. From the worker: READ (offset, size), HEADER,
BLOCK (float32 samples), and at the end FACTS, or REFUSED with the line for the user, or MEMORY; STOPPED after STOP.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import IO

JOB, ANSWER, NEXT, STOP = b"J", b"A", b"N", b"S"
READ, HEADER, BLOCK, FACTS, REFUSED, MEMORY, STOPPED = b"R", b"H", b"B", b"F", b"E", b"M", b"X"

SPAN = struct.Struct("<QI")
"""Offset and size of a READ."""

MAX_MESSAGE_BYTES = 64 << 20
"""More than a block has: 65,536 frames of a 4 kHz recording are 2 MiB at 32 kHz."""

_HEAD = struct.Struct("<cI")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be decoded: of which file, and of it the mean of its channels (0) or one, counted from 1."""

    name: str
    suffix: str
    size: int
    channel: int
    max_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a pass over a recording has measured; ``channel_rms`` is relative to full scale."""

    sample_rate_hz: int
    channels: int
    frames: int
    samples: int
    peak: float
    channel_rms: tuple[float, ...]
    notes: tuple[str, ...]


def send(stream: IO[bytes], kind: bytes, body: bytes | memoryview = b"") -> None:
    """Write one message."""
    stream.write(_HEAD.pack(kind, len(body)))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one message; raises ``EOFError`` where the other side has ended."""
    kind, length = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if length > MAX_MESSAGE_BYTES:
        raise EOFError(f"a message of {length:,} bytes")
    return kind, _exactly(stream, length)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other process has ended")
    return data


def packed(record: Job | Facts) -> bytes:
    """A record as JSON."""
    return json.dumps(asdict(record)).encode()


def job_of(body: bytes) -> Job:
    """The record that ``packed`` wrote."""
    return Job(**json.loads(body))


def facts_of(body: bytes) -> Facts:
    """The record that ``packed`` wrote, its values converted to the types that they must have."""
    fields = json.loads(body)
    return Facts(
        sample_rate_hz=int(fields["sample_rate_hz"]),
        channels=int(fields["channels"]),
        frames=int(fields["frames"]),
        samples=int(fields["samples"]),
        peak=float(fields["peak"]),
        channel_rms=tuple(map(float, fields["channel_rms"])),
        notes=tuple(map(str, fields["notes"])),
    )
