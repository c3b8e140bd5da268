"""One inference at a time, in the order of asking.

Two networks of CNN14's size that run side by side on two cores are slower than one after the other, and their memory
adds up. Everybody who asks draws a ticket, and hears how many are before them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_LOOK_EVERY_S = 0.25


class Gate:
    """A lock that serves first come, first served, and knows everybody's place in the line."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many are in the line, the one being served included."""
        with self._moved:
            return len(self._line)

    @contextmanager
    def turn(self, tell: Callable[[int], None] | None = None) -> Iterator[None]:
        """Wait for one's turn, hold it for the ``with`` block, and leave the line whatever happens.

        Parameters
        ----------
        tell : called with the number of those before us, at once and four times a second, while we wait. If it raises
            (a page that was closed or rerun), the place in the line is given up.
        """
        ticket = object()
        with self._moved:
            self._line.append(ticket)
        try:
            while True:
                with self._moved:
                    before = self._line.index(ticket)
                if before == 0:
                    break
                if tell is not None:
                    tell(before)
                with self._moved:
                    if self._line[0] is not ticket:
                        self._moved.wait(_LOOK_EVERY_S)
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    @contextmanager
    def turns(self, tell: Callable[[int], None] | None = None) -> Iterator[Callable[[], None]]:
        """Like ``turn``, for long work: gives a function that lets everybody who waits go first, between two steps."""
        with ExitStack() as held:
            held.enter_context(self.turn(tell))

            def let_others_go_first() -> None:
                held.close()
                held.enter_context(self.turn(tell))

            yield let_others_go_first
