"""Events in tags over time: where a class begins and ends, by hysteresis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.classes import ClassSet
from core.errors import ModelError
from core.events.over_time import Row

_ROUNDING_S = 1e-6  # times are sums of binary fractions: 1.3 - 1.1 is a gap of 0.2


@dataclass(frozen=True)
class EventSettings:
    """When an event begins and ends.

    Attributes
    ----------
    on : float
        Probability from which one begins.
    off : float, optional
        Probability under which it ends; by default 0.6 of ``on``.
    least_s : float
        Shorter events are left out.
    gap_s : float
        Two events of a class that are so far apart, or less, are one.
    """

    on: float = 0.5
    off: float | None = None
    least_s: float = 0.0
    gap_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.on <= 1:
            raise ModelError(f"An event begins at a probability above 0 and up to 1; got {self.on:g}.")
        if self.off is not None and not 0 < self.off <= self.on:
            raise ModelError(
                f"An event ends under a probability above 0 and up to the one it begins at, {self.on:g}; got {self.off:g}."
            )
        for name, seconds in (("least length", self.least_s), ("gap that is closed", self.gap_s)):
            if not 0 <= seconds < float("inf"):
                raise ModelError(f"The {name} is a number of seconds, 0 or more; got {seconds:g}.")

    @property
    def below(self) -> float:
        """Probability under which an event ends."""
        return 0.6 * self.on if self.off is None else self.off


@dataclass(frozen=True)
class Event:
    """One sound: a class, with AudioSet's index, its onset and offset in seconds, and its largest probability between them."""

    index: int
    name: str
    onset_s: float
    offset_s: float
    probability: float


@dataclass
class _Open:
    """An event that goes on, or that has ended so lately that the next one may join it."""

    onset_s: float
    offset_s: float
    probability: float
    running: bool = True


class Detector:
    """Finds events while rows are computed.

    An event begins with the first row of ``on`` or more and ends before the first one under ``off``. Gaps are closed first, then short events are left
    out, as pyannote.audio's ``Binarize`` does. Memory grows neither with the rows nor with the events that it has returned.

    Examples
    --------
    >>> detector = Detector(ClassSet.from_names(["Rain"]), EventSettings(on=0.5, off=0.3))
    >>> ended = [detector.push(Row(time, time + 1.0, np.array([value]))) for time, value in enumerate((0.6, 0.4, 0.2, 0.7))]
    >>> [[(event.onset_s, event.offset_s) for event in events] for events in ended]
    [[], [], [], [(0, 2.0)]]
    >>> [event.onset_s for event in detector.going_on]
    [3]
    """

    def __init__(self, classes: ClassSet, settings: EventSettings) -> None:
        self._classes, self._names, self._settings = classes, classes.names, settings
        self._unfinished: dict[int, _Open] = {}

    def push(self, row: Row) -> list[Event]:
        """Use the next row; the events that have ended and can no longer go on."""
        settings, ended = self._settings, []
        on, continued = row.probabilities >= settings.on, row.probabilities >= settings.below
        for position, event in list(self._unfinished.items()):
            event.running = event.running and bool(continued[position])
            if event.running:
                event.offset_s = row.end_s
            elif row.start_s - event.offset_s > settings.gap_s + _ROUNDING_S:
                ended.append(position)
        finished = self._finished(ended)
        for position in map(int, np.flatnonzero(on)):
            value = float(row.probabilities[position])
            event = self._unfinished.setdefault(position, _Open(row.start_s, row.end_s, value))
            event.offset_s, event.probability, event.running = row.end_s, max(event.probability, value), True
        return finished

    @property
    def going_on(self) -> list[Event]:
        """The events that the next rows may make longer, as they are so far and however short."""
        return [self._event(position, event) for position, event in self._unfinished.items()]

    def finish(self) -> list[Event]:
        """End the events that go on: no row follows."""
        return self._finished(list(self._unfinished))

    def _finished(self, positions: Iterable[int]) -> list[Event]:
        least = self._settings.least_s - _ROUNDING_S
        events = [self._event(position, self._unfinished.pop(position)) for position in positions]
        return [event for event in events if event.offset_s - event.onset_s >= least]

    def _event(self, position: int, event: _Open) -> Event:
        index, name = self._classes.indices[position], self._names[position]
        return Event(index, name, event.onset_s, event.offset_s, event.probability)


def detect(rows: Iterable[Row], classes: ClassSet, settings: EventSettings) -> list[Event]:
    """The events of tags over time, as ``Detector`` finds them, in the order of their onsets.

    Examples
    --------
    >>> probabilities = (0.1, 0.6, 0.4, 0.2, 0.7)
    >>> rows = [Row(time, time + 1.0, np.array([value])) for time, value in enumerate(probabilities)]
    >>> for event in detect(rows, ClassSet.from_names(["Rain"]), EventSettings(on=0.5, off=0.3)):
    ...     print(event.name, event.onset_s, event.offset_s, event.probability)
    Rain 1 3.0 0.6
    Rain 4 5.0 0.7
    """
    detector = Detector(classes, settings)
    events = [event for row in rows for event in detector.push(row)] + detector.finish()
    return sorted(events, key=lambda event: (event.onset_s, -event.probability, event.index))
