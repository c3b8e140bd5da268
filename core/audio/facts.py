"""What the two sides of the decoder's pipe exchange: a job, facts about a recording, and the messages that carry them.

To the worker: JOB, then ANSWER to each READ, and NEXT or STOP after each BLOCK. From the worker: READ (offset, size), HEADER,
BLOCK (float32 samples), and at the end FACTS, or REFUSED with the line for the user, or MEMORY; STOPPED after STOP.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import NamedTuple

JOB, ANSWER, NEXT, STOP = b"J", b"A", b"N", b"S"
READ, HEADER, BLOCK, FACTS, REFUSED, MEMORY, STOPPED = b"R", b"H", b"B", b"F", b"E", b"M", b"X"

SPAN = struct.Struct("<QI")
"""Offset and size of a READ."""

_HEADER = struct.Struct("<dII")


class Header(NamedTuple):
    """What a file's header says; ``declared_s`` is 0 where it declares no length."""

    declared_s: float
    sample_rate_hz: int
    channels: int

    def packed(self) -> bytes:
        """The body of a HEADER."""
        return _HEADER.pack(*self)

    @classmethod
    def of(cls, body: bytes) -> Header:
        """What ``packed`` wrote."""
        return cls(*_HEADER.unpack(body))


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
