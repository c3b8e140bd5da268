"""Three networks on the Compare page: their panels, the agreement of every two, and the address."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import checkpoints
from core.audio import load_clip
from core.compare import agreement
from core.comparisons import ClassRow
from core.examples import EXAMPLES, example_clip
from core.tagging import load_tagger
from dashboard.charts.palette import LIGHT
from dashboard.charts.tag_panels import tag_panel, tag_panel_alt
from dashboard.formats import NBSP
from dashboard.server import server as server_module
from dashboard.server.server import Server

APP = str(Path(__file__).parents[2] / "dashboard" / "app.py")
PAIR = ("demo-cnn14", "demo-epanns")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, embedded: None) -> None:
    """The published CNN14 counts as installed: its file is that of the demonstration's pruned network."""
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(
        "core.checkpoints.entries._complete", lambda entry: checkpoints.path_of(entry).is_file()
    )
    monkeypatch.setattr(server_module, "_server", Server())
    shutil.copy(*(checkpoints.path_of(checkpoints.entry(name)) for name in ("demo-epanns", "cnn14")))


def bar_traces(page: AppTest) -> list[dict]:
    specs = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    return [trace for spec in specs for trace in spec["data"] if trace["type"] == "bar"]


def test_a_third_network_of_the_address_has_a_panel_and_every_two_are_compared(installed: None) -> None:
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["also"] = "cnn14,nothing,demo-epanns"  # the last is in the pair
    page.run()
    assert not page.exception
    assert not page.error
    assert page.multiselect(key="also").value == ["cnn14"]
    assert page.query_params["also"] == "cnn14"
    first, second, third = bar_traces(page)
    assert [trace["marker"]["color"] for trace in (first, second, third)] == [
        LIGHT.baseline,
        LIGHT.pruned,
        LIGHT.others[0],
    ]
    clip = example_clip(EXAMPLES[0].key)
    before, after = (load_tagger(name).tag(clip) for name in PAIR)
    likeliest = max(before.top(1)[0].probability, after.top(1)[0].probability)
    assert f"{likeliest:.2f}" in (first["text"][0], second["text"][0])
    assert second["text"] == third["text"] != first["text"]  # one file under two names
    table = page.dataframe[0].value
    agreed = agreement(before, after)
    assert list(table["Largest difference"]) == pytest.approx([agreed.max_abs_difference] * 2 + [0.0])
    assert list(table["Divergence"]) == pytest.approx([agreed.divergence] * 2 + [0.0])
    assert list(table["Networks"])[1:] == ["Demo CNN14 and CNN14", "Demo E-PANNs and CNN14"]
    page.multiselect(key="also").set_value([]).run()
    assert "also" not in page.query_params
    assert len(bar_traces(page)) == 2  # the mirrored chart again


def test_several_recordings_have_a_row_with_every_network_and_costs_a_line_for_each(
    installed: None, wav: Callable[..., bytes]
) -> None:
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["also"] = "cnn14"
    page.run()
    clips = {f"{seed}.wav": wav(1.0, seed=seed) for seed in (1, 2)}
    for name, data in clips.items():
        page.file_uploader[0].upload(name, data, "audio/wav")
    page.run()
    assert not page.exception
    assert not page.error
    table = page.dataframe[0].value
    assert list(table["Clip"]) == list(clips)
    assert list(table.columns)[2:7] == [
        "Demo CNN14",
        "Demo E-PANNs",
        "CNN14",
        "Kept, Demo E-PANNs",
        "Kept, CNN14",
    ]
    assert list(table["Demo E-PANNs"]) == list(table["CNN14"])  # one file under two names
    expected = [
        agreement(*(load_tagger(name).tag(load_clip(data)) for name in PAIR)).divergence
        for data in clips.values()
    ]
    for name in ("Demo E-PANNs", "CNN14"):
        assert list(table[f"Divergence, {name}"]) == pytest.approx(expected, rel=1e-4)
    lines = [text.value.replace(NBSP, " ") for text in page.markdown]
    parameters = [text for text in lines if "**1.66 M**" in text]
    assert parameters == [
        f":small[:{color}[{title}]]  \n**1.66 M** :gray-badge[−68.5 %]"
        for color, title in (("orange", "Demo E\\-PANNs"), ("green", "CNN14"))
    ]


def test_a_network_without_a_class_says_so_in_its_panel() -> None:
    rows = [
        ClassRow(0, "Speech", (0.9, 0.1, None)),
        ClassRow(387, "Writing with a very long name of it", (0.1, 0.2, 0.3)),
    ]
    panel = tag_panel(rows, 2, palette=LIGHT, threshold=0.2)
    assert list(panel.data[0].text) == ["not a class of this model", "0.30"]
    assert list(panel.data[0].marker.opacity) == [0.35, 1.0]
    assert panel.layout.annotations[1].text == "Writing with a very long…"
    assert (
        tag_panel_alt(rows[:1], 0, title="Mine", threshold=0.2) == "Bars, probabilities by Mine: Speech 0.90."
    )
