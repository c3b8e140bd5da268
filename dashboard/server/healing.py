"""Healing of pruned networks: one at a time for the whole server, and between any two of its steps other requests run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import DataError
from core.models.network import Network
from core.pruning.plan import PruningPlan
from core.pruning.provenance import healed_info
from core.runtime.background import TaskCancelledError
from core.runtime.builder import EngineBuilder
from core.runtime.machine import usable_memory
from core.runtime.memory import trim_heap
from core.tagging import Tagger
from core.training.healing import HELD_OUT, LEAST_TO_HOLD_OUT, heal
from core.training.loop import Progress
from core.training.recordings import Listed, Recordings
from dashboard.server.clips import CALIBRATION_SECONDS, Clips
from dashboard.server.inference_queue import InferenceQueue
from dashboard.server.jobs import Jobs, JobStatus, Step
from dashboard.server.memory_pressure import FLOOR, MemoryPressure
from dashboard.server.models import Models
from dashboard.server.pruned import MAX_RECORDINGS, Pruned, build_pruned, own_bytes, plan_digest
from dashboard.server.source import Source, example_sources

MINUTES = (1, 5, 15, 30)
CLIPS = ("own", "examples", "both")

LEARNED_SECONDS = 120.0
"""Of every recording at most so much is learned from: 8 MB."""

MEASURED_SECONDS = 10.0
MOST_MEASURED = 16
"""Held-out recordings, and how much of each: a measurement is to take little of the time for learning."""

PREPARING = "Preparing the clips"
"""What the job does first."""

_BUDGET_BYTES = 96 * 2**20
_BUSY = (
    "Another network is being healed on this server, which does one at a time. Try again in a few minutes."
)


@dataclass(frozen=True)
class HealSettings:
    """How a network is healed.

    Attributes
    ----------
    minutes : for how long, one of ``MINUTES``.
    clips : what it learns from: "own" recordings, "examples" or "both".
    repaired : whether it is repaired first, on what it learns from.
    """

    minutes: int
    clips: str
    repaired: bool = True

    @property
    def text(self) -> str:
        """As an address has it.

        Examples
        --------
        >>> HealSettings(5, "own").text, HealSettings.read("5.own.repaired").minutes
        ('5.own.repaired', 5)
        """
        return f"{self.minutes}.{self.clips}.{'repaired' if self.repaired else 'pruned'}"

    @classmethod
    def read(cls, text: str) -> HealSettings | None:
        """From an address; None for what cannot be chosen."""
        choices = (
            cls(minutes, clips, repaired)
            for minutes in MINUTES
            for clips in CLIPS
            for repaired in (True, False)
        )
        return next((choice for choice in choices if choice.text == text), None)


@dataclass(frozen=True)
class Point:
    """Agreement with the unpruned network on the held-out clips: ``seconds`` after the start."""

    seconds: float
    kept: float | None
    difference: float


@dataclass(frozen=True, eq=False)
class Healing:
    """A healed network and how it came to be.

    Attributes
    ----------
    pruned : the network.
    points : its agreement as it rose; none where no clip was held out.
    learned, held_out : keys of the clips.
    seconds, steps : how long it has learned.
    """

    pruned: Pruned
    points: tuple[Point, ...]
    learned: frozenset[str]
    held_out: frozenset[str]
    seconds: float
    steps: int

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.pruned.nbytes


class HealRequest(Protocol):
    """What is healed, and on which recordings."""

    @property
    def name(self) -> str: ...
    @property
    def plan(self) -> PruningPlan: ...
    @property
    def recordings(self) -> Sequence[Source]: ...


def split(recordings: Sequence[Source], clips: str) -> tuple[list[Source], list[Source]]:
    """What a network learns from, and what its agreement is measured on, which it never learns from.

    A fifth of the visitor's recordings is held out where there are at least three. Otherwise the same share of the examples is, where they are
    used; else nothing.

    Examples
    --------
    >>> [len(part) for part in split([], "examples")]
    [10, 2]
    >>> [len(part) for part in split([Source.of_bytes(f"{n}.wav", b"") for n in range(4)], "both")]
    [15, 1]
    >>> [len(part) for part in split([Source.of_bytes("one.wav", b"")], "own")]
    [1, 0]
    """
    own = list(recordings) if clips != "examples" else []
    examples = example_sources() if clips != "own" else []
    from_ = own if len(own) >= LEAST_TO_HOLD_OUT else examples
    count = min(MOST_MEASURED, max(1, round(HELD_OUT * len(from_)))) if from_ else 0
    # An order that does not depend on which was added first.
    held = sorted(from_, key=lambda source: hashlib.sha256(source.key.encode()).digest())[:count]
    keys = {source.key for source in held}
    return [source for source in (*own, *examples) if source.key not in keys], held


def healed_what(request: HealRequest, settings: HealSettings) -> Hashable:
    """A healing without its recordings: a visitor who adds one still has the network that was healed before."""
    return (request.name, plan_digest(request.plan), settings)


def job_key(request: HealRequest, settings: HealSettings) -> Hashable:
    """The job."""
    learned, held = split(request.recordings, settings.clips)
    keys = tuple(tuple(sorted(source.key for source in part)) for part in (learned, held))
    return ("heal", healed_what(request, settings), *keys)


class Healer:
    """Heals, and keeps the last results."""

    def __init__(
        self,
        models: Models,
        clips: Clips,
        queue: InferenceQueue,
        builder: EngineBuilder,
        pressure: MemoryPressure,
    ) -> None:
        self._models, self._clips, self._builder, self._pressure = models, clips, builder, pressure
        self._jobs = Jobs(queue, _BUDGET_BYTES, most=1, busy=_BUSY)
        self._points: dict[Hashable, tuple[Point, ...]] = {}  # of the one that is under way

    def start(self, request: HealRequest, settings: HealSettings) -> Hashable:
        """Begin, also where there is a result already, and return the job's key; recordings are opened now.

        Raises ``DataError`` where another is under way, ``AudioError`` and ``CheckpointError``.
        """
        key = job_key(request, settings)
        if self._jobs.full:
            raise DataError(_BUSY)
        if self._jobs.result(key) is not None:
            key = (key, time.monotonic_ns())
        tagger = self._models.tagger(request.name)
        learned, held = split(request.recordings, settings.clips)
        # By value: the page's own objects are gone when the job runs.
        work = _Work(
            tagger,
            request.plan,
            settings,
            (learned, held),
            (
                self._clips.waveform_loader(learned, LEARNED_SECONDS),
                self._clips.waveform_loader(held, MEASURED_SECONDS),
            ),
            self._builder,
        )

        def run(step: Step) -> Healing:
            self._points = {key: ()}
            self._pressure.relieve()
            try:
                return work.run(step, self._add(key))
            finally:
                trim_heap()

        self._jobs.forget(key)
        self._jobs.start(key, run, "Starting")
        return key

    def status(self, key: Hashable) -> JobStatus | None:
        """How far it is, or why it ended without a result."""
        return self._jobs.status(key)

    def cancel(self, key: Hashable) -> None:
        """End it after its present step; what it has reached becomes the result."""
        self._jobs.cancel(key)

    def result(self, key: Hashable) -> Healing | None:
        """The healed network, once there is one."""
        result: Healing | None = self._jobs.result(key)
        return result

    def points(self, key: Hashable) -> tuple[Point, ...]:
        """The agreement as it rises, of a healing that is under way or has ended."""
        result = self.result(key)
        return self._points.get(key, ()) if result is None else result.points

    def _add(self, key: Hashable) -> Callable[[Point], tuple[Point, ...]]:
        def add(point: Point) -> tuple[Point, ...]:
            self._points[key] = (*self._points.get(key, ()), point)
            return self._points[key]

        return add


@dataclass(frozen=True, eq=False)
class _Work:
    """What a job needs: the network, what is removed, and the clips to learn from and to measure on."""

    tagger: Tagger
    plan: PruningPlan
    settings: HealSettings
    sources: tuple[list[Source], list[Source]]
    load: tuple[Callable[[], list[np.ndarray]], Callable[[], list[np.ndarray]]]
    builder: EngineBuilder

    def run(self, step: Step, add: Callable[[Point], tuple[Point, ...]]) -> Healing:
        step(0, 1, PREPARING)
        learned, held = (load() for load in self.load)
        calibration = [
            waveform[: round(CALIBRATION_SECONDS * 32_000)] for waveform in learned[:MAX_RECORDINGS]
        ]
        base = build_pruned(
            self.tagger,
            self.plan,
            calibration if self.settings.repaired else (),
            lambda done, total: step(done, total, "Repairing first"),
        )
        budget, steps, last = 60 * self.settings.minutes, 0, 0.0
        points: tuple[Point, ...] = ()

        def report(progress: Progress) -> None:
            nonlocal points, steps, last
            steps, last = progress.step, progress.seconds
            if progress.measured:
                measured = progress.measured
                points = add(Point(last, measured.get("kept"), measured["difference"]))
            measuring()

        def measuring(*_: int) -> None:
            step(min(round(last), budget), budget, "Healing")

        free = usable_memory()
        result = heal(
            self.tagger.model,
            base.tagger.model,
            _recordings(self.sources[0], learned),
            minutes=self.settings.minutes,
            held_out=_recordings(self.sources[1], held) if held else None,
            free=None if free is None else max(0, free - FLOOR),
            on_progress=report,
            on_measure=measuring,
        )
        if not steps:
            raise TaskCancelledError
        return Healing(
            self._pruned(base, result.model, result.document),
            points,
            frozenset(source.key for source in self.sources[0]),
            frozenset(source.key for source in self.sources[1]),
            last,
            steps,
        )

    def _pruned(self, base: Pruned, model: Network, document: dict[str, Any]) -> Pruned:
        info = healed_info(base.tagger.info, document, f"{self.tagger.name}-healed")
        return Pruned(
            self.plan,
            Tagger(model, info, background=self.builder),
            base.repair,
            own_bytes(self.tagger.model, model),
        )


def _recordings(sources: Sequence[Source], waveforms: Sequence[np.ndarray]) -> Recordings:
    return Recordings.of(
        (Listed(Path(source.name), source.key), waveform)
        for source, waveform in zip(sources, waveforms, strict=True)
    )
