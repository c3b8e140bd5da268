"""The search for the smallest network that keeps the tags of the visitor's recordings, as a job in the background."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from core.errors import PruningError
from core.pruning.plan import PruningPlan
from core.pruning.search.sensitivity import Sensitivity
from core.pruning.search.smallest import smallest_plan
from core.units import THRESHOLD
from dashboard import formats
from dashboard.prune.cut import Cut
from dashboard.prune.measurements import SensitivityRequest
from dashboard.server.jobs import Step
from dashboard.server.pruned import build_pruned, calibration_key, calibration_sources
from dashboard.server.server import get_server
from dashboard.server.source import Source

_MARGIN = 1e-4
"""A probability counts as on its side of the threshold from this distance on: engines differ by less."""


@dataclass(frozen=True, eq=False)
class KeepTagsRequest:
    """Find the smallest network with the same tags at the threshold, on all recordings, or on the example that is shown."""

    cut: Cut

    @property
    def sources(self) -> tuple[Source, ...]:
        """The clips."""
        cut = self.cut
        return cut.recordings if cut.source.example is None and cut.recordings else (cut.source,)

    @property
    def key(self) -> Hashable:
        """The job."""
        cut = self.cut
        return (
            "keep tags",
            self._sensitivity.key,
            cut.settings.round_to,
            calibration_key(cut, cut.repair),
        )

    @property
    def _sensitivity(self) -> SensitivityRequest:
        cut = self.cut
        sha256 = get_server().tagger(cut.name).info.sha256
        return SensitivityRequest(cut.name, sha256, cut.settings.criterion, self.sources)

    def result(self) -> PruningPlan | None:
        """The plan, or None where none has been found yet."""
        result: PruningPlan | None = get_server().jobs.result(self.key)
        return result

    def start(self) -> None:
        """Search in the background; recordings are opened now, by the page."""
        server, cut, request = get_server(), self.cut, self._sensitivity
        jobs, tagger, measure = server.jobs, server.tagger(cut.name), request.work()
        clips = [server.clip(source).clip for source in self.sources]
        load = server.waveform_loader(calibration_sources(cut, cut.repair))
        where = formats.plural(len(clips), "clip")

        def work(step: Step) -> PruningPlan:
            sensitivity: Sensitivity | None = jobs.result(request.key)
            if sensitivity is None:
                sensitivity = measure(step)
                jobs.keep(request.key, sensitivity)
            wanted, done = [tagger.tag(clip).probabilities for clip in clips], (0, 1)
            if not any((probabilities >= THRESHOLD).any() for probabilities in wanted):
                raise PruningError(
                    f"No tag has {formats.probability(THRESHOLD)} or more on {where}: there is nothing to keep."
                )
            calibration_clips = load()

            def alive() -> None:
                step(*done, "Trying smaller networks")

            def passes(plan: PruningPlan) -> bool:
                if not plan.kept:
                    return True
                network = build_pruned(tagger, plan, calibration_clips, lambda *_: alive()).tagger
                for clip, before in zip(clips, wanted, strict=True):
                    if not same_tags(before, network.tag(clip).probabilities):
                        return False
                    alive()
                return True

            def progress(tested: int, total: int) -> None:
                nonlocal done
                done = (tested, total)
                alive()

            return smallest_plan(
                tagger.model,
                sensitivity,
                passes,
                scores=lambda layer: server.layer_scores(tagger, layer, request.criterion),
                round_to=cut.settings.round_to,
                narrow=not calibration_clips,  # a repair takes seconds
                on_progress=progress,
            )

        jobs.start(self.key, work)


def same_tags(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the same tags are at or above the threshold, with a margin where a tag changes its probability.

    Examples
    --------
    >>> same_tags(np.array([0.9, 0.1]), np.array([0.3, 0.1])), same_tags(np.array([0.9, 0.1]), np.array([0.9, 0.5]))
    (True, False)
    """
    above = before >= THRESHOLD
    return bool((after[above] >= THRESHOLD + _MARGIN).all() and (after[~above] < THRESHOLD - _MARGIN).all())
