"""Files: written all at once or not at all, checked before work is done for them, and hashed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from core.errors import PannscopeError

_WINDOWS = sys.platform == "win32"
_REPLACE_TRIES = 6
_drafts: set[Path] = set()
_REPLACE_PAUSE_S = 0.05  # before the second try, and twice as long before each one after it: 1.5 s in all


@contextlib.contextmanager
def atomic_write(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """A draft to write in place of ``target``, moved there when the ``with`` block ends: readers see the old file or the new one.

    Where the block raises, the draft is removed and ``target`` stays as it was. Several threads and processes may write one target at
    once; the last to end wins.

    Parameters
    ----------
    target : Path
        The file; its folder has to exist.
    mode : int
        Permissions of the new file, less the process's umask; ``0o600`` for the user alone.

    Yields
    ------
    Path
        The draft, an empty file in the target's folder. It may be written, or replaced by a file of another library's making.

    Raises
    ------
    OSError
        The folder, the disk or the target does not permit it; ``unwritable`` makes a message of that.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder, "plan.json")) as draft:
    ...         _ = draft.write_text("{}")
    ...     [file.name for file in Path(folder).iterdir()]
    ['plan.json']
    """
    draft = target.with_name(f".{target.stem[:40]}-{secrets.token_hex(4)}.part")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    _drafts.add(draft)
    try:
        permissions = os.fstat(descriptor).st_mode
        os.close(descriptor)
        yield draft
        draft.chmod(permissions)  # safetensors replaces it by a file that only its owner may read
        move_into_place(draft, target)
    finally:
        _drafts.discard(draft)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def remove_drafts() -> None:
    """Remove what is half written, for a program that ends without waiting for those who write it."""
    for draft in list(_drafts):
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def move_into_place(draft: Path, target: Path) -> None:
    """Make a finished draft the target, in one step, once its content is safely on the disk. Raises ``OSError``."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    for attempt in range(_REPLACE_TRIES):
        try:
            os.replace(draft, target)
            return
        except PermissionError:
            # Windows replaces no file that is open: by a reader of ours for a moment, or by a virus scanner.
            if not _WINDOWS or attempt == _REPLACE_TRIES - 1:
                raise
            time.sleep(_REPLACE_PAUSE_S * 2**attempt)


def unwritable(target: Path, error: Exception) -> str:
    """The message for a file that could not be written."""
    reason = getattr(error, "strerror", None) or error
    return f"{target} cannot be written: {reason}; check its folder and the free space."


def check_output(target: Path, suffix: str, *, force: bool, error: type[PannscopeError]) -> None:
    """Refuse a file that is going to be written, before any work is done for it.

    Parameters
    ----------
    target : Path
        The file.
    suffix : str
        The end that its name must have.
    force : bool
        Whether an existing file may be replaced.
    error : type
        The class of the error to raise.

    Examples
    --------
    >>> check_output(Path("plan.txt"), ".json", force=False, error=PannscopeError)
    Traceback (most recent call last):
    core.errors.PannscopeError: 'plan.txt' has to end in .json: name it plan.json.
    """
    if target.suffix != suffix:
        raise error(f"{target.name!r} has to end in {suffix}: name it {target.stem}{suffix}.")
    if not target.parent.is_dir():
        raise error(f"The folder {target.parent} does not exist; make it first.")
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        raise error(f"{target} cannot be written; give a file in a folder you may write to.")
    if target.exists() and not force:
        raise error(already_there(target))


def already_there(target: Path) -> str:
    """The message for an output that exists and may not be replaced."""
    return f"{target} exists already; choose another name, or replace it with --force."


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, as hexadecimal digits. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: str | os.PathLike[str], suffixes: Collection[str]) -> Iterator[str]:
    """The files with one of these suffixes in a folder and in those below it, in the order of their names: paths that begin with ``folder``.

    Hidden files and folders are left out, and links to folders are not followed. Raises ``OSError`` where a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("."):
                yield os.path.join(where, name)
