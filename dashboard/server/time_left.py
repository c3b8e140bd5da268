"""How long a task in the background still takes, estimated from its progress so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

SHORT_S = 5.0
"""No estimate for tasks that take less than this in all: they are over before it has been read."""

_MEMORY_S = 20.0
"""Progress that is this old counts 1/e as much as the latest: several steps of any measurement, and a connection's changes of speed."""

_WATCHED_S = 1.0
"""Progress is watched for this long before it is extrapolated."""

_AT_ONCE_S = 0.3
"""Progress that is reported this early is no work: points that an earlier, stopped task has left."""


class TimeLeft:
    """Estimates when a task ends, from its recent pace. ``clock`` returns seconds.

    Examples
    --------
    >>> times = iter([0, 10, 10])
    >>> estimate = TimeLeft(clock=lambda: next(times))
    >>> estimate.update(0, 60)
    >>> estimate.update(20, 60)
    >>> round(estimate.seconds(), 6)
    20.0
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._at = self._done = self._total = 0.0
        self._spent_s = self._gained = self._step = 0.0

    def update(self, done: float, total: float) -> None:
        """Note that ``done`` of ``total`` is done; the first call only says where the task starts."""
        now = self._clock()
        if self._began is None:
            self._began, self._at, self._done = now, now, done
        self._total = total
        gained = done - self._done
        if gained <= 0:
            return
        if now - self._began > _AT_ONCE_S:
            spent_s = now - self._at
            fade = math.exp(-spent_s / _MEMORY_S)
            self._spent_s, self._gained = self._spent_s * fade + spent_s, self._gained * fade + gained
            self._step = gained
        self._at, self._done = now, done

    def seconds(self) -> float | None:
        """Seconds until the end; None while little is known, and for a short task."""
        if self._began is None or not self._gained or self._at - self._began < _WATCHED_S:
            return None
        now = self._clock()
        due_s = self._spent_s / self._gained * self._step  # when the next report is expected
        waited_s = now - self._at
        pace_s = (self._spent_s + max(0.0, waited_s - due_s)) / self._gained  # a stalled task becomes slower
        left_s = max(0.0, (self._total - self._done) * pace_s - min(waited_s, due_s))
        return left_s if now - self._began + left_s >= SHORT_S else None
