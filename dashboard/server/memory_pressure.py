"""Freeing memory while little is left: what was not used lately is evicted, whichever cache it is in.

Everything in a cache can be made again: clips are decoded anew, networks loaded anew. A script that holds a value keeps it: eviction
only removes it from the cache.
"""

from __future__ import annotations

import gc
import queue
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Protocol

from core.runtime.background import BackgroundTask
from core.runtime.machine import usable_memory
from core.runtime.memory import drop_library_pages, trim_heap

FLOOR = 256 * 2**20
"""Bytes that are to stay free. A recording of ten minutes takes up to 150 MB while it is opened and tagged, and a pass of the full CNN14
some tens of MB more: with so much left nobody's request fails."""

IDLE_S = 30.0
"""An entry used this recently is in use: pages ask anew for what they show whenever anything on them is touched."""

_CHECK_EVERY_S = 10.0


class Evictable(Protocol):
    """A cache, as far as it concerns this module; ``ByteLruCache`` and ``Players`` are of this kind."""

    def resize(self) -> None: ...
    def oldest_use(self) -> float | None: ...
    def evict_oldest(self, idle_s: float) -> int: ...
    def discard(self, part: Hashable) -> None: ...


class MemoryPressure:
    """Evicts the least recently used entries of its caches while less than ``FLOOR`` bytes are free.

    Parameters
    ----------
    free : bytes that can still be allocated, None where that is not known: then nothing is ever evicted.
    """

    def __init__(self, free: Callable[[], int | None] = usable_memory) -> None:
        self._free = free
        self._caches: list[Evictable] = []
        self._lock = threading.Lock()
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()  # a finaliser may put into it at any moment

    def add(self, cache: Evictable) -> None:
        """Watch a cache."""
        self._caches.append(cache)

    def forget_with(self, owner: object, name: str) -> None:
        """Evict what caches hold of a network (``name`` is in the key) soon after ``owner`` was freed."""
        weakref.finalize(owner, self._ended.put, name)

    def relieve(self) -> int:
        """Measure what has grown, and evict what nobody uses until enough is free; the bytes that were evicted."""
        with self._lock:
            while not self._ended.empty():
                name = self._ended.get()
                for cache in self._caches:
                    cache.discard(name)
            for cache in self._caches:
                cache.resize()
            free = self._free()
            if free is None or free >= FLOOR:
                return 0
            drop_library_pages()
            free, freed = self._free() or 0, 0
            while free + freed < FLOOR and (size := self._evict_oldest()):
                freed += size
            if freed:
                gc.collect()
                trim_heap()
            return freed

    def watch(self) -> None:
        """Check every few seconds, for as long as the process lives."""
        BackgroundTask(self._watch, "memory-pressure").start()

    def _watch(self, cancelled: threading.Event) -> None:
        while not cancelled.wait(_CHECK_EVERY_S):
            self.relieve()
            trim_heap()  # what uploads and players have left over

    def _evict_oldest(self) -> int:
        uses = [(use, cache) for cache in self._caches if (use := cache.oldest_use()) is not None]
        return min(uses, key=lambda each: each[0])[1].evict_oldest(IDLE_S) if uses else 0
