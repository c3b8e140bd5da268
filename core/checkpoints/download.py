"""One file over HTTP into a ``.part`` file: resumed, bounded, cancellable. ``install`` decides whether it is the right one."""

from __future__ import annotations

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from core import __version__
from core.errors import DownloadError

log = logging.getLogger(__name__)

T = TypeVar("T")

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the bytes expected (None where the server does not state them)."""

Cancelled = Callable[[], bool]
"""Called between two pieces; True ends the download."""

TIMEOUT_S = 30.0  # of a silent connection, so that nothing hangs
TRIES = 3
BACKOFF_S = 0.5  # before the second try; twice that before the third
_PIECE = 256 * 1024
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class DownloadCancelledError(DownloadError):
    """The download was stopped on request; what was received is kept, and the next download resumes there."""


class _TransientError(Exception):
    """A failure that may not occur again on another attempt."""


def megabytes(size: int | None) -> str:
    """A number of bytes for a message: ``327.4 MB``."""
    return "an unknown size" if size is None else f"{size / 1e6:.1f} MB"


def download(
    url: str,
    part: Path,
    *,
    size_bytes: int | None = None,
    require_space: Callable[[int], None] | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> None:
    """Download ``url`` to ``part``, resuming after what ``part`` already holds.

    Parameters
    ----------
    url : str
        What to download.
    part : Path
        The file that receives it; what it already holds is kept.
    size_bytes : int, optional
        Size of the whole file; a server that offers another size is refused.
    require_space : callable, optional
        Called with the number of bytes still to receive, before any is; raises where the disk has no room for them.
    progress, cancelled : callable, optional
        As for ``core.checkpoints.fetch``.

    Raises
    ------
    DownloadError
        After three attempts, or at once where another cannot help; what was received stays in ``part`` unless it cannot be
        right. ``DownloadCancelledError`` where ``cancelled`` returned True.
    """

    def attempt() -> None:
        _transfer(url, part, size_bytes, require_space, progress=progress, cancelled=cancelled)

    _persist(attempt, lambda: _size(part), cancelled)


def read_text(url: str, *, limit: int, accept: str, cancelled: Cancelled | None = None) -> str:
    """A short response (at most ``limit`` bytes) as text, with the same retries; raises ``DownloadError``."""

    def attempt() -> str:
        _stop_if(cancelled, 0)
        with _opened(url, {"Accept": accept}) as response:
            try:
                return response.read(limit).decode("utf-8", errors="replace")
            except (OSError, http.client.HTTPException) as error:
                raise _TransientError(f"{url} stopped sending ({error or type(error).__name__})") from error

    return _persist(attempt, lambda: 0, cancelled)


def _persist(attempt: Callable[[], T], kept: Callable[[], int], cancelled: Cancelled | None) -> T:
    """Try up to ``TRIES`` times, as long as failures are transient."""
    for failures in range(1, TRIES + 1):
        try:
            return attempt()
        except _TransientError as stopped:
            log.info("try %d of %d: %s", failures, TRIES, stopped)
            if failures == TRIES:
                what = (
                    f"{megabytes(kept())} are kept: fetch again to resume" if kept() else "fetch again later"
                )
                raise DownloadError(f"The download failed {TRIES} times: {stopped}; {what}.") from stopped
        _pause(BACKOFF_S * 2 ** (failures - 1), kept, cancelled)
    raise AssertionError("unreachable: the last try returns or raises")


def _opened(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Open ``url``. A refused range is raised as ``HTTPError``, a transient failure as ``_TransientError``."""
    sent = {"User-Agent": f"pannscope/{__version__}", "Accept-Encoding": "identity", **headers}
    request = urllib.request.Request(url, headers=sent)
    try:
        return cast(http.client.HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT_S))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and "Range" in headers:
                raise
            line = f"{url} returned {error.code} {error.reason or ''}".strip()
            if error.code in _TRANSIENT:
                raise _TransientError(line) from error
            raise DownloadError(
                f"{line}; check the address and your network's access to it, then fetch again."
            ) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise _TransientError(f"{url} cannot be reached ({reason or type(error).__name__})") from error


def _transfer(
    url: str,
    part: Path,
    size_bytes: int | None,
    require_space: Callable[[int], None] | None,
    *,
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> None:
    """One request; appends to ``part``."""
    have = _size(part)
    _stop_if(cancelled, have)
    if size_bytes is not None and have > size_bytes:  # cannot be the beginning of this file
        part.unlink()
        have = 0
    if size_bytes is not None:
        if have == size_bytes:
            return
        if require_space:
            require_space(size_bytes - have)
    try:
        response = _opened(url, {"Range": f"bytes={have}-"} if have else {})
    except urllib.error.HTTPError as error:
        _no_such_range(url, error, part, have)
        return
    with response:
        start = _start(url, response, part, have)
        total = _total(response, start)
        if size_bytes is not None and total not in (None, size_bytes):
            raise DownloadError(
                f"{url} offers {megabytes(total)} ({total} bytes) where {size_bytes} bytes are expected; nothing was "
                "installed. The record may have changed: check it, or try again later."
            )
        if size_bytes is None and total is not None and require_space:
            require_space(total - start)
        done = _receive(
            url, response, part, start, total or size_bytes, progress=progress, cancelled=cancelled
        )
    if (total or size_bytes) is not None and done < (total or size_bytes or 0):
        raise _TransientError(f"{url} ended after {done} of {total or size_bytes} bytes")


def _no_such_range(url: str, error: urllib.error.HTTPError, part: Path, have: int) -> None:
    """416: nothing follows what we have. Returns where that is because the file is complete."""
    whole = re.fullmatch(r"bytes \*/(\d+)", (error.headers.get("Content-Range") or "").strip())
    if have and whole and int(whole.group(1)) == have:
        return
    part.unlink(missing_ok=True)
    raise _TransientError(f"{url} returned 416, no such range; starting again") from error


def _start(url: str, response: http.client.HTTPResponse, part: Path, have: int) -> int:
    """First byte of the body in the whole file: ``have`` where the server resumes, 0 where it ignores ranges."""
    if response.status == 200:
        return 0
    if response.status == 206:
        named = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
        if named and int(named.group(1)) == have:
            return have
        part.unlink(missing_ok=True)
        raise _TransientError(f"{url} sent another range than requested; starting again")
    raise DownloadError(
        f"{url} returned {response.status} {response.reason} instead of a file; fetch again later."
    )


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    """Size of the whole file as the server states it."""
    named = re.search(r"/(\d+)$", response.headers.get("Content-Range") or "")
    if response.status == 206 and named:
        return int(named.group(1))
    length = response.headers.get("Content-Length") or ""
    return start + int(length) if length.isascii() and length.isdigit() else None


def _receive(
    url: str,
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
    *,
    progress: Progress | None,
    cancelled: Cancelled | None,
) -> int:
    """Write the body behind ``start``; returns the bytes that ``part`` then holds."""
    done = start
    try:
        with part.open("ab" if start else "wb") as out:
            if progress:
                progress(done, total)
            while piece := _read(url, response):
                out.write(piece)
                done += len(piece)
                if total is not None and done > total:
                    break
                if progress:
                    progress(done, total)
                _stop_if(cancelled, done)
    except OSError as error:
        raise DownloadError(
            f"{part} cannot be written: {error.strerror or error}; free some space or check its folder."
        ) from error
    if total is not None and done > total:
        part.unlink(missing_ok=True)
        raise DownloadError(f"{url} sends more than the expected {total} bytes; nothing was installed.")
    return done


def _read(url: str, response: http.client.HTTPResponse) -> bytes:
    """What the socket has received, at most one piece: ``read1`` does not wait for a full one, so that cancelling is quick."""
    try:
        return response.read1(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _TransientError(f"{url} stopped sending ({error or type(error).__name__})") from error


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _stop_if(cancelled: Cancelled | None, kept: int) -> None:
    if cancelled and cancelled():
        raise DownloadCancelledError(
            f"The download was cancelled; {megabytes(kept)} are kept: fetch again to resume."
        )


def _pause(seconds: float, kept: Callable[[], int], cancelled: Cancelled | None) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        _stop_if(cancelled, kept())
        time.sleep(min(left, 0.1))
