"""Tags over time: a network's probabilities for one stretch of a recording after the other, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from core.audio import SAMPLE_RATE, Clip
from core.classes import ClassSet
from core.errors import ModelError
from core.models.decision_level import SEGMENT_SAMPLES, DecisionLevelMax
from core.runtime.memory import trim_heap
from core.tagging import Tagger
from core.windows import WINDOW_SECONDS, Interface, fitted, least_samples

Samples: TypeAlias = npt.NDArray[np.float32]

MOST_OVERLAP = 0.9

_CONTEXT = 5
"""Segments on either side of a part of a long recording that are computed and not used. A segment depends on so many: two convolutions in each
block, the last of which see two segments to either side, those before them half as much, and so on, and the pooling over three at the end."""

_PART = int(WINDOW_SECONDS * SAMPLE_RATE) // SEGMENT_SAMPLES - 2 * _CONTEXT
"""Segments of a recording that a framewise network computes in one pass."""

_TRIM_SAMPLES = 30 * SAMPLE_RATE


class Row(NamedTuple):
    """One stretch of a recording in seconds, and every class's probability there, (classes,) float32."""

    start_s: float
    end_s: float
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TimelineSettings:
    """How a network without framewise output runs over time.

    Attributes
    ----------
    window_s : float
        Seconds of every window.
    overlap : float
        Share of a window that the next one has too.
    """

    window_s: float = 2.0
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise ModelError(
                f"Windows overlap by a share from 0 to {MOST_OVERLAP}; got {self.overlap:g}. Give 0.5 for half."
            )

    def samples(self, entry: Interface) -> tuple[int, int]:
        """A window's length and the next one's distance, in samples at 32 kHz; raises ``ModelError`` where the network cannot take it.

        A network that takes one length alone has windows of that length.

        Examples
        --------
        >>> from core.models.registry import architecture
        >>> TimelineSettings().samples(architecture("cnn14"))
        (64000, 32000)
        """
        least = least_samples(entry)
        length = (
            least
            if entry.window_samples
            else round(self.window_s * SAMPLE_RATE)
            if self.window_s < 1e6
            else 0
        )
        if not least <= length <= WINDOW_SECONDS * SAMPLE_RATE:
            raise ModelError(
                f"Windows of {self.window_s:g} s do not fit {entry.title}; give {least / SAMPLE_RATE:.2f} to {WINDOW_SECONDS:g} s."
            )
        return length, max(1, round(length * (1 - self.overlap)))

    def describe(self, tagger: Tagger) -> dict[str, float]:
        """What they come to for a network, as the JSON has it: seconds of a window, and from one to the next."""
        if isinstance(tagger.network, DecisionLevelMax):
            length = hop = SEGMENT_SAMPLES
        else:
            length, hop = self.samples(tagger.entry)
        return {"window_s": length / SAMPLE_RATE, "hop_s": hop / SAMPLE_RATE}


@dataclass(frozen=True, eq=False)
class Timeline:
    """One network's tags over time.

    Attributes
    ----------
    model : str
    classes : ClassSet
        The classes of the columns.
    edges_s : (rows + 1,) float64
        Row k is from ``edges_s[k]`` to ``edges_s[k + 1]`` seconds.
    probabilities : (rows, classes) float32
    """

    model: str
    classes: ClassSet
    edges_s: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.edges_s.nbytes + self.probabilities.nbytes

    @classmethod
    def of(cls, tagger: Tagger, computed: Iterable[Row]) -> Timeline:
        """Gather rows."""
        edges, probabilities = [0.0], []
        for row in computed:
            edges.append(row.end_s)
            probabilities.append(row.probabilities)
        return cls(tagger.name, tagger.classes, np.array(edges), np.array(probabilities, np.float32))

    def rows(self) -> Iterator[Row]:
        """Its rows, as ``detect`` takes them."""
        for start, end, probabilities in zip(
            self.edges_s, self.edges_s[1:], self.probabilities, strict=False
        ):
            yield Row(float(start), float(end), probabilities)


def timeline(tagger: Tagger, clip: Clip, settings: TimelineSettings | None = None) -> Timeline:
    """A clip's tags over time, see ``rows``.

    Examples
    --------
    >>> from core.examples import example_clip
    >>> from core.tagging import load_tagger
    >>> over_time = timeline(load_tagger("demo-cnn14", runtime="torch"), example_clip("siren"))
    >>> over_time.probabilities.shape, over_time.edges_s[[0, 1, 2, -1]].tolist()
    ((8, 527), [0.0, 1.5, 2.5, 9.0])
    """
    return Timeline.of(tagger, rows(tagger, clip.blocks(), settings or TimelineSettings()))


def rows(tagger: Tagger, blocks: Iterable[Samples], settings: TimelineSettings) -> Iterator[Row]:
    """A recording's tags over time, a row as soon as it is computed. Rows follow each other without gaps from 0 to the recording's end.

    A network with framewise output has a row for each of its segments (0.32 s). Of others the windows are those of ``settings``, with one more at the
    recording's end where they do not reach it, and a window's probabilities are those of the time around its middle: the border between two rows is
    halfway between their windows' middles. A recording shorter than a window is one. ``blocks`` are its samples: ``Clip.blocks``, or those of its first
    pass (``Opening.blocks``), whose end nobody knows.

    Raises
    ------
    ModelError
        The network takes no windows of that length.
    AudioError
        While rows are computed: whatever ``blocks`` raises.
    """
    buffer = _Buffer(blocks)
    starts = (
        _segments(tagger.network, tagger.entry, buffer)
        if isinstance(tagger.network, DecisionLevelMax)
        else _windows(tagger, buffer, *settings.samples(tagger.entry))
    )
    return _between(starts, buffer)


def row_count(tagger: Tagger, clip: Clip, settings: TimelineSettings) -> int:
    """How many rows ``rows`` has."""
    if isinstance(tagger.network, DecisionLevelMax):
        return max(1, clip.samples // SEGMENT_SAMPLES)
    length, hop = settings.samples(tagger.entry)
    return 1 + max(0, math.ceil((clip.samples - length) / hop))


class _Buffer:
    """A recording's samples while they are read once: those from the last place that was asked for."""

    def __init__(self, blocks: Iterable[Samples]) -> None:
        self._blocks, self._kept, self._start = iter(blocks), np.zeros(0, np.float32), 0

    @property
    def end(self) -> int:
        """Where what has been read ends: the recording's end, once less than was asked for has been given."""
        return self._start + len(self._kept)

    def read(self, start: int, length: int) -> Samples:
        """``length`` samples from ``start`` on, which never descends; fewer at the recording's end."""
        pieces = [self._kept[start - self._start :]]
        held = len(pieces[0])
        while held < length and (block := next(self._blocks, None)) is not None:
            pieces.append(block)
            held += len(block)
        self._kept, self._start = np.concatenate(pieces) if len(pieces) > 1 else pieces[0], start
        return self._kept[:length]


def sliding_windows(blocks: Iterable[Samples], length: int, hop: int) -> Iterator[tuple[int, int, Samples]]:
    """Windows of ``length``, every ``hop``, and one more at the end where they do not reach it: start and end in samples, and the samples.

    Examples
    --------
    >>> [[(start, end) for start, end, _ in sliding_windows([np.zeros(n)], 4, hop)] for n, hop in ((10, 2), (9, 4), (3, 2))]
    [[(0, 4), (2, 6), (4, 8), (6, 10)], [(0, 4), (4, 8), (5, 9)], [(0, 3)]]
    """
    return _sliding(_Buffer(blocks), length, hop)


def _sliding(buffer: _Buffer, length: int, hop: int) -> Iterator[tuple[int, int, Samples]]:
    start, part = 0, buffer.read(0, length)
    yield 0, len(part), part
    while len(part := buffer.read(start, hop + length)) == hop + length:
        start += hop
        yield start, start + length, part[hop:]
    if len(part) > length:
        yield start + len(part) - length, start + len(part), part[-length:]


def _windows(
    tagger: Tagger, buffer: _Buffer, length: int, hop: int
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The first sample and the probabilities of every row of a network that runs on windows."""
    entry, before, used = tagger.entry, 0, 0
    for start, end, part in _sliding(buffer, length, hop):
        probabilities = tagger.engine.probabilities(fitted(part, entry))[0].numpy()
        middle = (start + end) // 2
        yield (before + middle) // 2 if start else 0, probabilities
        before, used = middle, used + end - start
        if used > _TRIM_SAMPLES:
            trim_heap()
            used = 0


def _segments(
    model: DecisionLevelMax, entry: Interface, buffer: _Buffer
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The same of a network with framewise output. Parts of a long clip have context on both sides, so that their borders do not show."""
    for first in itertools.count(0, _PART):
        before = min(first, _CONTEXT)
        wanted = (before + _PART + _CONTEXT) * SEGMENT_SAMPLES
        part = buffer.read((first - before) * SEGMENT_SAMPLES, wanted)
        # Segments from ``first`` on that are complete; a recording shorter than one has one all the same.
        left = max(len(part) // SEGMENT_SAMPLES - before, 1 - first)
        computed = model.segmentwise(fitted(part, entry))[0].numpy()
        for number, probabilities in enumerate(computed[before : before + min(_PART, left)]):
            yield (first + number) * SEGMENT_SAMPLES, probabilities
        trim_heap()
        if len(part) < wanted and left <= _PART:
            return


def _between(starts: Iterator[tuple[int, npt.NDArray[np.float32]]], buffer: _Buffer) -> Iterator[Row]:
    """Rows from where they start: each ends where the next one starts, the last one at the recording's end."""
    start, probabilities = next(starts)
    for following, others in starts:
        yield Row(start / SAMPLE_RATE, following / SAMPLE_RATE, probabilities)
        start, probabilities = following, others
    yield Row(start / SAMPLE_RATE, buffer.end / SAMPLE_RATE, probabilities)
