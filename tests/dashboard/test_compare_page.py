"""The Compare page by Streamlit's own test runner: every state that it can be in."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core import checkpoints
from core.audio import load_clip
from core.classes import CATEGORIES
from core.errors import DownloadError
from core.examples import EXAMPLES, example_clip
from core.ontology import OTHERS
from core.tagging import Tagger, load_tagger
from core.units import THRESHOLD
from dashboard.charts.palette import LIGHT
from dashboard.server import server as server_module
from dashboard.server.downloads import Downloads
from dashboard.server.server import Server
from dashboard.server.source import Source
from tests.dashboard import reference

APP = str(Path(__file__).parents[2] / "dashboard" / "app.py")


# The first example by ``reference``: Tick-tock 0.96 and 0.89, Tick 0.95 and 0.90, Clock 0.95 and 0.90; the fourth tag has 0.03.
CLOCK = r"Both recognise Tick\-tock and Tick; no difference above 0.10"


def bars(page: AppTest) -> tuple[list[str], dict, dict]:
    """Names, and the two bar traces, of the mirrored chart."""
    specs = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    (spec,) = [spec for spec in specs if spec["data"][0]["type"] == "bar"]
    return [note["text"] for note in spec["layout"]["annotations"]], spec["data"][0], spec["data"][1]


def errors(page: AppTest) -> str:
    return " ".join(error.value for error in page.error)


def test_the_page_opens_with_an_example_and_an_answer(page: AppTest) -> None:
    assert not page.exception
    assert not page.error
    assert page.title[0].value == "Hear what pruning changes"
    assert page.header[0].value == CLOCK
    names, left, right = bars(page)
    assert (
        len(names) == len(left["text"]) == len(right["text"]) == 5
    )  # those at the threshold, and three below it
    assert not page.info
    assert left["marker"]["color"] == LIGHT.baseline
    shown = " ".join(line.value for line in page.markdown)
    assert EXAMPLES[0].title in shown
    for figure in ("5.25\u00a0M", "1.66\u00a0M", "2.33\u00a0G", "1.85\u00a0G"):
        assert figure in shown
    assert any("527 classes of sound, not the published" in line.value for line in page.caption)


def test_a_file_s_tags_are_those_of_the_papers_network(page: AppTest, wav: Callable[..., bytes]) -> None:
    data = wav(2.0, rate=44_100, channels=2, seed=5)
    page.file_uploader[0].upload("street.wav", data, "audio/wav")
    page.run()
    taggers = [load_tagger(name) for name in ("demo-cnn14", "demo-epanns")]
    before, after = (
        reference.probabilities(tagger.model.state_dict(), load_clip(data).waveform) for tagger in taggers
    )
    order = np.argsort(-np.maximum(before, after))
    classes, first = taggers[0].classes.names, order[: 3 + (np.maximum(before, after) >= THRESHOLD).sum()]
    for index in np.flatnonzero((before >= THRESHOLD) | (after >= THRESHOLD)):
        assert classes[index] in page.header[0].value.replace("\\", "")
    names, left, right = bars(page)
    assert left["text"] == [f"{before[index]:.2f}" for index in first]
    assert right["text"] == [f"{after[index]:.2f}" for index in first]
    assert all(classes[index] in name for index, name in zip(first, names, strict=True))


def test_one_bad_file_among_many_is_said_and_the_others_are_done(
    page: AppTest, wav: Callable[..., bytes]
) -> None:
    page.file_uploader[0].upload("a.wav", wav(1.0, seed=1), "audio/wav")
    page.file_uploader[0].upload("bad.mp3", b"this is no audio", "audio/mpeg")
    page.file_uploader[0].upload("short.wav", wav(0.2, seed=2), "audio/wav")
    page.run()
    assert not page.exception
    assert "bad\\.mp3" in errors(page)
    table = page.dataframe[0].value
    assert list(table["Clip"]) == ["a.wav", "bad.mp3", "short.wav"]
    assert table["Divergence"].isna().tolist() == [False, True, False]
    assert "padded" in table["Remark"][2]
    assert page.header[0].value


@pytest.mark.parametrize(
    ("name", "data"),
    [("empty.wav", b""), ("cut.wav", b"RIFF\x24\x00\x00\x00WAVEfmt "), ("text.flac", b"hello")],
)
def test_a_bad_file_alone_is_one_readable_line(page: AppTest, name: str, data: bytes) -> None:
    page.file_uploader[0].upload(name, data, "audio/wav")
    page.run()
    assert not page.exception
    assert len(page.error) == 1
    assert name.replace(".", "\\.") in errors(page)
    assert "Traceback" not in errors(page)
    page.pills(key="example").set_value(EXAMPLES[1].key).run()
    assert not page.error
    assert page.header[0].value


def test_short_and_silent_clips_say_what_was_done(page: AppTest, wav: Callable[..., bytes]) -> None:
    page.file_uploader[0].upload("tick.wav", wav(0.2, level=0.0), "audio/wav")
    page.run()
    notes = page.info[0].value.replace("\\", "")
    assert "padded with silence to 0.31 s" in notes
    assert "It is silent." in notes
    assert page.header[0].value == "The recording is silent: there is nothing to recognise"


def test_an_example_that_the_networks_do_not_recognise_is_said_with_their_figures(page: AppTest) -> None:
    """At 0.95 of the first example and at 0.05: the networks are the same, and what is said follows from what they give."""
    rain = example_clip("rain").waveform
    at = load_tagger("demo-cnn14").classes.names.index("Rain")
    figures = [
        f"{reference.probabilities(load_tagger(name).model.state_dict(), rain)[at]:.2f}"
        for name in ("demo-cnn14", "demo-epanns")
    ]
    page.pills(key="example").set_value("rain")
    page.slider(key="threshold").set_value(0.95).run()
    said = f"This example imitates “Rain”, and these networks do not recognise it at 0.95: they give it {' and '.join(figures)}."
    expected = [said] if max(map(float, figures)) < 0.95 else []
    assert [line.value.replace("\\", "") for line in page.info] == expected
    page.slider(key="threshold").set_value(0.05).run()
    assert not page.info


def test_where_nothing_is_recognised_the_answer_says_so(page: AppTest, wav: Callable[..., bytes]) -> None:
    page.slider(key="threshold").set_value(0.95)
    page.file_uploader[0].upload("noise.wav", wav(2.0, seed=5), "audio/wav")
    page.run()
    assert page.header[0].value.startswith("Neither recognises any of 527 classes at 0.95; the likeliest is ")


def test_a_microphone_recording_is_compared(page: AppTest, wav: Callable[..., bytes]) -> None:
    page.get("audio_input")[0].upload("recording.wav", wav(1.0), "audio/wav")
    page.run()
    assert not page.exception
    assert any("Microphone recording" in line.value for line in page.markdown)


def test_top_k_changes_chart_and_answer_without_running_a_network(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tagger, "tag", lambda *_: pytest.fail("a network ran again"))
    page.slider(key="top_k").set_value(3).run()
    assert not page.exception
    assert page.header[0].value == CLOCK
    assert len(bars(page)[0]) == 3


def test_the_threshold_decides_what_is_gained_and_lost(page: AppTest) -> None:
    page.slider(key="threshold").set_value(0.05).run()
    waveform, names = example_clip(EXAMPLES[0].key).waveform, load_tagger("demo-cnn14").classes.names
    before, after = (
        reference.probabilities(load_tagger(name).model.state_dict(), waveform)
        for name in ("demo-cnn14", "demo-epanns")
    )
    gained = [names[index] for index in np.flatnonzero((after >= 0.05) & (before < 0.05))]
    lost = [names[index] for index in np.flatnonzero((before >= 0.05) & (after < 0.05))]
    lines = [line.value for line in page.markdown]
    for heading, tags in (("**Gained at 0.05**", gained), ("**Lost at 0.05**", lost)):
        shown = lines[lines.index(heading) + 1].replace("\\", "")
        assert shown == (" · ".join(tags) or ":gray[None]")


def test_categories_narrow_the_chart_and_say_so(page: AppTest) -> None:
    page.multiselect(key="categories").set_value(["Animal"]).run()
    names = " ".join(bars(page)[0])
    assert "Animal" in names
    assert "Tick" not in names
    assert any("the agreement is over all tags" in line.value for line in page.caption)


def charts(page: AppTest) -> list[list[str]]:
    """The names in each mirrored chart: the answer's, and the search's where there is one."""
    specs = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
    return [
        [note["text"].removeprefix("<b>") for note in spec["layout"]["annotations"]]
        for spec in specs
        if spec["data"][0]["type"] == "bar"
    ]


def test_a_class_is_found_by_a_few_letters_and_kept_in_the_address(page: AppTest) -> None:
    page.text_input(key="find").set_value("surf wave").run()
    assert not page.exception
    assert charts(page)[1] == ["Waves, surf"]
    assert page.session_state["found"] == (295,)  # AudioSet's index
    assert page.query_params["find"] == "surf wave"
    page.text_input(key="find").set_value("Waves serf*").run()
    (said,) = [line.value.replace("\\", "") for line in page.caption if "No class" in line.value]
    assert said.startswith(
        "No class of these networks has “Waves serf*” in its name. Close to it: Waves, surf"
    )
    assert (len(charts(page)), page.session_state["found"]) == (1, ())
    page.text_input(key="find").set_value("").run()
    assert "find" not in page.query_params


def test_tags_are_grouped_by_the_ontology_where_the_address_says_so(embedded: None) -> None:
    """Of the names with "tick", two are children of Clock, which is a mechanism; Tick is a kind of clicking as well."""
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["group"] = "true"
    page.query_params["find"] = "tick"
    page.run()
    assert not page.exception
    assert page.toggle(key="group").value
    assert "Sounds of things › Mechanisms › Clock" in charts(page)[1]
    assert "With other parents as well: Tick (Clicking)" in " ".join(
        line.value for line in page.caption
    ).replace("\\", "")
    table = page.dataframe[0].value
    row = int(table["Difference"].isna().argmax())
    assert table["Tag"][row].split(" › ")[0] in (*CATEGORIES, OTHERS)
    assert table["Tag"][row + 1].startswith("\u2003")
    page.toggle(key="group").set_value(False).run()
    assert "group" not in page.query_params
    assert not any("›" in name for name in charts(page)[1])


def test_the_same_model_twice_agrees_with_itself(page: AppTest) -> None:
    page.selectbox(key="candidate").set_value("demo-cnn14").run()
    assert not page.exception
    assert page.header[0].value.endswith("; no difference above 0.10")


def test_a_link_restores_the_settings(embedded: None) -> None:
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["top_k"] = "4"
    page.query_params["threshold"] = "0.35"
    page.query_params["candidate"] = "demo-cnn14"
    page.query_params["example"] = EXAMPLES[2].key
    page.run()
    assert page.slider(key="top_k").value == 4
    assert page.slider(key="threshold").value == pytest.approx(0.35)
    assert page.selectbox(key="candidate").value == "demo-cnn14"
    assert any(f"**{EXAMPLES[2].title}**" in line.value for line in page.markdown)


@pytest.mark.parametrize(
    "categories",
    [["Channel, environment and background", "Animal"], ["Animal,Channel, environment and background"]],
)  # as Streamlit's own binding wrote a list, and as one text
def test_settings_are_kept_from_page_to_page_and_in_the_address(
    embedded: None, categories: list[str]
) -> None:
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["categories"] = categories
    page.query_params["threshold"] = "0.15"
    page.run()
    page.slider(key="top_k").set_value(7).run()
    for path in ("filters/page.py", "compare/page.py"):
        page.query_params.clear()  # a link to a page has no settings
        page.switch_page(path).run()
    assert not page.exception
    assert page.multiselect(key="categories").value == ["Animal", "Channel, environment and background"]
    address = [page.query_params[key] for key in ("categories", "threshold", "top_k")]
    assert address == ["Animal,Channel, environment and background", "0.15", "7"]
    page.slider(key="threshold").set_value(THRESHOLD).run()
    assert "threshold" not in page.query_params  # the default


def test_a_link_with_unknown_values_falls_back_to_the_defaults(embedded: None) -> None:
    page = AppTest.from_file(APP, default_timeout=60)
    page.query_params["top_k"] = "900"
    page.query_params["threshold"] = "nan"
    page.query_params["categories"] = "Cars"
    page.query_params["baseline"] = "../../etc/passwd"
    page.query_params["example"] = "nothing"
    page.run()
    assert not page.exception
    assert page.selectbox(key="baseline").value == "demo-cnn14"
    assert page.header[0].value


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """A server of the test's own, with an empty folder for downloads in which any file counts as complete."""
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(
        "core.checkpoints.entries._complete", lambda entry: checkpoints.path_of(entry).is_file()
    )
    own = Server()
    monkeypatch.setattr(server_module, "_server", own)
    return own


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_published_pair_is_fetched_followed_and_shown(own_server: Server, embedded: None) -> None:
    go_on = threading.Event()

    def fetch(name: str, *, progress: Callable[[int, int | None], None], **_: object) -> None:
        """Stands in for the network alone: the demonstration files arrive under the published names."""
        progress(82_000_000, 327_428_481)
        assert go_on.wait(20)
        demo = {"cnn14": "demo-cnn14", "epanns": "demo-epanns"}[name]
        shutil.copy(*(checkpoints.path_of(checkpoints.entry(each)) for each in (demo, name)))

    own_server.downloads = Downloads(fetch)
    page = AppTest.from_file(APP, default_timeout=60).run()
    page.button(key="fetch_official").click()
    page.run()
    wait_until(lambda: own_server.downloads.status.received > 0)
    page.run()
    bar = page.get("progress")[0].proto
    assert bar.text.replace("\u00a0", " ") == "Fetching CNN14 (1 of 2): 82.0 MB of 327 MB"
    assert bar.value == 25
    assert page.button(key="cancel_fetch").label == "Cancel"
    assert page.header[0].value
    go_on.set()
    wait_until(lambda: own_server.downloads.status.done)
    page.run()
    assert not page.exception
    assert (page.selectbox(key="baseline").value, page.selectbox(key="candidate").value) == (
        "cnn14",
        "epanns",
    )
    assert any(line.value.startswith("Shown: CNN14 and E-PANNs on") for line in page.caption)


def test_a_fetch_that_fails_is_one_line_and_the_page_goes_on(own_server: Server, embedded: None) -> None:
    def fetch(name: str, **_: object) -> None:
        raise DownloadError("zenodo.org did not answer; try again later.")

    own_server.downloads = Downloads(fetch)
    page = AppTest.from_file(APP, default_timeout=60).run()
    page.button(key="fetch_official").click().run()
    wait_until(lambda: not own_server.downloads.status.active)
    page.run()
    assert not page.exception
    line = "The published networks were not fetched. zenodo.org did not answer; try again later."
    assert line in [caption.value.replace("\\", "") for caption in page.caption]
    assert page.button(key="fetch_official").label == "Try again"
    page.pills(key="example").set_value(EXAMPLES[1].key).run()
    assert page.header[0].value


def test_work_that_was_stopped_can_be_resumed(page: AppTest, wav: Callable[..., bytes]) -> None:
    files = {f"{seed}.wav": wav(1.0, seed=seed) for seed in (41, 42)}
    for name, data in files.items():
        page.file_uploader[0].upload(name, data, "audio/wav")
    page.session_state["stopped"] = "|".join(Source.of_bytes(name, data).key for name, data in files.items())
    page.run()
    assert not page.exception
    assert any("2\u00a0clips not done" in line.value for line in page.caption)
    assert list(page.dataframe[0].value["Remark"]) == ["Not done.", "Not done."]
    page.button(key="resume").click().run()
    assert page.dataframe[0].value["Divergence"].notna().all()
    assert page.header[0].value


def test_a_broken_model_file_is_said_and_the_recording_stays(own_server: Server, embedded: None) -> None:
    for name in ("cnn14", "epanns"):
        checkpoints.path_of(checkpoints.entry(name)).write_bytes(b"not a checkpoint")
    page = AppTest.from_file(APP, default_timeout=60).run()
    assert not page.exception
    assert len(page.error) == 1
    assert "Cnn14" in errors(page)
    assert "/" not in errors(page)
    assert any(f"**{EXAMPLES[0].title}**" in line.value for line in page.markdown)
    page.selectbox(key="baseline").set_value("demo-cnn14")
    page.selectbox(key="candidate").set_value("demo-epanns")
    page.run()
    assert not page.error
    assert page.header[0].value


def test_a_visitor_who_waits_sees_the_number_of_requests_ahead(own_server: Server, embedded: None) -> None:
    seen: list[int] = []
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with own_server.queue.slot():
            held.set()
            assert release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)

    def on_wait(ahead: int) -> None:
        seen.append(ahead)
        release.set()

    own_server.tags(Source.of_example(EXAMPLES[0].key, "x"), "demo-epanns", on_wait)
    holder.join(5)
    assert seen[0] == 1
