"""The Prune page's measurements, as jobs in the background: agreement over the ratio, sensitivity, and searches for a plan."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from core.compare import Agreement, agreement
from core.examples import EXAMPLES, example_clip
from core.pruning.plan import PruningPlan
from core.pruning.repair.config import RepairConfig
from core.pruning.search.budget import Budget
from core.pruning.search.search import find_plan
from core.pruning.search.sensitivity import Sensitivity, measure_sensitivity
from core.tags import Tags
from dashboard.prune.cut import Cut, plan_at
from dashboard.server.jobs import Step
from dashboard.server.pruned import build_pruned, calibration_key, calibration_sources
from dashboard.server.server import get_server
from dashboard.server.source import Source

CURVE = tuple(step / 10 for step in range(10))
"""The ratios at which agreement is measured: 0, 10 … 90 %."""

UNRELATED = 5
"""Other examples that every pruned network runs on, for the chance level: enough to see it, at a few milliseconds each."""


@dataclass(frozen=True, eq=False)
class Point:
    """A pruned network's tags of the clip, and of ``UNRELATED`` other examples."""

    tags: Tags
    unrelated: tuple[Tags, ...]


def curve_key(cut: Cut, repair: str) -> Hashable:
    """The job of a curve; ``repair`` is one of ``settings.REPAIRS``."""
    return ("curve", *_curve_settings(cut, repair))


def start_curve(cut: Cut, repair: str) -> None:
    """Measure agreement at every ratio of ``CURVE`` in the background; ``curve`` has the points as they come."""
    server = get_server()
    tagger, clip = server.tagger(cut.name), server.clip(cut.source).clip
    load = server.waveform_loader(calibration_sources(cut, repair))
    points_key = ("points", *_curve_settings(cut, repair))

    others = [example.key for example in EXAMPLES if example.key != cut.source.example][:UNRELATED]

    def measure(ratio: float, on_progress: Callable[[], None]) -> Point:
        plan = plan_at(tagger, cut.settings, ratio)
        pruned = build_pruned(tagger, plan, load() if ratio else (), lambda *_: on_progress()).tagger
        unrelated = []
        for key in others:
            unrelated.append(pruned.tag(example_clip(key)))
            on_progress()
        return Point(pruned.tag(clip), tuple(unrelated))

    def work(step: Step) -> dict[float, Point]:
        points: dict[float, Point] = server.jobs.result(points_key) or {}
        for number, ratio in enumerate(CURVE):
            if ratio not in points:
                points = {**points, ratio: measure(ratio, partial(step, number, len(CURVE)))}
                server.jobs.keep(points_key, points)
            step(number + 1, len(CURVE))
        return points

    server.jobs.start(curve_key(cut, repair), work, "Measuring")


def curve(cut: Cut, repair: str) -> list[tuple[float, Agreement]]:
    """The points that have been measured so far, by ratio."""
    server = get_server()
    baseline = server.known_tags(cut.source, cut.name)
    if baseline is None:
        return []
    return [(ratio, _agreement(baseline, point.tags)) for ratio, point in _points(cut, repair)]


def chance(cut: Cut, repair: str) -> list[tuple[float, list[Agreement]]]:
    """By ratio, the unpruned network's tags of the clip beside the pruned one's of other clips: agreement by chance."""
    baseline = get_server().known_tags(cut.source, cut.name)
    if baseline is None:
        return []
    return [
        (ratio, [_agreement(baseline, other) for other in point.unrelated])
        for ratio, point in _points(cut, repair)
    ]


@lru_cache(maxsize=len(CURVE) * (1 + UNRELATED) * 8)
def _agreement(baseline: Tags, candidate: Tags) -> Agreement:
    """The agreement of two objects, once: the chart is drawn again with every point."""
    return agreement(baseline, candidate)


def _points(cut: Cut, repair: str) -> list[tuple[float, Point]]:
    jobs = get_server().jobs
    points: dict[float, Point] = (
        jobs.result(curve_key(cut, repair)) or jobs.result(("points", *_curve_settings(cut, repair))) or {}
    )
    return sorted(points.items())


@dataclass(frozen=True)
class SensitivityRequest:
    """Prune every layer alone at every ratio.

    Attributes
    ----------
    name, sha256 : the network, and its checkpoint.
    criterion : how filters are ranked.
    sources : the clips to measure on.
    """

    name: str
    sha256: str
    criterion: str
    sources: tuple[Source, ...]

    @property
    def key(self) -> Hashable:
        """The job."""
        return ("sensitivity", self.sha256, self.criterion, *(source.key for source in self.sources))

    def result(self) -> Sensitivity | None:
        """The measured sensitivity, or None where it has not been measured."""
        result: Sensitivity | None = get_server().jobs.result(self.key)
        return result

    def start(self) -> None:
        """Measure in the background."""
        get_server().jobs.start(self.key, self.work())

    def work(self) -> Callable[[Step], Sensitivity]:
        """The job's work; recordings are opened now, by the page."""
        server = get_server()
        tagger, load = server.tagger(self.name), server.waveform_loader(self.sources)
        return lambda step: measure_sensitivity(
            tagger.model,
            load(),
            criterion_name=self.criterion,
            scores=lambda layer: server.layer_scores(tagger, layer, self.criterion),
            on_progress=lambda done, total: step(done, total, "Measuring each layer alone"),
        )


@dataclass(frozen=True)
class SearchRequest:
    """Find the ratios of all layers for a budget or a tolerated loss.

    Attributes
    ----------
    sensitivity : of the same network; measured first where it is not known.
    round_to : numbers of kept filters are rounded to a multiple of this.
    budget, tolerance : one of them, the other None; the tolerance is in nats.
    repaired : whether pruned networks are repaired before they are compared.
    """

    sensitivity: SensitivityRequest
    round_to: int
    budget: Budget | None
    tolerance: float | None
    repaired: bool

    @property
    def key(self) -> Hashable:
        """The job."""
        return (
            "search",
            self.sensitivity.key,
            self.round_to,
            self.budget,
            self.tolerance,
            self.repaired,
        )

    def result(self) -> PruningPlan | None:
        """The plan, or None where none has been found yet."""
        result: PruningPlan | None = get_server().jobs.result(self.key)
        return result

    def start(self) -> None:
        """Search in the background."""
        server, request = get_server(), self.sensitivity
        jobs, tagger = server.jobs, server.tagger(request.name)
        load, measure = server.waveform_loader(request.sources), request.work()

        def work(step: Step) -> PruningPlan:
            sensitivity: Sensitivity | None = jobs.result(request.key)
            if sensitivity is None:
                sensitivity = measure(step)
                jobs.keep(request.key, sensitivity)
            return find_plan(
                tagger.model,
                sensitivity,
                budget=self.budget,
                tolerance=self.tolerance,
                waveforms=load(),
                criterion_name=request.criterion,
                round_to=self.round_to,
                scores=lambda layer: server.layer_scores(tagger, layer, request.criterion),
                repair=RepairConfig() if self.repaired else None,
                on_progress=lambda done, total: step(done, total, "Choosing the ratios"),
            )

        jobs.start(self.key, work)


def _curve_settings(cut: Cut, repair: str) -> tuple[Any, ...]:
    """What the points of a curve depend on."""
    sha256, settings = get_server().tagger(cut.name).info.sha256, cut.settings
    return (
        cut.source.key,
        sha256,
        settings.criterion,
        settings.touched,
        settings.round_to,
        calibration_key(cut, repair),
    )
