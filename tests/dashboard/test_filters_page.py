"""The Filters page by Streamlit's own test runner: its parts, its settings, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core import checkpoints
from core.tagging import load_tagger
from dashboard.charts.palette import LIGHT
from dashboard.filters import rank_table
from dashboard.filters.settings import FilterSettings
from dashboard.filters.view import LayerView
from dashboard.server import server as server_module
from dashboard.server.server import Server
from dashboard.server.source import Source
from tests.dashboard import reference

APP = str(Path(__file__).parents[2] / "dashboard" / "app.py")


CRITERIA = [
    "operator-norm",
    "operator-norm-energy",
    "operator-norm-abs",
    "l1",
    "l2",
    "geometric-median",
    "geometric-mean",
    "similarity",
    "graph-centrality",
    "random",
]


@pytest.fixture(scope="module")
def network(embedded: None) -> reference.State:
    """The weights of the network that the page opens with."""
    return load_tagger("demo-cnn14").model.state_dict()


def open_page(**query: str) -> AppTest:
    page = AppTest.from_file(APP, default_timeout=60)
    page._page_hash = calc_hash("filters")  # as st.Page has it; switch_page would run the front page first
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


@pytest.fixture
def page(embedded: None) -> AppTest:
    """The Filters page as it opens."""
    return open_page()


def specs(page: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def frames(spec: dict) -> list[str]:
    """Colours of the frames of a page of tiles."""
    (bars,) = [trace for trace in spec["data"] if trace["type"] == "bar"]
    return bars["marker"]["line"]["color"]


def names(spec: dict) -> list[str]:
    return [note["text"].replace("<b>", "").replace("</b>", "") for note in spec["layout"]["annotations"]]


def shown(page: AppTest) -> str:
    return " ".join(line.value for line in (*page.markdown, *page.caption, *page.header)).replace(
        "\u00a0", " "
    )


def test_the_page_opens_with_an_answer_and_the_filters_at_the_cut(
    page: AppTest, network: reference.State
) -> None:
    assert not page.exception
    assert not page.error
    scores = reference.operator_norm(reference.weight(network, "C7"))
    gone = reference.removed_filters(scores, 64)
    lost = 100 * scores[gone].sum() / scores.sum()
    assert page.header[0].value.replace("\u00a0", " ") == (
        f"C7 keeps 64 of 128 filters · the removed ones have {lost:.0f} % of the total importance"
    )
    tiles = specs(page)[1]
    for name, color in zip(names(tiles), frames(tiles), strict=True):
        assert (color == LIGHT.removed) == (int(name) in gone)
    weakest = min(set(range(128)) - set(gone), key=lambda index: scores[index])
    assert page.number_input(key="filter").value == weakest
    assert "rank **64** of 128 :orange-badge[kept]" in shown(page)


def test_a_picked_filter_has_its_scores_ranks_and_neighbours(page: AppTest, network: reference.State) -> None:
    page.number_input(key="filter").set_value(17).run()
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Criterion"]) == CRITERIA
    weight = reference.weight(network, "C7")
    flat, responses = weight.reshape(128, -1), reference.responses(weight)
    apart = np.linalg.norm(flat[:, None] - flat[None, :], axis=2)
    geometric = np.exp(np.log(np.abs(flat)).mean(axis=1))
    by_definition = {
        "operator-norm": responses.sum(axis=0) ** 2,
        "operator-norm-energy": (responses**2).sum(axis=0),
        "operator-norm-abs": np.abs(responses).sum(axis=0) ** 2,
        "l1": reference.l1(weight),
        "l2": np.linalg.norm(flat, axis=1),
        "geometric-median": apart.sum(axis=1),
        "geometric-mean": (np.exp(np.log(np.abs(flat)).mean()) - geometric) ** 2,
    }
    for name, importance, rank, fate in table.itertuples(index=False):
        assert fate == ("kept" if rank <= 64 else "removed")
        if name in by_definition:
            scores = by_definition[name]
            assert importance == pytest.approx(scores[17] / scores.max())
            assert rank == 1 + int((scores > scores[17]).sum())
    # Nearest by the angle between the filters' first left singular vectors (taps x channels), each with its sign.
    left, _, right = np.linalg.svd(weight.reshape(128, 64, 9).transpose(0, 2, 1), full_matrices=False)
    directions = left[:, :, 0] * np.where(right[:, 0, 0] < 0, -1, 1)[:, None]
    gaps = 1 - directions @ directions[17]
    gaps[17] = np.inf
    assert names(specs(page)[3]) == [f"{index} · {gaps[index]:.2f}" for index in np.argsort(gaps)[:5]]


def test_the_feature_map_is_of_the_chosen_clip_and_filter(page: AppTest) -> None:
    index = page.number_input(key="filter").value
    made = specs(page)[-1]["data"][1]
    assert made["dx"] == pytest.approx(0.08)
    assert f"feature map of filter {index} of C7" in names(specs(page)[-1])
    page.pills(key="example").set_value("siren").run()
    assert not page.exception
    other = specs(page)[-1]["data"][1]
    assert other["z"] != made["z"]


def hits() -> None:
    """A page that hands on what a chart sent, as the Filters page does before it runs again."""
    import streamlit as st

    from dashboard.filters import settings

    settings.select_clicked("tiles", [40, 41, 42])
    st.write(st.session_state.get("filter"))


def test_a_click_picks_what_was_hit_and_a_second_one_does_not_lose_it() -> None:
    page = AppTest.from_function(hits)
    page.session_state["tiles"] = {"selection": {"points": []}}
    assert page.run().markdown[0].value == "`None`"
    page.session_state["tiles"] = {"selection": {"points": [{"point_index": 2}]}}
    assert page.run().markdown[0].value == "`42`"
    page.session_state["filter"] = 7
    page.session_state["tiles"] = {"selection": {"points": []}}  # the browser let go of the point
    assert page.run().markdown[0].value == "`42`"
    page.session_state["tiles"] = {"selection": {"points": [{"point_index": 3}]}}  # of a longer page before
    assert page.run().markdown[0].value == "`42`"


def test_kept_filters_follow_the_cut_and_the_criterion(page: AppTest, network: reference.State) -> None:
    page.slider(key="cut").set_value(75)
    page.selectbox(key="ranked_by").set_value("l2")
    page.segmented_control(key="layer").set_value("C9")
    page.run()
    assert page.header[0].value.startswith("C9 keeps 64 of 256 filters")
    lengths = np.linalg.norm(reference.weight(network, "C9").reshape(256, -1), axis=1)
    gone = reference.removed_filters(lengths, 64)
    last_kept = int(np.argsort(-lengths, kind="stable")[63])
    page.number_input(key="filter").set_value(last_kept).run()
    shown_filters = dict(zip(map(int, names(specs(page)[1])), frames(specs(page)[1]), strict=True))
    assert len(shown_filters) == 40
    removed = {index for index, color in shown_filters.items() if color == LIGHT.removed}
    assert removed == set(shown_filters) & set(gone)
    assert shown_filters[last_kept] == LIGHT.ink
    page.slider(key="cut").set_value(0).run()
    assert not page.exception
    assert page.header[0].value == "All 256 filters of C9 are kept"


@pytest.mark.parametrize("layer", ["C1", "C2", "C12"])
@pytest.mark.parametrize("part", ["Filters", "Criteria", "Order"])
def test_every_part_of_the_first_and_the_last_layers(embedded: None, layer: str, part: str) -> None:
    page = open_page(layer=layer, part=part)
    assert not page.exception
    assert not page.error
    assert page.header[0].value.startswith(f"{layer} keeps ")


def test_criteria_are_compared_on_order_and_on_what_stays(network: reference.State) -> None:
    page = open_page(part="Criteria")
    orders, common = specs(page)[1:]
    assert len(orders["data"][0]["text"]) == len(common["data"][0]["text"]) == len(CRITERIA)
    weight = reference.weight(network, "C7")
    scores = {"l1": reference.l1(weight), "l2": np.linalg.norm(weight.reshape(128, -1), axis=1)}
    own, other = (set(np.argsort(-each)[:64].tolist()) for each in scores.values())
    ranks = [np.argsort(np.argsort(-each)) for each in scores.values()]  # no two filters score the same
    row, column = CRITERIA.index("l1"), CRITERIA.index("l2")
    assert common["data"][0]["text"][row][column] == f"{100 * len(own & other) / 64:.0f}"
    spearman = 1 - 6 * float(((ranks[0] - ranks[1]) ** 2).sum()) / (128 * (128**2 - 1))
    assert orders["data"][0]["text"][row][column] == f"{spearman:.2f}"
    assert "**operator-norm** ranks these filters most like" in shown(page)


def test_the_order_part_says_how_much_the_order_decides(network: reference.State) -> None:
    page = open_page(part="Order", layer="C10")
    responses = reference.responses(reference.weight(network, "C10"))
    kept = [
        set(np.argsort(-((np.sign(responses[:, first]) @ responses) ** 2))[:128].tolist())
        for first in range(256)
    ]
    stays = np.mean([len(kept[0] & other) / 128 for other in kept[1:]])
    assert f"on average {100 * stays:.0f} %" in shown(page)
    table = page.dataframe[0].value.set_index("Layer")
    assert len(table) == 12
    assert table.loc["C10", "published"] == 1
    energy = (responses**2).sum(axis=0)
    assert table.loc["C10", "energy"] == 1 + int((energy > energy[0]).sum())
    page.segmented_control(key="layer").set_value("C1").run()
    assert "The order does not matter in C1" in shown(page)
    page.slider(key="cut").set_value(0).run()
    assert "all filters are kept in any order" in shown(page)


def test_a_link_restores_the_view_and_a_foolish_one_falls_back(embedded: None) -> None:
    page = open_page(
        layer="C9", ranked_by="l1", cut="75", filter="17", sorted="number", network="demo-epanns"
    )
    assert not page.exception
    assert page.header[0].value.startswith("C9 keeps 32 of 128 filters")
    assert page.number_input(key="filter").value == 17
    assert names(specs(page)[1]) == [str(index) for index in range(40)]
    foolish = open_page(
        layer="C99", ranked_by="best", cut="900", filter="100000", sorted="x", part="y", network="z"
    )
    assert not foolish.exception
    assert foolish.header[0].value.startswith("C7 keeps 64 of 128 filters")
    assert 0 <= foolish.number_input(key="filter").value < 128


def test_a_layer_without_the_picked_filter_shows_its_own(embedded: None) -> None:
    page = open_page(layer="C12", filter="400")
    assert page.number_input(key="filter").value == 400
    page.segmented_control(key="layer").set_value("C7").run()
    assert not page.exception
    assert page.number_input(key="filter").value < 128


def test_a_bad_recording_is_said_and_the_filters_stay(page: AppTest) -> None:
    page.file_uploader[1].upload("bad.mp3", b"this is no audio", "audio/mpeg")
    page.run()
    assert not page.exception
    assert "bad\\.mp3" in page.error[0].value
    assert page.header[0].value.startswith("C7 keeps 64")
    assert len(page.dataframe) == 1


def test_of_a_long_recording_the_first_half_minute_is_drawn_and_that_is_said(
    page: AppTest, wav: Callable[..., bytes]
) -> None:
    page.file_uploader[1].upload("long.wav", wav(31.0, rate=8_000), "audio/wav")
    page.run()
    assert not page.exception
    assert "The first 30.0 s of the clip are drawn" in shown(page)
    assert specs(page)[-1]["layout"]["xaxis"]["range"] == [0, 30.0]


def test_a_broken_model_file_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, embedded: None
) -> None:
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(
        "core.checkpoints.entries._complete", lambda entry: checkpoints.path_of(entry).is_file()
    )
    monkeypatch.setattr(server_module, "_server", Server())
    checkpoints.path_of(checkpoints.entry("epanns")).write_bytes(b"not a checkpoint")
    page = open_page(network="epanns")
    assert not page.exception
    assert len(page.error) == 1
    page.selectbox(key="network").set_value("demo-cnn14").run()
    assert not page.error
    assert page.header[0].value.startswith("C7 keeps 64")


def test_scores_and_maps_are_computed_once(embedded: None) -> None:
    server = Server()
    first = server.scores("demo-cnn14", "C8", "l1")
    assert server.scores("demo-cnn14", "C8", "l1") is first
    told: list[str] = []
    server.all_scores("demo-cnn14", "C8", lambda done, number, what: told.append(what))
    assert "l1" not in told
    server.all_scores("demo-cnn14", "C8", lambda done, number, what: pytest.fail(f"{what} again"))
    source = Source.of_example("siren", "Siren")
    server.feature_map(source, "demo-cnn14", "C8", 0)
    assert server.has_layer_input(source, "demo-cnn14", "C8")
    assert not server.has_layer_input(source, "demo-epanns", "C8")


def test_the_published_criterion_says_what_the_order_of_the_filters_does(
    page: AppTest, network: reference.State
) -> None:
    weight, every = reference.weight(network, "C7"), set(range(128))
    kept = every - set(reference.removed_filters(reference.operator_norm(weight), 64))
    shares = []
    for first in range(1, 128):
        order = [first, *(index for index in range(128) if index != first)]
        gone = reference.removed_filters(reference.operator_norm(weight[order]), 64)
        shares.append(len({order[index] for index in every - set(gone)} & kept) / 64)
    stay = f"{100 * np.mean(shares):.0f}"
    assert stay == "51"  # as docs/criteria.md has it
    assert f"**{stay} %** of the same filters at 50 % on average; chance is 50 %" in shown(page)
    page.button(key="show_order").click().run()
    assert not page.exception
    assert page.segmented_control(key="part").value == "Order"
    page.selectbox(key="ranked_by").set_value("l1").run()
    assert "depends on the order of the filters" not in shown(page)


def test_the_rank_table_has_every_filter_with_score_rank_and_fate(network: reference.State) -> None:
    chosen = FilterSettings("demo-cnn14", "C7", "l1", 0.75)
    view = LayerView(chosen, np.ones(128), list(range(128)), 32, 0)
    lines = list(csv.DictReader(rank_table.csv_text(view, ("C7", "C12")).splitlines()))
    assert [line["layer"] for line in lines] == ["C7"] * 128 + ["C12"] * 512
    for layer, width in (("C7", 128), ("C12", 512)):
        scores = reference.l1(reference.weight(network, layer))
        rows = [line for line in lines if line["layer"] == layer]
        assert [int(row["rank"]) for row in rows] == list(range(1, width + 1))
        assert [row["at 0.75"] for row in rows] == ["kept"] * (width // 4) + ["removed"] * (width * 3 // 4)
        for row in rows:
            index = int(row["filter"])
            assert float(row["score"]) == pytest.approx(scores[index] / scores.max())
            assert int(row["rank"]) == 1 + int((scores > scores[index]).sum())
