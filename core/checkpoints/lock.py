"""One writer a file, across threads and processes."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.checkpoints.download import DownloadCancelledError
from core.errors import DownloadError

log = logging.getLogger(__name__)

_POLL_S = 0.1

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def exclusive(path: Path, cancelled: Callable[[], bool] | None = None) -> Iterator[None]:
    """Hold the lock file ``path``; waits while another thread or process holds it.

    The lock belongs to the open file and goes with its process, so a crash leaves nothing to clean up; the file itself
    stays, because removing it would let two writers hold two different files of one name.

    Raises
    ------
    DownloadError
        If the lock file cannot be made; ``DownloadCancelledError`` if ``cancelled`` says so while waiting.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written ({error.strerror or error}); make its folder writable, or name another one in "
            "PANNSCOPE_WEIGHTS."
        ) from error
    with file:
        if not _locked(path, file):
            log.info("another process is fetching %s; waiting for it", path.stem)
            while not _locked(path, file):
                if cancelled and cancelled():
                    raise DownloadCancelledError(
                        f"Waiting was cancelled: another process is still fetching {path.stem}; fetch again later."
                    )
                time.sleep(_POLL_S)
        yield  # closing the file lets go of the lock


def _locked(path: Path, file: IO[bytes]) -> bool:
    try:
        return _try_lock(file)
    except OSError as error:  # a file system without locks
        raise DownloadError(
            f"{path} cannot be locked ({error.strerror or error}); name a folder on another disk in PANNSCOPE_WEIGHTS."
        ) from error
