"""Live streams: the ring, what a stream shows and keeps, how many there may be, and the route that their sound takes."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from streamlit.testing.v1 import AppTest

from core.classes import ClassSet, audioset
from core.errors import CheckpointError
from core.events import FORMATS
from core.models.registry import architecture
from core.streaming import StreamOutput
from dashboard.live import sounds
from dashboard.server import live_network, live_route, live_stream, live_streams
from dashboard.server.http import COOKIE
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.live_network import LiveNetwork, Output
from dashboard.server.live_stream import LiveSettings, LiveStream
from dashboard.server.live_streams import LiveStreams
from dashboard.server.ring import Ring, Sound
from dashboard.server.server import get_server

PAGE = Path(__file__).parents[2] / "dashboard" / "live" / "page.py"
CLASSES = ClassSet.from_names(["Dog", "Rain", "Siren"])
DOG, RAIN, SIREN = CLASSES.indices
PAIR = LiveSettings(("wide", "narrow"), smoothing_s=0)
HOP = 8_000
SECOND = np.ones(32_000, np.int16)


def test_a_ring_resamples_what_comes_at_another_rate() -> None:
    """A tone of 1 kHz stays one, and at 48 kHz a second is 48,000 samples of the browser's and 32,000 of the networks'."""
    ring, rate = Ring(1.0), 48_000
    tone = (8_000 * np.sin(2 * np.pi * 1_000 * np.arange(3 * rate) / rate)).astype(np.int16)
    for start in range(0, len(tone), 12_000):
        assert ring.write(start, rate, tone[start : start + 12_000])
    assert (ring.position, ring.end_s, ring.length_s) == (len(tone), 3.0, 1.0)
    samples = ring.sound().samples
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(32_000)))
    assert np.argmax(spectrum) == 1_000
    assert np.abs(samples).max() == pytest.approx(8_000 / 32_768, rel=0.01)
    ring.clear()
    assert len(ring.sound().samples) == 0
    assert ring.end_s == 3.0


def take(stream: LiveStream, end_s: float, first: list[float], second: list[float] | None = None) -> None:
    """Both networks' probabilities of a window of 2 s."""
    outputs = [(CLASSES, Output(np.array(values, np.float32), 2.0)) for values in (first, second or first)]
    sound = Sound(np.zeros(0, np.float32), 0, round(end_s * 32_000), 32_000, end_s)
    stream.take(stream.settings, sound, outputs, took_s=0.01)


def test_events_begin_and_end_by_hysteresis_around_the_middle_of_their_windows() -> None:
    stream = LiveStream(None, PAIR)
    for end_s, rain in ((2.0, 0.1), (2.5, 0.4), (3.0, 0.2), (3.5, 0.1), (4.0, 0.1), (5.0, 0.1), (5.5, 0.1)):
        take(stream, end_s, [0.0, rain, 0.0])
    answer = stream.answer(seen=0)
    # Middles are at 1.0, 1.5, 2.0 …: the row of 0.4 reaches from 1.0 to 1.75, that of 0.2, over 0.6 x 0.3, to 2.25.
    rain = {"name": "Rain", "start": 1.0, "end": 2.25, "probability": "0.40"}
    assert answer["ended"] == [{"network": side, **rain} for side in (0, 1)]
    assert answer["going_on"] == []
    assert answer["seen"] == 2
    assert stream.answer(seen=2)["ended"] == []
    assert (answer["since"], answer["until"]) == (5.0 * 32_000, 5.5 * 32_000)


def test_bars_follow_with_their_time_constant() -> None:
    stream = LiveStream(None, LiveSettings(("wide", "narrow"), smoothing_s=1.0))
    take(stream, 3.0, [0.0, 0.0, 0.0])
    take(stream, 4.0, [0.0, 0.8, 0.0], [0.0, 0.8, 0.4])
    rows = stream.answer(0)["rows"]
    passed_s = (
        3.5 - 2.0
    )  # where the two rows end: at the middle of the first window, and half a step after that of the second
    share = 1 - np.exp(-passed_s)
    assert rows[0] == {"name": "Rain", "values": [pytest.approx(0.8 * share, abs=1e-3)] * 2}
    assert rows[1]["values"] == [0.0, pytest.approx(0.4 * share, abs=1e-3)]
    assert len(rows) == 3


def test_only_allowed_classes_are_shown_and_kept_and_other_settings_keep_the_history() -> None:
    stream = LiveStream(None, PAIR)
    take(stream, 2.0, [0.9, 0.9, 0.0])
    stream.configure(LiveSettings(("wide", "narrow"), smoothing_s=0, allowed=frozenset({RAIN})))
    take(stream, 2.5, [0.9, 0.9, 0.0])
    answer = stream.answer(0)
    assert [event["name"] for event in answer["ended"]] == ["Dog", "Rain"] * 2
    assert [event["name"] for event in answer["going_on"]] == ["Rain"] * 2
    assert [row["name"] for row in answer["rows"]] == ["Rain"]
    wide, narrow = stream.documents()
    assert (wide["model"], narrow["model"]) == ("wide", "narrow")
    table = pandas.read_csv(io.BytesIO(FORMATS["csv"].content([wide, narrow])))
    assert list(table["label"]) == ["Dog", "Rain", "Rain"] * 2
    assert list(table["model"]) == ["wide"] * 3 + ["narrow"] * 3
    assert FORMATS["audacity"].content(wide).decode().splitlines()[0] == "0.000000\t1.000000\tDog"


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "MOST_EVENTS", 4)
    stream = LiveStream(None, PAIR)
    for number in range(6):
        take(stream, 10.0 * number + 2, [0.9, 0.0, 0.0])
        take(stream, 10.0 * number + 5, [0.0, 0.0, 0.0])
        take(stream, 10.0 * number + 8, [0.0, 0.0, 0.0])
    answer = stream.answer(0)
    assert (len(answer["ended"]), answer["seen"]) == (4, 12)


def test_missing_sound_ends_what_goes_on() -> None:
    stream = LiveStream(None, PAIR)
    stream.receive(0, 32_000, SECOND)
    stream.receive(32_000, 32_000, SECOND)
    take(stream, 2.0, [0.9, 0.0, 0.0])
    assert len(stream.answer(0)["going_on"]) == 2
    stream.receive(320_000, 32_000, SECOND)
    assert len(stream.answer(0)["ended"]) == 2
    sound = stream.sound()[1]
    assert (len(sound.samples), sound.position, sound.end_s) == (32_000, 352_000, 11.0)


class Slow:
    """A tagger that takes a while, and says which windows it ran on by their last samples."""

    entry, network = architecture("cnn6"), None

    def __init__(self, took_s: float) -> None:
        self.took_s, self.windows, self.classes = took_s, [], CLASSES
        self.error: Exception | None = None

    def probabilities(self, samples: np.ndarray) -> np.ndarray:
        time.sleep(self.took_s)
        if self.error:
            raise self.error
        self.windows.append(round(float(samples[-1]) * 32_768))
        return np.array([0.1, 0.9, 0.1], np.float32)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_slow_network_gets_the_newest_window_and_leaves_hops_out() -> None:
    slow = Slow(0.1)
    streams = LiveStreams(InferenceQueue(), lambda _: slow)
    stream = streams.find(streams.open(None, PAIR))
    for number in range(20):  # five seconds of sound in a tenth of a second
        streams.push(stream, number * HOP, 32_000, np.full(HOP, number + 1, np.int16))
        time.sleep(0.005)
    until(lambda: stream.computed(20 * HOP))
    assert slow.windows[-1] == 20
    assert len(slow.windows) <= 8  # not 2 x 17
    assert stream.answer(0)["rows"][0] == {
        "name": "Rain",
        "values": [pytest.approx(0.9 * w, abs=0.2) for w in (1, 1)],
    }


class Maps:
    """A stream that keeps feature maps; its probability is how many samples it was given since it began."""

    incremental = True

    def __init__(self, *_: object, **__: object) -> None:
        self.reset()

    def reset(self) -> None:
        self.given = 0

    def push(self, samples: np.ndarray) -> list[StreamOutput]:
        self.given += len(samples)
        end_s = self.given / 32_000
        return [StreamOutput(max(0.0, end_s - 2), end_s, np.float32([self.given]))]


def test_a_network_that_keeps_its_feature_maps_gets_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_network, "Stream", Maps)
    network, ring = LiveNetwork(Slow(0.0), 2.0), Ring(10.0)

    def after(samples: int, start: int | None = None) -> tuple[int, float]:
        ring.write(ring.position if start is None else start, 32_000, np.zeros(samples, np.int16))
        output = network.run(ring.sound())
        return int(output.probabilities[0]), output.length_s

    assert after(32_000) == (32_000, 1.0)
    assert after(12_000) == (44_000, 1.375)
    assert after(32_000) == (76_000, 2.0)
    assert after(64_001) == (32_000, 1.0)  # over two seconds behind: it begins anew with the newest one
    assert after(8_000, start=ring.position + 1) == (8_000, 0.25)  # sound is missing: with what came since


def test_an_error_is_said_and_other_settings_try_again() -> None:
    slow = Slow(0.0)
    slow.error = CheckpointError("The file /srv/somewhere/net.pth is gone.")
    streams = LiveStreams(InferenceQueue(), lambda _: slow)
    stream = streams.find(streams.open(None, PAIR))
    streams.push(stream, 0, 32_000, SECOND)
    until(lambda: stream.answer(0)["message"] is not None)
    assert stream.answer(0)["message"] == "The file net.pth is gone."
    assert not stream.waiting
    slow.error = None
    stream.configure(LiveSettings(("wide", "narrow"), threshold=0.5))
    streams.push(stream, 32_000, 32_000, SECOND)
    until(lambda: stream.computed(64_000))
    assert stream.answer(0)["message"] is None


def test_streams_are_bounded_and_an_idle_one_s_place_is_free() -> None:
    now = [100.0]
    streams = LiveStreams(InferenceQueue(), lambda _: Slow(0.0), clock=lambda: now[0])
    tokens = [streams.open(None, PAIR) for _ in range(3)]
    first, second, third = map(streams.find, tokens)
    pieces = [streams.push(each, 0, 32_000, SECOND) for each in (first, second, third)]
    assert pieces == [True, True, False]
    now[0] += live_stream.IDLE_S + 0.1
    assert streams.push(third, 0, 32_000, SECOND)
    assert len(first.sound()[1].samples) == 0  # its sound is freed
    for _ in range(live_streams.MOST_KEPT + 5):
        streams.open(None, PAIR)
    assert streams.find(tokens[0]) is None
    assert streams.find(tokens[2]) is third  # it is active
    now[0] += live_stream.IDLE_S + 0.1


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> LiveStreams:
    made = LiveStreams(InferenceQueue(), lambda _: Slow(0.0))
    monkeypatch.setattr(live_route, "_streams", lambda: made)
    return made


def post(
    token: str, body: bytes, query: str = "start=0&rate=32000&seen=0", **headers: str
) -> tuple[int, dict[str, Any]]:
    """The status and the document of an answer; 200 and nothing where the request was passed on."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def inner(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"{}"})

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/base/_stcore/live/{token}",
        "query_string": query.encode(),
    }
    asyncio.run(live_route.LiveRoute(inner)({**scope, "headers": raw}, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_piece_is_answered_with_what_the_networks_make_of_it(streams: LiveStreams) -> None:
    visitor = "v" * 32
    token = streams.open(visitor, PAIR)
    status, said = post(token, SECOND.tobytes(), cookie=f"{COOKIE}={visitor}")
    assert (status, said["until"]) == (200, 32_000)
    assert [event["name"] for event in said["going_on"]] == ["Rain", "Rain"]
    assert post(token, SECOND.tobytes(), cookie=f"{COOKIE}={'w' * 32}")[0] == 404  # another visitor
    assert post(token, SECOND.tobytes())[0] == 404
    assert post("x" * 32, b"") == (404, {"message": "This live stream has ended."})
    assert post("short", b"") == (200, {})  # not this route's


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"odd", "start=0&rate=32000&seen=0"),
        (bytes(live_route.MOST_BYTES + 2), "start=0&rate=32000&seen=0"),
        (b"", "start=-1&rate=32000&seen=0"),
        (b"", "start=0&rate=7999&seen=0"),
        (b"", "start=0&rate=192001&seen=0"),
        (b"", "start=0&rate=32000"),
        (b"", "start=9999999999999999&rate=32000&seen=0"),
        (b"", "start=\u0661&rate=32000&seen=0"),
    ],
)
def test_what_is_not_a_piece_of_sound_is_refused(streams: LiveStreams, body: bytes, query: str) -> None:
    status, said = post(streams.open(None, PAIR), body, query)
    assert (status, list(said)) == (400, ["message"])


def test_one_stream_too_many_is_one_line(streams: LiveStreams) -> None:
    for _ in range(live_streams.MOST_ACTIVE):
        assert post(streams.open(None, PAIR), SECOND.tobytes())[0] == 200
    status, said = post(streams.open(None, PAIR), SECOND.tobytes())
    assert (status, said["message"]) == (
        503,
        "As many visitors are live as this server has room for: trying again every few seconds.",
    )


def test_the_domestic_sounds() -> None:
    names = {known.index: known.name for known in audioset()}
    domestic = {names[index] for index in sounds.allowed(sounds.DOMESTIC, ())}
    assert {
        "Vacuum cleaner",
        "Doorbell",
        "Microwave oven",
        "Meow",
        "Tick-tock",
        "Ringtone",
        "Snoring",
    } <= domestic
    assert not {"Chainsaw", "Thunder", "Aircraft", "Civil defense siren", "Music", "Ocean"} & domestic


def test_the_page_keeps_its_stream_and_its_settings_are_in_the_address(embedded: None) -> None:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["sounds"] = "chosen"
    page.query_params["only"] = f"{RAIN}.{SIREN}.999999"
    page.query_params["live_threshold"] = "0.35"
    page.run()
    assert not page.exception
    token = page.session_state["live_token"]
    stream = get_server().live.find(token)
    assert stream.settings.allowed == {RAIN, SIREN}
    assert stream.settings.threshold == 0.35
    page.selectbox(key="sounds").set_value(sounds.ALL).run()
    assert page.session_state["live_token"] == token
    assert stream.settings.allowed is None
    assert page.query_params == {"live_threshold": "0.35"}
    assert page.get("download_button")[0].proto.label == "History as CSV"
