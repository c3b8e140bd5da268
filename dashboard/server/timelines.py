"""Tags over time of two networks: computed by a job, one row after the other, and drawn while it goes on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from core.audio import Clip
from core.events import Row, Timeline, TimelineSettings, row_count, rows
from core.tagging import Tagger
from dashboard.server.jobs import Jobs, JobStatus, Step
from dashboard.server.models import Models
from dashboard.server.source import Source

SETTINGS = TimelineSettings()
_FIRST_S, _EVERY_S = 1.0, 3.0
"""When the first rows can be drawn, and how often more of them."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Both networks' tags over time, and whether they are complete."""

    baseline: Timeline
    candidate: Timeline
    complete: bool

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.baseline.nbytes + self.candidate.nbytes


class Timelines:
    """Starts and finds the jobs. A network's rows are kept for its next comparison."""

    def __init__(self, jobs: Jobs, models: Models) -> None:
        self._jobs, self._models = jobs, models

    def status(self, source: Source, names: tuple[str, str]) -> JobStatus | None:
        """How far the job is; None where there is none, or its result is there."""
        return self._jobs.status(self._key(source, names))

    def cancel(self, source: Source, names: tuple[str, str]) -> None:
        """Stop the job after the present row."""
        self._jobs.cancel(self._key(source, names))

    def known(self, source: Source, names: tuple[str, str]) -> Pair | None:
        """The result, or what there is of it."""
        key = self._key(source, names)
        whole: Pair | None = self._jobs.result(key)
        return whole or (self._jobs.result((*key, "part")) if self._active(source, names) else None)

    def start(self, source: Source, names: tuple[str, str], clip: Clip) -> None:
        """Compute them in the background, unless that is under way or done."""
        key = self._key(source, names)
        taggers = [self._models.tagger(name) for name in names]
        own_keys = [("timeline", source.key, *self._models.key(name)) for name in names]
        self._jobs.start(key, lambda step: self._compute(key, own_keys, taggers, clip, step), "Tagging")

    def _compute(
        self,
        key: tuple[Hashable, ...],
        own_keys: Sequence[Hashable],
        taggers: list[Tagger],
        clip: Clip,
        step: Step,
    ) -> Pair:
        kept: list[Timeline | None] = [self._jobs.result(own) for own in own_keys]
        total = sum(
            row_count(tagger, clip, SETTINGS)
            for tagger, known in zip(taggers, kept, strict=True)
            if known is None
        )
        # One pass over a long recording, which is decoded, for both.
        blocks = itertools.tee(clip.blocks())
        sources: list[Iterator[Row]] = [
            rows(tagger, clip, SETTINGS, shared) if known is None else known.rows()
            for tagger, known, shared in zip(taggers, kept, blocks, strict=True)
        ]
        done: list[list[Row]] = [[], []]
        steps, due = 0, time.monotonic() + _FIRST_S
        open_sides = {0, 1}
        while open_sides:
            # The one that is behind, so that both are drawn up to the same time, and little is decoded ahead.
            side = min(open_sides, key=lambda each: done[each][-1].end_s if done[each] else 0.0)
            row = next(sources[side], None)
            if row is None:
                open_sides.remove(side)
                continue
            done[side].append(row)
            if kept[side] is None:
                steps += 1
                step(steps, total, "Tagging")
            if time.monotonic() >= due and all(done):
                self._jobs.keep((*key, "part"), self._pair(taggers, done, complete=False))
                due = time.monotonic() + _EVERY_S
        pair = self._pair(taggers, done, complete=True)
        for own, timeline in zip(own_keys, (pair.baseline, pair.candidate), strict=True):
            self._jobs.keep(own, timeline)
        return pair

    def _pair(self, taggers: list[Tagger], done: list[list[Row]], *, complete: bool) -> Pair:
        first, second = (Timeline.of(tagger, rows) for tagger, rows in zip(taggers, done, strict=True))
        return Pair(first, second, complete)

    def _active(self, source: Source, names: tuple[str, str]) -> bool:
        status = self.status(source, names)
        return status is not None and status.active

    def _key(self, source: Source, names: tuple[str, str]) -> tuple[Hashable, ...]:
        return ("timelines", source.key, *(self._models.key(name) for name in names))
