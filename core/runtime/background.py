"""Work in a thread of its own that can be cancelled, reports how it ended, and ends in order with the program."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable

from core.errors import PannscopeError

_log = logging.getLogger(__name__)

EXIT_SECONDS = 3.0
"""How long all tasks together may take for their present step once the program ends, which it does within 5 s."""

_running: set[BackgroundTask] = set()


class TaskCancelledError(Exception):
    """Raised by a task's own work where it finds itself cancelled and has no result to return."""


class BackgroundTask:
    """A function that runs once, in a daemon thread of its own.

    A task that is at work when the program ends is cancelled and waited for, ``EXIT_SECONDS`` at most: Python would stop its thread
    inside compiled code, which ends the process with an abort.

    Parameters
    ----------
    work : callable
        Called in the thread with the event that ``cancel`` sets. It looks at the event between its steps (``cancelled.is_set()``, or
        ``cancelled.wait(seconds)`` in place of a sleep) and then returns or raises.
    name : str
        Of the thread, and of the task in the log.
    on_end : callable, optional
        Called in the thread once ``work`` has ended, with what it raised, or None. ``PannscopeError`` (a message for the user) and
        ``TaskCancelledError`` are only passed on; any other exception is logged with its traceback as well.

    Examples
    --------
    >>> results = []
    >>> task = BackgroundTask(lambda cancelled: results.append(cancelled.is_set()), "example").start()
    >>> task.wait()
    True
    >>> results
    [False]
    """

    def __init__(
        self,
        work: Callable[[threading.Event], object],
        name: str,
        on_end: Callable[[Exception | None], object] = lambda _error: None,
    ) -> None:
        self._work, self._on_end = work, on_end
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    def start(self) -> BackgroundTask:
        """Begin; returns the task itself. A task starts once."""
        _running.add(self)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread left, or the interpreter is ending
            _running.discard(self)
            raise
        return self

    def cancel(self) -> None:
        """Ask the work to stop after its present step; returns at once."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, for ``seconds`` at most; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._work(self._cancelled)
        except (PannscopeError, TaskCancelledError) as expected:
            error = expected
        except Exception as unexpected:  # a thread has no caller that could catch it
            _log.exception("%s failed", self._thread.name)
            error = unexpected
        try:
            self._on_end(error)
        finally:
            _running.discard(self)


def end_all(seconds: float | None = None) -> bool:
    """Cancel and wait for every task, those that others start meanwhile included; whether all have ended in time (``EXIT_SECONDS``)."""
    deadline = time.monotonic() + (EXIT_SECONDS if seconds is None else seconds)
    while (tasks := list(_running)) and (left := deadline - time.monotonic()) > 0:
        for task in tasks:
            task.cancel()
        tasks[0].wait(left)
    return not _running


atexit.register(end_all)
