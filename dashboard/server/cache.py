"""A bounded store of results, keyed on what they were made from (a sha256 and frozen parameters), never on arrays.

The store of a page server must not grow with its visitors: what was not asked for the longest goes first, by weight in
bytes. Streamlit's own cache would hash, copy and replay page elements; this one does none of these.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass
class _Item(Generic[Value]):
    value: Value
    weight: int
    asked: float
    """When it was last asked for, on the monotonic clock."""


class Shelf(Generic[Value]):
    """Key -> value, at most ``budget_bytes`` of them by ``weigh``; the newest entry always stays.

    With ``growing`` everything is weighed again whenever something is stored or ``settle`` is called: a network that was only loaded is
    lighter than one that has an engine. What leaves the shelf stays whole for whoever holds it.
    """

    def __init__(self, budget_bytes: int, weigh: Callable[[Value], int], *, growing: bool = False) -> None:
        self._budget = budget_bytes
        self._weigh = weigh
        self._growing = growing
        self._items: OrderedDict[Hashable, _Item[Value]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """What lies under ``key``, or None."""
        with self._lock:
            found = self._items.get(key)
            if found is None:
                return None
            found.asked = time.monotonic()
            self._items.move_to_end(key)
            return found.value

    def put(self, key: Hashable, value: Value) -> Value:
        """Store and return ``value``; older entries go until the budget holds."""
        item = _Item(value, self._weigh(value), time.monotonic())
        with self._lock:
            if key in self._items:
                self._held -= self._items.pop(key).weight
            self._items[key] = item
            self._held += item.weight
            self._settle()
        return value

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The stored value, or the one that ``make`` gives, which is then stored; an error of ``make`` stores nothing."""
        found = self.get(key)
        return self.put(key, make()) if found is None else found

    def settle(self) -> None:
        """Weigh what may have grown, and let go of what no longer fits."""
        with self._lock:
            self._settle()

    def idle_s(self) -> float | None:
        """Seconds since the entry that was not asked for the longest was, None where there is none."""
        with self._lock:
            first = next(iter(self._items.values()), None)
            return None if first is None else time.monotonic() - first.asked

    def drop_oldest(self, idle_s: float) -> int:
        """Let go of the entry that was not asked for the longest, if that is ``idle_s`` ago or more; its weight, else 0."""
        with self._lock:
            first = next(iter(self._items.values()), None)
            return 0 if first is None or time.monotonic() - first.asked < idle_s else self._pop()

    @property
    def held_bytes(self) -> int:
        """The weight of everything that is stored."""
        return self._held

    def __len__(self) -> int:
        return len(self._items)

    def _settle(self) -> None:
        if self._growing:
            for item in self._items.values():
                item.weight = self._weigh(item.value)
            self._held = sum(item.weight for item in self._items.values())
        while self._held > self._budget and len(self._items) > 1:
            self._pop()

    def _pop(self) -> int:
        _key, item = self._items.popitem(last=False)
        self._held -= item.weight
        return item.weight
