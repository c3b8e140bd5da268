"""The limits of a sandbox's own process, as far as the system has them, and the pipe that is its only way out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any, BinaryIO

resource: Any = import_module("resource") if find_spec("resource") else None
"""Not on Windows, where the clock of the process that waits is the only limit."""


class Limits:
    """Of this process: from now on it opens no file and no socket, starts no program, and writes no file."""

    def __init__(self) -> None:
        self._statm = -1
        self._cpu_before, self._peak_before, self._memory = 0.0, 0, 0
        if resource is None:
            return
        with contextlib.suppress(OSError):
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        for name in ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (0, 0))

    def bound(self, memory: int) -> None:
        """Bound the bytes that are taken from now on."""
        if resource is None:
            return
        self._memory, self._peak_before = memory, _peak_bytes()
        if self._statm >= 0:
            now = int(os.pread(self._statm, 64, 0).split()[0]) * resource.getpagesize()
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (now + memory, hard))

    def start_clock(self, cpu_s: float) -> None:
        """Bound the processor time that is taken from now on."""
        self._cpu_before = time.process_time()
        self.extend_clock(cpu_s)

    def extend_clock(self, cpu_s: float) -> None:
        """Set the processor time anew, still from the last ``start_clock`` on."""
        if resource is not None:
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (int(self._cpu_before + cpu_s) + 1, hard))

    def check_memory(self) -> None:
        """Raise ``MemoryError`` for too much memory where the system does not bound it (macOS)."""
        if resource is not None and self._statm < 0 and _peak_bytes() - self._peak_before > self._memory:
            raise MemoryError


def _peak_bytes() -> int:
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, for messages alone: what a library prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the program, and with it this process
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return os.fdopen(0, "rb"), sink
