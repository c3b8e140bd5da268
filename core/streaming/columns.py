"""One convolution of CNN14 on feature maps that arrive a few columns (frames, or the means of 2, 4 … 32 of them) at a time.

A column is final once no later sound can change it. At the end of what has been received the front end reflects the waveform and each
convolution sees zeros, so that the last columns are provisional: they are computed at every step, and again at the next. At its start a
window differs in the same way from the sound in the middle of a recording: the front end reflects there, too, which changes two frames, a
3 x 3 convolution carries a difference one column further, and pooling halves their number. So 2 frames differ, 3 columns of C1, 4 of C2, 2 of
those pooled, 3, 4, 2 and so on, and 4 of C12: these are the ``Edge`` of a window. Everything between both ends is the same for all windows
that begin on the grid of C12's columns, 32 frames or 0.32 s apart.

The columns of an edge and those that are new go through a layer side by side, so that its weights are read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
"""Feature maps, (planes, columns, …): what is before and after the columns depends on what runs the layers."""

Run = Callable[[Sequence[Array]], Array]
"""Runs a layer on columns, given in parts that follow each other, with zeros before and after them; pools them from the first column on. What it
returns is overwritten when any layer runs next."""

EDGE_FRAMES = 2
"""Frames at a window's start that reflection changes: those whose 1024 samples around a multiple of 320 begin before the window."""

_REACH = 2
"""Input columns after an edge's that its output needs: an edge grows by a column, and that one's neighbour counts too."""


class Edge(NamedTuple):
    """The first columns of a window that begins at frame ``start``, as far as they are not those of the whole recording there."""

    start: int
    columns: Array


class Step(NamedTuple):
    """What a step adds to the columns between two layers.

    Attributes
    ----------
    columns : all columns from the first that was not final before.
    final : how many of the recording's columns are final now.
    edges : of windows that begin later than those of the steps before.
    awaited : where the next window begins of which there is no edge yet, in frames.
    """

    columns: Array
    final: int
    edges: list[Edge]
    awaited: int


class LayerStream:
    """One layer's input columns, as far as its next output needs them.

    Parameters
    ----------
    run : Run
    pooled : bool
        Whether the layer pools its output by two.
    frames : int
        Frames that an input column is made of.
    edge : int
        Input columns of an edge.
    """

    def __init__(self, run: Run, pooled: bool, frames: int, edge: int) -> None:
        self._run, self._pool, self._frames, self._edge = run, 2 if pooled else 1, frames, edge
        self._pieces: list[
            Array
        ] = []  # between two steps one, of final input columns from number ``_first`` on
        self._first = 0
        self._outputs = 0  # final output columns
        self._edges: deque[Edge] = deque()

    @property
    def nbytes(self) -> int:
        """Bytes of the columns that it keeps."""
        return sum(array.nbytes for array in (*self._pieces, *(edge.columns for edge in self._edges)))

    def advance(self, step: Step) -> Step:
        """The layer's output of a step."""
        pool, final = self._pool, step.final
        self._pieces.append(step.columns)
        self._edges.extend(step.edges)
        parts: list[Array] = []
        ready: list[tuple[int, int]] = []  # an edge's start, and its place in the output
        width = self._edge + _REACH
        filling = pool - width % pool or pool  # zeros, so that what follows begins on a pair
        while self._edges and self._behind(self._edges[0].start) + _REACH <= final:
            edge = self._edges.popleft()
            inner = self._behind(edge.start)
            parts += [
                edge.columns,
                *self._cut(inner, inner + _REACH),
                np.zeros_like(edge.columns[:, :filling]),
            ]
            ready.append((edge.start, len(ready) * (width + filling) // pool))
        begin = self._begin()
        parts += self._cut(begin)
        new = len(ready) * (width + filling) // pool + self._outputs - begin // pool
        self._outputs = max(0, final - 1) // pool
        awaited = self._edges[0].start if self._edges else step.awaited
        first = min(self._begin(), self._behind(awaited))
        kept = self._cut(first, final)
        kept = [np.concatenate(kept, axis=1)] if kept else []  # before what ``step`` has is overwritten
        output = self._run(parts)
        self._pieces, self._first = kept, first
        grown = -(-(self._edge + 1) // pool)
        edges = [Edge(start, output[:, place : place + grown].copy()) for start, place in ready]
        return Step(output[:, new:], self._outputs, edges, awaited)

    def _cut(self, begin: int, end: int | None = None) -> list[Array]:
        """Input columns from ``begin`` to ``end``, in pieces."""
        pieces, first = [], self._first
        for piece in self._pieces:
            last = first + piece.shape[1]
            if begin < last and (end is None or end > first):
                pieces.append(piece[:, max(0, begin - first) : None if end is None else end - first])
            first = last
        return pieces

    def _begin(self) -> int:
        """The first input column that the first output column that is not final depends on."""
        return max(0, self._pool * (self._outputs - 1))

    def _behind(self, start: int) -> int:
        """The first input column after the edge of a window."""
        return start // self._frames + self._edge
