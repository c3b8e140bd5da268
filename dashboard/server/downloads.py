"""Downloads of official checkpoints in the background, for every visitor of the server alike.

One thread downloads one file after the other; pages read its progress as a frozen snapshot, and may cancel it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import PannscopeError

log = logging.getLogger(__name__)

Fetch = Callable[..., Any]


@dataclass(frozen=True)
class Progress:
    """Where a download stands.

    Attributes
    ----------
    names : what was asked for, in order.
    current : the one being downloaded, or None.
    received, total : bytes of ``current``; ``total`` is None where the server does not say.
    finished : names that are installed.
    message : why it stopped, in one line, if it failed or was cancelled.
    active : whether the thread is at work.
    """

    names: tuple[str, ...] = ()
    current: str | None = None
    received: int = 0
    total: int | None = None
    finished: tuple[str, ...] = ()
    message: str | None = None
    active: bool = False

    @property
    def share(self) -> float | None:
        """The part of the current file that has arrived, 0 to 1, or None where its size is not known."""
        return min(1.0, self.received / self.total) if self.total else None

    @property
    def done(self) -> bool:
        """Whether everything that was asked for is installed."""
        return bool(self.names) and not self.active and len(self.finished) == len(self.names)


class Downloads:
    """Runs downloads one at a time; ``fetch`` is ``core.checkpoints.fetch`` or what stands in for it."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._cancel = threading.Event()
        self._progress = Progress()

    def progress(self) -> Progress:
        """Where the latest download stands."""
        with self._lock:
            return self._progress

    def start(self, names: Sequence[str]) -> None:
        """Begin to download ``names``; nothing happens where a download is under way or there is nothing to get."""
        with self._lock:
            if self._progress.active or not names:
                return
            self._cancel = threading.Event()
            self._progress = Progress(names=tuple(names), current=names[0], active=True)
        threading.Thread(
            target=self._run, args=(tuple(names), self._cancel), daemon=True, name="fetch"
        ).start()

    def cancel(self) -> None:
        """Ask the download to stop; what has arrived is kept, and a later start goes on from there."""
        self._cancel.set()

    def forget(self) -> None:
        """Clear what an earlier download left to say."""
        with self._lock:
            if not self._progress.active:
                self._progress = Progress()

    def _run(self, names: tuple[str, ...], cancelled: threading.Event) -> None:
        for name in names:
            self._set(current=name, received=0, total=None)
            try:
                self._fetch(name, progress=self._advance, cancelled=cancelled.is_set)
            except PannscopeError as error:
                stopped = (
                    "The download was stopped; what has arrived is kept."
                    if cancelled.is_set()
                    else str(error)
                )
                self._set(active=False, current=None, message=stopped)
                return
            except Exception:  # whatever goes wrong in a thread must end as a line on the page
                log.exception("downloading %s failed", name)
                self._set(
                    active=False,
                    current=None,
                    message=f"{name} could not be downloaded; see the server's log.",
                )
                return
            self._set(finished=(*self.progress().finished, name))
        self._set(active=False, current=None)

    def _advance(self, received: int, total: int | None) -> None:
        self._set(received=received, total=total)

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._progress = replace(self._progress, **changes)
