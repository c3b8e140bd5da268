"""What the server keeps equals what core computes, and never gets mixed up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.audio import load_clip
from core.compare import compare
from core.errors import AudioError
from core.tagging import load_tagger
from dashboard.server import state
from dashboard.server.source import Source

PAIR = ("demo-cnn14", "demo-epanns")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> state.Server:
    """A server of the test's own, instead of the process's."""
    own = state.Server()
    monkeypatch.setattr(state, "server", lambda: own)
    return own


def test_results_equal_what_core_computes(embedded: None, wav: Callable[..., bytes]) -> None:
    data = wav(1.5, rate=44_100, channels=2)
    shown = state.comparison(Source.of_bytes("a.wav", data), PAIR, top_k=5, threshold=0.2)
    direct = compare(load_clip(data, name="a.wav"), *map(load_tagger, PAIR), top_k=5, threshold=0.2)
    assert np.array_equal(shown.baseline.probabilities, direct.baseline.probabilities)
    assert np.array_equal(shown.candidate.probabilities, direct.candidate.probabilities)
    assert shown.agreement == direct.agreement
    assert shown.clip.describe() == direct.clip.describe()


def test_nothing_is_computed_twice_and_no_clip_gets_anothers_result(
    embedded: None, wav: Callable[..., bytes]
) -> None:
    one, two = (Source.of_bytes("a.wav", wav(1.0, seed=seed)) for seed in (1, 2))
    first, other = state.tags(one, PAIR[0]), state.tags(two, PAIR[0])
    assert state.tags(Source.of_bytes("a.wav", wav(1.0, seed=1)), PAIR[0]) is first
    assert state.tagged(one, (PAIR[0], PAIR[0]))
    assert not state.tagged(one, PAIR)
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_equal_bytes_under_another_name_keep_their_own_name(wav: Callable[..., bytes]) -> None:
    data = wav(0.5)
    names = [state.opened(Source.of_bytes(name, data)).clip.name for name in ("one.wav", "two.wav")]
    assert names == ["one.wav", "two.wav"]


def test_a_long_recording_is_not_kept_as_samples_and_heard_as_a_whole(
    embedded: None, wav: Callable[..., bytes]
) -> None:
    data = wav(62.0, rate=16_000, channels=2)
    source = Source.of_bytes("long.wav", data)
    opened = state.opened(source)
    assert opened.sound_type == "audio/flac"
    assert opened.weight < len(data) + len(opened.sound) + 2**18  # besides which is only the picture
    shown = state.tags(source, PAIR[0])
    direct = load_tagger(PAIR[0]).tag(load_clip(data, name="long.wav"))
    assert np.array_equal(shown.probabilities, direct.probabilities)
    assert (shown.windows_s, shown.notes) == (direct.windows_s, direct.notes)


def test_an_unreadable_source_raises_and_leaves_nothing_behind(fresh: state.Server) -> None:
    with pytest.raises(AudioError):
        state.opened(Source.of_bytes("x.wav", b"no audio"))
    assert len(fresh.clips) == 0


def test_counts_are_those_of_the_manifest(embedded: None) -> None:
    for name in PAIR:
        entry = state.usable()[name]
        assert state.counts(name).params_trainable == entry.params
        assert state.counts(name).macs == entry.macs_10s
        assert state.file_bytes(name) > 0


def test_time_is_measured_once(embedded: None) -> None:
    assert state.known_latencies(PAIR) is None
    measured = state.latencies(PAIR)
    for name, each in zip(PAIR, measured, strict=True):
        assert 0 < each.latency.low_ms <= each.latency.median_ms <= each.latency.high_ms
        assert (each.runtime, each.why) == (state.tagger(name).runtime, state.tagger(name).runtime_why)
    assert state.latencies(PAIR) is measured


def test_auto_fetch_begins_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "dashboard.server.downloads.Downloads.start", lambda self, names: began.append(tuple(names))
    )
    monkeypatch.setattr(state, "missing_official", lambda: ("cnn14", "epanns"))
    state.Server()
    assert began == []
    monkeypatch.setenv("PANNSCOPE_AUTO_FETCH", "1")
    state.Server()
    assert began == [("cnn14", "epanns")]


def test_visitors_who_ask_at_once_share_a_network(embedded: None) -> None:
    start = threading.Barrier(4)

    def visit(_: int) -> object:
        start.wait()
        return state.tagger(PAIR[0])

    with ThreadPoolExecutor(4) as visitors:
        given = list(visitors.map(visit, range(4)))
    assert all(each is given[0] for each in given)
