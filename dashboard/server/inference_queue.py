"""One inference at a time, first come, first served.

Two networks of CNN14's size that run side by side on two cores are slower than one after the other, and their memory
adds up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

OnWait = Callable[[int], object]
"""Called with the number of requests ahead, while one waits."""

_POLL_S = 0.25


class InferenceQueue:
    """A fair lock that knows everybody's position."""

    def __init__(self) -> None:
        self._tickets: deque[object] = deque()
        self._moved = threading.Condition()

    @property
    def length(self) -> int:
        """How many requests are in the queue, the running one included."""
        with self._moved:
            return len(self._tickets)

    @contextmanager
    def slot(self, on_wait: OnWait | None = None) -> Iterator[None]:
        """Wait for the slot, hold it for the ``with`` block, and leave the queue whatever happens.

        Parameters
        ----------
        on_wait : called with the number of requests ahead, at once and four times a second, while this one waits. If it raises
            (a page that was closed or rerun), the request leaves the queue.
        """
        ticket = object()
        with self._moved:
            self._tickets.append(ticket)
        try:
            while True:
                with self._moved:
                    ahead = self._tickets.index(ticket)
                if ahead == 0:
                    break
                if on_wait is not None:
                    on_wait(ahead)
                with self._moved:
                    if self._tickets[0] is not ticket:
                        self._moved.wait(_POLL_S)
            yield
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()

    @contextmanager
    def slots(self, on_wait: OnWait | None = None) -> Iterator[Callable[[], None]]:
        """Like ``slot``, for long work: gives a function that lets all waiting requests run first, between two steps."""
        with ExitStack() as held:
            held.enter_context(self.slot(on_wait))

            def yield_slot() -> None:
                held.close()
                held.enter_context(self.slot(on_wait))

            yield yield_slot
