"""Measurements that take a while, as jobs in the background: agreement over ratios, sensitivity, and plans found by it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from core.compare import Agreement, agreement
from core.pruning.plan import PruningPlan
from core.pruning.repair.config import RepairConfig
from core.pruning.search.search import Budget, find_plan
from core.pruning.search.sensitivity import Sensitivity, measure_sensitivity
from core.tagging import Tagger, Tags
from dashboard.prune.cut import plan_at
from dashboard.prune.settings import PruneSettings
from dashboard.server.jobs import Step
from dashboard.server.pruned import build_pruned, calibration_key, calibration_sources
from dashboard.server.server import Server, get_server
from dashboard.server.source import Source

CURVE = tuple(step / 10 for step in range(10))
"""The ratios at which agreement is measured: 0, 10 … 90 %."""


@dataclass(frozen=True)
class Asked:
    """A measurement over clips: what it is known by, and what it hears.

    Attributes
    ----------
    name, sha256 : the network.
    sources : the clips.
    """

    name: str
    sha256: str
    sources: tuple[Source, ...]

    @property
    def clips(self) -> tuple[str, ...]:
        """The clips' keys."""
        return tuple(source.key for source in self.sources)


def asked(name: str, sources: Sequence[Source]) -> Asked:
    """Measure ``name`` on these clips."""
    return Asked(name, get_server().tagger(name).info.sha256, tuple(sources))


def curve_key(source: Source, name: str, settings: PruneSettings, repair_on: str) -> Hashable:
    """What a curve is known by."""
    return ("curve", *_curve_base(source, name, settings, repair_on))


def start_curve(source: Source, name: str, settings: PruneSettings, repair_on: str) -> None:
    """Measure agreement at every ratio of ``CURVE``, in the background; the points are there as they come."""
    server = get_server()
    tagger, clip = server.tagger(name), server.clip(source).clip
    load = server.waveform_loader(calibration_sources(repair_on, source))
    base = _curve_base(source, name, settings, repair_on)

    def measure(ratio: float, pause: Callable[[], None]) -> Tags:
        made = plan_at(tagger, settings, ratio)
        network = build_pruned(tagger, made, load() if ratio else (), lambda *_: pause())
        return network.tagger.tag(clip)

    def work(step: Step) -> dict[float, Tags]:
        points: dict[float, Tags] = server.jobs.result(("points", *base)) or {}
        for number, ratio in enumerate(CURVE):
            if ratio not in points:
                points = {**points, ratio: measure(ratio, partial(step, number, len(CURVE)))}
                server.jobs.keep(("points", *base), points)
            step(number + 1, len(CURVE))
        return points

    server.jobs.start(curve_key(source, name, settings, repair_on), work, "Measuring")


def curve(
    source: Source, name: str, settings: PruneSettings, repair_on: str
) -> list[tuple[float, Agreement]]:
    """The points that have been measured, smallest ratio first."""
    server = get_server()
    left = server.known_tags(source, name)
    base = _curve_base(source, name, settings, repair_on)
    if left is None:
        return []
    points: dict[float, Tags] = (
        server.jobs.result(("curve", *base)) or server.jobs.result(("points", *base)) or {}
    )
    return [(ratio, agreement(left, right)) for ratio, right in sorted(points.items())]


def sensitivity_key(question: Asked, criterion: str) -> Hashable:
    """What a measurement of sensitivity is known by."""
    return ("sensitivity", question.sha256, criterion, question.clips)


def sensitivity(question: Asked, criterion: str) -> Sensitivity | None:
    """The measured sensitivity, or None where nobody has measured it."""
    found: Sensitivity | None = get_server().jobs.result(sensitivity_key(question, criterion))
    return found


def start_sensitivity(question: Asked, criterion: str) -> None:
    """Measure every layer alone at every ratio, in the background."""
    server = get_server()
    load = server.waveform_loader(question.sources)
    work = _sensitivity_work(server, server.tagger(question.name), load, criterion)
    server.jobs.start(sensitivity_key(question, criterion), work)


def search_key(
    question: Asked,
    criterion: str,
    round_to: int,
    *,
    budget: Budget | None,
    tolerance: float | None,
    repaired: bool,
) -> Hashable:
    """What a search for a plan is known by."""
    return ("search", question.sha256, criterion, question.clips, round_to, budget, tolerance, repaired)


def found_plan(key: Hashable) -> PruningPlan | None:
    """The plan that a search has found."""
    found: PruningPlan | None = get_server().jobs.result(key)
    return found


def start_search(
    question: Asked,
    criterion: str,
    round_to: int,
    *,
    budget: Budget | None,
    tolerance: float | None,
    repaired: bool,
) -> None:
    """Find the ratios of all layers for a budget or a tolerated loss; measures sensitivity first where it is not known.

    With ``repaired`` the pruned networks are repaired before they are heard.
    """
    server = get_server()
    jobs, tagger = server.jobs, server.tagger(question.name)
    first = sensitivity_key(question, criterion)
    load = server.waveform_loader(question.sources)
    measure = _sensitivity_work(server, tagger, load, criterion)

    def work(step: Step) -> PruningPlan:
        known: Sensitivity | None = jobs.result(first)
        if known is None:
            known = measure(step)
            jobs.keep(first, known)
        return find_plan(
            tagger.model,
            known,
            budget=budget,
            tolerance=tolerance,
            waveforms=load(),
            criterion_name=criterion,
            round_to=round_to,
            scores=lambda layer: server.layer_scores(tagger, layer, criterion),
            repair=RepairConfig() if repaired else None,
            on_progress=lambda done, total: step(done, total, "Choosing the ratios"),
        )

    jobs.start(
        search_key(question, criterion, round_to, budget=budget, tolerance=tolerance, repaired=repaired), work
    )


def _sensitivity_work(
    server: Server, tagger: Tagger, load: Callable[[], list[np.ndarray]], criterion: str
) -> Callable[[Step], Sensitivity]:
    def work(step: Step) -> Sensitivity:
        return measure_sensitivity(
            tagger.model,
            load(),
            criterion_name=criterion,
            scores=lambda layer: server.layer_scores(tagger, layer, criterion),
            on_progress=lambda done, total: step(done, total, "Measuring each layer alone"),
        )

    return work


def _curve_base(source: Source, name: str, settings: PruneSettings, repair_on: str) -> tuple[Any, ...]:
    sha256 = get_server().tagger(name).info.sha256
    calibration = calibration_key(repair_on, source)
    return (source.key, sha256, settings.criterion, settings.touched, settings.round_to, calibration)
