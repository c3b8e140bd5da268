"""SIGTERM and SIGINT: the server ends within seconds and with exit code 0, whatever it is computing.

Left to itself it would wait for every upload and download under way, then end by the same signal once more; and Python, which cannot
stop a thread inside compiled code, would end with an abort.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from types import FrameType

from core.files import remove_drafts
from core.runtime.background import end_all

SECONDS = 1.5
"""From the signal to the end, at most."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """Ends the process on a signal. To be made in the main thread, once the server has set its own handlers."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._asked = False
        self._server = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    async def server_closed(self) -> None:
        """To be awaited when the server has closed its connections: returns only where no signal has asked for the end."""
        self._closed.set()
        while self._asked:
            await asyncio.sleep(SECONDS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._asked:
            self._asked = True
            threading.Thread(target=self._end, daemon=True, name="shutdown").start()
        handler = self._server[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)  # the server stops accepting, and closes what is idle

    def _end(self) -> None:
        deadline = time.monotonic() + SECONDS
        end_all(SECONDS)
        self._closed.wait(max(0.0, deadline - time.monotonic()))
        end_now()


def end_now() -> None:
    """End the process with exit code 0; nothing half written stays. The decoder's workers end with the pipes to them."""
    remove_drafts()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
