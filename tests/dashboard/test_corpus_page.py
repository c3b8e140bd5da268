"""The Corpus page: a data set of a hundred rows, its filters, and who may open which folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from streamlit.testing.v1 import AppTest

from core.runtime.machine import threads
from core.tagging import EMBEDDED_PAIR
from dashboard import formats
from dashboard.corpus import opened
from dashboard.server.server import get_server

pytest.importorskip("duckdb", reason="data sets are read with the extra: pip install 'pannscope[batch]'")

PAGE = str(Path(__file__).parents[2] / "dashboard" / "corpus" / "page.py")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Fifty clips, two networks: the first gives all of them Rain at 0.9, the second the first n Rain at n hundredths."""
    for model, probabilities in (("demo-cnn14", [0.9] * 50), ("demo-epanns", [n / 100 for n in range(50)])):
        folder = tmp_path / "clips" / f"model={model}"
        folder.mkdir(parents=True)
        names = [f"{n:02d}.wav" for n in range(50)]
        table = {
            "clip": names, "path": [f"/nowhere/{name}" for name in names], "start_s": [0.0] * 50, "end_s": [10.0] * 50,
            "tags": [["Rain", "*Wind*"]] * 50, "tag_probabilities": [[p, 0.0] for p in probabilities],
        }  # fmt: skip
        parquet.write_table(pyarrow.table(table), folder / "part-1of1-00001of00001.parquet")
    return tmp_path


def test_rows_labels_and_filters(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANNSCOPE_CORPUS", str(rows))
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not page.exception
    assert not page.error
    assert not page.text_input
    assert page.header[0].value == "Of 50 rows, either network gives 50 a class"
    first = page.dataframe[0].value.iloc[0]
    assert list(first) == [pytest.approx(0.9), "00.wav", "Rain 0.90", "–"]
    labels = page.dataframe[1].value
    assert labels.to_numpy().tolist() == [["Rain", 50, 30, -20]]  # 0.20 to 0.49
    page.selectbox(key="class").set_value("Rain")
    page.selectbox(key="corpus_given_by").set_value("first")
    page.selectbox(key="corpus_order").set_value("name")
    page.run()
    assert page.header[0].value == r"Of 50 rows, only demo\-cnn14 gives 20 Rain"
    assert list(page.dataframe[0].value["Clip"]) == [f"{n:02d}.wav" for n in range(20)]


def test_energy_of_the_networks_that_are_installed(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 clips of 10 s: 50 times the measured time."""
    shutil.copytree(rows / "clips" / "model=demo-cnn14", rows / "clips" / "model=elsewhere")
    monkeypatch.setenv("PANNSCOPE_CORPUS", str(rows))
    page = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not page.table
    page.session_state["corpus_energy"] = True
    page.run()
    assert not page.exception
    assert "Not installed here, and left out: elsewhere." in [text.value for text in page.caption]
    timed = get_server().known_latencies(EMBEDDED_PAIR)
    assert timed is not None
    shown = page.table[0].value
    assert list(shown["Network"]) == [r"demo\-cnn14", r"demo\-epanns"]
    hours = page.number_input(key="corpus_hours").value
    assert hours == pytest.approx(500 / 3600, abs=5e-5)
    wh = [hours * 360 * t.latency.median_ms / 1e3 * 3.5 * threads() * 1.56 / 3600 for t in timed]
    assert list(shown["Energy"]) == [formats.energy(each / 1e3) for each in wh]


def test_a_public_server_reads_no_folder_that_a_visitor_names() -> None:
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not page.text_input
    assert "PANNSCOPE_CORPUS" in page.info[0].value


@pytest.mark.parametrize(
    ("headers", "address", "fixed", "local"),
    [
        ({"Host": "127.0.0.1:8501"}, "127.0.0.1", "0", True),
        ({"Host": "[::1]:8501"}, "localhost", "0", True),
        ({"Host": "127.0.0.1:8501"}, None, "0", False),  # listens on every address
        ({"Host": "127.0.0.1:8501"}, "127.0.0.1", "1", False),
        ({"Host": "tags.example"}, "127.0.0.1", "0", False),
        ({"Host": "127.0.0.1", "X-Forwarded-For": "10.0.0.9"}, "127.0.0.1", "0", False),
        ({}, "127.0.0.1", "0", False),
    ],
)
def test_who_may_name_a_folder(
    headers: dict[str, str], address: str | None, fixed: str, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANNSCOPE_FIXED_MODELS", fixed)
    monkeypatch.setattr(opened.st, "get_option", lambda name: address)
    monkeypatch.setattr(type(opened.st.context), "headers", property(lambda _: headers))
    assert opened.is_local() == local


def test_a_local_visitor_names_one(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "is_local", lambda: True)
    page = AppTest.from_file(PAGE, default_timeout=60).run()
    page.text_input(key="corpus_folder").set_value(str(rows / "no such folder")).run()
    assert "has no rows; give a folder that pannscope batch has written" in page.error[0].value.replace(
        "\\", ""
    )
    page.text_input(key="corpus_folder").set_value(str(rows)).run()
    assert page.header[0].value.startswith("Of 50 rows")
