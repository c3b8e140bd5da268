"""Data sets of ``pannscope batch``: one is open at a time, and what was read from it is kept for every visitor."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.batch.query import Corpus, Pair, Question, Row, part_files
from core.errors import DataError
from core.units import THRESHOLD
from dashboard.server.cache import ByteLruCache
from dashboard.server.memory_pressure import MemoryPressure

_ANSWER_BYTES = 16 * 2**20
"""The first view of a million rows takes 60 kB."""


@dataclass(frozen=True)
class DataSet:
    """A data set as its files are now; answers are read from it once.

    Attributes
    ----------
    models : tuple of str
        The networks that have rows.
    """

    models: tuple[str, ...]
    _key: Hashable
    _open: Callable[[], Corpus]
    _answers: ByteLruCache[Any]

    def count(self, pair: Pair) -> int:
        """The number of rows that both networks have; as all that follow, raises ``DataError``."""
        return int(self._kept(lambda corpus: corpus.count(pair), "count", pair))

    def labels(self, pair: Pair, threshold: float) -> list[tuple[str, int, int]]:
        """As ``Corpus.labels``."""
        answer: list[tuple[str, int, int]] = self._kept(
            lambda corpus: corpus.labels(pair, threshold), "labels", pair, threshold
        )
        return answer

    def rows(self, pair: Pair, question: Question) -> tuple[int, list[Row]]:
        """As ``Corpus.rows``."""
        answer: tuple[int, list[Row]] = self._kept(
            lambda corpus: corpus.rows(pair, question), "rows", pair, question
        )
        return answer

    def sound_s(self) -> dict[str, float]:
        """As ``Corpus.sound_s``."""
        answer: dict[str, float] = self._kept(lambda corpus: corpus.sound_s(), "sound")
        return answer

    def recording(self, path: str) -> Path | None:
        """As ``Corpus.recording``."""
        return self._open().recording(path)

    def prepare(self) -> None:
        """Read what a visitor's first view of the page shows."""
        pair = (self.models[0], self.models[min(1, len(self.models) - 1)])
        self.labels(pair, THRESHOLD)
        self.count(pair)
        self.rows(pair, Question(None, THRESHOLD))

    def _kept(self, ask: Callable[[Corpus], object], *key: Hashable) -> Any:
        return self._answers.get_or_make((self._key, *key), lambda: ask(self._open()))


class Corpora:
    """Opens data sets by their folders; one stays open, until another is wanted or memory is short."""

    def __init__(self, pressure: MemoryPressure) -> None:
        self._opening = threading.Lock()
        self._open: ByteLruCache[Corpus] = ByteLruCache(1, lambda corpus: corpus.nbytes, growing=True)
        self._answers: ByteLruCache[Any] = ByteLruCache(
            _ANSWER_BYTES, lambda answer: len(pickle.dumps(answer))
        )
        pressure.add(self._open)

    def data_set(self, folder: str) -> DataSet:
        """A data set, opened anew where its files have changed. Raises ``DataError``."""
        try:
            files = [file for of_model in part_files(Path(folder).expanduser()).values() for file in of_model]
            stamps = ((file, os.stat(file)) for file in files)
            key = (
                folder,
                *((file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stamps),
            )
        except (OSError, ValueError, RuntimeError) as error:  # no permission, a NUL in a name, ~nobody
            raise DataError(
                f"{folder} cannot be read; give a folder that pannscope batch has written."
            ) from error

        def open_corpus() -> Corpus:
            return self._open.get_or_make(key, lambda: Corpus(folder), within=self._opening)

        return DataSet(open_corpus().models, key, open_corpus, self._answers)
