"""One convolution of CNN14 with its batch norm, ReLU and pooling, on the kernels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.models.cnn import LAYERS, Cnn14, ends_block
from core.models.folding import folded_bias, norm_scale, plain
from core.runtime.memory import page_out_array, page_out_weights
from core.runtime.winograd.algorithms import Algorithm
from core.runtime.winograd.maps import Array, Workspace, aligned, close
from core.runtime.winograd.native import Native

_STRIP = 2304
"""Tiles x points of a strip of time: 64 tiles of 36. What a product needs of them at once fits a level-2 cache."""

_PREPARED_BYTES = 16 * 2**20
"""Weights that are read at a time while they are rearranged, and then paged out: of C12 in one piece they are 151 MB."""

_FEWEST = 28
"""The fewest tiles of a strip for which reading all weights pays; where there are fewer, a thread's task is a panel of filters."""


def padded(count: int, to: int) -> int:
    """The least multiple of ``to`` that is not less than ``count``."""
    return -(-count // to) * to


def together(threads: int, task: Callable[[int], None]) -> None:
    """Call ``task`` with 0 … threads - 1 in parallel, with 0 in the calling thread."""
    others = [_pool(threads).submit(task, number) for number in range(1, threads)]
    task(0)
    for other in others:
        other.result()


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="winograd")


class FirstLayer:
    """C1, whose input is one map."""

    def __init__(self, native: Native, model: Cnn14, threads: int) -> None:
        lanes = native.shape.lanes
        weight = plain(model.convolution("C1").weight) * norm_scale(model, "C1")[:, None, None, None]
        filters = weight.shape[0]
        self.chunks = padded(filters, lanes) // lanes
        self._native, self._threads = native, threads
        full = np.zeros((self.chunks * lanes, 9), np.float32)
        full[:filters] = weight.reshape(filters, 9)
        self._weights = aligned(self.chunks, 9, lanes)
        self._weights[:] = full.reshape(self.chunks, lanes, 9).transpose(0, 2, 1)
        self._bias = _bias(model, "C1", self.chunks * lanes)
        self.nbytes = self._weights.nbytes + self._bias.nbytes

    def run(self, logmel: Array, space: Workspace, name: str) -> Array:
        """Maps of a normalised log-mel (frames, mel_bins)."""
        frames, bands = logmel.shape
        lanes = self._native.shape.lanes
        bordered = space.array("bordered", frames + 2, bands + 2)
        bordered[0] = bordered[-1] = 0
        bordered[:, 0] = bordered[:, -1] = 0
        bordered[1:-1, 1:-1] = logmel
        maps = space.maps(name, self.chunks, frames, bands, lanes, rows=frames)
        values = {
            **{
                "x": bordered,
                "w": self._weights,
                "s": self._bias,
                "y": maps[0, 1:2, 1],
                "counter": _counter(),
            },
            **{"x_frame": bordered.strides[0], "y_chunk": maps.strides[0], "y_frame": maps.strides[1]},
            **{"frames": frames, "columns": bands, "chunks": self.chunks},
            "per_task": max(1, min(16, -(-frames // (4 * self._threads)))),
        }
        together(self._threads, lambda _: self._native.first(values))
        close(maps, frames)
        return maps


class Layer:
    """C2 to C12.

    Parameters
    ----------
    time, bands : the algorithms along the two axes.
    """

    def __init__(
        self, native: Native, model: Cnn14, layer: str, algorithms: tuple[Algorithm, Algorithm], threads: int
    ) -> None:
        self.name, self.time, self.bands = layer, *algorithms
        self.pooled = ends_block(layer) and layer != LAYERS[-1]
        self._native, self._threads = native, threads
        shape = native.shape
        filters, channels = model.convolution(layer).weight.shape[:2]
        self._in_chunks, self._out_chunks = (
            padded(count, shape.lanes) // shape.lanes for count in (channels, filters)
        )
        panels, self._points = (
            padded(filters, shape.filters) // shape.filters,
            self.time.points * self.bands.points,
        )
        self._bias = _bias(model, layer, panels * shape.filters)
        rows = self._in_chunks * shape.lanes
        self._weights = aligned(panels, self._points, self.time.taps * rows, shape.filters)
        for tap in range(self.time.taps):  # channels that fill up a chunk
            self._weights[:, :, tap * rows + channels : (tap + 1) * rows] = 0
        self._prepare(model, layer, filters, channels)
        page_out_weights(model.convolution(layer))
        self.nbytes = self._weights.nbytes + self._bias.nbytes

    def _prepare(self, model: Cnn14, layer: str, filters: int, channels: int) -> None:
        weight, scale = plain(model.convolution(layer).weight), norm_scale(model, layer)
        prepare = self._native.kernel("prepare", self.time, self.bands)
        width = self._native.shape.filters
        full = filters // width
        step = max(1, _PREPARED_BYTES // weight[:width].nbytes)
        parts = []
        for first in range(0, full, step):
            rows = slice(first * width, min(full, first + step) * width)
            count = (rows.stop - rows.start) // width
            parts.append((weight[rows], scale[rows], self._weights[first:], count))
        if filters > full * width:  # the last panel is not full
            rest = np.zeros((width, channels, 3, 3), np.float32), np.zeros(width, np.float32)
            for filled, short in zip(rest, (weight, scale), strict=True):
                filled[: filters - full * width] = short[full * width :]
            parts.append((*rest, self._weights[full:], 1))
        for kernels, factors, target, panels in parts:
            factor = aligned(panels * width)
            factor[:] = factors[: panels * width]
            values = {
                **{"g": kernels, "f": factor, "w": target, "counter": _counter()},
                **_strides("w", target, "panel", "point"),
                **{"channels": channels, "panels": panels},
                "w_channels": self._in_chunks * self._native.shape.lanes,
            }
            together(self._threads, lambda _, values=values: prepare(values))  # type: ignore[misc]
            page_out_array(kernels)

    def run(
        self, maps: Array, frames: int, bands: int, space: Workspace, name: str
    ) -> tuple[Array, int, int]:
        """Its output maps of input ``maps``, with their number of frames and bands."""
        shape, t = self._native.shape, self.time
        rows, columns = -(-frames // t.outputs), bands // self.bands.outputs
        size = (frames // 2, bands // 2) if self.pooled else (frames, bands)
        written = rows * t.outputs // 2 if self.pooled else rows * t.outputs
        output = space.maps(name, self._out_chunks, *size, shape.lanes, rows=max(written, 1))
        values = {
            **{"x": maps, "w": self._weights, "s": self._bias, "y": output[0, 1:2, 1]},
            **_strides("x", maps, "chunk", "frame"),
            **_strides("w", self._weights, "panel", "point"),
            **_strides("y", output, "chunk", "frame"),
            **{
                "rows": rows,
                "columns": columns,
                "in_chunks": self._in_chunks,
                "out_chunks": self._out_chunks,
            },
        }
        strip_rows = self._strip(rows, columns)
        if strip_rows is None:
            self._in_panels(values, rows, columns, space)
        else:
            self._in_strips(values, strip_rows, columns, space)
        close(output, size[0])
        return output, *size

    def _in_strips(self, values: dict[str, Any], strip_rows: int, columns: int, space: Workspace) -> None:
        strips = self._native.kernel("strips", self.time, self.bands, self.pooled)
        values |= {"per_task": strip_rows, "counter": _counter()}
        filled = self._weights.shape[0] * self._native.shape.vectors

        def strip(thread: int) -> None:
            points = self._points_of(
                space, f"points {thread}", self._in_chunks, (strip_rows + self.time.taps - 1) * columns
            )
            sums = self._points_of(space, f"sums {thread}", filled, strip_rows * columns)
            own = {
                "v": points,
                "m": sums,
                **_strides("v", points, "point", "chunk"),
                **_strides("m", sums, "point", "chunk"),
            }
            strips(values | own)

        together(self._threads, strip)

    def _in_panels(self, values: dict[str, Any], rows: int, columns: int, space: Workspace) -> None:
        spread = self._native.kernel("spread", self.time, self.bands)
        panels = self._native.kernel("panels", self.time, self.bands, self.pooled)
        rows_in = rows + self.time.taps - 1
        points = self._points_of(space, "points", self._in_chunks, rows_in * columns)
        values |= {"v": points, **_strides("v", points, "point", "chunk")}
        chunks = {"chunks": self._in_chunks, "per_task": max(1, self._in_chunks // (4 * self._threads))}
        first = values | chunks | {"rows": rows_in, "counter": _counter()}
        together(self._threads, lambda _: spread(first))
        values["counter"] = _counter()

        def panel(thread: int) -> None:
            sums = self._points_of(space, f"sums {thread}", self._native.shape.vectors, rows * columns)
            panels(values | {"m": sums, **_strides("m", sums, "point", "chunk")})

        together(self._threads, panel)

    def _points_of(self, space: Workspace, name: str, chunks: int, tiles: int) -> Array:
        return space.array(name, self._points, chunks, tiles, self._native.shape.lanes)

    def _strip(self, rows: int, columns: int) -> int | None:
        """Rows of tiles per strip, or None where a task is better a panel of filters than a strip of time."""
        strip_rows = min(max(1, _STRIP // (self._points * columns)), -(-rows // self._threads))
        return padded(strip_rows, 2) if strip_rows * columns >= _FEWEST else None


def _bias(model: Cnn14, layer: str, filters: int) -> Array:
    bias = aligned(filters)
    bias[:] = 0
    folded = folded_bias(model, layer)
    bias[: len(folded)] = folded
    return bias


def _counter() -> npt.NDArray[np.int64]:
    """The counter from which threads take their tasks."""
    return np.zeros(1, np.int64)


def _strides(letter: str, array: Array, first: str, second: str) -> dict[str, int]:
    """The bytes between neighbours along an array's first two axes, under the names of the kernels' arguments."""
    return {f"{letter}_{first}": array.strides[0], f"{letter}_{second}": array.strides[1]}
