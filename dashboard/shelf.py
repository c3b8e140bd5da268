"""A bounded store of results, keyed on what they were made from (a sha256 and frozen parameters), never on arrays.

The store of a page server must not grow with its visitors: what was not asked for the longest goes first, by weight in
bytes. Streamlit's own cache would hash, copy and replay page elements; this one does none of these.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Shelf(Generic[Value]):
    """Key -> value, at most ``budget_bytes`` of them by ``weigh``; the newest entry always stays."""

    def __init__(self, budget_bytes: int, weigh: Callable[[Value], int]) -> None:
        self._budget = budget_bytes
        self._weigh = weigh
        self._items: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """What lies under ``key``, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: Hashable, value: Value) -> Value:
        """Store and return ``value``; older entries go until the budget holds."""
        weight = self._weigh(value)
        with self._lock:
            if key in self._items:
                self._held -= self._items.pop(key)[1]
            self._items[key] = (value, weight)
            self._held += weight
            while self._held > self._budget and len(self._items) > 1:
                self._held -= self._items.popitem(last=False)[1][1]
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The stored value, or the one that ``make`` gives, which is then stored; an error of ``make`` stores nothing."""
        found = self.get(key)
        return self.put(key, make()) if found is None else found

    @property
    def held_bytes(self) -> int:
        """The weight of everything that is stored."""
        return self._held

    def __len__(self) -> int:
        return len(self._items)
