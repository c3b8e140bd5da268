"""One process for what comes from outside, the pipes to it, and the clock that ends it.

Why not ``multiprocessing`` or ``concurrent.futures``: they import the program's main module into every worker (Streamlit and torch, 500 MB), a
worker that dies breaks an executor for everybody, a running task cannot be ended, and results come back at once, not in blocks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from core.sandbox import messages

START_S = 60.0

_ROOT = Path(__file__).resolve().parents[2]


def boot(module: str) -> str:
    """The program of a process that runs ``main`` of a module."""
    return f"import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main()"


class Clock:
    """Time that is waited for a process; it stands still while the caller works on a block."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._since: float | None = time.monotonic()

    @property
    def left_s(self) -> float:
        since = self._since
        return self._left_s - (0.0 if since is None else time.monotonic() - since)

    def pause(self, more_s: float) -> None:
        """Stand still, with more time for the next wait."""
        self._left_s, self._since = self.left_s + more_s, None

    def go_on(self) -> None:
        self._since = time.monotonic()


class Sandbox:
    """One process, and the two pipes to it.

    Parameters
    ----------
    program : what it runs, see ``boot``; its first message says that it is ready.
    environment : variables besides this process's.
    """

    def __init__(self, program: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(_ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._sink, self._source = self._process.stdin, self._process.stdout
        self.ready = False
        self.usable = False
        """Whether it waits for a job; not while it has one, and never again after it has broken off."""
        self.out_of_memory = False
        self._overdue = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, kind: bytes, body: bytes | memoryview = b"") -> None:
        messages.send(self._sink, kind, body)

    def receive(self) -> tuple[bytes, bytes]:
        return messages.receive(self._source)

    def wait_until_ready(self) -> None:
        """Wait for a process that has just been started."""
        if not self.ready:
            with self.at_most(START_S):
                self.receive()
            self.ready = self.usable = True

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[Clock]:
        """End the process where the ``with`` block waits longer for it."""
        clock = Clock(seconds)
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(clock, over), name="sandbox-clock", daemon=True)
        watch.start()
        try:
            yield clock
        finally:
            over.set()

    def _watch(self, clock: Clock, over: threading.Event) -> None:
        while not over.wait(min(1.0, max(0.01, clock.left_s))):
            if clock.left_s <= 0:
                self._overdue = True
                self._process.kill()
                return

    def end(self) -> int:
        """End the process and return its exit code, negative for a signal."""
        self.usable = False
        for pipe in (self._sink, self._source):
            with contextlib.suppress(OSError):  # of a pipe whose other end is gone
                pipe.close()
        try:
            return self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def why_gone(self) -> str:
        """End the process, and say why it broke off: "memory", "time", or how it died, as "signal 11"."""
        code = self.end()
        if self.out_of_memory:
            return "memory"
        if self._overdue or code == -getattr(signal, "SIGXCPU", 0):
            return "time"
        return f"signal {-code}" if code < 0 else f"exit code {code}"
