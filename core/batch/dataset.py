"""The data set that a corpus becomes: Parquet files of which each is written as a whole, and what their rows follow from.

    out/dataset.json                          the source and the settings
    out/networks/NAME.json                    a network: sha256, classes, embedding
    out/clips/model=NAME/part-*.parquet       the rows
    out/failures/part-*.parquet               clips that could not be read

A clip is done where a part file has it: there is no other record, so that none can disagree with the files.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import pyarrow
from pyarrow import parquet

from core.batch.source import file_system, is_address, tried
from core.errors import DataError, one_line
from core.files import atomic_write, unwritable

FORMAT = 1
SUFFIX = ".parquet"
FAILURES = "failures"
GO_ON = "What is done is kept; the same command goes on from there."

_READERS = 8  # part files that are read at once: reading waits for a disk or a network

ROW_GROUP = 1024
"""Rows that are kept in memory until they are written."""

FAILURE_SCHEMA = pyarrow.schema({name: pyarrow.string() for name in ("clip", "path", "error")})


@dataclass(frozen=True)
class Settings:
    """What the rows of all networks follow from, besides the recordings.

    Attributes
    ----------
    window_s, overlap : float or None
        Rows for windows of so many seconds; None: one row for a clip.
    top : int
        Tags of a row.
    probabilities, embeddings : bool
        Whether rows have all probabilities and the embedding.
    channel : int, "mean" or "loudest"
    max_seconds : float
        Longer recordings are failures.
    """

    window_s: float | None
    overlap: float | None
    top: int
    probabilities: bool
    embeddings: bool
    channel: Any
    max_seconds: float


def rows_folder(model: str) -> str:
    """The folder of a network's part files: a partition that DuckDB, pyarrow and Spark read the column ``model`` from.

    Examples
    --------
    >>> rows_folder("demo-cnn14"), rows_folder("a/b")
    ('clips/model=demo-cnn14', 'clips/model=a%2Fb')
    """
    return f"clips/model={quote(model, safe='')}"


def row_schema(settings: Settings, classes: int, embedding: int) -> pyarrow.Schema:
    """The columns of a part file."""
    text, number, single = pyarrow.string(), pyarrow.float64(), pyarrow.float32()
    fields = {
        "clip": text,
        "path": text,
        "sha256": text,
        "duration_s": number,
        "start_s": number,
        "end_s": number,
    }
    fields |= {"tags": pyarrow.list_(text), "tag_probabilities": pyarrow.list_(single)}
    if settings.probabilities:
        fields["probabilities"] = pyarrow.list_(single, classes)
    if settings.embeddings:
        fields["embedding"] = pyarrow.list_(single, embedding)
    fields |= {"checkpoint": text, "runtime": text, "versions": text}
    return pyarrow.schema(fields, {"pannscope": json.dumps({"format": FORMAT})})


class PartWriter:
    """One part file's rows, written in groups so that memory does not grow with the length of recordings."""

    def __init__(self, path: str, schema: pyarrow.Schema) -> None:
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        texts = [name for name in schema.names if pyarrow.types.is_string(schema.field(name).type)]
        listed = ["tags.list.element"] if "tags" in schema.names else []
        self._file = parquet.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=texts + listed, write_page_checksum=True
        )
        self.count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, of which only the columns of the file are kept."""
        self._rows.append({name: row[name] for name in self._schema.names})
        self.count += 1
        if len(self._rows) == ROW_GROUP:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_details: object) -> None:
        """Write what is left, and the file's end; of a file that is given up nothing that is complained about."""
        try:
            if error is None:
                self._flush()
            self._file.close()
        except OSError:
            self._file.is_open = False  # or its end is tried again when it is collected
            if error is None:
                raise

    def _flush(self) -> None:
        if self._rows:
            columns = [
                pyarrow.array([row[name] for row in self._rows], self._schema.field(name).type)
                for name in self._schema.names
            ]
            self._file.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
            self._rows.clear()


class Store:
    """A folder or an address that a data set is written to and read from."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if is_address(address) else os.path.abspath(address)
        self._remote = file_system(self.address) if is_address(address) else None

    def place(self, name: str) -> str:
        """A file's path or address, as messages have it."""
        return f"{self.address}/{name}"

    def names(self, folder: str) -> list[str]:
        """The part files of a folder, in order; none where there is no such folder."""
        if self._remote is None:
            try:
                found = os.listdir(self.place(folder))
            except FileNotFoundError:
                return []
        else:
            system, root = self._remote
            try:
                system.invalidate_cache()
                found = tried(self.place(folder), lambda: system.ls(f"{root}/{folder}", detail=False))
            except FileNotFoundError:
                return []
        return sorted(name.rpartition("/")[2] for name in found if name.endswith(SUFFIX))

    def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is no such file."""
        try:
            if self._remote is None:
                return Path(self.place(name)).read_bytes()
            system, root = self._remote
            return bytes(tried(self.place(name), lambda: system.cat_file(f"{root}/{name}")))
        except FileNotFoundError:
            return None

    @contextmanager
    def writing(self, name: str) -> Iterator[str]:
        """The path of a draft that becomes the file when the ``with`` block ends, in one step; raises ``DataError`` where it cannot be written."""
        target = Path(self.place(name))
        try:
            if self._remote is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(target) as draft:
                    yield str(draft)
                return
            system, root = self._remote
            with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
                local = os.path.join(folder, "part")
                yield local
                tried(self.place(name), lambda: system.put_file(local, f"{root}/{name}"))
        except OSError as error:
            raise DataError(f"{unwritable(target, error)} {GO_ON}") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with self.writing(name) as draft:
            Path(draft).write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            if self._remote is None:
                os.unlink(self.place(name))
            else:
                system, root = self._remote
                tried(self.place(name), lambda: system.rm_file(f"{root}/{name}"))

    def remove_drafts(self, folder: str, beginning: str) -> None:
        """Remove what a killed run has left half written in a folder; ``beginning`` is that of its part files."""
        if self._remote is None:
            for draft in Path(self.place(folder)).glob(f".{beginning}*.part"):
                draft.unlink(missing_ok=True)

    def clips(self, folder: str) -> pyarrow.Array:
        """The names of all clips in a folder's part files; raises ``DataError`` for a file that is damaged."""
        with ThreadPoolExecutor(_READERS) as readers:
            columns = list(readers.map(lambda name: self._clips(f"{folder}/{name}"), self.names(folder)))
        return pyarrow.chunked_array(columns, pyarrow.string())

    def _clips(self, name: str) -> pyarrow.Array:
        try:
            if self._remote is None:
                return _clip_column(self.place(name))
            system, root = self._remote
            with tried(self.place(name), lambda: system.open(f"{root}/{name}", "rb")) as file:
                return _clip_column(file)
        except (pyarrow.ArrowException, OSError, IndexError) as error:
            raise DataError(
                f"{self.place(name)} is damaged ({one_line(error)}). Delete it; the same command makes its clips again."
            ) from error


def _clip_column(source: Any) -> pyarrow.Array:
    with parquet.ParquetFile(source, page_checksum_verification=True) as file:
        return file.read(columns=["clip"]).column(0).combine_chunks().unique()
