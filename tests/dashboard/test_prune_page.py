"""The Prune page by Streamlit's own test runner: its numbers, its settings, its jobs, and what it says of mistakes."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from core.audio import encode_wav
from core.examples import EXAMPLES, example_clip
from core.pruning.plan import PruningPlan, plan
from core.tagging import Tagger, load_tagger
from dashboard import formats
from dashboard.charts.palette import LIGHT
from dashboard.prune import settings
from dashboard.prune.pins import Pin
from dashboard.server.server import get_server
from dashboard.server.source import Source
from tests.dashboard import reference

APP = str(Path(__file__).parents[2] / "dashboard" / "app.py")
PAPER_LAYERS = ("C7", "C8", "C9", "C10", "C11", "C12")


@pytest.fixture(scope="module")
def parent(embedded: None) -> Tagger:
    return load_tagger("demo-cnn14")


@pytest.fixture
def prune_page(embedded: None) -> Iterator[AppTest]:
    """The Prune page as it opens, with its first curve measured, so that no test waits for another's."""
    page = open_page()
    yield page
    for key in list(get_server().jobs._tasks):
        get_server().jobs.cancel(key)


def open_page(**address: str) -> AppTest:
    page = AppTest.from_file(APP, default_timeout=240)
    for key, value in address.items():
        page.query_params[key] = value
    page._page_hash = calc_hash("prune")  # as st.Page has it; switch_page would run the front page first
    return page.run()


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
    figures = {}
    for spec in specs:
        first = spec["data"][0]
        if first["type"] == "heatmap":
            figures["sensitivity"] = spec
        elif first["type"] == "bar":
            figures["tags" if "text" in first else "architecture"] = spec
        else:
            figures[spec["layout"]["yaxis"]["title"]["text"]] = spec
    return figures


def shown(page: AppTest) -> str:
    return " ".join(line.value for line in (*page.markdown, *page.caption))


def answer(page: AppTest) -> str:
    return page.header[0].value


def at_ratio(percent: int) -> dict[str, int]:
    """Kept filters of the demonstration CNN14's C7 to C12, floor(n (1 - p)), counted in whole numbers."""
    widths = dict(zip(PAPER_LAYERS, (128, 128, 256, 256, 512, 512), strict=True))
    return {layer: width * (100 - percent) // 100 for layer, width in widths.items()}


def expected(
    parent: Tagger,
    kept: dict[str, int],
    example: str = EXAMPLES[0].key,
    score: Callable[[np.ndarray], np.ndarray] = reference.operator_norm,
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the unpruned and the pruned network on an example."""
    state, waveform = parent.model.state_dict(), example_clip(example).waveform
    removed = reference.removed_by(state, kept, score)
    return reference.probabilities(state, waveform), reference.probabilities(state, waveform, removed)


def verdict(before: np.ndarray, after: np.ndarray) -> str:
    """The beginning of the sentence above the tags."""
    names = [name.replace("-", r"\-") for name in load_tagger("demo-cnn14").classes.names]
    above = [
        index for index in np.argsort(-np.maximum(before, after)) if max(before[index], after[index]) >= 0.2
    ]
    lost, gained = ([i for i in above if one[i] < 0.2] for one in (after, before))

    def listed(texts: list[str]) -> str:
        shown = texts[:3] + ([f"{len(texts) - 3} more"] if len(texts) > 3 else [])
        return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)

    for change, rows in (("loses", lost), ("gains", gained)):
        if rows:
            return f"**Pruned {change} {listed([f'{names[i]} ({before[i]:.2f} → {after[i]:.2f})' for i in rows])}"
    largest = np.abs(before - after).max()
    differ = f"largest difference {largest:.2f} (" if largest >= 0.1 else "no difference above 0.10**"
    return f"**Both recognise {listed([names[i] for i in above])}; {differ}"


def test_the_page_opens_with_half_of_c7_to_c12_removed(prune_page: AppTest, parent: Tagger) -> None:
    assert not prune_page.exception
    assert not prune_page.error
    # Parameters by ``reference.parameters``; MACs by the sums that give golden.json's for the published widths, to the unit:
    # 5,253,599 -> 1,655,519 and 2,327,802,624 -> 1,850,200,832.
    for change in ("5.25 M**] → :orange[**1.66 M", "2.33 G**] → :orange[**1.85 G"):
        assert change in shown(prune_page).replace("\u00a0", " ")
    assert answer(prune_page).replace("\u00a0", " ") == (
        "50 % of the filters of C7 to C12 removed: −68.5 % parameters, −20.5 % MACs"
    )
    assert verdict(*expected(parent, at_ratio(50))) in shown(prune_page)


def test_the_slider_changes_counts_picture_and_tags(prune_page: AppTest, parent: Tagger) -> None:
    prune_page.slider(key="ratio").set_value(75).run()
    assert not prune_page.exception
    assert answer(prune_page).replace("\u00a0", " ") == (
        "75 % of the filters of C7 to C12 removed: −86.4 % parameters, −26.1 % MACs"
    )
    picture = charts(prune_page)["architecture"]
    assert picture["data"][1]["marker"]["color"] == LIGHT.pruned
    assert [note["text"] for note in picture["layout"]["annotations"]][11] == "512 → <b>128</b>"
    before, after = expected(parent, at_ratio(75))
    shown_classes = np.argsort(-np.maximum(before, after))[: (np.maximum(before, after) >= 0.2).sum() + 3]
    bars = charts(prune_page)["tags"]["data"]
    for bar, values in zip(bars, (before, after), strict=True):
        assert bar["text"] == [f"{values[index]:.2f}" for index in shown_classes]
    assert verdict(before, after) in shown(prune_page)


def test_another_criterion_keeps_other_filters_and_the_same_counts(
    prune_page: AppTest, parent: Tagger
) -> None:
    before = answer(prune_page)
    prune_page.selectbox(key="criterion").set_value("l1").run()
    assert answer(prune_page) == before
    assert verdict(*expected(parent, at_ratio(50), score=reference.l1)) in shown(prune_page)


def test_nothing_removed_is_the_same_network(prune_page: AppTest) -> None:
    prune_page.slider(key="ratio").set_value(0).run()
    assert not prune_page.exception
    assert answer(prune_page) == "Nothing is removed yet: move the slider to remove filters of C7 to C12"
    assert r"**Both recognise Tick\-tock and Tick; no difference above 0.10**" in shown(prune_page)


def test_each_layer_starts_from_the_common_ratio_and_goes_its_own_way(
    prune_page: AppTest, parent: Tagger
) -> None:
    prune_page.slider(key="ratio").set_value(40).run()
    prune_page.toggle(key="own").set_value(True).run()
    assert [prune_page.slider(key=layer).value for layer in reference.LAYERS] == [0] * 6 + [40] * 6
    assert prune_page.slider(key="ratio").disabled
    prune_page.slider(key="C3").set_value(25)
    prune_page.slider(key="C12").set_value(0)
    prune_page.run()
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    assert notes[2] == "32 → <b>24</b>"
    assert notes[11] == "512"
    kept = {
        "C3": 24,
        "C7": 76,
        "C8": 76,
        "C9": 153,
        "C10": 153,
        "C11": 307,
    }  # floor(0.6 n), and three quarters of 32
    assert verdict(*expected(parent, kept)) in shown(prune_page)
    assert prune_page.query_params["ratios"] == "C3=0.25,C7=0.4,C8=0.4,C9=0.4,C10=0.4,C11=0.4"
    prune_page.toggle(key="own").set_value(False).run()
    assert answer(prune_page).startswith("40\u00a0% of the filters of C7 to C12 removed")
    assert "ratios" not in prune_page.query_params


def test_widths_are_rounded(prune_page: AppTest) -> None:
    prune_page.slider(key="ratio").set_value(55)
    prune_page.segmented_control(key="round_to").set_value(32).run()
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    assert notes[6:12:2] == ["128 → <b>64</b>", "256 → <b>128</b>", "512 → <b>224</b>"]


def test_the_curve_of_agreement_has_a_point_at_every_ratio(embedded: None, parent: Tagger) -> None:
    example = "heartbeat"
    page = open_page(example=example)

    def drawn() -> dict:
        return charts(page)["kept tags"]["data"][0]

    deadline = time.monotonic() + 60
    while len(drawn()["x"]) < 10 and time.monotonic() < deadline:
        time.sleep(0.2)
        page.run()
    assert drawn()["x"] == [step / 10 for step in range(10)]
    for percent in (30, 90):
        before, after = expected(parent, at_ratio(percent), example)
        assert drawn()["y"][percent // 10] == pytest.approx(reference.kept_share(before, after))


def test_a_link_restores_every_setting(embedded: None) -> None:
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
    assert answer(page).startswith("Filters of C9 and C12 removed")


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


def test_a_saved_plan_sets_every_widget_and_is_applied_exactly(prune_page: AppTest, parent: Tagger) -> None:
    made = saved(parent)
    prune_page.get("file_uploader")[-1].upload("mine.json", made.text().encode(), "application/json")
    prune_page.run()
    assert not prune_page.exception
    assert not prune_page.error
    assert answer(prune_page).startswith("This plan: ")
    assert prune_page.selectbox(key="criterion").value == "l1"
    assert prune_page.slider(key="C11").value == 12
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    assert notes[10] == "512 → <b>449</b>"  # floor(512 * 0.877)
    prune_page.slider(key="C9").set_value(60).run()
    assert answer(prune_page).startswith("Filters of C9 and C11 removed")


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


def test_a_bad_recording_is_reported_and_an_example_is_used(prune_page: AppTest) -> None:
    prune_page.get("file_uploader")[1].upload("bad.wav", b"this is no audio", "audio/wav")
    prune_page.run()
    assert not prune_page.exception
    (error,) = prune_page.error
    assert "bad\\.wav" in error.value
    assert error.value.endswith(f"Using {EXAMPLES[0].title} instead.")
    assert "**Pruned loses Tick" in shown(prune_page)


def test_recordings_stay_from_page_to_page_until_they_are_removed(
    prune_page: AppTest, wav: Callable[..., bytes]
) -> None:
    prune_page.get("file_uploader")[1].upload("street.wav", wav(1.0, seed=3), "audio/wav")
    prune_page.run()
    assert "**street\\.wav**" in shown(prune_page)
    prune_page.switch_page("compare/page.py").run()
    assert not prune_page.exception
    assert "**street\\.wav**" in shown(prune_page)
    assert any(line.value == "Your recordings (1):" for line in prune_page.caption)
    (button,) = [each for each in prune_page.button if each.label == "Remove street\\.wav"]
    button.click().run()
    assert "street" not in shown(prune_page)
    assert f"**{EXAMPLES[0].title}**" in shown(prune_page)


def test_of_several_recordings_one_is_used(prune_page: AppTest, wav: Callable[..., bytes]) -> None:
    for name, seed in (("one.wav", 1), ("two.wav", 2)):
        prune_page.get("file_uploader")[1].upload(name, wav(0.5, seed=seed), "audio/wav")
    prune_page.run()
    assert "**one\\.wav**" in shown(prune_page)
    two = Source.of_bytes("two.wav", wav(0.5, seed=2))
    prune_page.selectbox(key="current_clip").set_value(two.key).run()
    assert "**two\\.wav**" in shown(prune_page)


def test_repair_raises_agreement_and_names_its_calibration_clips(prune_page: AppTest) -> None:
    def largest() -> float:
        left, right = charts(prune_page)["tags"]["data"]
        return max(abs(float(one) - float(two)) for one, two in zip(left["text"], right["text"], strict=True))

    before = largest()
    prune_page.segmented_control(key="repair").set_value("examples").run()
    assert not prune_page.exception
    assert largest() < before
    assert "Repaired on the eleven other examples, not on this clip" in shown(prune_page)


def test_sensitivity_is_measured_on_demand_and_can_be_stopped(
    prune_page: AppTest, parent: Tagger, wav: Callable[..., bytes]
) -> None:
    noise = wav(0.5, seed=9)
    prune_page.get("file_uploader")[1].upload("own.wav", noise, "audio/wav")
    prune_page.run()
    jobs = get_server().jobs
    with get_server().queue.slot():  # the job waits for its slot, and can be stopped there
        prune_page.button(key="measure_sensitivity").click().run()
        prune_page.button(key="cancel_measure_sensitivity").click().run()
        key = next(key for key in list(jobs._statuses) if key[0] == "sensitivity")
        settled(prune_page, lambda: not jobs.status(key).active)
    assert "Stopped\\." in shown(prune_page)
    prune_page.button(key="measure_sensitivity").click().run()
    settled(prune_page, lambda: jobs.result(key) is not None)
    cells, figures = charts(prune_page)["sensitivity"]["data"]
    assert cells["y"] == list(reference.LAYERS)
    assert [text.replace("\u00a0", " ") for text in cells["x"]] == ["10 %", "25 %", "50 %", "75 %", "90 %"]
    waveform, _ = soundfile.read(io.BytesIO(noise), dtype="float32")
    weights = parent.model.state_dict()
    before = reference.probabilities(weights, waveform)
    for layer, kept in (("C7", 12), ("C12", 51)):  # floor(0.1 n)
        after = reference.probabilities(weights, waveform, reference.removed_by(weights, {layer: kept}))
        shown_value = float(figures["text"][5 * reference.LAYERS.index(layer) + 4])
        assert shown_value == pytest.approx(reference.divergence(before, after), rel=0.02, abs=6e-4)


def test_a_plan_for_a_budget_is_found_and_sets_every_widget(
    prune_page: AppTest, wav: Callable[..., bytes]
) -> None:
    prune_page.get("file_uploader")[1].upload("short.wav", wav(0.4, seed=11), "audio/wav")
    prune_page.run()
    prune_page.segmented_control(key="limit").set_value("params").run()
    prune_page.button(key="find_plan").click().run()
    jobs = get_server().jobs

    def ended() -> bool:
        return not any(key[0] == "search" and each.active for key, each in list(jobs._statuses.items()))

    settled(prune_page, ended)
    assert not prune_page.exception
    assert answer(prune_page).startswith("This plan: ")
    assert prune_page.toggle(key="own").value
    notes = [note["text"] for note in charts(prune_page)["architecture"]["layout"]["annotations"]]
    widths = [int(note.split("<b>")[-1].removesuffix("</b>").replace(",", "")) for note in notes[:12]]
    assert reference.parameters(widths) <= 0.5 * 5_253_599
    assert "**Found:** " in shown(prune_page)


def test_the_time_is_measured_on_demand_and_kept(prune_page: AppTest) -> None:
    prune_page.button(key="ask_time").click().run()
    assert ":small[Time here] :blue[**" in shown(prune_page)
    assert not any(button.key == "ask_time" for button in prune_page.button)
    prune_page.selectbox(key="criterion").set_value("l2").run()
    assert not any(button.key == "ask_time" for button in prune_page.button)


def test_a_moved_slider_waits_for_no_engine(prune_page: AppTest) -> None:
    builder = get_server().engine_builder
    with builder.paused():
        prune_page.slider(key="ratio").set_value(70).run()
        assert not prune_page.exception
        # Beside the points of the curves, which are computed once and stay on torch: the one that waits for its engine.
        (newest,) = [
            item
            for item in get_server()._pruned._pruned._entries.values()
            if not item.value.tagger.engine_ready
        ]
        assert newest.value.plan.ratio == 0.7
        assert newest.value.tagger.runtime == "torch"
    builder.wait()
    assert newest.value.tagger.engine_ready
    assert newest.size == newest.value.own_bytes + newest.value.tagger.engine_bytes


def test_a_file_is_prepared_checked_and_offered(prune_page: AppTest, parent: Tagger, tmp_path: Path) -> None:
    jobs = get_server().jobs
    prune_page.selectbox(key="format").set_value("safetensors").run()
    prune_page.button(key="prepare").click().run()
    settled(prune_page, lambda: any(key[0] == "file" for key in list(jobs._results._entries)))
    assert not prune_page.exception
    (caption,) = [line.value for line in prune_page.caption if "differs from the network" in line.value]
    assert caption.startswith("6.6")
    (key,) = [key for key in jobs._results._entries if key[0] == "file"]
    path = tmp_path / "pruned.safetensors"
    path.write_bytes(jobs.result(key).data)
    _before, after = expected(parent, at_ratio(50))
    tags = load_tagger(checkpoint=path).tag(example_clip(EXAMPLES[0].key))
    assert tags.probabilities == pytest.approx(after, abs=1e-4)


def test_the_plan_of_a_cut_is_computed_once_a_run(
    prune_page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*arguments: object, **options: object) -> PruningPlan:
        calls.append(threading.current_thread().name)
        return plan(*arguments, **options)

    monkeypatch.setattr("dashboard.prune.cut.plan", counted)
    for ratio in (45, 45):  # the second run takes everything from the caches
        calls.clear()
        prune_page.slider(key="ratio").set_value(ratio).run()
        assert not prune_page.exception
        assert len([name for name in calls if name != "job"]) == 1  # jobs plan the points of the curves


def test_all_recordings_are_judged_and_repair_runs_on_all(
    prune_page: AppTest, parent: Tagger, wav: Callable[..., bytes]
) -> None:
    sounds = {"clock.wav": encode_wav(example_clip("clock").waveform), "noise.wav": wav(0.5, seed=2)}
    for name, data in sounds.items():
        prune_page.get("file_uploader")[1].upload(name, data, "audio/wav")
    prune_page.run()
    assert not prune_page.exception
    table = next(frame.value for frame in prune_page.dataframe if "Recording" in frame.value)
    rows = {row["Recording"]: row for row in table.to_dict("records")}
    assert set(rows) == set(sounds)
    names, weights = parent.classes.names, parent.model.state_dict()
    total = kept = 0
    for name, data in sounds.items():
        waveform, _ = soundfile.read(io.BytesIO(data), dtype="float32")
        before = reference.probabilities(weights, waveform) >= 0.2
        after = reference.probabilities(weights, waveform, reference.removed_by(weights, at_ratio(50))) >= 0.2
        total, kept = total + before.sum(), kept + (before & after).sum()
        for column, wanted in (
            ("Kept", before & after),
            ("Lost", before & ~after),
            ("Gained", after & ~before),
        ):
            listed = ", ".join(np.array(names)[np.flatnonzero(wanted)]) or formats.DASH
            assert rows[name][column] == listed
    assert (total, kept) == (4, 0)  # Tick-tock and Tick, and two of the noise
    assert "**The pruned network loses all 4 tags at 0.20 on 2 recordings; " in shown(prune_page)

    prune_page.segmented_control(key="repair").set_value("clip").run()
    assert not prune_page.exception
    assert "Repaired on your recordings" in shown(prune_page)
    assert "**The pruned network keeps all 4 tags at 0.20 on 2 recordings.**" in shown(prune_page)
    assert prune_page.query_params["repair"] == "clip"


def test_a_preset_sets_every_widget(prune_page: AppTest) -> None:
    prune_page.toggle(key="own").set_value(True).run()
    prune_page.selectbox(key="criterion").set_value("l1").run()
    prune_page.button(key="preset_macs").click().run()
    assert not prune_page.exception
    # MACs of the demonstration network: 2,327,542,016, of which 1,052 M are the spectrogram's; 70 % is the first ratio under half.
    assert answer(prune_page).replace("\u00a0", " ").startswith("70 % of the filters of C1 to C12 removed: ")
    assert answer(prune_page).endswith("−50.1\u00a0% MACs")
    assert prune_page.selectbox(key="criterion").value == "l1"
    prune_page.button(key="preset_epanns").click().run()
    assert answer(prune_page).startswith("50\u00a0% of the filters of C7 to C12 removed")
    assert prune_page.selectbox(key="criterion").value == "operator-norm"
    assert not prune_page.toggle(key="own").value


def test_the_smallest_network_that_keeps_the_tags_is_found_and_shown(
    prune_page: AppTest, parent: Tagger
) -> None:
    sounds = {
        "clock.wav": example_clip("clock").waveform[:64_000],
        "siren.wav": example_clip("siren").waveform[:64_000],
    }
    for name, waveform in sounds.items():
        prune_page.get("file_uploader")[1].upload(name, encode_wav(waveform), "audio/wav")
    prune_page.run()
    prune_page.button(key="preset_smallest").click().run()
    jobs = get_server().jobs
    settled(prune_page, lambda: any(key[0] == "keep tags" for key in list(jobs._results._entries)), 120)
    assert not prune_page.exception
    assert answer(prune_page).startswith("This plan: ")
    assert "keeps all tags on all 2 of your recordings" in shown(prune_page)
    plan = next(jobs.result(key) for key in list(jobs._results._entries) if key[0] == "keep tags")
    assert sum(plan.after) < sum(plan.widths)
    weights = parent.model.state_dict()
    removed = {
        layer: sorted(set(range(width)) - set(plan.kept.get(layer, range(width))))
        for layer, width in zip(reference.LAYERS, plan.widths, strict=True)
    }
    for waveform in sounds.values():
        before = reference.probabilities(weights, waveform) >= 0.2
        after = reference.probabilities(weights, waveform, removed) >= 0.2
        assert before.any()
        assert (before == after).all()


def test_a_pinned_cut_stands_beside_the_present_one_and_in_the_address(
    prune_page: AppTest, parent: Tagger
) -> None:
    def table(page: AppTest) -> dict[str, tuple[str, str]]:
        (value,) = [frame.value for frame in page.dataframe if "A, pinned" in frame.value]
        return {name: (a.replace("\u00a0", " "), b.replace("\u00a0", " ")) for name, a, b in value.to_numpy()}

    prune_page.button(key="pin_cut").click().run()
    prune_page.slider(key="ratio").set_value(75).run()
    assert not prune_page.exception
    rows = table(prune_page)
    assert rows["Removed"] == ("50 % of C7 to C12", "75 % of C7 to C12")
    quarter = reference.parameters((16, 16, 32, 32, 64, 64, 32, 32, 64, 64, 128, 128))
    assert rows["Parameters"] == ("1.66 M (−68.5 %)", f"{quarter / 1000:.0f} k (−86.4 %)")
    before, after = expected(parent, at_ratio(50))
    lost = [name for name, a, b in zip(parent.classes.names, before, after, strict=True) if a >= 0.2 > b]
    assert rows["Tags lost"][0] == ", ".join(lost)
    assert rows["Largest change"][0].startswith(f"{np.abs(before - after).max():.2f} (")

    again = open_page(pinned=prune_page.query_params["pinned"], ratio="75")
    assert not again.exception
    assert table(again) == rows
    again.button(key="remove_pin").click().run()
    assert "pinned" not in again.query_params
    assert not [frame for frame in again.dataframe if "A, pinned" in frame.value]


@pytest.mark.parametrize(
    "text", ["", "demo-cnn14", "a~b~c~d~e", "demo-cnn14~l1~C9=2~1~off", "demo-cnn14~l1~C9=0.5~3~off"]
)
def test_a_foolish_pin_in_the_address_is_ignored(embedded: None, text: str) -> None:
    assert Pin.read(text) is None


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("C12-C12", ("C12", "C12")),
        ("C9", ("C9", "C9")),
        ("C7,C11", ("C7", "C11")),
        ("", None),
        ("C0-C3", None),
    ],
)
def test_layers_in_the_address(text: str, layers: tuple[str, str] | None) -> None:
    assert settings._reader(tuple(f"C{number}" for number in range(1, 13)))(text) == layers
