"""One convolution of CNN14 with its batch norm, ReLU and pooling, as the kernels run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.models.cnn import LAYERS, Cnn14, ends_block
from core.models.folding import folded_bias, norm_scale, plain
from core.runtime.memory import set_aside
from core.runtime.winograd.algorithms import Algorithm
from core.runtime.winograd.maps import Array, Workspace, aligned, close
from core.runtime.winograd.native import Native

_STRIP = 2304
"""Tiles x points of a strip of time: 64 tiles of 36. What of them a product needs at once stays in a level-2 cache."""

_FEWEST = 28
"""Tiles for which reading all weights is worth it; a strip with fewer is none, and threads take a panel of filters each instead."""


def padded(count: int, to: int) -> int:
    """The next multiple."""
    return -(-count // to) * to


def together(threads: int, task: Callable[[int], None]) -> None:
    """Call ``task`` with 0 … threads - 1 at once, the first of them here."""
    others = [_pool(threads).submit(task, number) for number in range(1, threads)]
    task(0)
    for other in others:
        other.result()


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, threads - 1), thread_name_prefix="winograd")


class FirstLayer:
    """C1, which hears one map."""

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
        heard = space.array("heard", frames + 2, bands + 2)
        heard[0] = heard[-1] = 0
        heard[:, 0] = heard[:, -1] = 0
        heard[1:-1, 1:-1] = logmel
        maps = space.maps(name, self.chunks, frames, bands, lanes, frames)
        counter = np.zeros(1, np.int64)
        each = max(1, min(16, -(-frames // (4 * self._threads))))
        places: list[npt.NDArray[Any]] = [heard, self._weights, self._bias, maps[0, 1, 1], counter]
        numbers = [heard.strides[0], *maps.strides[:2], frames, bands, self.chunks, each]
        together(self._threads, lambda _: self._native.first(*_addresses(places), *numbers))
        close(maps, frames)
        return maps


class Layer:
    """C2 to C12.

    Parameters
    ----------
    time, bands : how it is convolved along either axis.
    """

    def __init__(
        self, native: Native, model: Cnn14, layer: str, ways: tuple[Algorithm, Algorithm], threads: int
    ) -> None:
        self.name, self.time, self.bands = layer, *ways
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
        for tap in range(self.time.taps):  # channels that fill a chunk up
            self._weights[:, :, tap * rows + channels : (tap + 1) * rows] = 0
        self._prepare(model, layer, filters, channels)
        set_aside(model.convolution(layer))
        self.nbytes = self._weights.nbytes + self._bias.nbytes

    def _prepare(self, model: Cnn14, layer: str, filters: int, channels: int) -> None:
        weight, scale = plain(model.convolution(layer).weight), norm_scale(model, layer)
        prepare = self._native.kernel("prepare", self.time, self.bands)
        width = self._native.shape.filters
        full = filters // width
        numbers = [channels, *self._weights.strides[:2], self._in_chunks * self._native.shape.lanes]
        parts = [(weight, scale, self._weights, full)] if full else []
        if filters > full * width:  # the last panel has filters that there are not
            rest = np.zeros((width, channels, 3, 3), np.float32), np.zeros(width, np.float32)
            for mine, given in zip(rest, (weight, scale), strict=True):
                mine[: filters - full * width] = given[full * width :]
            parts.append((*rest, self._weights[full:], 1))
        for given, factors, target, panels in parts:
            factor, counter = aligned(panels * width), np.zeros(1, np.int64)
            factor[:] = factors[: panels * width]
            places: list[npt.NDArray[Any]] = [given, factor, target, counter]
            together(
                self._threads,
                lambda _, p=places, n=panels: prepare(*_addresses(p), *numbers, n),  # type: ignore[misc]
            )

    def run(
        self, maps: Array, frames: int, bands: int, space: Workspace, name: str
    ) -> tuple[Array, int, int]:
        """Its maps of maps, and how many frames and bands they have."""
        shape, t = self._native.shape, self.time
        rows, columns = -(-frames // t.outputs), bands // self.bands.outputs
        size = (frames // 2, bands // 2) if self.pooled else (frames, bands)
        written = rows * t.outputs // 2 if self.pooled else rows * t.outputs
        made = space.maps(name, self._out_chunks, *size, shape.lanes, max(written, 1))
        target = made[0, 1:2, 1]
        each = self._strip(rows, columns)
        counter = np.zeros(2, np.int64)
        if each is None:
            heard = rows + t.taps - 1
            points = space.array("points", self._points, self._in_chunks, heard * columns, shape.lanes)
            spread, panels = (
                self._native.kernel(of, t, self.bands, pooled)
                for of, pooled in (("spread", False), ("panels", self.pooled))
            )
            chunks = max(1, self._in_chunks // (4 * self._threads))
            places: list[npt.NDArray[Any]] = [maps, points, counter[0:]]
            numbers = [*maps.strides[:2], *points.strides[:2], heard, columns, self._in_chunks, chunks]
            together(self._threads, lambda _: spread(*_addresses(places), *numbers))

            def panel(thread: int) -> None:
                sums = space.array(f"sums {thread}", self._points, shape.vectors, rows * columns, shape.lanes)
                places: list[npt.NDArray[Any]] = [
                    points,
                    self._weights,
                    self._bias,
                    target,
                    sums,
                    counter[1:],
                ]
                numbers = [
                    *points.strides[:2],
                    self._in_chunks,
                    *self._weights.strides[:2],
                    *sums.strides[:2],
                ]
                panels(*_addresses(places), *numbers, *made.strides[:2], rows, columns, self._out_chunks)

            together(self._threads, panel)
        else:
            strips = self._native.kernel("strips", t, self.bands, self.pooled)
            panels_ = self._weights.shape[0]

            def strip(thread: int) -> None:
                heard = (each + t.taps - 1) * columns
                points = space.array(f"points {thread}", self._points, self._in_chunks, heard, shape.lanes)
                sums = space.array(
                    f"sums {thread}", self._points, panels_ * shape.vectors, each * columns, shape.lanes
                )
                places: list[npt.NDArray[Any]] = [
                    maps,
                    self._weights,
                    self._bias,
                    target,
                    points,
                    sums,
                    counter,
                ]
                numbers = [
                    *maps.strides[:2],
                    *points.strides[:2],
                    self._in_chunks,
                    *self._weights.strides[:2],
                ]
                last = [*sums.strides[:2], *made.strides[:2], rows, columns, self._out_chunks, each]
                strips(*_addresses(places), *numbers, *last)

            together(self._threads, strip)
        close(made, size[0])
        return made, *size

    def _strip(self, rows: int, columns: int) -> int | None:
        """Rows of tiles a strip, or None where a thread had better take a panel of filters than a strip of time."""
        each = min(max(1, _STRIP // (self._points * columns)), -(-rows // self._threads))
        return padded(each, 2) if each * columns >= _FEWEST else None


def _bias(model: Cnn14, layer: str, filters: int) -> Array:
    bias = aligned(filters)
    bias[:] = 0
    found = folded_bias(model, layer)
    bias[: len(found)] = found
    return bias


def _addresses(arrays: Sequence[npt.NDArray[Any]]) -> list[int]:
    return [array.ctypes.data for array in arrays]
