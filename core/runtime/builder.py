"""Engines that are made in the background, for networks that are listened to before theirs is ready.

Making an engine rearranges all weights and may take a second; a network that comes from a moved slider is heard on torch meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

_log = logging.getLogger(__name__)


class Convertible(Protocol):
    """What has an engine to be made; a ``Tagger`` is."""

    def settle(self) -> object:
        """Make the engine, unless it is there."""


_LAST_S = 5.0


def _finish(at_work: threading.Lock) -> None:
    """When the program ends, let the present conversion end first: Python would stop its thread inside of compiled code, which ends the
    process with an abort. The lock is not given back, so that no other begins."""
    at_work.acquire(timeout=_LAST_S)


class EngineBuilder:
    """Makes engines one at a time in a thread of its own.

    Only the last network that was asked for waits for its turn: a slider that was moved on has superseded the others, and each asks
    again when it is next listened to. A network that nobody holds any more is not converted.

    Parameters
    ----------
    on_done : called in that thread after each, when memory has been taken.
    """

    def __init__(self, on_done: Callable[[], object] = lambda: None) -> None:
        self._on_done = on_done
        self._lock = threading.Lock()
        self._next: weakref.ref[Convertible] | None = None
        self._thread: threading.Thread | None = None
        self._at_work = threading.Lock()
        weakref.finalize(self, _finish, self._at_work)

    def request(self, network: Convertible) -> None:
        """Convert a network soon; returns at once."""
        with self._lock:
            self._next = weakref.ref(network)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="engine builder")
                self._thread.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No conversion runs inside the ``with`` block; one that is under way is waited for. For measurements of time."""
        with self._at_work:
            yield

    def wait(self) -> None:
        """Return when nothing is under way or waiting."""
        while (thread := self._thread) is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._at_work:
                with self._lock:
                    asked, self._next = self._next, None
                    if asked is None:
                        self._thread = None
                        return
                self._convert(asked)

    def _convert(self, asked: weakref.ref[Convertible]) -> None:
        network = asked()
        if network is None:
            return
        try:
            network.settle()
            self._on_done()
        except Exception:  # the network goes on as it is; a thread has nobody else to tell
            _log.exception("an engine could not be made in the background")
