"""Fetching a checkpoint: download, verify, install. A file that fails the verification is never installed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core import settings
from core.checkpoints.download import (
    Cancelled,
    DownloadCancelledError,
    Progress,
    download,
    megabytes,
    read_text,
)
from core.checkpoints.entries import Entry, buildable, entry, manifest, path_of
from core.errors import DownloadError
from core.files import atomic_write, file_sha256, move_into_place

log = logging.getLogger(__name__)

_LOCK_POLL_S = 0.1
_SPARE_BYTES = 64 * 1024 * 1024  # left free on the disk after an installation
_API_BYTES = 8 * 1024 * 1024  # the longest response that is read from the record's API
_ALGORITHMS = ("sha256", "md5")


@dataclass(frozen=True)
class Fetched:
    """What ``fetch`` installed: the checkpoint's name, its file, and that file's sha256."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class _Expected:
    """The published checksums of a file (at least one) and its size."""

    size_bytes: int | None
    md5: str | None
    sha256: str | None
    by: str  # where they are published: "manifest" or the API's address


@dataclass(frozen=True)
class _Receipt:
    """A record of what was installed and verified, kept beside the file as ``<file>.json``."""

    size_bytes: int
    mtime_ns: int
    md5: str
    sha256: str
    verified_by: str


def fetch(
    name: str | Entry, *, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> Fetched:
    """Download a checkpoint, verify it and install it; returns at once where that has been done.

    An interrupted download is kept in ``<file>.part`` and resumed. The checksum is the manifest's, or else the one that the
    Zenodo record's API lists. ``PANNSCOPE_ZENODO`` names a mirror of Zenodo, ``PANNSCOPE_WEIGHTS`` another folder. Two fetches
    of one file wait for each other.

    Parameters
    ----------
    name : str or Entry
        A name of the manifest, or an entry.
    progress : callable, optional
        Called with (bytes received, bytes expected or None) while downloading.
    cancelled : callable, optional
        Called while downloading and waiting; True ends it.

    Returns
    -------
    Fetched
        The checkpoint's name, its file, and that file's sha256.

    Raises
    ------
    DownloadError
        Not a checkpoint with a file, no network, no room, a wrong checksum, cancelled (``DownloadCancelledError``) …
    CheckpointError
        An unknown name.

    Examples
    --------
    >>> fetch("demo-cnn14").path.name  # embedded: nothing is downloaded
    'demo-cnn14.safetensors'
    """
    wanted = entry(name) if isinstance(name, str) else name
    if wanted.kind == "embedded":
        return _embedded(wanted)
    if wanted.kind == "published" or not buildable(wanted):
        _not_offered(wanted)
    target = path_of(wanted)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"The folder {target.parent} cannot be created ({error.strerror or error}); name another one in PANNSCOPE_WEIGHTS."
        ) from error
    done = _installed(wanted, target)
    if done is None:
        with _exclusive(_beside(target, ".lock"), cancelled):
            done = _installed(wanted, target) or _install(wanted, target, progress, cancelled)
    return Fetched(wanted.name, target, done.sha256)


def recorded_sha256(path: Path) -> str | None:
    """The sha256 that was recorded when ``path`` was installed; None without such a record."""
    receipt = _receipt(path)
    return receipt.sha256 if receipt else None


def _embedded(wanted: Entry) -> Fetched:
    path = path_of(wanted)
    if not path.is_file():
        raise DownloadError(
            f"{path} is missing; it is part of the repository: check it out again (git checkout)."
        )
    return Fetched(wanted.name, path, file_sha256(path))


def _not_offered(wanted: Entry) -> None:
    offered = [known.name for known in manifest().values() if known.kind == "official" and buildable(known)]
    why = (
        "was never published"
        if wanted.kind == "published"
        else "cannot be used yet: Pannscope does not build its architecture"
    )
    raise DownloadError(f"{wanted.title} {why}; fetch one of {', '.join(offered)}.")


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _receipt(target: Path) -> _Receipt | None:
    try:
        return _Receipt(**json.loads(_beside(target, ".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _installed(wanted: Entry, target: Path) -> _Receipt | None:
    """The receipt, if the file exists, is unchanged since its verification, and is the one that the manifest lists."""
    receipt = _receipt(target)
    if receipt is None or not target.is_file():
        return None
    stat = target.stat()
    unchanged = (stat.st_size, stat.st_mtime_ns) == (receipt.size_bytes, receipt.mtime_ns)
    as_listed = wanted.md5 in (None, receipt.md5) and wanted.sha256 in (None, receipt.sha256)
    return receipt if unchanged and as_listed else None


def _install(wanted: Entry, target: Path, progress: Progress | None, cancelled: Cancelled | None) -> _Receipt:
    expected = _expected(wanted, cancelled)
    if target.exists():  # copied there by hand, or its receipt was lost or is stale
        sums = _digest(target)
        wrong = _mismatch(expected, target, sums)
        if wrong:
            raise DownloadError(
                f"{target} is not the published file ({wrong}); move it away and fetch again."
            )
        return _write_receipt(target, sums, expected)
    part = _beside(target, ".part")
    for resumed in (part.exists(), False):
        download(
            _address(wanted.url or ""),
            part,
            size_bytes=expected.size_bytes,
            require_space=lambda size: _require_space(target.parent, size),
            progress=progress,
            cancelled=cancelled,
        )
        sums = _digest(part)
        wrong = _mismatch(expected, part, sums)
        if wrong is None:
            return _put(part, target, sums, expected)
        part.unlink(missing_ok=True)
        if not resumed:
            raise DownloadError(
                f"The download of {target.name} is not the published file ({wrong}); it was removed, nothing was installed. "
                "Fetch again; if that does not help, a proxy in the network or the record itself has changed the file."
            )
        log.warning("%s: the resumed download does not verify (%s); starting again", target.name, wrong)
    raise AssertionError("unreachable: the second round is never a resumed one")


def _put(part: Path, target: Path, sums: dict[str, str], expected: _Expected) -> _Receipt:
    """Make the verified ``part`` the installed file."""
    try:
        move_into_place(part, target)
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be installed: {error.strerror or error}; check its folder and fetch again."
        ) from error
    return _write_receipt(target, sums, expected)


def _write_receipt(target: Path, sums: dict[str, str], expected: _Expected) -> _Receipt:
    stat = target.stat()
    receipt = _Receipt(stat.st_size, stat.st_mtime_ns, sums["md5"], sums["sha256"], expected.by)
    try:
        with atomic_write(_beside(target, ".json")) as draft:
            draft.write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")
    except OSError as error:  # the file is good; it will be verified again next time
        log.warning("the receipt of %s cannot be written: %s", target.name, error)
    return receipt


def _digest(path: Path) -> dict[str, str]:
    """Both checksums of a file, as hexadecimal digits, from one reading."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in _ALGORITHMS}
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                for checksum in sums.values():
                    checksum.update(piece)
        return {name: checksum.hexdigest() for name, checksum in sums.items()}
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be read: {error.strerror or error}; move it away and fetch again."
        ) from error


def _mismatch(expected: _Expected, path: Path, sums: dict[str, str]) -> str | None:
    """How a file differs from the published one, or None."""
    size = path.stat().st_size
    if expected.size_bytes not in (None, size):
        return f"{size} bytes, not {expected.size_bytes}"
    for algorithm in _ALGORITHMS:
        listed = getattr(expected, algorithm)
        if listed is not None and sums[algorithm] != listed.lower():
            return f"{algorithm} {sums[algorithm]}, not {listed.lower()}"
    return None


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise DownloadError(
            f"{megabytes(size + _SPARE_BYTES)} are needed in {folder} and {megabytes(free)} are free; free some space, or "
            "name another folder in PANNSCOPE_WEIGHTS."
        )


def _address(url: str) -> str:
    """``url``, on the mirror where ``PANNSCOPE_ZENODO`` names one."""
    home = settings.ZENODO + "/"
    return f"{settings.zenodo()}/{url.removeprefix(home)}" if url.startswith(home) else url


@contextmanager
def _exclusive(path: Path, cancelled: Cancelled | None) -> Iterator[None]:
    """Hold the lock of the file ``path``, across threads and processes. The system releases it when the process ends."""
    lock = FileLock(path)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("another process is fetching %s; waiting for it", path.stem)
            lock.acquire(poll_interval=_LOCK_POLL_S, cancel_check=cancelled)
    except Timeout:
        raise DownloadCancelledError(
            f"Waiting was cancelled: another process is still fetching {path.stem}; fetch again later."
        ) from None
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be locked ({error.strerror or error}); make its folder writable, or name another one in "
            "PANNSCOPE_WEIGHTS."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _expected(wanted: Entry, cancelled: Cancelled | None) -> _Expected:
    """The manifest's checksum, or else the record's."""
    if wanted.md5 or wanted.sha256:
        return _Expected(wanted.size_bytes, wanted.md5, wanted.sha256, "manifest")
    if wanted.record is None:
        raise DownloadError(f"{wanted.title} has neither a checksum nor a record; add one to the manifest.")
    url = _address(f"{settings.ZENODO}/api/records/{wanted.record}")
    listed = next((file for file in _record_files(url, cancelled) if file.get("key") == wanted.file), None)
    if listed is None:
        raise DownloadError(
            f"{url} lists no file {wanted.file}; and without its checksum nothing is installed."
        )
    algorithm, _, value = str(listed.get("checksum") or "").partition(":")
    if algorithm not in _ALGORITHMS or not value:
        raise DownloadError(
            f"{url} lists no md5 or sha256 of {wanted.file}, and without one nothing is installed."
        )
    size = listed.get("size")
    return _Expected(
        size_bytes=size if isinstance(size, int) and size > 0 else wanted.size_bytes,
        md5=value if algorithm == "md5" else None,
        sha256=value if algorithm == "sha256" else None,
        by=url,
    )


def _record_files(url: str, cancelled: Cancelled | None) -> list[dict[str, Any]]:
    """``files[]`` of a Zenodo record, from its API."""
    body = read_text(url, limit=_API_BYTES, accept="application/json", cancelled=cancelled)
    try:
        files = json.loads(body)["files"]
        return [file for file in files if isinstance(file, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError(
            f"{url} did not return a record, and without its checksums nothing is installed: fetch again later."
        ) from error
