"""Tags over time of two networks: computed by a job, one row after the other, and drawn while it goes on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from core.audio import Clip
from core.events import Row, Timeline, TimelineSettings, row_count, rows
from core.tagging import Tagger
from dashboard.server.jobs import Jobs, JobStatus, Step
from dashboard.server.models import Models
from dashboard.server.source import Source

SETTINGS = TimelineSettings()
_FIRST_S, _EVERY_S, _EVERY_SHARE = 0.5, 3.0, 0.05
"""When the first rows can be drawn, and how often more of them: every few seconds, and later less often, by a share of the time that has passed,
since all of them are drawn again."""


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


class _Rows:
    """One network's rows as they are computed, in an array that is as large as is expected: the timelines of its parts are views of it, not copies."""

    def __init__(self, tagger: Tagger, count: int) -> None:
        self._tagger, self._count = tagger, 0
        self._edges_s = np.zeros(count + 1)
        self._probabilities = np.empty((count, len(tagger.classes)), np.float32)

    @property
    def end_s(self) -> float:
        """Where the last row ends."""
        return float(self._edges_s[self._count])

    def push(self, row: Row) -> None:
        """Add the next row."""
        if self._count == len(self._probabilities):  # fewer were expected
            self._edges_s = np.append(self._edges_s, np.zeros(self._count))
            self._probabilities = np.append(self._probabilities, np.empty_like(self._probabilities), axis=0)
        self._probabilities[self._count] = row.probabilities
        self._edges_s[self._count + 1] = row.end_s
        self._count += 1

    def timeline(self) -> Timeline:
        """What there is."""
        count = self._count
        return Timeline(
            self._tagger.name, self._tagger.classes, self._edges_s[: count + 1], self._probabilities[:count]
        )


class Timelines:
    """Starts and finds the jobs. A network's rows are kept for its next comparison.

    Parameters
    ----------
    jobs : where they run.
    models : the networks.
    check : called at every row; it raises ``AudioError`` where the recording has been refused meanwhile.
    """

    def __init__(self, jobs: Jobs, models: Models, check: Callable[[Source], object] = Source.check) -> None:
        self._jobs, self._models, self._check = jobs, models, check

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

        def work(step: Step) -> Pair:
            def checked(done: int, total: int, doing: str = "") -> None:
                self._check(source)
                step(done, total, doing)

            return self._compute(key, own_keys, taggers, clip, checked)

        self._jobs.start(key, work, "Tagging")

    def _compute(
        self,
        key: tuple[Hashable, ...],
        own_keys: Sequence[Hashable],
        taggers: list[Tagger],
        clip: Clip,
        step: Step,
    ) -> Pair:
        kept: list[Timeline | None] = [self._jobs.result(own) for own in own_keys]
        counts = [row_count(tagger, clip, SETTINGS) for tagger in taggers]
        total = sum(count for count, known in zip(counts, kept, strict=True) if known is None)
        done = [_Rows(tagger, count) for tagger, count in zip(taggers, counts, strict=True)]
        with closing(clip.blocks()) as decoded:
            # One pass over a long recording, which is decoded, for both; a copy that nobody reads would keep all of its samples.
            blocks = iter(itertools.tee(decoded, kept.count(None)))
            sources: list[Iterator[Row]] = [
                rows(tagger, next(blocks), SETTINGS) if known is None else known.rows()
                for tagger, known in zip(taggers, kept, strict=True)
            ]
            steps, began = 0, time.monotonic()
            due = began + _FIRST_S
            open_sides = {0, 1}
            while open_sides:
                # The one that is behind, so that both are drawn up to the same time, and little is decoded ahead.
                side = min(open_sides, key=lambda each: done[each].end_s)
                row = next(sources[side], None)
                if row is None:
                    open_sides.remove(side)
                    continue
                done[side].push(row)
                if kept[side] is None:
                    steps += 1
                    step(steps, max(steps, total), "Tagging")  # the length may be an estimate
                now = time.monotonic()
                if now >= due and all(each.end_s for each in done):
                    self._jobs.keep((*key, "part"), _pair(done, complete=False))
                    due = now + max(_EVERY_S, _EVERY_SHARE * (now - began))
        pair = _pair(done, complete=True)
        for own, timeline in zip(own_keys, (pair.baseline, pair.candidate), strict=True):
            self._jobs.keep(own, timeline)
        return pair

    def _active(self, source: Source, names: tuple[str, str]) -> bool:
        status = self.status(source, names)
        return status is not None and status.active

    def _key(self, source: Source, names: tuple[str, str]) -> tuple[Hashable, ...]:
        return ("timelines", source.key, *(self._models.key(name) for name in names))


def _pair(done: Sequence[_Rows], *, complete: bool) -> Pair:
    first, second = (rows.timeline() for rows in done)
    return Pair(first, second, complete)
