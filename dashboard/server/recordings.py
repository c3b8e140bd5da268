"""Visitors' recordings in the server's memory: whose they are, how much they may take, and which go first.

Streamlit receives an upload and holds its bytes for a session (its uploaded-file manager); the page then takes it over into
``Recordings``, where it stays for its owner across pages and reloads. Both count, and so does what is still arriving.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamlit import config, runtime

from core.runtime.machine import total_memory
from dashboard import formats
from dashboard.server.source import Source

IDLE_S = 120.0
"""A visitor whose page ran less long ago keeps the recordings, even where others need room: a page that is read runs rarely."""

KEPT_S = 3600.0
"""What nobody has used for so long is dropped."""

MOST_OWNERS = 10_000
"""Visitors whose last use is remembered; of more, the one who has been idle longest is forgotten with the recordings. A cookie is
easily made up."""

_SHARE = 5
"""Recordings may take one part in so many of the memory: of 1 GB, where the app takes 400 MB and a pass some 150, 200 MB."""

_REFUSALS = 1000  # whose pages may still have to say why

_MOST = 2 * 2**30
_UNKNOWN_MEMORY = 4 * 2**30
"""Where the system does not say how much there is (macOS, Windows): any machine of the last ten years has as much."""

FULL = "This server's memory for recordings is in use by other visitors just now: try again in a few minutes."


@dataclass(frozen=True)
class Limits:
    """Bytes of recordings that one visitor, and all together, may have on the server."""

    visitor: int
    total: int

    @classmethod
    def of_memory(cls, memory: int | None, largest_file: int) -> Limits:
        """A fifth of the memory for all and half of that for one visitor, and room for one file of the largest size at least.

        Examples
        --------
        >>> Limits.of_memory(1_000_000_000, largest_file=50_000_000)
        Limits(visitor=100000000, total=200000000)
        """
        total = max(min((memory or _UNKNOWN_MEMORY) // _SHARE, _MOST), largest_file)
        return cls(visitor=max(total // 2, largest_file), total=total)


@dataclass(frozen=True, eq=False)
class Arrival:
    """An upload under way: whose it is, for which of Streamlit's sessions, and the most bytes that it can bring."""

    owner: str
    session: str
    nbytes: int


class Recordings:
    """Every visitor's recordings; safe from any thread.

    Parameters
    ----------
    limits : what may be kept.
    manager : returns Streamlit's uploaded-file manager, or None where there is none.
    clock : seconds, as ``time.monotonic``.
    """

    def __init__(
        self,
        limits: Limits,
        manager: Callable[[], Any | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._manager = manager
        self._clock = clock
        self._lock = threading.RLock()
        self._kept: dict[str, dict[str, Source]] = {}  # owner -> address key -> recording
        self._used: dict[str, float] = {}  # owner -> time of the last use
        self._owners: dict[str, str] = {}  # Streamlit's session -> owner
        self._arriving: set[Arrival] = set()
        self._refusals: dict[str, str] = {}  # Streamlit's session -> why its last upload was refused

    def admit(self, owner: str, session: str, nbytes: int) -> Arrival | str:
        """Reserve room for an upload of up to ``nbytes``; why it is refused, in one line, where there is none.

        Where all visitors together have too much, the one who has been idle longest loses the recordings, then the next.
        """
        with self._lock:
            self.touch(owner)
            self._prune_sessions()
            self._owners[session] = owner
            held = self._held()
            if held.get(owner, 0) + nbytes > self.limits.visitor:
                return self._refuse(
                    session,
                    f"Your recordings may take {formats.file_size(self.limits.visitor)} together on this server: "
                    "remove some, add smaller ones, or use the command line.",
                )
            while sum(held.values()) + nbytes > self.limits.total:
                idle = [other for other in held if other != owner and self._idle_s(other) >= IDLE_S]
                if not idle:
                    return self._refuse(session, FULL)
                oldest = max(idle, key=self._idle_s)
                self._drop(oldest)
                del held[oldest]
            arrival = Arrival(owner, session, nbytes)
            self._arriving.add(arrival)
            self._refusals.pop(session, None)
            return arrival

    def arrived(self, arrival: Arrival) -> None:
        """Release the room that was reserved: the upload is with Streamlit now, or has failed."""
        with self._lock:
            self._arriving.discard(arrival)

    def keep(self, owner: str, source: Source) -> Source:
        """Keep a recording for its owner; the one that is kept already where it has the same bytes and name."""
        with self._lock:
            self.touch(owner)
            return self._kept.setdefault(owner, {}).setdefault(source.address_key, source)

    def find(self, owner: str, keys: Sequence[str]) -> list[Source]:
        """Those of the owner's recordings that ``keys`` name and that are still kept, in that order."""
        with self._lock:
            self.touch(owner)
            kept = self._kept.get(owner, {})
            return [kept[key] for key in keys if key in kept]

    def remove(self, owner: str, session: str, keys: Sequence[str]) -> None:
        """Remove some of the owner's recordings from the server's memory; what was refused for want of room is no longer news."""
        with self._lock:
            self._refusals.pop(session, None)
            kept = self._kept.get(owner, {})
            for key in keys:
                _forget(kept.pop(key, None))

    def refusal(self, session: str) -> str | None:
        """Why the session's last upload was refused; None where it was not."""
        with self._lock:
            return self._refusals.get(session)

    def touch(self, owner: str) -> None:
        """Note that the owner is there, and drop what nobody has used for ``KEPT_S``."""
        with self._lock:
            self._used.pop(owner, None)
            self._used[owner] = self._clock()  # the latest last
            while len(self._used) > MOST_OWNERS or self._idle_s(next(iter(self._used))) >= KEPT_S:
                self._drop(next(iter(self._used)))

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is held or arriving."""
        with self._lock:
            return sum(self._held().values())

    def _held(self) -> dict[str, int]:
        """Owner -> bytes that are kept, that Streamlit holds, and that are arriving."""
        held: dict[str, int] = defaultdict(int)
        for owner, kept in self._kept.items():
            held[owner] += sum(source.recording.nbytes for source in kept.values() if source.recording)
        for arrival in self._arriving:
            held[arrival.owner] += arrival.nbytes
        received: dict[str, Any] = dict(self._received())
        for session, files in received.items():
            held[self._owners.get(session, session)] += sum(len(file.data) for file in dict(files).values())
        return {owner: size for owner, size in held.items() if size}

    def _prune_sessions(self) -> None:
        known = {arrival.session for arrival in self._arriving}.union(self._received())
        self._owners = {session: owner for session, owner in self._owners.items() if session in known}
        self._refusals = dict(list(self._refusals.items())[-_REFUSALS:])

    def _received(self) -> Any:
        manager = self._manager()
        return {} if manager is None else manager.file_storage

    def _idle_s(self, owner: str) -> float:
        return self._clock() - self._used.get(owner, float("-inf"))

    def _drop(self, owner: str) -> None:
        self._used.pop(owner, None)
        for source in self._kept.pop(owner, {}).values():
            _forget(source)
        manager = self._manager()
        for session in [
            session for session in self._received() if self._owners.get(session, session) == owner
        ]:
            manager.remove_session_files(session)  # type: ignore[union-attr]  # what it has received it has

    def _refuse(self, session: str, reason: str) -> str:
        self._refusals[session] = reason
        return reason


def _forget(source: Source | None) -> None:
    """Free a recording's bytes; jobs and pages may still hold its name."""
    if source is not None and source.recording is not None:
        source.recording.data = None


def _streamlit_manager() -> Any | None:
    return runtime.get_instance().uploaded_file_mgr if runtime.exists() else None


_recordings: Recordings | None = None
_creating = threading.Lock()


def get_recordings() -> Recordings:
    """The process's one ``Recordings``."""
    global _recordings
    with _creating:
        if _recordings is None:
            largest = config.get_option("server.maxUploadSize") * 2**20
            _recordings = Recordings(Limits.of_memory(total_memory(), largest), _streamlit_manager)
        return _recordings
