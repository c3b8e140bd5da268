"""What goes through the pipe to a sandbox and back: a letter, a length and that many bytes.

Plain data is JSON, never pickle, so that a process that a hostile file has taken over can send nothing but numbers and text.
"""

from __future__ import annotations

import struct
from typing import IO

MAX_MESSAGE_BYTES = 64 << 20
"""More than any message has: a block of a recording is 2 MiB at most, 30 s at 48 kHz are 6 MB."""

_HEAD = struct.Struct("<cI")


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
