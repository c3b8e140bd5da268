"""Downloads of official checkpoints in the background, for all visitors of the server together.

One task downloads one file after the other; pages read its progress as a frozen snapshot, and may cancel it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from core import checkpoints
from core.errors import PannscopeError
from core.runtime.background import BackgroundTask
from dashboard.server.time_left import TimeLeft

Fetch = Callable[..., Any]


@dataclass(frozen=True)
class DownloadStatus:
    """How far a download is.

    Attributes
    ----------
    names : what was requested, in order.
    current : the one being downloaded, or None.
    received, total : bytes of ``current``; ``total`` is None where the server does not say.
    finished : names that are installed.
    active : whether it runs.
    left_s : estimated seconds until all of them are downloaded; None where that is not known yet.
    message : why it stopped, in one line, if it failed or was cancelled.
    cancelled : whether it was cancelled.
    """

    names: tuple[str, ...] = ()
    current: str | None = None
    received: int = 0
    total: int | None = None
    finished: tuple[str, ...] = ()
    active: bool = False
    left_s: float | None = None
    message: str | None = None
    cancelled: bool = False

    @property
    def share(self) -> float:
        """The part of the current file that has arrived, 0 to 1; 0 where its size is not known."""
        return min(1.0, self.received / self.total) if self.total else 0.0

    @property
    def done(self) -> bool:
        """Whether everything that was requested is installed."""
        return bool(self.names) and not self.active and len(self.finished) == len(self.names)


class Downloads:
    """Runs downloads one at a time; ``fetch`` is ``core.checkpoints.fetch`` or a test's stand-in for it."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._task: BackgroundTask | None = None
        self._time_left = TimeLeft()
        self._status = DownloadStatus()

    @property
    def status(self) -> DownloadStatus:
        """How far the latest download is."""
        with self._lock:
            if not self._status.active:
                return self._status
            return replace(self._status, left_s=self._time_left.seconds())

    def start(self, names: Sequence[str]) -> None:
        """Download ``names``; does nothing where a download is under way or there is nothing to download."""
        with self._lock:
            if self._status.active or not names:
                return
            self._status = DownloadStatus(names=tuple(names), current=names[0], active=True)
            self._task = BackgroundTask(self._run, "download", self._end).start()

    def cancel(self) -> None:
        """Ask the download to stop; what has arrived is kept, and a later start resumes from there."""
        if self._task is not None:
            self._task.cancel()

    def _run(self, cancelled: threading.Event) -> None:
        names = self.status.names
        for number, name in enumerate(names):
            self._set(current=name, received=0, total=None)
            self._time_left = TimeLeft()  # its first report is what an earlier download has left
            later = sum(checkpoints.entry(other).download_bytes for other in names[number + 1 :])
            self._fetch(name, progress=partial(self._on_progress, later), cancelled=cancelled.is_set)
            self._set(finished=(*self.status.finished, name))

    def _on_progress(self, later: int, received: int, total: int | None) -> None:
        """Note the bytes of the current file; ``later`` are those of the files after it."""
        self._set(received=received, total=total)
        if total:
            with self._lock:
                self._time_left.update(received, total + later)

    def _end(self, error: Exception | None) -> None:
        message: str | None = None
        cancelled = error is not None and self._task is not None and self._task.cancelled
        if cancelled:
            message = "The download was stopped; what has arrived is kept."
        elif isinstance(error, PannscopeError):
            message = str(error)
        elif error is not None:
            message = f"{self.status.current} could not be downloaded; see the server's log."
        self._set(active=False, current=None, message=message, cancelled=cancelled)

    def _set(self, **changes: Any) -> None:
        with self._lock:
            self._status = replace(self._status, **changes)
