"""One live stream: the last ten seconds of a visitor's microphone, what both networks make of it, and the events so far."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from core.classes import ClassSet
from core.events import Detector, Document, Event, EventSettings, Row
from core.units import THRESHOLD
from dashboard import formats
from dashboard.server.live_network import LiveNetwork, Output
from dashboard.server.ring import Ring, Sound

HOP_S = 0.256
"""Both networks run so often at most; the browser sends the sound in pieces of this length: eight blocks of 1,024 samples."""

RING_S = 10.0

MOST_EVENTS = 2_000
"""Of one stream; of more, the oldest are forgotten."""

IDLE_S = 5.0
"""A stream that has received nothing for so long is not active: its place and its ten seconds are free for others."""

_LEAST_S = 1.0  # of sound, before anything is computed
_GAP_S = 1.0  # two events of a class so close are one
_RATE_OVER_S = 4.0
_MOST_ROWS, _MOST_BELOW = 8, 3
_MOST_SENT = 50  # events in one answer


@dataclass(frozen=True)
class LiveSettings:
    """What a stream computes and shows.

    Attributes
    ----------
    names : the two networks.
    window_s : seconds that a network runs on.
    threshold : probability from which a tag counts and an event begins.
    smoothing_s : time constant of the shown probabilities; 0 for none.
    allowed : AudioSet's indices of the classes to show, None for all.
    """

    names: tuple[str, str]
    window_s: float = 3.0
    threshold: float = THRESHOLD
    smoothing_s: float = 1.0
    allowed: frozenset[int] | None = None


class _Side:
    """One network's state in a stream: smoothed probabilities, and the events in its rows."""

    def __init__(self, model: str, classes: ClassSet, settings: LiveSettings, from_s: float) -> None:
        self.model, self.classes = model, classes
        self._edge_s = from_s  # the end of the last row
        self._middle_s: float | None = None  # of the last window
        self.smoothed = np.zeros(len(classes), np.float32)
        self.detector = Detector(classes, EventSettings(on=settings.threshold, gap_s=_GAP_S))
        allowed = settings.allowed
        self._mask = np.array([allowed is None or index in allowed for index in classes.indices])
        self._fade_s = settings.smoothing_s

    def take(self, output: Output, end_s: float) -> list[Event]:
        """Use a window's probabilities; the events that have ended with it.

        As in ``core.events.over_time`` a row is about the middle of its window; here it ends halfway to where the next one is expected.
        """
        probabilities = np.where(self._mask, output.probabilities, np.float32(0))
        middle_s = end_s - output.length_s / 2
        if self._middle_s is None:
            self._edge_s, self._middle_s = max(self._edge_s, end_s - output.length_s), middle_s
        start_s, self._edge_s = self._edge_s, max(self._edge_s, middle_s + (middle_s - self._middle_s) / 2)
        self._middle_s = middle_s
        share = 1 - np.exp((start_s - self._edge_s) / self._fade_s) if self._fade_s else 1.0
        self.smoothed += np.float32(share) * (probabilities - self.smoothed)
        return self.detector.push(Row(start_s, self._edge_s, probabilities))

    def shown(self) -> dict[int, tuple[str, float]]:
        """The allowed classes: index -> name and smoothed probability."""
        listed = zip(
            self.classes.indices, self.classes.names, self.smoothed.tolist(), self._mask, strict=True
        )
        return {index: (name, value) for index, name, value, allowed in listed if allowed}


class LiveStream:
    """One visitor's stream. The route and the worker call it from their threads."""

    def __init__(
        self, owner: str | None, settings: LiveSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.owner, self._clock = owner, clock
        self.settings = settings
        self.began = datetime.now(UTC)
        self._received_at = -math.inf
        self.due = 0.0  # when its networks may run again
        self.networks: dict[str, LiveNetwork] = {}
        self._lock = threading.RLock()
        self._ring = Ring(RING_S)
        self._sides: tuple[_Side, ...] = ()
        self._computed = self._since = 0  # the browser's samples that the last two results reach to
        self._from_s = 0.0  # no row begins before
        self._finished: deque[tuple[int, str, Event]] = deque(maxlen=MOST_EVENTS)
        self._ended = 0  # events that have ended so far, the forgotten ones included
        self._times: deque[float] = deque()
        self._took_s = 0.0
        self._message: str | None = None

    @property
    def active(self) -> bool:
        """Whether it has received something lately."""
        return self._clock() - self._received_at < IDLE_S

    @property
    def waiting(self) -> bool:
        """Whether there is a hop of sound that no network has run on."""
        with self._lock:
            new = self._ring.received_s(since=self._computed)
            return (
                self.active
                and self._message is None
                and new >= HOP_S * 0.9
                and self._ring.length_s >= _LEAST_S
            )

    def configure(self, settings: LiveSettings) -> None:
        """Use other settings from now on; the history stays."""
        with self._lock:
            if settings != self.settings:
                self.settings, self._message = settings, None
                self._end_events()

    def receive(self, start: int, rate: int, samples: np.ndarray) -> None:
        """Take a piece of sound, see ``Ring.write``; where some is missing before it the windows begin anew."""
        with self._lock:
            self._received_at = self._clock()
            if not self._ring.write(start, rate, samples):
                self._end_events()

    def rest(self) -> None:
        """Free the sound of a stream that is not active."""
        with self._lock:
            self._ring.clear()
            self.networks = {}

    def sound(self) -> tuple[LiveSettings, Sound]:
        """What the networks are to run on next."""
        with self._lock:
            return self.settings, self._ring.sound()

    def fail(self, message: str) -> None:
        """Compute no more until the settings change, and say why."""
        with self._lock:
            self._message = message

    def take(
        self, settings: LiveSettings, sound: Sound, outputs: list[tuple[ClassSet, Output]], took_s: float
    ) -> None:
        """Take both networks' outputs for a sound."""
        with self._lock:
            if settings != self.settings:
                return  # they changed meanwhile
            if not self._sides:
                self._sides = tuple(
                    _Side(name, classes, settings, self._from_s)
                    for name, (classes, _) in zip(settings.names, outputs, strict=True)
                )
            for number, (side, (_, output)) in enumerate(zip(self._sides, outputs, strict=True)):
                self._keep(number, side, side.take(output, sound.end_s))
            self._since, self._computed = self._computed or sound.position, sound.position
            now = self._clock()
            self._took_s = took_s
            self._times.append(now)
            while now - self._times[0] > _RATE_OVER_S:
                self._times.popleft()

    def computed(self, position: int) -> bool:
        """Whether the results reach to a position, or none will come."""
        with self._lock:
            return self._computed >= position or self._message is not None

    def answer(self, seen: int) -> dict[str, Any]:
        """What the page shows; ``seen`` is the number of ended events that it has."""
        with self._lock:
            span_s = self._times[-1] - self._times[0] if self._times else 0.0
            first = self._ended - len(self._finished)
            new = list(self._finished)[max(0, seen - first) :][-_MOST_SENT:]
            return {
                "message": self._message,
                "until": self._computed,
                "since": self._since,
                "rate": round((len(self._times) - 1) / span_s, 1) if span_s >= 1 else None,
                "took_ms": round(1000 * self._took_s),
                "rows": self._rows(),
                "ended": [_event(number, event) for number, _, event in new],
                "seen": self._ended,
                "going_on": [
                    _event(number, event)
                    for number, side in enumerate(self._sides)
                    for event in side.detector.going_on
                ],
            }

    def documents(self) -> list[Document]:
        """The history as ``core.events.FORMATS`` takes it: one document for each network that has run, with its events in order."""
        with self._lock:
            events = [(model, event) for _, model, event in self._finished]
            events += [(side.model, event) for side in self._sides for event in side.detector.going_on]
            models = dict.fromkeys([*(model for model, _ in events), *(side.model for side in self._sides)])
        path = f"live-{self.began:%Y%m%dT%H%M%SZ}"
        return [
            {
                "path": path,
                "file": path,
                "model": model,
                "events": [
                    asdict(event)
                    for other, event in sorted(events, key=lambda each: each[1].onset_s)
                    if other == model
                ],
            }
            for model in models
        ]

    def _rows(self) -> list[dict[str, Any]]:
        """The tags at the threshold in either network, and a few below it, by their larger probability; None for a class that one has not."""
        sides = [side.shown() for side in self._sides]
        names = {index: name for shown in sides for index, (name, _) in shown.items()}
        rows = [
            {
                "name": name,
                "values": [round(shown[index][1], 3) if index in shown else None for shown in sides],
            }
            for index, name in names.items()
        ]
        threshold = self.settings.threshold
        rows.sort(key=_largest, reverse=True)
        above = [row for row in rows if _largest(row) >= threshold][:_MOST_ROWS]
        return (above + [row for row in rows if _largest(row) < threshold][:_MOST_BELOW])[:_MOST_ROWS]

    def _end_events(self) -> None:
        for number, side in enumerate(self._sides):
            self._keep(number, side, side.detector.finish())
        self._sides = ()
        self._from_s = self._ring.start_s

    def _keep(self, number: int, side: _Side, events: list[Event]) -> None:
        self._finished.extend((number, side.model, event) for event in events)
        self._ended += len(events)


def _largest(row: dict[str, Any]) -> float:
    return max(value or 0.0 for value in row["values"])


def _event(number: int, event: Event) -> dict[str, Any]:
    return {
        "network": number,
        "name": event.name,
        "start": round(event.onset_s, 2),
        "end": round(event.offset_s, 2),
        "probability": formats.probability(event.probability),
    }
