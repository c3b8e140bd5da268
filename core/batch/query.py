"""Questions to a data set that ``pannscope batch`` has written, answered by DuckDB within a fixed memory.

Classes, thresholds and paths are bound as parameters, never written into SQL, and DuckDB can open no file outside of the data set's folder.
"""

from __future__ import annotations

import json
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
_DIFFERENCE = """list_max(list_concat(
    list_transform(list_zip(tags_a, p_a), lambda x: abs(x[2] - coalesce(p_b[list_position(tags_b, x[1])], least(x[2], p_b[-1])))),
    list_transform(list_zip(tags_b, p_b), lambda x: abs(x[2] - coalesce(p_a[list_position(tags_a, x[1])], least(x[2], p_a[-1]))))))"""
_SIDE = "SELECT clip AS clip_{0}, path AS path_{0}, start_s AS start_{0}, end_s AS end_{0}, tags[1:64] AS tags_{0}, tag_probabilities[1:64] AS p_{0} FROM read_parquet(?, hive_partitioning = false)"
_SAME = "clip_a IS NOT DISTINCT FROM clip_b AND start_a IS NOT DISTINCT FROM start_b"

_LABELS = """SELECT tag, sum(n) FILTER (side = 1), sum(n) FILTER (side = 2) FROM (
    SELECT 1 AS side, tag, count(*) AS n FROM (SELECT unnest(tags_a) AS tag, unnest(p_a) AS p FROM pair) WHERE p BETWEEN ? AND 1 GROUP BY tag
    UNION ALL
    SELECT 2, tag, count(*) FROM (SELECT unnest(tags_b) AS tag, unnest(p_b) AS p FROM pair) WHERE p BETWEEN ? AND 1 GROUP BY tag)
    GROUP BY tag ORDER BY sum(n) DESC, tag"""  # to DuckDB NaN is greater than any number, so not BETWEEN
_LOOKED_UP = f"(SELECT DISTINCT ON (clip_a, start_a) * FROM a) JOIN (SELECT DISTINCT ON (clip_b, start_b) * FROM b) ON {_SAME}"

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
        self._labels: dict[float, list[tuple[str, int, int]]] = {}
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
                self._paired, self._labels = None, {}
                self._read_pair(pair)
                self._paired = pair
            yield

    def _read_pair(self, pair: Pair) -> None:
        sides = [self._files[name] for name in pair]
        for rows in ("a POSITIONAL JOIN b", _LOOKED_UP):
            self._ask(
                f"CREATE OR REPLACE TEMP TABLE sides AS WITH a AS ({_SIDE.format('a')}), b AS ({_SIDE.format('b')}) "
                f"SELECT * FROM {rows}",
                sides,
            )
            # one run writes both networks' rows in one order; of other runs the rows have to be looked for
            if not self._ask(f"SELECT count(*) FROM sides WHERE NOT ({_SAME})", [])[0][0]:
                break
        self._ask(
            f"CREATE OR REPLACE TEMP TABLE pair AS SELECT clip_a::VARCHAR AS clip, path_a::VARCHAR AS path, start_a::DOUBLE AS start_s, "
            f"end_a::DOUBLE AS end_s, tags_a, p_a, tags_b, p_b, {_DIFFERENCE}::DOUBLE AS difference FROM sides",
            [],
        )
        self._ask("DROP TABLE sides", [])

    def labels(self, pair: Pair, threshold: float) -> list[tuple[str, int, int]]:
        """Class, rows to which the first network gives it and rows to which the second does, the most frequent first."""
        with self._reading(pair):
            if threshold not in self._labels:
                rows = self._ask(_LABELS, [threshold, threshold])
                self._labels[threshold] = [
                    (str(tag), int(first or 0), int(second or 0)) for tag, first, second in rows
                ]
            return self._labels[threshold]

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
    """Network -> its part files, whatever is a link to elsewhere left out.

    Examples
    --------
    >>> part_files(Path("no such folder"))
    {}
    """
    found: dict[str, list[str]] = {}
    whole = root.resolve()
    for file in sorted(whole.glob(f"clips/model=*/*{SUFFIX}")):
        if file.resolve() == file:
            found.setdefault(unquote(file.parent.name.removeprefix("model=")), []).append(str(file))
    return found


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
