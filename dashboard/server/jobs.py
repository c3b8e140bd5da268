"""Long work in the background: measurements of minutes that go on while a visitor changes other settings.

A job's key is what it computes, so that two visitors who ask for the same thing share it. It computes only in its slot of the
inference queue, and lets other requests run after every step: tags never wait for more than one step of a job.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.errors import PannscopeError
from core.runtime.background import BackgroundTask, TaskCancelledError
from dashboard.server.cache import ByteLruCache
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.time_left import TimeLeft

MAX_ACTIVE = 6
"""Jobs that may be under way at once, for all visitors together."""

_BUSY = "This server is busy with other measurements. Try again in a minute."

_STATUSES_KEPT = 32
_SMALL = 16_384  # bytes that a result without ``nbytes`` is counted as


class Step(Protocol):
    """Called by a job after every step: how many are done, of how many, and what is being done."""

    def __call__(self, done: int, total: int, doing: str = "") -> None: ...


@dataclass(frozen=True)
class JobStatus:
    """How far a job is.

    Attributes
    ----------
    done, total : steps; ``total`` is 0 until the first is known.
    doing : what the steps are.
    ahead : requests ahead of it in the queue.
    left_s : estimated seconds until it ends; None where that is not known yet.
    active : whether it runs or waits.
    message : why it ended without a result, in one line.
    """

    done: int = 0
    total: int = 0
    doing: str = ""
    ahead: int = 0
    left_s: float | None = None
    active: bool = True
    message: str | None = None

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class Jobs:
    """Runs jobs, each in a thread of its own and one step at a time; results are cached.

    Parameters
    ----------
    queue : where its jobs wait for their slots.
    budget_bytes : of the results.
    most : jobs that may be under way at once.
    busy : the message for one more.
    """

    def __init__(
        self, queue: InferenceQueue, budget_bytes: int, most: int = MAX_ACTIVE, busy: str = _BUSY
    ) -> None:
        self._queue, self._most, self._busy = queue, most, busy
        self._lock = threading.Lock()
        self._statuses: dict[Hashable, JobStatus] = {}
        self._tasks: dict[Hashable, BackgroundTask] = {}
        self._times_left: dict[Hashable, TimeLeft] = {}
        self._results: ByteLruCache[Any] = ByteLruCache(
            budget_bytes, lambda result: getattr(result, "nbytes", _SMALL)
        )

    def keep(self, key: Hashable, result: Any) -> None:
        """Store an intermediate result of a job."""
        self._results.put(key, result)

    def result(self, key: Hashable) -> Any | None:
        """The job's result, or None where it has not ended or its result was evicted."""
        return self._results.get(key)

    def status(self, key: Hashable) -> JobStatus | None:
        """How far the job is, or why it ended without a result; None where it was not started, or has its result."""
        with self._lock:
            status = self._statuses.get(key)
            if status is None or not status.active:
                return status
            return replace(status, left_s=self._times_left[key].seconds())

    def start(self, key: Hashable, work: Callable[[Step], Any], doing: str = "") -> None:
        """Start a job, unless it is under way or done.

        Parameters
        ----------
        work : called with the function to call after every step.
        doing : what it does until its first step says more.
        """
        with self._lock:
            if key in self._tasks or self._results.get(key) is not None:
                return
            ended = [other for other, status in self._statuses.items() if not status.active]
            for old in ended[:-_STATUSES_KEPT]:
                del self._statuses[old]
            if len(self._tasks) >= self._most:
                self._statuses[key] = JobStatus(active=False, message=self._busy)
                return
            self._statuses[key] = JobStatus(doing=doing)
            self._times_left[key] = TimeLeft()
            self._tasks[key] = BackgroundTask(
                lambda cancelled: self._run(key, work, cancelled), "job", lambda error: self._end(key, error)
            ).start()

    def cancel(self, key: Hashable) -> None:
        """Ask a job to stop after its present step."""
        with self._lock:
            if key in self._tasks:
                self._tasks[key].cancel()

    @property
    def full(self) -> bool:
        """Whether as many jobs are under way as may be."""
        with self._lock:
            return len(self._tasks) >= self._most

    def forget(self, key: Hashable) -> None:
        """Clear the message of a job that has ended."""
        with self._lock:
            if key not in self._tasks:
                self._statuses.pop(key, None)

    def _run(self, key: Hashable, work: Callable[[Step], Any], cancelled: threading.Event) -> None:
        def report(**changes: Any) -> None:
            with self._lock:
                self._statuses[key] = replace(self._statuses[key], **changes)
            if cancelled.is_set():
                raise TaskCancelledError

        with self._queue.slots(lambda ahead: report(ahead=ahead)) as yield_slot:

            def step(done: int, total: int, doing: str = "") -> None:
                with self._lock:
                    if doing and doing != self._statuses[key].doing:
                        self._times_left[key] = TimeLeft()  # other steps take other times
                    self._times_left[key].update(done, total)
                report(done=done, total=total, ahead=0, **({"doing": doing} if doing else {}))
                yield_slot()

            self._results.put(key, work(step))

    def _end(self, key: Hashable, error: Exception | None) -> None:
        with self._lock:
            del self._tasks[key], self._times_left[key]
            if error is None:
                del self._statuses[key]
                return
            message = "The measurement failed; see the server's log."
            if isinstance(error, PannscopeError):
                message = str(error)
            elif isinstance(error, TaskCancelledError):
                message = "Stopped."
            self._statuses[key] = replace(self._statuses[key], active=False, message=message)
