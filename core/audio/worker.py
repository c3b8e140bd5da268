"""The decoder's process: it decodes one recording after the other for ``pool``, under hard limits, and has no other way out.

It reads the file through the pipe, a piece at a time, so that it needs no path and no copy. Where the system has ``resource`` (Linux, and
with exceptions macOS), its memory and its processor time are bounded for each recording (``core.sandbox``). It holds numpy, PyAV and soxr,
and nothing of torch.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from typing import BinaryIO, NoReturn

import numpy as np

from core.audio import facts
from core.audio.decoding import Decoder
from core.audio.facts import Job
from core.audio.messages import damaged_error
from core.errors import AudioError
from core.sandbox.limits import Limits, pipes
from core.sandbox.messages import receive, send

MEMORY_BYTES = 192 << 20
"""A recording may take this much, and as much as its file has. The largest legitimate need that was measured is 70 MB: 64 channels at
384 kHz."""

CPU_S, CPU_S_PER_SECOND, CPU_S_PER_BYTE = 4.0, 0.1, 5e-8
"""Processor time for a recording: what is decoded ten times slower than it plays, or read slower than 20 MB/s, is not a recording
(measured: 60 to 1,000 times faster, and 500 MB/s)."""


class RemoteFile(io.RawIOBase):
    """The recording, of which every piece is asked for."""

    def __init__(self, source: BinaryIO, sink: BinaryIO, size: int) -> None:
        self._source, self._sink, self._size = source, sink, size
        self._at = self.pulled = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        size = left if size < 0 else min(size, left)
        if size == 0:
            return b""
        send(self._sink, facts.READ, facts.SPAN.pack(self._at, size))
        kind, data = receive(self._source)
        if kind != facts.ANSWER:
            raise EOFError
        self._at += len(data)
        self.pulled += len(data)
        return data


class RecordingLimits(Limits):
    """What a recording of so many bytes may take."""

    def begin(self, size: int) -> None:
        """Bound what the next recording may take."""
        self._size = size
        self.start_clock(self._cpu_s(0.0, 0))
        self.bound(MEMORY_BYTES + size)

    def allow(self, seconds: float, pulled: int) -> None:
        """Extend the processor time for what has been decoded and read."""
        self.extend_clock(self._cpu_s(seconds, pulled))
        if seconds:
            self.check_memory()

    def _cpu_s(self, seconds: float, pulled: int) -> float:
        return CPU_S + CPU_S_PER_SECOND * seconds + CPU_S_PER_BYTE * min(pulled, self._size)


def serve(source: BinaryIO, sink: BinaryIO) -> NoReturn:
    """Decode jobs until the other side ends; also end after a recording that needed too much memory, with what it has left over."""
    _rehearse()
    limits = RecordingLimits()
    send(sink, facts.STOPPED)  # ready
    while True:
        try:
            _, body = receive(source)
            job = facts.job_of(body)
            limits.begin(job.size)
            _decode(RemoteFile(source, sink, job.size), job, limits, sink)
        except AudioError as error:
            send(sink, facts.REFUSED, str(error).encode())
        except MemoryError:
            send(sink, facts.MEMORY)
            os._exit(0)
        except (EOFError, OSError):  # the program that uses this process has ended
            os._exit(0)
        except Exception as error:  # PyAV's surprises at what it was never tried with
            refusal = damaged_error(job.name, 0.0)
            send(sink, facts.REFUSED, f"{refusal} ({type(error).__name__})".encode())


def _decode(file: RemoteFile, job: Job, limits: RecordingLimits, sink: BinaryIO) -> None:
    decoder = Decoder(file, job)  # type: ignore[arg-type]
    header = facts.Header(decoder.declared_s or 0.0, decoder.sample_rate_hz, decoder.channels)
    send(sink, facts.HEADER, header.packed())
    with contextlib.closing(decoder.blocks()) as blocks:  # type: ignore[type-var]
        for block in blocks:
            if len(block) == 0:
                continue
            limits.allow(decoder.seconds, file.pulled)
            send(sink, facts.BLOCK, np.ascontiguousarray(block).data.cast("B"))
            kind, _ = receive(file._source)
            if kind != facts.NEXT:
                send(sink, facts.STOPPED)
                return
    send(sink, facts.FACTS, facts.packed(decoder.facts()))


def _rehearse() -> None:
    """Decode a tenth of a second, so that everything is imported before no file can be opened any more."""
    samples = bytes(8_820)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(samples),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        44_100,
        88_200,
        2,
        16,
        b"data",
        len(samples),
    )
    job = Job(name="", suffix="", size=0, channel=0, max_seconds=None)
    for data in (head + samples, b"neither sound nor music"):
        with contextlib.suppress(AudioError):
            decoder = Decoder(io.BytesIO(data), job)
            list(decoder.blocks())
            decoder.facts()


def main() -> NoReturn:
    """Serve on the pipes that the process was started with."""
    serve(*pipes())
