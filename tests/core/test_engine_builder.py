"""Engines built in the background: one at a time, the last that was requested first, and nobody waits."""

from __future__ import annotations

import threading

import numpy as np
import torch

from core.audio import encode_wav, load_clip
from core.checkpoints import load_checkpoint, save_checkpoint
from core.classes import ClassSet
from core.models.cnn import Cnn14, Cnn14Config
from core.runtime.builder import EngineBuilder
from core.tagging import Tagger


class Slow:
    """A network whose engine takes until ``go_on`` is set."""

    def __init__(self, made: list[str], name: str) -> None:
        self.made, self.name = made, name
        self.begun, self.go_on = threading.Event(), threading.Event()

    def build_engine(self) -> None:
        self.begun.set()
        assert self.go_on.wait(60)
        self.made.append(self.name)


def test_of_those_that_wait_only_the_last_is_built() -> None:
    made: list[str] = []
    done: list[int] = []
    builder = EngineBuilder(lambda: done.append(len(made)))
    networks = [Slow(made, name) for name in "abcd"]
    builder.request(networks[0])
    assert networks[0].begun.wait(60)
    for network in networks[1:]:
        builder.request(network)
    assert made == []
    for network in networks:
        network.go_on.set()
    builder.wait()
    assert made == ["a", "d"]
    assert done == [1, 2]


def test_an_engine_that_nobody_holds_is_not_built_and_a_failure_stops_nothing(caplog) -> None:
    made: list[str] = []
    builder = EngineBuilder()

    class Broken:
        def build_engine(self) -> None:
            raise RuntimeError("no")

    first = Broken()
    with builder.paused():
        builder.request(Slow(made, "gone"))
        builder.request(first)
        builder.request(Slow(made, "gone too"))
    builder.wait()
    assert made == []
    builder.request(first)
    builder.wait()
    assert "could not be built" in caplog.text
    last = Slow(made, "last")
    last.go_on.set()
    builder.request(last)
    builder.wait()
    assert made == ["last"]


def test_a_tagger_runs_on_torch_until_its_engine_is_ready(tmp_path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    model = Cnn14(Cnn14Config((4,) * 6 + (8,) * 6, 3, 16)).eval()
    save_checkpoint(path, model, classes=ClassSet.from_names(["Dog", "Rain", "Speech"]), name="small")
    loaded = load_checkpoint(path)
    waveform = (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    clip = load_clip(encode_wav(waveform))
    builder = EngineBuilder()
    tagger = Tagger(loaded.model, loaded.info, background=builder)
    named = Tagger(loaded.model, loaded.info)
    with builder.paused():  # no engine can come in between
        first = tagger.tag(clip)
        assert (first.runtime, tagger.engine_ready, tagger.engine_bytes) == ("torch", False, 0)
        assert "until" in tagger.runtime_why
    builder.wait()
    assert tagger.engine_ready
    second = tagger.tag(clip)
    assert (second.runtime, tagger.runtime_why) == (named.runtime, named.runtime_why)
    assert np.abs(second.probabilities - first.probabilities).max() < 1e-4
    assert tagger.nbytes == sum(4 * p.numel() for p in loaded.model.parameters()) + tagger.engine_bytes
