"""Long work in the background: measurements of minutes that go on while a visitor changes other settings.

A job's key is what it computes, so that two visitors who ask for the same thing share it. It computes only in its slot of the
inference queue, and lets other requests run after every step: tags never wait for more than one step of a job.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.errors import PannscopeError
from dashboard.server.cache import ByteLruCache
from dashboard.server.inference_queue import InferenceQueue

log = logging.getLogger(__name__)

MAX_ACTIVE = 6
"""Jobs that may be under way at once, for all visitors together."""

_MESSAGES_KEPT = 32
_LAST_STEP_S = 5.0  # that a job may take for its present step once the program wants to end
_SMALL = 16_384  # bytes that a result without a weight of its own is taken for


class Step(Protocol):
    """Told after every step: how many are done, of how many, and what is being done."""

    def __call__(self, done: int, total: int, doing: str = "") -> None: ...


class CancelledError(Exception):
    """The work was told to stop; raised from ``Step`` inside of it."""


@dataclass(frozen=True)
class JobStatus:
    """Where a job stands.

    Attributes
    ----------
    done, total : steps; ``total`` is 0 until the first is known.
    doing : what the steps are, where there are several kinds.
    ahead : requests ahead of it in the queue.
    active : whether it is at work.
    message : why it ended without a result, in one line.
    """

    done: int = 0
    total: int = 0
    doing: str = ""
    ahead: int = 0
    active: bool = True
    message: str | None = None

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def _end(cancels: dict[Hashable, threading.Event], threads: dict[Hashable, threading.Thread]) -> None:
    """When the program ends: Python stops threads inside of torch's code in a way that ends the process with an abort."""
    for cancelled in list(cancels.values()):
        cancelled.set()
    for thread in list(threads.values()):
        thread.join(_LAST_STEP_S)


class Jobs:
    """Runs jobs, each in a thread of its own and all by turns; results are kept on a shelf."""

    def __init__(self, queue: InferenceQueue, budget_bytes: int) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._statuses: dict[Hashable, JobStatus] = {}
        self._cancels: dict[Hashable, threading.Event] = {}
        self._threads: dict[Hashable, threading.Thread] = {}
        weakref.finalize(self, _end, self._cancels, self._threads)
        self._results: ByteLruCache[Any] = ByteLruCache(
            budget_bytes, lambda result: getattr(result, "nbytes", _SMALL)
        )

    def keep(self, key: Hashable, result: Any) -> None:
        """Store what a job found on its way to something else."""
        self._results.put(key, result)

    def result(self, key: Hashable) -> Any | None:
        """What the job found, or None where it has not ended or its result has been let go of."""
        return self._results.get(key)

    def status(self, key: Hashable) -> JobStatus | None:
        """Where the job stands, or None where nobody asked for it."""
        with self._lock:
            return self._statuses.get(key)

    def start(self, key: Hashable, work: Callable[[Step], Any]) -> None:
        """Begin, unless it is under way or done. ``work`` is given the function to call after every step."""
        with self._lock:
            at_work = sum(status.active for status in self._statuses.values())
            known = self._statuses.get(key)
            if (known is not None and known.active) or self._results.get(key) is not None:
                return
            if at_work >= MAX_ACTIVE:
                self._statuses[key] = JobStatus(
                    active=False,
                    message="This server is busy with others' measurements. Try again in a minute.",
                )
                return
            ended = [each for each, status in self._statuses.items() if not status.active]
            for old in ended[:-_MESSAGES_KEPT]:
                del self._statuses[old]
            self._statuses[key] = JobStatus()
            self._cancels[key] = threading.Event()
            self._threads[key] = threading.Thread(target=self._run, args=(key, work), daemon=True, name="job")
            self._threads[key].start()

    def cancel(self, key: Hashable) -> None:
        """Ask a job to stop after its present step."""
        with self._lock:
            if key in self._cancels:
                self._cancels[key].set()

    def forget(self, key: Hashable) -> None:
        """Clear what an ended job left to say."""
        with self._lock:
            status = self._statuses.get(key)
            if status is not None and not status.active:
                del self._statuses[key]

    def _run(self, key: Hashable, work: Callable[[Step], Any]) -> None:
        cancelled = self._cancels[key]

        def wait(ahead: int) -> None:
            self._set(key, ahead=ahead)
            if cancelled.is_set():
                raise CancelledError

        message: str | None = None
        try:
            with self._queue.slots(wait) as yield_slot:

                def step(done: int, total: int, doing: str = "") -> None:
                    self._set(key, done=done, total=total, doing=doing, ahead=0)
                    if cancelled.is_set():
                        raise CancelledError
                    yield_slot()

                self._results.put(key, work(step))
        except CancelledError:
            message = "Stopped."
        except PannscopeError as error:
            message = str(error)
        except Exception:  # whatever goes wrong in a thread must end as a line on the page
            log.exception("a measurement failed")
            message = "The measurement failed; see the server's log."
        with self._lock:
            self._cancels.pop(key, None)
            self._threads.pop(key, None)
            if message is None:
                self._statuses.pop(key, None)
            else:
                self._statuses[key] = replace(self._statuses[key], active=False, message=message)

    def _set(self, key: Hashable, **changes: Any) -> None:
        with self._lock:
            self._statuses[key] = replace(self._statuses[key], **changes)
