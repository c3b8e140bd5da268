"""Tags over time on the Compare page: what is drawn of them, the job that computes them, and the section."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.classes import ClassSet
from core.compare import agreement
from core.events import Event, Timeline, TimelineSettings, largest_differences, timeline
from core.examples import example_clip
from core.tagging import EMBEDDED_PAIR, load_tagger
from core.tags import Tags
from dashboard.charts import timeline as charts
from dashboard.charts.clip_picture import ClipPicture
from dashboard.charts.palette import LIGHT
from dashboard.server.server import Server
from dashboard.server.source import Source

NAMES = ClassSet.from_names(["Speech", "Dog", "Rain", "Siren"])
EVERY = frozenset(NAMES.indices)


def over_time(*rows: tuple[float, ...], step: float = 1.0) -> Timeline:
    edges = step * np.arange(len(rows) + 1.0)
    return Timeline("", NAMES, edges, np.array(rows, np.float32))


def agreed(baseline: tuple[float, ...], candidate: tuple[float, ...]):
    tags = [
        Tags("", NAMES, np.array(values, np.float32), "torch", 1.0, ((0.0, 1.0),))
        for values in (baseline, candidate)
    ]
    return agreement(*tags, threshold=0.5)


def test_what_counts_is_drawn_first():
    """Speech is kept, Dog lost, Siren gained over the clip; Rain reaches the threshold for a second only."""
    result = agreed((0.9, 0.8, 0.2, 0.1), (0.6, 0.1, 0.3, 0.7))
    sides = (
        over_time((0.9, 0.8, 0.1, 0.1), (0.9, 0.8, 0.3, 0.1)),
        over_time((0.6, 0.1, 0.1, 0.7), (0.6, 0.1, 0.5, 0.7)),
    )
    tags = charts.shown_tags(result, *sides, indices=EVERY)
    names = dict(zip(NAMES.indices, NAMES.names, strict=True))
    assert [(names[index], change) for index, change in tags] == [
        ("Speech", "kept"), ("Dog", "lost"), ("Siren", "gained"), ("Rain", "at times")
    ]  # fmt: skip
    (rain,) = charts.shown_tags(result, *sides, indices=frozenset({289}))
    assert rain == (289, "at times")


def test_without_a_tag_the_likeliest_are_drawn():
    result = agreed((0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4))
    side = over_time((0.1, 0.2, 0.3, 0.4))
    tags = charts.shown_tags(result, side, side, indices=EVERY)
    assert [index for index, _ in tags] == [396, 289, 74]
    assert {change for _, change in tags} == {"below"}


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_cells_are_the_probabilities():
    picture = ClipPicture(2.0, np.zeros(2), np.zeros(2), np.array([[0, -20], [-80, 0]], np.int8))
    sides = over_time((0.0, 0.5, 1.0, 0.2), (0.1, 0.25, 0.75, 0.2)), over_time((0.4, 0.0, 0.0, 0.0), step=2.0)
    data = charts.timeline_data(
        sides, ("A", "B"), [(289, "kept"), (0, "lost")], duration_s=2.0, picture=picture, palette=LIGHT
    )
    first, second = data["networks"]
    assert unpacked(first["edges"], "<f4").tolist() == [0, 1, 2]
    assert unpacked(first["cells"], "u1").tolist() == [255, 191, 0, 26]  # Rain 1, 0.75; Speech 0, 0.1
    assert unpacked(second["edges"], "<f4").tolist() == [0, 2]
    assert unpacked(second["cells"], "u1").tolist() == [0, 102]
    assert (first["color"], second["color"]) == (LIGHT.baseline, LIGHT.pruned)
    assert [tag["label"] for tag in data["tags"]] == ["Rain", "Speech (lost)"]
    assert unpacked(data["spectrogram"]["levels"], "u1").tolist() == [255, 191, 0, 255]


def test_too_many_cells_are_pooled_by_their_maximum():
    rows = np.zeros((20_000, 4), np.float32)
    rows[12_345, 2] = 1.0
    side = Timeline("", NAMES, np.arange(20_001) / 2, rows)
    data = charts.timeline_data(
        (side, side), ("A", "B"), [(289, "kept")], duration_s=10_000.0, picture=None, palette=LIGHT
    )
    assert unpacked(data["spectrogram"]["levels"], "u1").tolist() == [
        0
    ]  # an empty place until there is a picture
    edges, cells = (
        unpacked(data["networks"][0][part], kind) for part, kind in (("edges", "<f4"), ("cells", "u1"))
    )
    assert len(cells) == charts.MAX_CELLS == len(edges) - 1
    (at,) = np.flatnonzero(cells)
    assert edges[at] <= 12_345 / 2 < edges[at + 1]
    assert (edges[0], edges[-1]) == (0, 10_000)


def test_networks_with_other_rows_are_compared_between_any_two_borders():
    """Rows of 1 s and of 2 s: the second second is 0.5 beside 0.75."""
    fine = over_time((0.0, 0.0, 0.5, 0.0), (0.0, 0.0, 0.75, 0.0))
    coarse = over_time((0.0, 0.0, 0.5, 0.0), step=2.0)
    (found,) = largest_differences(fine, coarse, least=0.25)
    assert (found.name, found.start_s, found.end_s, found.value) == ("Rain", 1.0, 2.0, -0.25)
    assert charts.difference_text(found) == "−0.25 at 1.5\u00a0s, Rain"
    assert largest_differences(fine, coarse, least=0.26) == []


def test_events_of_both_are_in_order_and_not_too_many():
    first = [Event(289, "Rain", float(second), second + 0.5, 0.756) for second in range(300)]
    second = [Event(289, "Rain", 0.0, 61.25, 0.5)] * 200
    listed = charts.events_data((first, second))
    assert len(listed) == charts.MOST_EVENTS
    assert [event["network"] for event in listed[:3]] == [0, 1, 1]
    assert listed[0] == {
        "start": 0.0, "end": 0.5, "span": "0.0\u00a0s – 0.5\u00a0s", "name": "Rain", "network": 0, "probability": "0.76"
    }  # fmt: skip
    assert listed[1]["span"] == "0.0\u00a0s – 1:01.2"


def finished(server: Server, source: Source, names: tuple[str, str]) -> None:
    for _ in range(1200):
        if server.timelines.status(source, names) is None:
            return
        time.sleep(0.05)
    raise AssertionError("not done after a minute")


def test_the_job_computes_what_the_command_line_does(embedded):
    server, source = Server(), Source.of_example("clock", "Clock")
    clip = server.clip(source).clip
    assert server.timelines.known(source, EMBEDDED_PAIR) is None
    server.timelines.start(source, EMBEDDED_PAIR, clip)
    finished(server, source, EMBEDDED_PAIR)
    pair = server.timelines.known(source, EMBEDDED_PAIR)
    assert pair.complete
    for name, side in zip(EMBEDDED_PAIR, (pair.baseline, pair.candidate), strict=True):
        expected = timeline(load_tagger(name), example_clip("clock"), TimelineSettings())
        assert np.array_equal(side.edges_s, expected.edges_s)
        assert np.abs(side.probabilities - expected.probabilities).max() < 1e-4
    # A network's rows are kept for its next comparison.
    other = (EMBEDDED_PAIR[1], EMBEDDED_PAIR[1])
    server.timelines.start(source, other, clip)
    finished(server, source, other)
    assert np.array_equal(
        server.timelines.known(source, other).baseline.probabilities, pair.candidate.probabilities
    )


def test_the_section(page: AppTest) -> None:
    assert page.button("show_over_time").label == "Show tags over time"
    page.button("show_over_time").click().run()
    for _ in range(100):
        if "timeline" in components(page) and not any(
            button.key == "cancel_over_time" for button in page.button
        ):
            break
        time.sleep(0.1)
        page.run()
    assert "timeline" in components(page)
    assert not page.exception
    assert [element.proto.label for element in page.get("download_button")][:4] == [
        "CSV", "JSON", "Audacity labels, Demo CNN14", "Audacity labels, Demo E-PANNs"
    ]  # fmt: skip


def components(page: AppTest) -> str:
    return " ".join(element.proto.component_name for element in page.get("bidi_component"))


@pytest.mark.parametrize("name", ["timeline.js", "timeline.css"])
def test_the_component_loads_nothing_from_elsewhere(name):
    text = (Path(charts.__file__).parents[1] / "assets" / name).read_text(encoding="utf-8")
    assert "http" not in text
    assert "eval(" not in text
    assert "innerHTML" not in text  # names come from files
