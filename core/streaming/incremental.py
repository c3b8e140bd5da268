"""CNN14 on sound that goes on: every step computes the columns that are new, and those at both ends of the window."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from core.models.cnn import LAYERS, Cnn14, ends_block
from core.models.folding import band_normalization
from core.models.frontend import LogMel
from core.models.spectrum import power_spectrum
from core.streaming.columns import EDGE_FRAMES, Array, Edge, LayerStream, Run, Step

GRID_FRAMES = 32
"""Frames that five poolings average to one column of C12."""

GRID_SAMPLES = 320 * GRID_FRAMES

LEAST_SAMPLES = 81_472 + GRID_SAMPLES
"""The shortest window. Its edge at C12 needs 254 frames that are final, the last of which ends after 320 x 253 + 512 samples; and it may begin up to
a step of the grid later than it was requested."""


class IncrementalCnn14:
    """The probabilities of windows of a recording that all end where it ends now, and begin on the grid.

    Parameters
    ----------
    model : Cnn14
        At 32 kHz.
    layers : sequence of Run
        C1 to C12.
    starts : iterator of int
        The windows' first frames, ascending, multiples of ``GRID_FRAMES`` above 0. The recording's own start is a window's as it is.
    """

    def __init__(self, model: Cnn14, layers: Sequence[Run], starts: Iterator[int]) -> None:
        front_end = model.front_end
        assert isinstance(front_end, LogMel)
        self._model, self._front_end, self._starts = model, front_end, starts
        self._scale, self._shift = band_normalization(model)
        self._layers: list[LayerStream] = []
        frames, edge = 1, EDGE_FRAMES
        for name, run in zip(LAYERS, layers, strict=True):
            pooled = ends_block(name) and name != LAYERS[-1]
            self._layers.append(LayerStream(run, pooled, frames, edge))
            frames, edge = (2 * frames, -(-(edge + 1) // 2)) if pooled else (frames, edge + 1)
        self._waveform = np.zeros(0, np.float32)  # the end of what was received, from sample ``_first`` on
        self._first = self._received = 0
        self._frames = 0  # final frames
        self._awaited = next(starts)
        self._edges: deque[Edge] = deque()  # C12's, (planes, columns)
        self._columns = np.zeros((0, 0), np.float32)  # C12's final means over the bands, (planes, columns)
        self._column = 0  # the number of the first of them

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps."""
        arrays = (self._waveform, self._columns, *(edge.columns for edge in self._edges))
        return sum(layer.nbytes for layer in self._layers) + sum(array.nbytes for array in arrays)

    def advance(self, samples: Array, start: int) -> Array:
        """Add samples; the probabilities of all from frame ``start`` on, (classes,)."""
        with torch.inference_mode():
            step = self._log_mel(samples)
            for layer in self._layers:
                step = layer.advance(step)
            pooled = self._pooled(step, start // GRID_FRAMES)
            return torch.sigmoid(self._model.classify(self._model.embed(pooled)))[0].numpy()

    def _log_mel(self, samples: Array) -> Step:
        """The normalised frames that are new, (1, frames, mel_bins)."""
        hop, half = self._front_end.front_end.hop, self._front_end.front_end.n_fft // 2
        self._waveform = np.concatenate([self._waveform, samples])
        self._received += len(samples)
        begin = hop * self._frames - half - self._first
        new = self._waveform[max(0, begin) :]
        if begin < 0:
            new = np.concatenate([self._waveform[half:0:-1], new])
        columns = self._decibels(np.concatenate([new, new[-2 : -2 - half : -1]]))
        self._frames = (self._received - half) // hop + 1
        edges = []
        while self._awaited + EDGE_FRAMES + 2 <= self._frames:
            first = hop * self._awaited - self._first
            window = self._waveform[first : first + hop * (EDGE_FRAMES - 1) + half]
            edges.append(Edge(self._awaited, self._decibels(np.concatenate([window[half:0:-1], window]))))
            self._awaited = next(self._starts)
        first = max(0, hop * min(self._frames, self._awaited) - half)
        self._waveform, self._first = self._waveform[first - self._first :], first
        return Step(columns, self._frames, edges, self._awaited)

    def _decibels(self, waveform: Array) -> Array:
        """Normalised log-mel (1, frames, mel_bins) of a waveform whose first frame begins with its first sample."""
        module, settings = self._front_end, self._front_end.front_end
        power = power_spectrum(
            torch.from_numpy(waveform)[None], module.window, settings.n_fft, settings.hop, centered=False
        )
        return module.decibels(power.transpose(1, 2))[0].numpy() * self._scale + self._shift

    def _pooled(self, step: Step, start: int) -> torch.Tensor:
        """C12's maps of the window from column ``start`` on as ``embed`` takes them, (1, planes, columns)."""
        self._edges.extend(step.edges)
        while self._edges and self._edges[0].start < GRID_FRAMES * start:
            self._edges.popleft()
        columns = (
            np.concatenate([self._columns, step.columns], axis=1) if self._columns.size else step.columns
        )
        parts = [columns[:, start - self._column :]]
        if start:
            edge = self._edges[0].columns
            parts = [edge, parts[0][:, edge.shape[1] :]]
        self._columns = columns[:, start - self._column : step.final - self._column].copy()
        self._column = start
        return torch.from_numpy(np.concatenate(parts, axis=1))[None]
