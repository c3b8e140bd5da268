"""The Prune page by Streamlit's own test runner: its numbers are core's, and every state can be left again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.compare import agreement
from core.examples import EXAMPLES, example_clip
from core.models.cnn import LAYERS, Cnn14Config
from core.profiling import count
from core.pruning.plan import PruningPlan, plan
from core.pruning.surgery import prune
from core.tagging import Tagger, load_tagger
from dashboard import formats
from dashboard.charts.palette import LIGHT
from dashboard.server import state, workbench

APP = str(Path(__file__).parents[2] / "dashboard" / "app.py")
WIDTHS = (16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512)


@pytest.fixture(scope="module")
def parent(embedded: None) -> Tagger:
    return load_tagger("demo-cnn14")


@pytest.fixture
def prune_page(embedded: None) -> Iterator[AppTest]:
    """The Prune page as it opens, with its first curve measured, so that no test waits for another's."""
    page = open_page()
    yield page
    for key in list(workbench.bench().jobs._cancels):
        workbench.bench().jobs.cancel(key)


def open_page(**address: str) -> AppTest:
    page = AppTest.from_file(APP, default_timeout=60)
    for key, value in address.items():
        page.query_params[key] = value
    page.switch_page("prune/page.py").run()
    return page


def settled(page: AppTest, done: Callable[[], bool], seconds: float = 60) -> AppTest:
    """Run the page again until what goes on in the background is done."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "the measurement did not end"
        time.sleep(0.05)
    return page.run()


def charts(page: AppTest) -> dict[str, dict]:
    """The page's figures by what they are of."""
    specs = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    found = {}
    for spec in specs:
        first = spec["data"][0]
        if first["type"] == "heatmap":
            found["sensitivity"] = spec
        elif first["type"] == "bar":
            found["tags" if "text" in first else "architecture"] = spec
        else:
            found[spec["layout"]["yaxis"]["title"]["text"]] = spec
    return found


def shown(page: AppTest) -> str:
    return " ".join(line.value for line in (*page.markdown, *page.caption))


def answer(page: AppTest) -> str:
    return page.subheader[0].value


def expected_tags(parent: Tagger, made: PruningPlan, example: str):
    clip = example_clip(example)
    pruned = Tagger(prune(parent.model, made), parent.info)
    left, right = parent.tag(clip), pruned.tag(clip)
    return left, right, agreement(left, right, top_k=10)


def test_the_page_opens_with_the_paper_s_cut_counted_and_heard(prune_page: AppTest, parent: Tagger) -> None:
    assert not prune_page.exception
    assert not prune_page.error
    before = count(Cnn14Config(WIDTHS, 18, 512))
    after = count(Cnn14Config((*WIDTHS[:6], 64, 64, 128, 128, 256, 256), 18, 512))
    for figure in (formats.count(after.params_trainable), formats.count(after.macs)):
        assert f":orange[**{figure}**]" in shown(prune_page)
    assert formats.change(before.params_trainable, after.params_trainable) in answer(prune_page)
    *_, measured = expected_tags(parent, plan(parent.model, 0.5), EXAMPLES[0].key)
    assert f"**{measured.top_k_overlap} of the first 10 tags stay**" in shown(prune_page)
    assert formats.probability(measured.max_abs_difference) in shown(prune_page)


def test_the_slider_moves_counts_picture_and_tags(prune_page: AppTest, parent: Tagger) -> None:
    prune_page.slider(key="ratio").set_value(75).run()
    assert not prune_page.exception
    assert answer(prune_page).startswith("75\u00a0% of the filters of C7 to C12 gone")
    picture = charts(prune_page)["architecture"]
    assert picture["data"][1]["marker"]["color"] == LIGHT.pruned
    assert [note["text"] for note in picture["layout"]["annotations"]][11] == "512 → <b>128</b>"
    left, right, measured = expected_tags(parent, plan(parent.model, 0.75), EXAMPLES[0].key)
    bars = charts(prune_page)["tags"]["data"]
    assert bars[0]["text"][0] == f"{left.probabilities.max():.2f}"
    assert sorted(bars[1]["text"]) == sorted(
        f"{right.probabilities[i]:.2f}"
        for i in sorted(range(18), key=lambda i: -max(left.probabilities[i], right.probabilities[i]))[:10]
    )
    assert f"**{measured.top_k_overlap} of the first 10 tags stay**" in shown(prune_page)


def test_another_criterion_keeps_other_filters_and_the_same_counts(
    prune_page: AppTest, parent: Tagger
) -> None:
    before = answer(prune_page)
    prune_page.selectbox(key="criterion").set_value("l1").run()
    assert answer(prune_page) == before
    *_, measured = expected_tags(parent, plan(parent.model, 0.5, criterion_name="l1"), EXAMPLES[0].key)
    assert formats.probability(measured.max_abs_difference) in shown(prune_page)


def test_nothing_removed_is_the_same_network(prune_page: AppTest) -> None:
    prune_page.slider(key="ratio").set_value(0).run()
    assert not prune_page.exception
    assert answer(prune_page) == "Nothing is removed yet: move the slider"
    assert "**10 of the first 10 tags stay** · largest difference 0.00" in shown(prune_page)


def test_each_layer_starts_from_the_common_ratio_and_goes_its_own_way(
    prune_page: AppTest, parent: Tagger
) -> None:
    prune_page.slider(key="ratio").set_value(40).run()
    prune_page.toggle(key="own").set_value(True).run()
    assert [prune_page.slider(key=layer).value for layer in LAYERS] == [0] * 6 + [40] * 6
    assert prune_page.slider(key="ratio").disabled
    prune_page.slider(key="C3").set_value(25)
    prune_page.slider(key="C12").set_value(0)
    prune_page.run()
    made = plan(parent.model, {"C3": 0.25, **{f"C{i}": 0.4 for i in range(7, 12)}})
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    assert notes[2] == "32 → <b>24</b>"
    assert notes[11] == "512"
    *_, measured = expected_tags(parent, made, EXAMPLES[0].key)
    assert formats.probability(measured.max_abs_difference) in shown(prune_page)
    assert prune_page.query_params["ratios"] == "C3=0.25,C7=0.4,C8=0.4,C9=0.4,C10=0.4,C11=0.4"
    prune_page.toggle(key="own").set_value(False).run()
    assert answer(prune_page).startswith("40\u00a0% of the filters of C7 to C12 gone")
    assert "ratios" not in prune_page.query_params


def test_widths_are_rounded(prune_page: AppTest) -> None:
    prune_page.slider(key="ratio").set_value(55)
    prune_page.segmented_control(key="round_to").set_value(32).run()
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    assert notes[6:12:2] == ["128 → <b>64</b>", "256 → <b>128</b>", "512 → <b>224</b>"]


def test_the_curve_of_agreement_is_core_s_at_every_ratio(embedded: None, parent: Tagger) -> None:
    example = EXAMPLES[7].key
    page = open_page(example=example)

    def drawn() -> dict:
        return charts(page)["share of the first tags that stay"]["data"][0]

    deadline = time.monotonic() + 60
    while len(drawn()["x"]) < 10 and time.monotonic() < deadline:
        time.sleep(0.2)
        page.run()
    assert drawn()["x"] == [step / 10 for step in range(10)]
    for ratio in (0.3, 0.9):
        *_, measured = expected_tags(parent, plan(parent.model, ratio), example)
        assert drawn()["y"][round(10 * ratio)] == measured.top_k_overlap / 10


def test_a_link_restores_every_knob(embedded: None) -> None:
    page = open_page(
        ratio="30", criterion="l2", layers="C9", round_to="8", network="demo-epanns", example=EXAMPLES[3].key
    )
    assert not page.exception
    assert page.slider(key="ratio").value == 30
    assert page.selectbox(key="criterion").value == "l2"
    assert page.selectbox(key="network").value == "demo-epanns"
    assert page.segmented_control(key="round_to").value == 8
    assert EXAMPLES[3].title in shown(page)


def test_a_link_with_a_ratio_a_layer_restores_them(embedded: None) -> None:
    page = open_page(own="true", ratios="C9=0.5,C12=0.25")
    assert not page.exception
    assert {layer: page.slider(key=layer).value for layer in ("C8", "C9", "C12")} == {
        "C8": 0,
        "C9": 50,
        "C12": 25,
    }
    assert answer(page).startswith("Filters of C9 and C12 gone")


def test_a_foolish_link_falls_back_to_the_defaults(embedded: None) -> None:
    page = open_page(
        ratio="900", criterion="magic", network="../../etc/passwd", own="true", ratios="C99=2,nonsense"
    )
    assert not page.exception
    assert page.selectbox(key="criterion").value == "operator-norm"
    assert page.selectbox(key="network").value == "demo-cnn14"
    assert page.slider(key="C7").value == 50


def saved(parent: Tagger) -> PruningPlan:
    return plan(parent.model, {"C9": 0.5, "C11": 0.123}, criterion_name="l1")


def test_a_saved_plan_sets_every_knob_and_is_carried_out_to_the_letter(
    prune_page: AppTest, parent: Tagger
) -> None:
    made = saved(parent)
    prune_page.get("file_uploader")[-1].upload("mine.json", made.text().encode(), "application/json")
    prune_page.run()
    assert not prune_page.exception
    assert not prune_page.error
    assert answer(prune_page).startswith("This plan: ")
    assert prune_page.selectbox(key="criterion").value == "l1"
    assert prune_page.slider(key="C11").value == 12
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    assert notes[10] == f"512 → <b>{len(made.kept['C11'])}</b>"
    prune_page.slider(key="C9").set_value(60).run()
    assert answer(prune_page).startswith("Filters of C9 and C11 gone")


@pytest.mark.parametrize(
    "kind", ["not json", "no plan", "another network", "another architecture", "no filters"]
)
def test_a_bad_plan_is_one_line_and_the_page_goes_on(prune_page: AppTest, parent: Tagger, kind: str) -> None:
    document = saved(parent).document()
    data = {
        "not json": b"\x00\x01 no plan",
        "no plan": b'{"title": "shopping"}',
        "another network": json.dumps(document | {"widths": [8] * 12, "kept": {"C9": [0, 1]}}).encode(),
        "another architecture": json.dumps(document | {"architecture": "resnet38"}).encode(),
        "no filters": json.dumps(document | {"kept": {"C9": []}}).encode(),
    }[kind]
    before = answer(prune_page)
    prune_page.get("file_uploader")[-1].upload("bad.json", data, "application/json")
    prune_page.run()
    assert not prune_page.exception
    (error,) = prune_page.error
    assert error.value.startswith("bad\\.json")
    assert "Traceback" not in error.value
    assert answer(prune_page) == before
    prune_page.slider(key="ratio").set_value(60).run()
    assert answer(prune_page).startswith("60\u00a0% of the filters")


def test_a_bad_recording_is_said_and_an_example_is_heard(prune_page: AppTest) -> None:
    prune_page.get("file_uploader")[0].upload("bad.wav", b"this is no audio", "audio/wav")
    prune_page.run()
    assert not prune_page.exception
    (error,) = prune_page.error
    assert "bad\\.wav" in error.value
    assert error.value.endswith(f"Heard instead: {EXAMPLES[0].title}.")
    assert "tags stay**" in shown(prune_page)


def test_recordings_stay_from_page_to_page_until_they_are_let_go(
    prune_page: AppTest, wav: Callable[..., bytes]
) -> None:
    prune_page.get("file_uploader")[0].upload("street.wav", wav(1.0, seed=3), "audio/wav")
    prune_page.run()
    assert "**street\\.wav**" in shown(prune_page)
    prune_page.switch_page("compare/page.py").run()
    assert not prune_page.exception
    assert "**street\\.wav**" in shown(prune_page)
    assert any(line.value == "Your recordings (1): street\\.wav" for line in prune_page.caption)
    prune_page.button(key="let_go").click().run()
    assert "street" not in shown(prune_page)
    assert f"**{EXAMPLES[0].title}**" in shown(prune_page)


def test_of_several_recordings_one_is_heard(prune_page: AppTest, wav: Callable[..., bytes]) -> None:
    for name, seed in (("one.wav", 1), ("two.wav", 2)):
        prune_page.get("file_uploader")[0].upload(name, wav(0.5, seed=seed), "audio/wav")
    prune_page.run()
    assert "**one\\.wav**" in shown(prune_page)
    two = next(source for source in prune_page.session_state["digested"].values() if source.name == "two.wav")
    prune_page.selectbox(key="current_clip").set_value(two.key).run()
    assert "**two\\.wav**" in shown(prune_page)


def test_repair_raises_agreement_and_says_what_it_heard(prune_page: AppTest) -> None:
    def largest() -> float:
        (line,) = [line.value for line in prune_page.markdown if "tags stay**" in line.value]
        return float(line.split("largest difference ")[1].split(" ")[0])

    before = largest()
    prune_page.segmented_control(key="repair").set_value("examples").run()
    assert not prune_page.exception
    assert largest() < before / 2
    assert "Repaired on the eleven other synthesised examples, not on this clip" in shown(prune_page)


def test_sensitivity_is_measured_on_demand_and_can_be_stopped(
    prune_page: AppTest, wav: Callable[..., bytes]
) -> None:
    prune_page.get("file_uploader")[0].upload("own.wav", wav(0.5, seed=9), "audio/wav")
    prune_page.run()
    jobs = workbench.bench().jobs
    with state.server().gate.turn():  # the job waits for its turn, and can be stopped there
        prune_page.button(key="measure_sensitivity").click().run()
        prune_page.button(key="cancel_measure_sensitivity").click().run()
        key = next(key for key in list(jobs._standings) if key[0] == "sensitivity")
        settled(prune_page, lambda: not jobs.standing(key).active)
    assert "Stopped\\." in shown(prune_page)
    prune_page.button(key="measure_sensitivity").click().run()
    settled(prune_page, lambda: jobs.result(key) is not None)
    cells, found = charts(prune_page)["sensitivity"]["data"][0], jobs.result(key)
    assert cells["y"] == list(LAYERS)
    assert float(cells["text"][11][4]) == pytest.approx(found.divergence[11][4], rel=0.05, abs=5e-4)


def test_a_plan_for_a_budget_is_found_and_sets_every_knob(
    prune_page: AppTest, wav: Callable[..., bytes]
) -> None:
    prune_page.get("file_uploader")[0].upload("short.wav", wav(0.4, seed=11), "audio/wav")
    prune_page.run()
    prune_page.segmented_control(key="limit").set_value("params").run()
    prune_page.button(key="find_plan").click().run()
    jobs = workbench.bench().jobs

    def ended() -> bool:
        return not any(key[0] == "search" and each.active for key, each in list(jobs._standings.items()))

    settled(prune_page, ended)
    assert not prune_page.exception
    assert answer(prune_page).startswith("This plan: ")
    assert prune_page.toggle(key="own").value
    remains = 1 - float(answer(prune_page).split("\N{MINUS SIGN}")[1].split("\u00a0")[0]) / 100
    assert remains <= 0.5
    assert "**Found:** " in shown(prune_page)


def test_the_time_is_measured_on_demand_and_kept(prune_page: AppTest) -> None:
    prune_page.button(key="ask_time").click().run()
    assert f"Time on {state.tagger('demo-cnn14').runtime}" in shown(prune_page)
    assert not any(button.key == "ask_time" for button in prune_page.button)
    prune_page.selectbox(key="criterion").set_value("l2").run()
    assert not any(button.key == "ask_time" for button in prune_page.button)


def test_a_moved_slider_waits_for_no_engine(prune_page: AppTest) -> None:
    builder = state.server().engine_builder
    with builder.paused():
        prune_page.slider(key="ratio").set_value(70).run()
        assert not prune_page.exception
        # Beside the points of the curves, which are heard once and stay on torch: the one that waits for its engine.
        (newest,) = [
            item for item in workbench.bench().pruned._items.values() if not item.value.tagger.engine_ready
        ]
        assert newest.value.plan.ratio == 0.7
        assert newest.value.tagger.runtime == "torch"
    builder.wait()
    assert newest.value.tagger.engine_ready
    assert newest.weight == newest.value.own_bytes + newest.value.tagger.engine_bytes


def test_a_file_is_prepared_checked_and_offered(prune_page: AppTest) -> None:
    jobs = workbench.bench().jobs
    prune_page.selectbox(key="format").set_value("safetensors").run()
    prune_page.button(key="prepare").click().run()
    settled(prune_page, lambda: any(key[0] == "file" for key in list(jobs._results._items)))
    assert not prune_page.exception
    (told,) = [line.value for line in prune_page.caption if "differs from the network" in line.value]
    assert told.startswith("5.6")
