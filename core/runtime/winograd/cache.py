"""Machine code kept from one process to the next, so that only the first on a machine compiles.

A file is a checksum and the code, under a name made of everything that the code depends on. Files are written beside and moved into
place: two processes at once write the same, and neither ever reads half. Nobody else may have been able to write them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.files import atomic_write
from core.settings import cache_dir

_KEPT = 8
"""Files of 50 KB: versions of Pannscope and processors of one home directory."""

_DIGEST = hashlib.sha256().digest_size


def kept(key: bytes, made: Callable[[], bytes]) -> bytes:
    """What was made for this key before, else what ``made`` gives, kept for the next time where that is possible."""
    try:
        path = cache_dir() / "winograd" / f"{hashlib.sha256(key).hexdigest()}.o"
        found = _read(path)
    except (OSError, RuntimeError):  # no home, a folder that cannot be read: then without
        return made()
    if found is None:
        found = made()
        with suppress(OSError):
            _write(path, found)
    return found


def _read(path: Path) -> bytes | None:
    if not path.exists() or not (_private(path) and _private(path.parent)):
        return None
    content = path.read_bytes()
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def _private(path: Path) -> bool:
    """Whether nobody but this user (or root) can have written it. Windows says nothing of the kind in a mode."""
    if not hasattr(os, "getuid"):
        return True
    state = path.stat()
    return state.st_uid in (os.getuid(), 0) and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _write(path: Path, code: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_write(path, mode=0o600) as draft:
        draft.write_bytes(hashlib.sha256(code).digest() + code)
    files = sorted(path.parent.glob("*.o"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in files[_KEPT:]:
        old.unlink(missing_ok=True)
