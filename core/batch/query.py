"""Questions to a data set that ``pannscope batch`` has written, answered by DuckDB within a fixed memory.

Classes, thresholds and paths are bound as parameters, never written into SQL, and DuckDB can open no file outside of the data set's folder.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from core.audio import SUFFIXES
from core.batch.dataset import SUFFIX
from core.errors import DataError, one_line

MEMORY = "512MB"
"""Of DuckDB; what needs more goes to a temporary folder of at most ``_DISK``."""

_DISK = "8GB"

SHOWN = 200
"""Rows of one answer."""

BOTH, EITHER, FIRST, SECOND = "both", "either", "first", "second"

# Of a tag that a network does not list no more is known than that its probability is at most the last one listed: such a difference is a lower bound.
_DIFFERENCE = """greatest(
    list_max(list_transform(tags_a, lambda tag, i: abs(p_a[i] - coalesce(p_b[list_position(tags_b, tag)], least(p_a[i], p_b[-1]))))),
    list_max(list_transform(tags_b, lambda tag, i: abs(p_b[i] - coalesce(p_a[list_position(tags_a, tag)], least(p_b[i], p_a[-1]))))))"""
# A row of a network: a number that follows from its clip and start is quicker to look up than both are.
_KEY = "hash(clip::VARCHAR, start_s::DOUBLE)"
_FILES = "FROM read_parquet(?, hive_partitioning = false)"
_LENGTHS = f"SELECT end_s::DOUBLE - start_s::DOUBLE AS s {_FILES}"
_SIDE = (
    f"(SELECT {{distinct}} {_KEY} AS key, clip::VARCHAR AS clip, path::VARCHAR AS path, start_s::DOUBLE AS start_s, end_s::DOUBLE AS end_s, "
    f"tags[1:64] AS tags, tag_probabilities[1:64] AS p {_FILES})"
)
_DISTINCT = "DISTINCT ON (clip::VARCHAR, start_s::DOUBLE)"
# Written as an inequality, since DuckDB would look up by an equality as well, and take half as long again.
_SAME = "a.key = b.key AND (a.clip <> b.clip OR a.start_s <> b.start_s) IS NOT TRUE"

_LABELS = """SELECT tag, sum(n) FILTER (side = 1), sum(n) FILTER (side = 2) FROM (
    SELECT 1 AS side, tag, count(*) AS n FROM (SELECT unnest(tags_a) AS tag, unnest(p_a) AS p FROM pair) WHERE p BETWEEN ? AND 1 GROUP BY tag
    UNION ALL
    SELECT 2, tag, count(*) FROM (SELECT unnest(tags_b) AS tag, unnest(p_b) AS p FROM pair) WHERE p BETWEEN ? AND 1 GROUP BY tag)
    GROUP BY tag ORDER BY sum(n) DESC, tag"""  # to DuckDB NaN is greater than any number, so not BETWEEN

Pair = tuple[str, str]


@dataclass(frozen=True)
class Question:
    """Which rows are asked for.

    Attributes
    ----------
    label : str or None
        A class; None: any.
    threshold : float
        Probability from which on a network gives a row the class.
    given_by : str
        ``EITHER``, ``BOTH``, or ``FIRST`` or ``SECOND`` alone; with no class, whether it gives the row any.
    by_name : bool
        Sorted by the clips' names; else those in which the networks differ most come first.
    """

    label: str | None
    threshold: float
    given_by: str = EITHER
    by_name: bool = False


@dataclass(frozen=True)
class Row:
    """A clip, or a window of one, with what two networks list for it and the largest difference of a tag's probability."""

    clip: str
    path: str
    start_s: float
    end_s: float
    first: tuple[tuple[str, float], ...]
    second: tuple[tuple[str, float], ...]
    difference: float | None


class Corpus:
    """An open data set. Raises ``DataError`` where the folder has none, a file is damaged or DuckDB is not installed.

    Attributes
    ----------
    models : tuple of str
        The networks that have rows.
    nbytes : int
        What DuckDB holds in memory of the rows that were read last.
    """

    def __init__(self, folder: str) -> None:
        try:
            import duckdb
        except ImportError as error:
            raise DataError(
                "Data sets are read with DuckDB, which is not installed; install it: pip install 'pannscope[batch]'."
            ) from error
        root = Path(folder).expanduser()
        self._files = part_files(root)
        self.models = tuple(self._files)
        if not self.models:
            raise DataError(
                f"{folder} has no rows; give a folder that pannscope batch has written (the one after --out)."
            )
        self._source = _source(root)
        self._error = duckdb.Error
        self._spill = tempfile.TemporaryDirectory(prefix="pannscope-")
        self._lock = threading.Lock()
        self._paired: Pair | None = None
        self.nbytes = 0
        self._database = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": MEMORY,
                "threads": 2,
                "temp_directory": self._spill.name,
                "max_temp_directory_size": _DISK,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        self._ask("SET allowed_directories = [?]", [str(root.resolve())])
        self._ask("SET enable_external_access = false", [])
        self._ask("SET lock_configuration = true", [])

    def count(self, pair: Pair) -> int:
        """The number of rows that both networks have."""
        with self._reading(pair):
            return int(self._ask("SELECT count(*) FROM pair", [])[0][0])

    @contextmanager
    def _reading(self, pair: Pair) -> Iterator[None]:
        """Hold the database while it has the rows of two networks, or of one twice; they are read unless they were the last ones."""
        with self._lock:
            if self._paired != pair:
                self._paired = None
                self._read_pair(pair)
                self._paired = pair
                held = self._ask("SELECT sum(memory_usage_bytes) FROM duckdb_memory()", [])
                self.nbytes = int(held[0][0] or 0)
            yield

    def _read_pair(self, pair: Pair) -> None:
        sides = [self._files[name] for name in pair]
        first, second = (_SIDE.format(distinct=_DISTINCT if self._repeats(files) else "") for files in sides)
        self._ask(
            f"CREATE OR REPLACE TEMP TABLE pair AS SELECT *, ({_DIFFERENCE})::DOUBLE AS difference FROM (SELECT a.clip, a.path, a.start_s, a.end_s, "
            f"a.tags AS tags_a, a.p AS p_a, b.tags AS tags_b, b.p AS p_b FROM {first} a JOIN {second} b ON {_SAME})",
            sides,
        )

    def _repeats(self, files: list[str]) -> bool:
        """Whether a network may have a row twice, which no run writes: every copy would be joined with every other."""
        return bool(self._ask(f"SELECT count(*) > count(DISTINCT {_KEY}) {_FILES}", [files])[0][0])

    def labels(self, pair: Pair, threshold: float) -> list[tuple[str, int, int]]:
        """Class, rows to which the first network gives it and rows to which the second does, the most frequent first."""
        with self._reading(pair):
            rows = self._ask(_LABELS, [threshold, threshold])
        return [(str(tag), int(first or 0), int(second or 0)) for tag, first, second in rows]

    def sound_s(self) -> dict[str, float]:
        """Network -> seconds of sound that it ran on: of windows that overlap, what they have in common counts twice."""
        with self._lock:
            return {
                name: float(
                    self._ask(f"SELECT sum(s) FILTER (isfinite(s) AND s > 0) FROM ({_LENGTHS})", [files])[0][
                        0
                    ]
                    or 0
                )
                for name, files in self._files.items()
            }

    def rows(self, pair: Pair, question: Question) -> tuple[int, list[Row]]:
        """How many rows there are, and the first ``SHOWN`` of them."""
        label, threshold = question.label, question.threshold
        if label is None:
            sides, bound = ["coalesce(p_a[1], 0)", "coalesce(p_b[1], 0)"], []
            difference = "difference"
        else:
            sides = [f"coalesce(p_{side}[list_position(tags_{side}, ?)], {{}})" for side in ("a", "b")]
            bound = [label]
            lower = "abs({} - {})".format(
                sides[0].format("least(p_a[-1], p_b[list_position(tags_b, ?)])"),
                sides[1].format("least(p_b[-1], p_a[list_position(tags_a, ?)])"),
            )
            difference, sides = lower, [side.format("0") for side in sides]
        given = [f"({side} BETWEEN ? AND 1)" for side in sides]
        where = {
            EITHER: f"{given[0]} OR {given[1]}",
            BOTH: f"{given[0]} AND {given[1]}",
            FIRST: f"{given[0]} AND NOT {given[1]}",
            SECOND: f"{given[1]} AND NOT {given[0]}",
        }[question.given_by]
        conditions = [*bound, threshold, *bound, threshold]
        order = "clip, start_s" if question.by_name else "d DESC NULLS LAST, clip, start_s"
        with self._reading(pair):
            count = self._ask(f"SELECT count(*) FROM pair WHERE {where}", conditions)[0][0]
            rows = self._ask(
                f"SELECT clip, path, start_s, end_s, tags_a, p_a, tags_b, p_b, CASE WHEN isfinite(v) THEN v END AS d FROM "
                f"(SELECT *, ({difference})::DOUBLE AS v FROM pair WHERE {where}) ORDER BY {order} LIMIT {SHOWN}",
                [*bound * 4, *conditions],
            )
        return int(count), [
            Row(
                str(row[0]),
                str(row[1]),
                row[2] or 0.0,
                row[3] or 0.0,
                _listed(*row[4:6]),
                _listed(*row[6:8]),
                row[8],
            )
            for row in rows
        ]

    def recording(self, path: str) -> Path | None:
        """The file of a row's clip; None where it is not a recording below the folder that was tagged, or is not on this machine."""
        if self._source is None or "\0" in path:
            return None
        file = Path(path)
        try:
            below = file.resolve().is_relative_to(self._source)
            return file if below and file.suffix.lower() in SUFFIXES and file.is_file() else None
        except OSError:
            return None

    def _ask(self, query: str, values: Sequence[Any]) -> list[Any]:
        try:
            return list(self._database.execute(query, values).fetchall())
        except self._error as error:
            raise DataError(
                f"The data set cannot be read ({one_line(error)}). Delete the part file that is damaged, and run pannscope batch again; it goes on from there."
            ) from error


def part_files(root: Path) -> dict[str, list[str]]:
    """Network -> its part files, whatever is a link left out. Raises ``OSError`` for a folder that may not be read.

    Examples
    --------
    >>> part_files(Path("no such folder"))
    {}
    """
    found: dict[str, list[str]] = {}
    clips = root.resolve() / "clips"
    for folder in [] if clips.is_symlink() else _entries(clips):
        if folder.name.startswith("model=") and folder.is_dir(follow_symlinks=False):
            parts = [file.path for file in _entries(Path(folder)) if _is_part(file)]
            if parts:
                found[unquote(folder.name.removeprefix("model="))] = parts
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_part(file: os.DirEntry[str]) -> bool:
    return file.name.endswith(SUFFIX) and file.is_file(follow_symlinks=False)


def _source(root: Path) -> Path | None:
    """The folder that was tagged; None where it is none of this machine's."""
    try:
        name = json.loads((root / "dataset.json").read_text(encoding="utf-8"))["source"]
        folder = Path(name).resolve()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    folder = folder if folder.is_dir() else folder.parent  # of a manifest
    return folder if len(folder.parts) > 1 and folder.is_dir() else None


def _listed(tags: Any, probabilities: Any) -> tuple[tuple[str, float], ...]:
    return tuple(
        (str(tag), float(p)) for tag, p in zip(tags or (), probabilities or (), strict=False) if p is not None
    )
