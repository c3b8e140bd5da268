"""Fetching a checkpoint: download, verify, install. What is not verified is never installed."""

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
_API_BYTES = 8 * 1024 * 1024  # the longest answer that is read from the record's API
_ALGORITHMS = ("sha256", "md5")


@dataclass(frozen=True)
class Fetched:
    """What ``fetch`` installed: the checkpoint's name, its file, and the sha256 of what is in it."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class _Expected:
    """What the file has to be: its checksums (at least one) and its size, as published."""

    size_bytes: int | None
    md5: str | None
    sha256: str | None
    by: str  # who says so: "manifest" or the API's address


@dataclass(frozen=True)
class _Receipt:
    """What was installed and verified, kept beside the file as ``<file>.json``."""

    size_bytes: int
    mtime_ns: int
    md5: str
    sha256: str
    verified_by: str


def fetch(
    name: str | Entry, *, progress: Progress | None = None, cancelled: Cancelled | None = None
) -> Fetched:
    """Download a checkpoint, verify it and install it; returns at once where that has been done.

    What arrived of an interrupted download is kept in ``<file>.part`` and continued. The checksum is the manifest's, or
    else the one that the Zenodo record's API lists. ``PANNSCOPE_ZENODO`` names another address for
    ``https://zenodo.org`` (a mirror), ``PANNSCOPE_WEIGHTS`` another folder. Two fetches of one file wait for each other.

    Parameters
    ----------
    name : a name of the manifest, or an ``Entry``.
    progress : called with (bytes there, bytes expected or None) while downloading.
    cancelled : asked while downloading and waiting; True ends it.

    Raises
    ------
    DownloadError
        No file to download, no network, no room, wrong checksum, cancelled (``DownloadCancelledError``) …
    CheckpointError
        An unknown name.
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
            f"The folder {target.parent} cannot be made ({error.strerror or error}); name another one in PANNSCOPE_WEIGHTS."
        ) from error
    done = _installed(wanted, target)
    if done is None:
        with _exclusive(_beside(target, ".lock"), cancelled):
            done = _installed(wanted, target) or _install(wanted, target, progress, cancelled)
    return Fetched(wanted.name, target, done.sha256)


def recorded_sha256(path: Path) -> str | None:
    """The sha256 that was recorded when ``path`` was installed; None where nothing was."""
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
    offered = [each.name for each in manifest().values() if each.kind == "official" and buildable(each)]
    why = (
        "was never published"
        if wanted.kind == "published"
        else "cannot be used yet: its architecture is not built"
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
    """The receipt, if the file is there, is the one that was verified, and is the one that the manifest wants."""
    receipt = _receipt(target)
    if receipt is None or not target.is_file():
        return None
    stat = target.stat()
    unchanged = (stat.st_size, stat.st_mtime_ns) == (receipt.size_bytes, receipt.mtime_ns)
    as_listed = wanted.md5 in (None, receipt.md5) and wanted.sha256 in (None, receipt.sha256)
    return receipt if unchanged and as_listed else None


def _install(wanted: Entry, target: Path, progress: Progress | None, cancelled: Cancelled | None) -> _Receipt:
    expected = _expected(wanted, cancelled)
    if target.exists():  # put there by hand, or its receipt was lost or is stale
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
                f"What arrived as {target.name} is not the published file ({wrong}); it was removed, nothing was installed. "
                "Fetch again; if it stays so, the network or the record changes the file."
            )
        log.warning("%s: what was continued does not verify (%s); starting again", target.name, wrong)
    raise AssertionError("unreachable: the second round is never a resumed one")


def _put(part: Path, target: Path, sums: dict[str, str], expected: _Expected) -> _Receipt:
    """Make the verified ``part`` the installed file, all at once, and safely on the disk."""
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
    """What is wrong with a file, or None."""
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
    """Hold the lock file ``path``, across threads and processes; it goes with its process, so a crash leaves nothing to clean up."""
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
        raise DownloadError(f"{url} lists no file {wanted.file}; without its checksum nothing is installed.")
    algorithm, _, value = str(listed.get("checksum") or "").partition(":")
    if algorithm not in _ALGORITHMS or not value:
        raise DownloadError(
            f"{url} gives no md5 or sha256 for {wanted.file}; without one nothing is installed."
        )
    size = listed.get("size")
    return _Expected(
        size_bytes=size if isinstance(size, int) and size > 0 else wanted.size_bytes,
        md5=value if algorithm == "md5" else None,
        sha256=value if algorithm == "sha256" else None,
        by=url,
    )


def _record_files(url: str, cancelled: Cancelled | None) -> list[dict[str, Any]]:
    """``files[]`` of a Zenodo record, as its API answers."""
    body = read_text(url, limit=_API_BYTES, accept="application/json", cancelled=cancelled)
    try:
        files = json.loads(body)["files"]
        return [file for file in files if isinstance(file, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DownloadError(
            f"{url} did not answer with a record; its checksums are needed, so nothing is installed: fetch again later."
        ) from error
