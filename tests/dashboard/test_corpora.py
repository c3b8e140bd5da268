"""Data sets as the server keeps them: answers are read once, and anew where the files have changed."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.batch.query import Corpus, Question
from core.errors import DataError
from dashboard.server.corpora import Corpora
from dashboard.server.memory_pressure import MemoryPressure

pytest.importorskip("duckdb", reason="data sets are read with the extra: pip install 'pannscope[batch]'")

PAIR = ("one", "two")
ANY = Question(None, 0.2)


def write(folder: Path, probability: float) -> Path:
    """One clip, to which both networks give Rain."""
    for model in PAIR:
        file = folder / "clips" / f"model={model}" / "part.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        table = {
            "clip": ["a.wav"], "path": ["/a.wav"], "start_s": [0.0], "end_s": [10.0],
            "tags": [["Rain"]], "tag_probabilities": [[probability]],
        }  # fmt: skip
        parquet.write_table(pyarrow.table(table), file)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The pairs whose rows were read from files."""
    read: list[object] = []
    real = Corpus._read_pair
    monkeypatch.setattr(Corpus, "_read_pair", lambda self, pair: (read.append(pair), real(self, pair))[1])
    return read


def test_a_second_visitor_reads_nothing(tmp_path: Path, reads: list[object]) -> None:
    corpora, folder = Corpora(MemoryPressure()), str(write(tmp_path, 0.9))
    for _ in range(2):
        first = corpora.data_set(folder)
        first.prepare()
        assert first.labels(PAIR, 0.2) == [("Rain", 1, 1)]
        assert first.rows(PAIR, ANY)[1][0].first == (("Rain", pytest.approx(0.9)),)
    assert reads == [PAIR]
    turned = corpora.data_set(folder)
    turned.rows(PAIR[::-1], ANY)
    turned.rows(PAIR, ANY)  # while the database has the other pair
    assert reads == [PAIR, PAIR[::-1]]


def test_changed_files_are_read_anew(tmp_path: Path, reads: list[object]) -> None:
    corpora, folder = Corpora(MemoryPressure()), str(write(tmp_path, 0.9))
    corpora.data_set(folder).prepare()
    times = [file.stat() for file in tmp_path.glob("clips/*/*")]
    for file, before in zip(write(tmp_path, 0.8).glob("clips/*/*"), times, strict=True):
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy that keeps times
    assert corpora.data_set(folder).rows(PAIR, ANY)[1][0].first == (("Rain", pytest.approx(0.8)),)
    assert reads == [PAIR, PAIR]


def test_a_data_set_leaves_memory_where_it_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.server.memory_pressure.IDLE_S", 0.0)
    pressure = MemoryPressure(free=lambda: 0)
    corpora, folder = Corpora(pressure), str(write(tmp_path, 0.9))
    data_set = corpora.data_set(folder)
    data_set.prepare()
    assert pressure.relieve() > 0
    assert data_set.count(PAIR) == 1
    assert data_set.labels(PAIR, 0.5) == [("Rain", 1, 1)]  # opened again


@pytest.mark.parametrize("folder", ["a\0b", "~nobody-of-that-name"])
def test_names_that_are_no_folders(folder: str) -> None:
    with pytest.raises(DataError, match="cannot be read; give a folder that pannscope batch has written"):
        Corpora(MemoryPressure()).data_set(folder)
