"""Measured times of networks, on 10 s of audio and alone on the machine as far as this server goes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from core.audio import SAMPLE_RATE
from core.energy import PackageMeter
from core.examples import EXAMPLES, example_clip
from core.profiling import Latency, measure_latencies
from core.runtime.builder import EngineBuilder
from core.runtime.memory import trim_heap
from core.tagging import Tagger
from dashboard.server.cache import ByteLruCache
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.models import TIMED_SECONDS


@dataclass(frozen=True)
class Timed:
    """A measured time, and what it was measured on.

    Attributes
    ----------
    runtime, why : the engine's name, and why it was that one.
    fell_back : whether that is torch because a faster engine, made for the architecture, could not be used.
    package_watts : the processor's mean power while all networks were timed; None where it counts none.
    """

    latency: Latency
    runtime: str
    why: str
    fell_back: bool
    package_watts: float | None = None


class Timings:
    """Times networks against each other, once for every key."""

    def __init__(self, queue: InferenceQueue, builder: EngineBuilder) -> None:
        self._queue = queue
        self._builder = builder
        self._timed: ByteLruCache[tuple[Timed, ...]] = ByteLruCache(2**20, lambda _: 1024)

    def known(self, key: Hashable) -> tuple[Timed, ...] | None:
        """The times under ``key``, if they have been measured."""
        return self._timed.get(key)

    def measure(self, key: Hashable, taggers: Callable[[], Sequence[Tagger]]) -> tuple[Timed, ...]:
        """Time networks alternately, each on the engine that it is to keep."""
        return self._timed.get_or_make(key, lambda: self._time(taggers()), within=self._queue.slot())

    def _time(self, taggers: Sequence[Tagger]) -> tuple[Timed, ...]:
        waveform = np.resize(example_clip(EXAMPLES[0].key).waveform, int(TIMED_SECONDS * SAMPLE_RATE))
        with self._builder.paused():
            engines = [tagger.build_engine() for tagger in taggers]
            with PackageMeter() as meter:
                measured = measure_latencies([tagger.probabilities for tagger in taggers], waveform)
        trim_heap()
        return tuple(
            Timed(latency, engine.name, engine.why, tagger.fell_back, meter.watts)
            for latency, engine, tagger in zip(measured, engines, taggers, strict=True)
        )
