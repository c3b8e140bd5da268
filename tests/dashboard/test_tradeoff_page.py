"""The Trade-off page: its picture as data, the sources of every figure on it, and its states."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core import tradeoff
from core.checkpoints import entries, entry
from core.tradeoff import COSTS, Kept, System
from core.tradeoff.times import Timed
from dashboard.charts.palette import DARK, LIGHT
from dashboard.tradeoff import charts
from dashboard.tradeoff.labels import Scale, place_labels
from dashboard.tradeoff.table import csv_text

ROOT = Path(__file__).parents[2]
TIMES = {
    name: Timed(3.0 + 2 * number, 3.0, 9.0, "torch") for number, name in enumerate(tradeoff.measurable())
}


def own() -> Kept:
    """An own network that was evaluated on this machine as it is now, with the present number of threads."""
    return Kept(
        "mine <b>", "cnn14", "ab" * 32, "clips.csv", 40, 18, 0.95, 1_394_402, 1_849_940_224, 1_051_674_624, True, 8.5,
        "winograd", tradeoff.machine(), True,
    )  # fmt: skip


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AppTest:
    monkeypatch.setenv("PANNSCOPE_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "core.runtime.choice._FAST", {}
    )  # our kernels would be compiled again in another cache
    opened = AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=60)
    opened._page_hash = calc_hash(
        "trade-off"
    )  # as st.Page has it; switch_page would run the front page first
    return opened


def shown(cost: str) -> tuple[list[System], list[System]]:
    listed = [system for system in tradeoff.systems(TIMES) if cost in system.costs]
    return listed, [system for system in tradeoff.own_systems([own()]) if cost in system.costs]


@pytest.mark.parametrize("cost", COSTS)
def test_every_point_says_where_its_figures_are_from(cost: str) -> None:
    listed, own = shown(cost)
    figure = charts.tradeoff(listed, own, cost, tradeoff.front_of(listed, cost), LIGHT)
    texts = [text for trace in figure.data if trace.mode != "lines" for text in trace.hovertext]
    assert len(texts) == len(listed) + len(own)
    for system, text in zip(
        [
            *sorted(listed, key=lambda one: [*dict.fromkeys(two.family for two in listed)].index(one.family)),
            *own,
        ],
        texts,
        strict=True,
    ):
        plain = text.replace("<br>", " ")
        assert system.quality.source in plain
        assert system.costs[cost].source in plain
        assert f"mAP {system.quality.value:.3f}" in plain
    assert "mine &lt;b>" in texts[-1]


def test_every_family_has_a_color_and_a_marker() -> None:
    listed, own = shown("params")
    for palette in (LIGHT, DARK):
        figure = charts.tradeoff(listed, own, "params", [], palette)
        looks = {
            trace.name: (trace.marker.color, str(trace.marker.symbol[0]).removesuffix("-open"))
            for trace in figure.data
            if trace.showlegend is None
        }
        assert set(looks) == {
            "PANNs",
            "E-PANNs",
            "EfficientAT",
            "ERANNs",
            "Transformers",
            "Other CNNs",
            "Your own",
        }
        assert (
            len({color for color, _ in looks.values()})
            == len({symbol for _, symbol in looks.values()})
            == len(looks)
        )
        assert (looks["PANNs"][0], looks["E-PANNs"][0]) == (palette.baseline, palette.pruned)
    symbols = {trace.name: trace.marker.symbol for trace in figure.data if trace.showlegend is None}
    assert set(symbols["PANNs"]) == {"circle"}
    assert set(symbols["Transformers"]) == {"cross", "cross-open"}  # AST is counted, the others as published
    assert set(symbols["EfficientAT"]) == {"square", "square-open"}


def test_epanns_is_joined_to_cnn14_and_own_networks_have_their_own_axis() -> None:
    listed, own = shown("macs")
    figure = charts.tradeoff(listed, own, "macs", ["mn04", "mn05", "mn10"], LIGHT)
    steps, joined = [trace for trace in figure.data if trace.mode == "lines"]
    assert list(joined.y) == [0.431, 0.442, 0.440, 0.420]
    assert list(joined.x) == sorted(joined.x, reverse=True)
    assert (list(steps.y), steps.line.shape) == ([0.432, 0.443, 0.471], "hv")
    (mine,) = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert (list(mine.x), list(mine.y)) == ([1_849_940_224 - 1_051_674_624], [0.95])
    assert figure.layout.yaxis2.domain[1] < figure.layout.yaxis.domain[0]
    assert figure.layout.xaxis.type == "log"
    alone = charts.tradeoff(listed, [], "macs", [], LIGHT)
    assert "yaxis2" not in alone.layout
    assert alone.layout.yaxis.domain == (0, 1)
    assert "1\N{NO-BREAK SPACE}network of your own" in charts.alt(listed, own, "macs", ["mn04"])


@pytest.mark.parametrize("cost", COSTS)
def test_names_overlap_nothing_on_a_phone(cost: str) -> None:
    listed, _ = shown(cost)
    figure = charts.tradeoff(listed, [], cost, tradeoff.front_of(listed, cost), LIGHT)
    named = {note.text for note in figure.layout.annotations}
    assert {"CNN14", "E-PANNs", "mn04"} <= named
    crowd = [(f"{number}", "Name", 10.0, 0.4) for number in range(3)]
    placed = place_labels(crowd, ["0", "1", "2"], Scale((0.0, 2.0), (0.3, 0.5)))
    assert len({(label.x_anchor, label.y_anchor) for label in placed}) == 3


def test_ticks_of_wide_and_narrow_axes() -> None:
    assert charts._ticks(0.0, 3.0) == [1.0, 10.0, 100.0, 1000.0]
    assert np.allclose(charts._ticks(0.9, 2.1), [10, 20, 50, 100])


def test_the_file_has_a_source_beside_every_figure() -> None:
    documents = tradeoff.rows(tradeoff.systems(TIMES))
    table = list(csv.DictReader(io.StringIO(csv_text(documents))))
    assert len(table) == len(documents)
    for row in table:
        for figure in ("mAP", "time_ms", "macs_10s", "params"):
            assert bool(row[figure]) == bool(row[f"{figure}_source"])
    assert csv_text([documents[0] | {"title": "=1+1"}]).splitlines()[1].split(",")[1] == "'=1+1"


def test_before_anything_is_timed_the_picture_shows_macs(page: AppTest) -> None:
    page.run()
    assert not page.exception
    assert [head.value for head in page.header] == [
        "As good as CNN14 and cheapest by MACs: mn04, 130\N{NO-BREAK SPACE}M against 20.1\N{NO-BREAK SPACE}G (−99.4\N{NO-BREAK SPACE}%)",
        "Why prune CNN14 at all, when mn04 exists?",
        "Every figure and its source",
    ]
    said = " ".join(text.value for text in page.caption)
    assert "different survivors of AudioSet's evaluation videos" in said
    assert "Published multi-adds are twice the MACs" in said
    answer = " ".join(text.value for text in page.markdown)
    assert "1/155 of its MACs and with 1/82 of its parameters" in answer
    assert page.button(key="time_networks").label.startswith("Time 30")
    (table,) = page.dataframe
    assert len(table.value) == len(tradeoff.systems({}))
    assert table.value["Source of the mAP"].all()


def test_the_address_holds_what_is_shown(page: AppTest) -> None:
    page.query_params["cost"] = "params"
    page.run()
    assert "cheapest by parameters" in page.header[0].value
    page.segmented_control(key="cost").set_value("macs").run()
    page.toggle(key="stft").set_value(True).run()
    assert page.query_params["cost"] == "macs"
    assert page.query_params["stft"] == "1"
    assert "21.2\N{NO-BREAK SPACE}G" in page.header[0].value
    assert "BEATs" in next(text.value for text in page.caption if "Not shown" in text.value)


def test_timing_here(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"widths": (4,) * 12, "embedding": 8, "params": 10_000, "size_bytes": None}
    for name in ("cnn14", "mn04"):
        monkeypatch.setitem(
            entries._manifest(), name, replace(entry("cnn14"), name=name, title=name, **small)
        )
    monkeypatch.setattr(tradeoff, "measurable", lambda: ("cnn14", "mn04"))
    monkeypatch.setattr("core.tradeoff.times._PASSES", 1)
    page.run()
    page.button(key="time_networks").click().run()
    end = time.monotonic() + 60
    while len(tradeoff.measured()) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    page.run()
    assert not page.exception
    assert "cheapest by time on this machine" in page.header[0].value
    assert page.button(key="time_networks").label == "Time again"
    assert "in 1/" in " ".join(text.value for text in page.markdown)
    (table,) = page.dataframe
    assert table.value["Time (ms)"].notna().sum() == 2
