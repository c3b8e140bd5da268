"""A bounded cache of results, keyed on what they were made from (a sha256 and settings), never on arrays.

It must not grow with a server's visitors: the least recently used entries are evicted, by their size in bytes. Streamlit's own cache
would hash, copy and replay page elements; this one does none of these.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclass
class _Entry(Generic[Value]):
    value: Value
    size: int
    used: float
    """When it was last used, on the monotonic clock."""


class ByteLruCache(Generic[Value]):
    """Key -> value, of at most ``budget_bytes`` together; the newest entry always stays.

    An evicted value stays valid for the code that holds it.

    Parameters
    ----------
    budget_bytes : the most that the entries may hold together.
    size_of : bytes that a value holds.
    growing : measure all entries again whenever something is stored, or ``resize`` is called: a network that was only loaded is
        smaller than one that has an engine.
    """

    def __init__(self, budget_bytes: int, size_of: Callable[[Value], int], *, growing: bool = False) -> None:
        self._budget = budget_bytes
        self._size_of = size_of
        self._growing = growing
        self._entries: OrderedDict[Hashable, _Entry[Value]] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value under ``key``, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            entry.used = time.monotonic()
            self._entries.move_to_end(key)
            return entry.value

    def put(self, key: Hashable, value: Value) -> Value:
        """Store and return ``value``; older entries are evicted until the budget holds."""
        entry = _Entry(value, self._size_of(value), time.monotonic())
        with self._lock:
            if key in self._entries:
                self._nbytes -= self._entries.pop(key).size
            self._entries[key] = entry
            self._nbytes += entry.size
            self._fit()
        return value

    def get_or_make(
        self, key: Hashable, make: Callable[[], Value], within: AbstractContextManager[Any] | None = None
    ) -> Value:
        """The stored value, or else the result of ``make``, which is then stored; an error of ``make`` stores nothing.

        ``within`` is entered to make the value, not to look it up: a lock or a slot of the inference queue, so that several who ask
        for the same value at once compute it once.
        """
        value = self.get(key)
        if value is not None:
            return value
        with within or nullcontext():
            value = self.get(key)
            return self.put(key, make()) if value is None else value

    def resize(self) -> None:
        """Measure what may have grown, and evict what no longer fits."""
        with self._lock:
            self._fit()

    def oldest_use(self) -> float | None:
        """When the least recently used entry was used, by ``time.monotonic``; None where there is none."""
        with self._lock:
            oldest = next(iter(self._entries.values()), None)
            return None if oldest is None else oldest.used

    def evict_oldest(self, idle_s: float) -> int:
        """Evict the least recently used entry if it was idle for ``idle_s`` or more; its bytes, else 0."""
        with self._lock:
            oldest = next(iter(self._entries.values()), None)
            return 0 if oldest is None or time.monotonic() - oldest.used < idle_s else self._evict()

    def discard(self, part: Hashable) -> None:
        """Evict every entry whose key is a tuple with this part."""
        with self._lock:
            for key in [key for key in self._entries if isinstance(key, tuple) and part in key]:
                self._nbytes -= self._entries.pop(key).size

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is stored."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._entries)

    def _fit(self) -> None:
        if self._growing:
            for entry in self._entries.values():
                entry.size = self._size_of(entry.value)
            self._nbytes = sum(entry.size for entry in self._entries.values())
        while self._nbytes > self._budget and len(self._entries) > 1:
            self._evict()

    def _evict(self) -> int:
        _key, entry = self._entries.popitem(last=False)
        self._nbytes -= entry.size
        return entry.size
