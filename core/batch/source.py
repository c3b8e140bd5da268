"""What a corpus is made of: the recordings of a folder, of a manifest, or below an address that fsspec opens."""

from __future__ import annotations

import csv
import errno
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeVar

import fsspec

from core.audio import SUFFIXES
from core.errors import AudioError, DataError, one_line
from core.files import files_below

MANIFEST_COLUMN = "path"
"""The column of a manifest that is read: paths relative to the manifest's folder, absolute ones, or addresses."""

MANIFESTS = (".csv", ".parquet")

PAUSES_S = (0.5, 2.0)
"""Before the second and the third try of what a remote store refuses."""

LOCAL_PROBLEMS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of this machine's disk, which no other try and no other clip would be without."""

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a corpus, which several schedulers work on without knowing of each other; counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that ``--shard`` names; raises ``DataError``.

        Examples
        --------
        >>> Shard.parse("2/7")
        Shard(number=2, count=7)
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise DataError(f"--shard takes i/n with i from 1 to n, as 2/7; got {text!r}.")
        return cls(int(number), int(count))

    def holds(self, clip: str) -> bool:
        """Whether a clip is this shard's: CRC-32 of its name in UTF-8, modulo the number of shards, so that no other clip matters."""
        return zlib.crc32(clip.encode("utf-8", "surrogatepass")) % self.count == self.number - 1


@dataclass(frozen=True, eq=False)
class Source:
    """Where the recordings of a corpus are.

    Attributes
    ----------
    name : str
        The folder (absolute), the manifest or the address; a data set belongs to one.
    root : str
        What the clips' names are relative to, with a separator at the end.
    clips : list of str
        Every recording's name once, in order.
    """

    name: str
    root: str
    clips: list[str] = field(repr=False)

    def path(self, clip: str) -> str:
        """Where a clip is: an absolute path, or an address."""
        if is_address(clip) or os.path.isabs(clip):
            return clip
        return self.root + (clip if is_address(self.root) else clip.replace("/", os.sep))


def is_address(path: str) -> bool:
    """Whether a path is an address that fsspec opens, as ``s3://bucket/clips``."""
    return "://" in path


def open_source(given: str) -> Source:
    """The recordings of a folder, a manifest or an address.

    Parameters
    ----------
    given : str
        A folder, whose recordings are those with a known suffix, hidden ones left out; a ``.csv`` or ``.parquet`` manifest with the column
        ``path``; or the address of either.

    Raises
    ------
    DataError
        It is not there, cannot be read, has no recordings, or is a manifest without the column.
    """
    if given.lower().endswith(MANIFESTS):
        return _manifest(given)
    if is_address(given):
        return _remote(given)
    if not os.path.isdir(given):
        what = "is a file" if os.path.exists(given) else "does not exist"
        raise DataError(f"{given} {what}; give a folder, a manifest (.csv or .parquet) or an address.")
    root = os.path.join(os.path.realpath(given), "")
    try:
        clips = sorted(path[len(root) :].replace(os.sep, "/") for path in files_below(root, SUFFIXES))
    except OSError as error:
        raise DataError(
            f"The folder {error.filename} cannot be read ({error.strerror}); change its permissions."
        ) from error
    return _with_clips(Source(os.path.realpath(given), root, clips))


def check_source(name: str) -> None:
    """Raise ``DataError`` where a source that was there is not any more: its clips are then not failures of theirs."""
    if is_address(name):
        system, path = file_system(name)
        system.invalidate_cache()
        there = tried(name, lambda: system.exists(path))
    else:
        there = os.path.exists(name)
    if not there:
        raise DataError(
            f"{name} is not there any more. What is done is kept; bring it back, and the same command goes on from there."
        )


def file_system(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it; raises ``DataError`` where its package is missing or the address is none."""
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise DataError(
            f"{address} needs a package that is not installed ({error}); install it: pip install 'pannscope[batch]' has that of s3://."
        ) from error
    except (ValueError, OSError) as error:
        raise DataError(f"{address} is not an address that fsspec opens ({error}).") from error
    return system, path


def tried(address: str, action: Callable[[], T]) -> T:
    """What an action on a remote store returns, tried three times.

    Raises
    ------
    DataError
        The last try failed, too.
    FileNotFoundError, OSError
        At once: there is no such object, or this machine's disk is full.
    """
    for pause in (*PAUSES_S, None):
        try:
            return action()
        except FileNotFoundError:
            raise
        except Exception as error:  # stores have errors of their own: botocore's, aiohttp's
            if isinstance(error, OSError) and error.errno in LOCAL_PROBLEMS:
                raise
            if pause is None:
                raise DataError(
                    f"{address} cannot be reached after three tries: {one_line(error)}"
                ) from error
            time.sleep(pause)
    raise AssertionError


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """The path of a file to read: itself, or a temporary copy of what is at an address.

    Raises
    ------
    AudioError
        There is nothing at the address, or it cannot be reached.
    OSError
        There is no room for the copy.
    """
    if not is_address(path):
        yield path
        return
    system, place = file_system(path)
    with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
        copy = os.path.join(folder, "recording" + PurePosixPath(place).suffix)
        try:
            tried(path, lambda: system.get_file(place, copy))
        except FileNotFoundError as error:
            raise AudioError(f"{path} does not exist.") from error
        except DataError as error:
            raise AudioError(str(error)) from error
        yield copy


def _remote(given: str) -> Source:
    system, path = file_system(given)
    root = given.rstrip("/") + "/"
    inside = path.rstrip("/") + "/"
    try:
        listed = tried(given, lambda: system.find(path))
    except FileNotFoundError as error:
        raise DataError(f"{given} does not exist.") from error
    names = (name.removeprefix(inside) for name in listed if name.startswith(inside))
    clips = sorted(
        name
        for name in names
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not f"/{name}".count("/.")
    )
    return _with_clips(Source(given.rstrip("/"), root, clips))


def _manifest(given: str) -> Source:
    try:
        with local_copy(given) as copy:
            listed = (
                _parquet_paths(given, copy) if given.lower().endswith(".parquet") else _csv_paths(given, copy)
            )
    except (OSError, AudioError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"The manifest {given} cannot be read: {reason}.") from error
    blank = next((number for number, path in enumerate(listed, 1) if not (path or "").strip()), None)
    if blank is not None:
        raise DataError(
            f"{given}, row {blank}: its {MANIFEST_COLUMN} is empty; give a path, or remove the row."
        )
    if is_address(given):
        return _with_clips(Source(given, given.rpartition("/")[0] + "/", sorted(set(listed))))
    absolute = os.path.realpath(given)
    return _with_clips(Source(absolute, os.path.join(os.path.dirname(absolute), ""), sorted(set(listed))))


def _csv_paths(given: str, copy: str) -> list[str]:
    try:
        with open(copy, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            _check_columns(given, rows.fieldnames or ())
            return [row[MANIFEST_COLUMN] for row in rows]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"The manifest {given} is not a CSV file in UTF-8: {error}.") from error


def _parquet_paths(given: str, copy: str) -> list[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        _check_columns(given, parquet.read_schema(copy).names)
        column = parquet.read_table(copy, columns=[MANIFEST_COLUMN]).column(0)
    except pyarrow.ArrowException as error:
        raise DataError(
            f"The manifest {given} is not a Parquet file that can be read: {one_line(error)}"
        ) from error
    if not (pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)):
        raise DataError(f"The column {MANIFEST_COLUMN} of {given} is {column.type}; it has to be text.")
    return list(column.to_pylist())


def _check_columns(given: str, columns: Iterable[str]) -> None:
    names = list(columns)
    if MANIFEST_COLUMN not in names:
        listed = ", ".join(map(repr, names[:8])) or "none"
        raise DataError(
            f"The manifest {given} has the columns {listed}; one has to be called {MANIFEST_COLUMN!r}, the recordings' paths."
        )


def _with_clips(source: Source) -> Source:
    if not source.clips:
        raise DataError(f"{source.name} contains no recordings ({', '.join(SUFFIXES)}).")
    return source


def stored_names(clips: Sequence[str]) -> list[str]:
    """Names as a data set has them: bytes that are no text are written as ``\\udcff``.

    Examples
    --------
    >>> stored_names(["rain.wav", "caf\\udce9.wav"])
    ['rain.wav', 'caf\\\\udce9.wav']
    """
    return [clip.encode("utf-8", "backslashreplace").decode() for clip in clips]
