"""A cache of machine code on the disk, so that only the first process on a machine compiles.

A file is a checksum and the code; its name is a hash of everything that the code depends on. Files are written atomically, so that
processes may write the same one at once. A file or folder that other users can write is never used.
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
"""Files of 50 KB, for several versions of Pannscope and processors that share a home directory."""

_DIGEST = hashlib.sha256().digest_size


def cached_code(key: bytes, compile_code: Callable[[], bytes]) -> bytes:
    """The code that is stored under a key, else that of ``compile_code``, which is stored where that is possible."""
    try:
        path = cache_dir() / "winograd" / f"{hashlib.sha256(key).hexdigest()}.o"
        code = _read(path)
    except (OSError, RuntimeError):  # no home directory, or a folder that cannot be read
        return compile_code()
    if code is None:
        code = compile_code()
        with suppress(OSError):
            _write(path, code)
    return code


def _read(path: Path) -> bytes | None:
    if not path.exists() or not (_private(path) and _private(path.parent)):
        return None
    content = path.read_bytes()
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def _private(path: Path) -> bool:
    """Whether only this user (or root) can have written it. Windows has no such owners and modes."""
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
