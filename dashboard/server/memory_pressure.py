"""Giving memory back while others need it: what nobody has asked for lately goes, whichever shelf it lies on.

Everything on a shelf can be made again: clips are decoded anew, networks loaded anew. A script that holds something keeps it, since a
shelf only forgets.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

from core.runtime.machine import usable_memory
from core.runtime.memory import trim_heap
from dashboard.server.cache import Shelf

FLOOR = 256 * 2**20
"""Bytes that are to stay free. A recording of ten minutes takes up to 150 MB while it is opened and heard, and a pass of the full CNN14
some tens of MB more: with so much left nobody's request fails."""

IDLE_S = 30.0
"""What was asked for this recently is in use: pages ask anew for what they show whenever anything on them is touched."""

_LOOK_EVERY_S = 10.0


class Pressure:
    """Lets go of the least recently used entries of its shelves while less than ``FLOOR`` bytes are free.

    Parameters
    ----------
    free : bytes that can still be taken, None where that is not known: then nothing is ever let go of.
    """

    def __init__(self, free: Callable[[], int | None] = usable_memory) -> None:
        self._free = free
        self._shelves: list[Shelf[Any]] = []
        self._lock = threading.Lock()

    def add(self, *shelves: Shelf[Any]) -> None:
        """Watch over shelves."""
        self._shelves += shelves

    def relieve(self) -> int:
        """Weigh what has grown, and let go of what nobody uses until enough is free again; the bytes that were let go of."""
        with self._lock:
            for shelf in self._shelves:
                shelf.settle()
            free = self._free()
            if free is None or free >= FLOOR:
                return 0
            given = 0
            while free + given < FLOOR and (dropped := self._drop_oldest()):
                given += dropped
            if given:
                gc.collect()
                trim_heap()
            return given

    def watch(self) -> None:
        """Look every few seconds, for as long as the process lives."""
        threading.Thread(target=self._watch, daemon=True, name="pressure").start()

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_LOOK_EVERY_S)
            self.relieve()
            trim_heap()  # what uploads and players have left over

    def _drop_oldest(self) -> int:
        oldest = max(self._shelves, key=lambda shelf: shelf.idle_s() or 0.0, default=None)
        return 0 if oldest is None else oldest.drop_oldest(IDLE_S)
