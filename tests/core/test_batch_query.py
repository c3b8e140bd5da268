"""Questions to a data set: answers worked out by hand, names that look like SQL, damaged and hostile files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.batch.query import BOTH, EITHER, FIRST, SECOND, Corpus, Question
from core.errors import DataError

pytest.importorskip("duckdb", reason="data sets are read with the extra: pip install 'pannscope[batch]'")

SQL = "'; DROP TABLE pair; --"
ROWS = {
    # clip: what the first network lists, what the second does
    "a.wav": ([("Siren", 0.9), ("Rain", 0.3)], [("Siren", 0.5), ("Rain", 0.25)]),
    "b.wav": ([("Rain", 0.8), ("Wind", 0.1)], [("Wind", 0.4), ("Siren", 0.2)]),
    "c.wav": ([(SQL, 0.7), ("Rain", 0.1)], [(SQL, 0.65), ("Rain", 0.1)]),
    "d.wav": ([("Wind", float("nan"))], []),
}
PAIR = ("one", "two/2")


def write(folder: Path, model: str, rows: dict[str, list[tuple[str, float]]], **others: object) -> Path:
    file = folder / "clips" / f"model={model}" / "part-1of1-00001of00001.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "clip": list(rows),
        "path": [str(folder / "sounds" / clip) for clip in rows],
        "start_s": [0.0] * len(rows),
        "end_s": [1.0] * len(rows),
        "tags": pyarrow.array(
            [[tag for tag, _ in row] for row in rows.values()], pyarrow.list_(pyarrow.string())
        ),
        "tag_probabilities": pyarrow.array(
            [[p for _, p in row] for row in rows.values()], pyarrow.list_(pyarrow.float32())
        ),
    }
    parquet.write_table(pyarrow.table(columns | others), file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "one", {clip: first for clip, (first, _) in ROWS.items()})
    write(tmp_path, "two%2F2", {clip: second for clip, (_, second) in ROWS.items()})
    (tmp_path / "sounds").mkdir()
    (tmp_path / "dataset.json").write_text(json.dumps({"source": str(tmp_path / "sounds")}))
    return tmp_path


def asked(corpus: Corpus, *question: object) -> list[tuple[str, float | None]]:
    count, rows = corpus.rows(PAIR, Question(*question))  # type: ignore[arg-type]
    assert count == len(rows)
    return [(row.clip, None if row.difference is None else round(row.difference, 3)) for row in rows]


def test_those_that_differ_most_come_first(folder: Path) -> None:
    """b: Rain 0.8 against at most 0.2, the last that the second network lists there. d: NaN is not a probability."""
    corpus = Corpus(str(folder))
    assert corpus.models == PAIR
    assert corpus.count(PAIR) == 4
    assert asked(corpus, None, 0.2) == [("b.wav", 0.6), ("a.wav", 0.4), ("c.wav", 0.05)]
    assert asked(corpus, None, 0.2, EITHER, True) == [("a.wav", 0.4), ("b.wav", 0.6), ("c.wav", 0.05)]
    assert asked(corpus, None, 0.6, FIRST) == [("b.wav", 0.6), ("a.wav", 0.4)]


def test_the_same_from_files_in_another_order(folder: Path) -> None:
    before = asked(Corpus(str(folder)), None, 0.2)
    write(folder, "two%2F2", {clip: ROWS[clip][1] for clip in reversed(ROWS)} | {"e.wav": [("Wind", 1.0)]})
    corpus = Corpus(str(folder))
    assert asked(corpus, None, 0.2) == before
    assert corpus.count(PAIR) == 4


def test_rows_that_are_there_twice_count_once(folder: Path) -> None:
    """No run writes them; joined with each other, a thousand copies on both sides would be a million rows."""
    before = asked(Corpus(str(folder)), None, 0.2)
    for model in ("one", "two%2F2"):
        file = next(folder.glob(f"clips/model={model}/*"))
        parquet.write_table(
            pyarrow.concat_tables([parquet.read_table(file, partitioning=None)] * 1000),
            file.with_name("part-2.parquet"),
        )
    corpus = Corpus(str(folder))
    assert asked(corpus, None, 0.2) == before
    assert corpus.count(PAIR) == 4


def test_seconds_of_sound(folder: Path) -> None:
    """Rows that end before they start, or nowhere, add nothing."""
    write(
        folder, "one", {clip: [] for clip in "abcd"}, start_s=[0.0, 5.0, 0.0, 2.0],
        end_s=[10.0, 12.5, float("inf"), 1.0],
    )  # fmt: skip
    assert Corpus(str(folder)).sound_s() == {"one": 17.5, "two/2": 4.0}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("Rain", 0.25), [("b.wav", 0.6), ("a.wav", 0.05)]),
        (("Rain", 0.25, BOTH), [("a.wav", 0.05)]),
        (("Rain", 0.25, FIRST), [("b.wav", 0.6)]),
        (("Siren", 0.2, SECOND), [("b.wav", 0.1)]),  # the first lists Wind at 0.1 last
        ((SQL, 0.2), [("c.wav", 0.05)]),
        (("' OR 1=1 --", 0.2), []),
    ],
)
def test_a_class(folder: Path, question: tuple[object, ...], expected: list[tuple[str, float]]) -> None:
    assert asked(Corpus(str(folder)), *question) == expected


def test_label_counts(folder: Path) -> None:
    assert Corpus(str(folder)).labels(PAIR, 0.25) == [
        ("Rain", 2, 1),
        (SQL, 1, 1),
        ("Siren", 1, 1),
        ("Wind", 0, 1),
    ]


def test_no_file_outside_is_read(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = write(tmp_path_factory.mktemp("outside"), "secret", {"s.wav": [("Siren", 1.0)]})
    (folder / "clips" / "model=secret").symlink_to(outside.parent)
    corpus = Corpus(str(folder))
    assert corpus.models == PAIR
    with pytest.raises(DataError, match="Permission Error: Cannot access file"):
        corpus._ask("SELECT * FROM read_parquet(?)", [str(outside)])
    with pytest.raises(DataError, match="locked"):
        corpus._ask("SET enable_external_access = true", [])


@pytest.mark.parametrize(
    "others", [{"tags": [7, 7, 7, 7]}, {"start_s": ["x"] * 4}, {"tag_probabilities": [["x"]] * 4}]
)
def test_columns_of_other_types_are_one_line(folder: Path, others: dict[str, object]) -> None:
    write(folder, "one", {clip: first for clip, (first, _) in ROWS.items()}, **others)
    with pytest.raises(DataError, match=r"^The data set cannot be read \(") as caught:
        Corpus(str(folder)).count(PAIR)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_one_line(folder: Path) -> None:
    file = next(folder.glob("clips/model=one/*"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"^The data set cannot be read \("):
        Corpus(str(folder)).count(PAIR)


def test_a_folder_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows; give a folder that pannscope batch has written"):
        Corpus(str(tmp_path))


def test_without_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(DataError, match=r"install it: pip install 'pannscope\[batch\]'"):
        Corpus(str(folder))


def test_recordings_are_played_from_the_source_alone(folder: Path) -> None:
    sounds = folder / "sounds"
    (sounds / "a.wav").write_bytes(b"RIFF")
    (sounds / "notes.txt").write_text("x")
    (folder / "other.wav").write_bytes(b"RIFF")
    os.symlink(folder / "other.wav", sounds / "link.wav")
    corpus = Corpus(str(folder))
    assert corpus.recording(str(sounds / "a.wav")) == sounds / "a.wav"
    for path in ("b.wav", "notes.txt", "../other.wav", "link.wav", "a.wav\0"):
        assert corpus.recording(f"{sounds}/{path}") is None
    assert corpus.recording("s3://bucket/a.wav") is None
