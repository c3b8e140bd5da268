"""Engines that are built in the background, for networks that are used before theirs is ready.

Building an engine rearranges all weights and may take a second; a network that comes from a moved slider runs on torch meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

from core.runtime.background import BackgroundTask

_log = logging.getLogger(__name__)


class Buildable(Protocol):
    """A network whose engine can be built, as a ``Tagger`` is."""

    def build_engine(self) -> object:
        """Build the engine, unless it has been built."""


class EngineBuilder:
    """Builds engines one at a time in the background.

    Only the last network that was requested waits: a slider that was moved on has superseded the others, and each requests its engine
    again when it is next used. The engine of a network that has been released meanwhile is not built.

    Parameters
    ----------
    on_done : callable, optional
        Called in that thread after each engine, which has taken memory.
    """

    def __init__(self, on_done: Callable[[], object] = lambda: None) -> None:
        self._on_done = on_done
        self._lock = threading.Lock()
        self._next: weakref.ref[Buildable] | None = None
        self._task: BackgroundTask | None = None
        self._building = threading.Lock()

    def request(self, network: Buildable) -> None:
        """Build a network's engine soon; returns at once."""
        with self._lock:
            self._next = weakref.ref(network)
            if self._task is None:
                self._task = BackgroundTask(self._run, "engine builder").start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No engine is built inside the ``with`` block; one that is under way is waited for. For measurements of time."""
        with self._building:
            yield

    def wait(self) -> None:
        """Return when nothing is under way or waiting."""
        while (task := self._task) is not None:
            task.wait()

    def _run(self, cancelled: threading.Event) -> None:
        while True:
            with self._building:
                with self._lock:
                    requested, self._next = self._next, None
                    if requested is None or cancelled.is_set():
                        self._task = None
                        return
                self._build(requested)

    def _build(self, requested: weakref.ref[Buildable]) -> None:
        network = requested()
        if network is None:
            return
        try:
            network.build_engine()
            self._on_done()
        except Exception:  # the network goes on as it is, and those that wait get their engines
            _log.exception("an engine could not be built in the background")
