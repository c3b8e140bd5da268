"""The players' files that Streamlit keeps: one a session, until the session shows another or ends. Bounded here like a cache.

A file that is evicted is there again with the next run of its page; what a browser has loaded of it plays on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any

from streamlit import runtime
from streamlit.runtime.media_file_storage import MediaFileKind

MOST_BYTES = 64 * 2**20
"""Of all sessions together: three recordings of ten minutes, or a hundred of ten seconds."""


class Players:
    """What ``MemoryPressure`` asks of a cache.

    Parameters
    ----------
    files : Streamlit's files by their identifiers, or no file where there is no server.
    """

    def __init__(self, files: Callable[[], dict[str, Any]]) -> None:
        self._files = files
        self._seen: dict[str, float] = {}  # identifier -> when it was first seen, oldest first

    def resize(self) -> None:
        """Notice new files, and evict the oldest until all together take ``MOST_BYTES`` at most; the newest stays."""
        sizes = self._sizes()
        self._seen = {
            name: self._seen.get(name, time.monotonic()) for name in [*self._seen, *sizes] if name in sizes
        }
        while sum(sizes.values()) > MOST_BYTES and len(sizes) > 1:
            sizes.pop(next(iter(self._seen)))
            self.evict_oldest(0.0)

    def oldest_use(self) -> float | None:
        """When the oldest file was first seen; None where there is none."""
        return next(iter(self._seen.values()), None)

    def evict_oldest(self, idle_s: float) -> int:
        """Evict the oldest file if it was first seen ``idle_s`` ago or more; its bytes, else 0."""
        oldest = self.oldest_use()
        if oldest is None or time.monotonic() - oldest < idle_s:
            return 0
        name = next(iter(self._seen))
        del self._seen[name]
        file = self._files().pop(name, None)
        return 0 if file is None else len(file.content)

    def discard(self, part: Hashable) -> None:
        """Nothing: no file belongs to a network."""

    def _sizes(self) -> dict[str, int]:
        return {
            name: len(file.content)
            for name, file in list(self._files().items())
            if file.kind is MediaFileKind.MEDIA and file.mimetype.startswith("audio/")
        }


def streamlit_files() -> dict[str, Any]:
    """The files that Streamlit serves under ``/media``."""
    if not runtime.exists():
        return {}
    files: dict[str, Any] = runtime.get_instance().media_file_mgr._storage._files_by_id  # type: ignore[attr-defined]
    return files
