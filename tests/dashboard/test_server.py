"""Cached results equal what core computes, and never belong to another clip or file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from core import checkpoints
from core.audio import load_clip
from core.compare import compare
from core.errors import AudioError
from core.examples import example_clip
from core.tagging import load_tagger
from dashboard.server import server as server_module
from dashboard.server.models import usable_models
from dashboard.server.own_networks import file_bytes
from dashboard.server.server import Server
from dashboard.server.source import Source

PAIR = ("demo-cnn14", "demo-epanns")


@pytest.fixture
def server() -> Server:
    """A server of the test's own."""
    return Server()


def test_results_equal_what_core_computes(server: Server, embedded: None, wav: Callable[..., bytes]) -> None:
    data = wav(1.5, rate=44_100, channels=2)
    shown = server.comparison(Source.of_bytes("a.wav", data), PAIR, top_k=5, threshold=0.2).first
    direct = compare(load_clip(data, name="a.wav"), *map(load_tagger, PAIR), top_k=5, threshold=0.2)
    assert np.array_equal(shown.baseline.probabilities, direct.baseline.probabilities)
    assert np.array_equal(shown.candidate.probabilities, direct.candidate.probabilities)
    assert shown.agreement == direct.agreement
    assert shown.clip.describe() == direct.clip.describe()


def test_nothing_is_computed_twice_and_no_clip_gets_anothers_result(
    server: Server, embedded: None, wav: Callable[..., bytes]
) -> None:
    one, two = (Source.of_bytes("a.wav", wav(1.0, seed=seed)) for seed in (1, 2))
    first, other = server.tags(one, PAIR[0]), server.tags(two, PAIR[0])
    assert server.tags(Source.of_bytes("a.wav", wav(1.0, seed=1)), PAIR[0]) is first
    assert server.has_tags(one, (PAIR[0], PAIR[0]))
    assert not server.has_tags(one, PAIR)
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_a_replaced_file_gets_tags_of_its_own_though_its_size_and_time_are_the_same(
    server: Server, embedded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(
        "core.checkpoints.entries._complete", lambda entry: checkpoints.path_of(entry).is_file()
    )
    source = Source.of_example("siren", "Siren")
    model = load_tagger(PAIR[1]).model
    path = checkpoints.path_of(checkpoints.entry("epanns"))

    def install(bias: float) -> None:
        with torch.no_grad():
            model.fc_audioset.bias += bias
        new = tmp_path / "new.safetensors"
        checkpoints.save_checkpoint(new, model, classes=load_tagger(PAIR[1]).classes, name="same")
        os.utime(new, ns=(10**18, 10**18))
        new.replace(path)

    install(0.0)
    size, first = path.stat().st_size, server.tags(source, "epanns")
    assert server.tags(source, "epanns") is first
    install(1.0)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, 10**18)
    assert not server.has_tags(source, ("epanns", "epanns"))
    second = server.tags(source, "epanns")
    assert second.probabilities == pytest.approx(
        load_tagger("epanns").tag(example_clip("siren")).probabilities
    )
    assert np.all(second.probabilities > first.probabilities)
    assert server.scores("epanns", "C7", "l1") is server.scores("epanns", "C7", "l1")


def test_equal_bytes_under_another_name_keep_their_own_name(
    server: Server, wav: Callable[..., bytes]
) -> None:
    data = wav(0.5)
    names = [server.clip(Source.of_bytes(name, data)).clip.name for name in ("one.wav", "two.wav")]
    assert names == ["one.wav", "two.wav"]


def test_a_long_recording_is_not_kept_as_samples_and_tagged_as_a_whole(
    server: Server, embedded: None, wav: Callable[..., bytes]
) -> None:
    data = wav(62.0, rate=16_000, channels=2)
    source = Source.of_bytes("long.wav", data)
    opened = server.clip(source)
    assert opened.sound_type == "audio/flac"
    assert opened.nbytes < len(data) + len(opened.sound) + 2**18  # besides which is only the picture
    shown = server.tags(source, PAIR[0])
    direct = load_tagger(PAIR[0]).tag(load_clip(data, name="long.wav"))
    assert np.array_equal(shown.probabilities, direct.probabilities)
    assert (shown.windows_s, shown.notes) == (direct.windows_s, direct.notes)


def test_an_unreadable_source_raises_every_time(server: Server) -> None:
    broken = Source.of_bytes("x.wav", b"no audio")
    for _ in range(2):
        with pytest.raises(AudioError):
            server.clip(broken)


def test_counts_are_those_of_the_manifest(server: Server, embedded: None) -> None:
    for name in PAIR:
        entry = usable_models()[name]
        assert server.costs(name).params == entry.params
        assert server.costs(name).macs == entry.macs_10s
        assert file_bytes(name) > 0


def test_time_is_measured_once(server: Server, embedded: None) -> None:
    assert server.known_latencies(PAIR) is None
    measured = server.latencies(PAIR)
    for name, each in zip(PAIR, measured, strict=True):
        assert 0 < each.latency.low_ms <= each.latency.median_ms <= each.latency.high_ms
        assert (each.runtime, each.why) == (server.tagger(name).runtime, server.tagger(name).runtime_why)
    assert server.latencies(PAIR) is measured


def test_auto_fetch_begins_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "dashboard.server.downloads.Downloads.start", lambda self, names: began.append(tuple(names))
    )
    monkeypatch.setattr(server_module, "missing_official", lambda: ("cnn14", "epanns"))
    Server()
    assert began == []
    monkeypatch.setenv("PANNSCOPE_AUTO_FETCH", "1")
    Server()
    assert began == [("cnn14", "epanns")]


def test_visitors_who_ask_at_once_share_a_network(server: Server, embedded: None) -> None:
    start = threading.Barrier(4)

    def visit(_: int) -> object:
        start.wait()
        return server.tagger(PAIR[0])

    with ThreadPoolExecutor(4) as visitors:
        given = list(visitors.map(visit, range(4)))
    assert all(each is given[0] for each in given)
