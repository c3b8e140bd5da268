"""Fetching a checkpoint: download, verify, install; and removing it. A file that fails the verification is never installed."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from core.checkpoints.download import (
    Cancelled,
    DownloadCancelledError,
    Progress,
    download,
    megabytes,
)
from core.checkpoints.entries import Entry, buildable, entry, manifest, missing_package, path_of
from core.checkpoints.verify import Expected, address, digest, expected, mismatch
from core.errors import DownloadError
from core.files import atomic_write, file_sha256, move_into_place

log = logging.getLogger(__name__)

_LOCK_POLL_S = 0.1
_SPARE_BYTES = 64 * 1024 * 1024  # left free on the disk after an installation


@dataclass(frozen=True)
class Fetched:
    """What ``fetch`` installed: the checkpoint's name, its file, and that file's sha256."""

    name: str
    path: Path
    sha256: str


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
    Zenodo record's API lists; where none is published, the file has to have exactly the tensors of its architecture. ``PANNSCOPE_ZENODO`` names a mirror of Zenodo, ``PANNSCOPE_WEIGHTS`` another folder. Two fetches
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
        Not a checkpoint with a file, a package that it needs is not installed, no network, no room, a wrong checksum, cancelled (``DownloadCancelledError``) …
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
    if (missing := missing_package(wanted)) is not None:
        raise DownloadError(missing)
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


def remove(name: str | Entry) -> int:
    """Remove a fetched checkpoint, and what an interrupted download has left of it; it can be fetched again.

    Returns
    -------
    int
        Bytes that are free again.

    Raises
    ------
    DownloadError
        It is part of Pannscope, was never fetched, is being fetched, or the folder does not permit it.
    CheckpointError
        An unknown name.

    Examples
    --------
    >>> remove("demo-cnn14")
    Traceback (most recent call last):
    core.errors.DownloadError: Demo CNN14 is part of Pannscope and stays; only fetched models are removed.
    """
    wanted = entry(name) if isinstance(name, str) else name
    if wanted.kind == "embedded":
        raise DownloadError(
            f"{wanted.title} is part of Pannscope and stays; only fetched models are removed."
        )
    target = path_of(wanted) if wanted.file else None
    files = [] if target is None else [target, _beside(target, ".json"), _beside(target, ".part")]
    present = [file for file in files if file.is_file()]
    if target is None or not present:
        raise DownloadError(f"{wanted.title} is not installed; `pannscope models` lists what is.")
    with _exclusive(_beside(target, ".lock"), lambda: True):
        try:
            freed = sum(file.stat().st_size for file in present)
            for file in present:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise DownloadError(
                f"{target} cannot be removed: {error.strerror or error}; check its folder's permissions."
            ) from error
    return freed


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
    why = f"there is no file to fetch ({wanted.licence})"
    if wanted.kind != "published":
        why = "Pannscope does not build its architecture"
    raise DownloadError(f"{wanted.title}: {why}; fetch one of {', '.join(offered)}.")


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
    published = expected(wanted, cancelled)
    if target.exists():  # copied there by hand, or its receipt was lost or is stale
        sums = digest(target)
        wrong = mismatch(wanted, published, target, sums)
        if wrong:
            raise DownloadError(
                f"{target} is not the published file ({wrong}); move it away and fetch again."
            )
        return _write_receipt(target, sums, published)
    part = _beside(target, ".part")
    for resumed in (part.exists(), False):
        download(
            address(wanted.url or ""),
            part,
            size_bytes=published.size_bytes,
            require_space=lambda size: _require_space(target.parent, size),
            progress=progress,
            cancelled=cancelled,
        )
        sums = digest(part)
        wrong = mismatch(wanted, published, part, sums)
        if wrong is None:
            return _put(part, target, sums, published)
        part.unlink(missing_ok=True)
        if not resumed:
            raise DownloadError(
                f"The download of {target.name} is not the published file ({wrong}); it was removed, nothing was installed. "
                "Fetch again; if that does not help, a proxy in the network or the record itself has changed the file."
            )
        log.warning("%s: the resumed download does not verify (%s); starting again", target.name, wrong)
    raise AssertionError("unreachable: the second round is never a resumed one")


def _put(part: Path, target: Path, sums: dict[str, str], published: Expected) -> _Receipt:
    """Make the verified ``part`` the installed file."""
    try:
        move_into_place(part, target)
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be installed: {error.strerror or error}; check its folder and fetch again."
        ) from error
    return _write_receipt(target, sums, published)


def _write_receipt(target: Path, sums: dict[str, str], published: Expected) -> _Receipt:
    stat = target.stat()
    receipt = _Receipt(stat.st_size, stat.st_mtime_ns, sums["md5"], sums["sha256"], published.by)
    try:
        with atomic_write(_beside(target, ".json")) as draft:
            draft.write_text(json.dumps(asdict(receipt), indent=1) + "\n", encoding="utf-8")
    except OSError as error:  # the file is good; it will be verified again next time
        log.warning("the receipt of %s cannot be written: %s", target.name, error)
    return receipt


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise DownloadError(
            f"{megabytes(size + _SPARE_BYTES)} are needed in {folder} and {megabytes(free)} are free; free some space, or "
            "name another folder in PANNSCOPE_WEIGHTS."
        )


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
