"""Two networks' tags over time as the timeline's component draws them: rows of cells, what differs most, and the events."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.compare import Agreement
from core.events import Difference, Event, Timeline
from dashboard import formats
from dashboard.charts.clip_picture import DYNAMIC_RANGE_DB, ClipPicture, max_pool
from dashboard.charts.palette import Palette

MAX_CELLS = 7_200
"""Of one row: an hour every half second. The browser pools them further, by what it shows."""

MOST_TAGS, FEWEST_TAGS = 12, 3
MOST_EVENTS = 400
"""In the table; the files have all of them."""

_NOTES = {change: f" ({change})" for change in ("lost", "gained", "at times")}


def shown_tags(
    agreement: Agreement,
    baseline: Timeline,
    candidate: Timeline,
    *,
    indices: frozenset[int],
    found: Sequence[int] = (),
) -> list[tuple[int, str]]:
    """The classes to draw, with what became of them: kept, lost and gained ones first, then those that reach the threshold at some time.

    Without any of these, the likeliest. Of ``indices`` alone, at most ``MOST_TAGS``; above all of them those that were ``found`` by name.
    """
    counted = [
        (row.index, change)
        for change in ("kept", "lost", "gained")
        for row in agreement.rows_of(change)
        if row.index in indices
    ]
    peaks: dict[int, float] = {}
    for timeline in (baseline, candidate):
        for index, peak in zip(timeline.classes.indices, timeline.probabilities.max(axis=0), strict=True):
            if index in indices:
                peaks[index] = max(peaks.get(index, 0.0), float(peak))
    for index, _ in counted:
        peaks.pop(index, None)
    others = sorted(peaks, key=lambda index: (-peaks[index], index))
    at_times = [(index, "at times") for index in others if peaks[index] >= agreement.threshold]
    below = [(index, "below") for index in others if peaks[index] < agreement.threshold]
    shown = [*counted, *at_times][:MOST_TAGS]
    drawn = [*shown, *below[: max(0, FEWEST_TAGS - len(shown))]]
    changes = dict([*counted, *at_times])
    searched = [(index, changes.get(index, "below")) for index in found]
    return [*searched, *(each for each in drawn if each[0] not in found)][:MOST_TAGS]


def timeline_data(
    pair: tuple[Timeline, Timeline],
    titles: tuple[str, str],
    tags: Sequence[tuple[int, str]],
    *,
    duration_s: float,
    picture: ClipPicture | None,
    palette: Palette,
) -> dict[str, Any]:
    """What is drawn: the spectrogram, and for each tag both networks' probabilities as bytes, 0 to 255, with the borders of their cells.

    Without a ``picture`` the spectrogram's place is empty.
    """
    names = {
        index: name
        for side in pair
        for index, name in zip(side.classes.indices, side.classes.names, strict=True)
    }
    levels: np.ndarray = np.zeros((1, 1))
    if picture is not None:
        loudest = int(picture.levels.max())
        levels = (picture.levels.astype(np.int16) - loudest + DYNAMIC_RANGE_DB) * (255 / DYNAMIC_RANGE_DB)
    return {
        "duration": duration_s,
        "tags": [
            {"name": names[index], "change": change, "label": names[index] + _NOTES.get(change, "")}
            for index, change in tags
        ],
        "networks": [
            {"title": title, "color": color, **_cells(timeline, [index for index, _ in tags])}
            for timeline, title, color in zip(pair, titles, (palette.baseline, palette.pruned), strict=True)
        ],
        "spectrogram": {
            "bands": levels.shape[0],
            "levels": _packed(np.clip(levels, 0, 255).astype(np.uint8)),
        },
        "colors": {
            "ink": palette.ink,
            "quiet": palette.quiet,
            "hairline": palette.hairline,
            "band": palette.band,
            "page": palette.ramp[0],
            "ramp": list(palette.ramp),
        },
    }


def differences_data(
    differences: Sequence[Difference], tags: Sequence[tuple[int, str]]
) -> list[dict[str, Any]]:
    """The list of what differs most, each with the number of its tag's row; None where that is not drawn."""
    drawn = [index for index, _ in tags]
    return [
        {
            "start": difference.start_s,
            "end": difference.end_s,
            "tag": drawn.index(difference.index) if difference.index in drawn else None,
            "text": difference_text(difference),
        }
        for difference in differences
    ]


def difference_text(difference: Difference) -> str:
    """'−0.41 at 12.3 s, Siren'."""
    return f"{formats.signed(difference.value)} at {clock(difference.middle_s)}, {difference.name}"


def events_data(events: tuple[Sequence[Event], Sequence[Event]]) -> list[dict[str, Any]]:
    """Both networks' events in the order of their onsets, at most ``MOST_EVENTS``; ``network`` is 0 or 1."""
    both = [(event, side) for side, listed in enumerate(events) for event in listed]
    both.sort(key=lambda each: (each[0].onset_s, each[0].name, each[1]))
    return [
        {
            "start": event.onset_s,
            "end": event.offset_s,
            "span": f"{clock(event.onset_s)} – {clock(event.offset_s)}",
            "name": event.name,
            "network": side,
            "probability": formats.probability(event.probability),
        }
        for event, side in both[:MOST_EVENTS]
    ]


def clock(seconds: float) -> str:
    """A time in a recording: 12.34 -> '12.3 s', 83.2 -> '1:23.2', 3725 -> '1:02:05.0'.

    Examples
    --------
    >>> clock(59.96), clock(83.2), clock(3725)
    ('1:00.0', '1:23.2', '1:02:05.0')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    if minutes == 0:
        return f"{rest / 10:.1f}{formats.NBSP}s"
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{rest / 10:04.1f}"


def timeline_alt(titles: tuple[str, str], tags: Sequence[dict[str, Any]], duration_s: float) -> str:
    """The same drawing in words, for screen readers."""
    listed = ", ".join(tag["name"] for tag in tags)
    return (
        f"Probabilities over {formats.seconds(duration_s)}, {titles[0]} above {titles[1]}: {listed}. "
        "Arrow keys move in time, space plays, plus and minus zoom."
    )


def _cells(timeline: Timeline, indices: Sequence[int]) -> dict[str, Any]:
    """The rows of some classes, (classes, cells) bytes, pooled by their maximum where there are too many, and the cells' borders."""
    edges = timeline.edges_s
    values = np.zeros((len(indices), len(timeline.probabilities)), np.float32)
    for row, index in enumerate(indices):
        if index in timeline.classes.indices:
            values[row] = timeline.probabilities[:, timeline.classes.indices.index(index)]
    count = values.shape[1]
    if count > MAX_CELLS:
        starts = np.linspace(0, count, MAX_CELLS, endpoint=False).astype(np.int64)  # as in max_pool
        values, edges = max_pool(values, MAX_CELLS), np.append(edges[starts], edges[-1])
    known = [index in timeline.classes.indices for index in indices]
    return {
        "edges": _packed(edges.astype(np.float32)),
        "cells": _packed(np.rint(values * 255).astype(np.uint8)),
        "known": known,
    }


def _packed(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
