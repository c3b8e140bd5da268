"""The kernels of the Winograd engine, as LLVM's intermediate language.

Feature maps are (chunks, frames + 2 or more, bands + 2, lanes): ``lanes`` channels beside each other make a vector, and a border of zeros
is the convolution's padding. A layer's ``Algorithm`` pair transforms them to (points, chunks, tiles, lanes), a point being a pair of
points, and the weights to (panels, points, taps x channels, vectors x lanes), a panel being the filters of one matrix product.

Exported, for the pairs of algorithms in use: ``prepare`` (weights), ``strips`` (a layer, one strip of time per task, where maps are
large), ``spread`` then ``panels`` (a layer, one panel of filters per task, where weights are); and ``first`` (C1). All take their tasks
from a counter, so that any number of threads may call them at once with the same arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from core.runtime.winograd.algorithms import Algorithm
from core.runtime.winograd.emit import Arguments, Emitter, Value
from core.runtime.winograd.product import product
from core.runtime.winograd.signatures import SIGNATURES, Shape, exported
from core.runtime.winograd.transforms import into_points, out_of_points, prepare

_COLUMNS = 4  # bands of C1 at once; its 64 bands are a multiple


@dataclass(frozen=True)
class _Layer:
    """The functions that a layer's kernels consist of."""

    time: Algorithm
    bands: Algorithm
    into: ir.Function
    multiplied: ir.Function
    out: ir.Function


def kernels_text(shape: Shape, pairs: Sequence[tuple[Algorithm, Algorithm, bool]]) -> str:
    """The text of all kernels for (time, bands, pooled) layers."""
    e = Emitter(shape.lanes)
    multiplied = product(e, shape)
    for time, bands in dict.fromkeys((time, bands) for time, bands, _ in pairs):
        prepare(e, shape, time, bands)
        into = into_points(e, time, bands)
        _spread(e, into, exported(time, bands, "spread"))
        for pooled in sorted(pooled for *pair, pooled in pairs if pair == [time, bands]):
            layer = _Layer(time, bands, into, multiplied, out_of_points(e, time, bands, pooled))
            _strips(e, shape, layer, exported(time, bands, "strips", pooled))
            _panels(e, shape, layer, exported(time, bands, "panels", pooled))
    _first(e)
    return str(e.module)


def _spread(e: Emitter, into: ir.Function, called: str) -> None:
    """``into`` for all rows; a task is ``per_task`` chunks."""
    with e.kernel(called, SIGNATURES["spread"]) as (_, g):

        def task(i: Value) -> None:
            first = e.times(i, g["per_task"])
            chunks = e.least(e.builder.sub(g["chunks"], first), g["per_task"])
            _into(e, into, g, row=e.number(0), rows=g["rows"], chunk=first, chunks=chunks)

        e.queue(g["counter"], e.parts(g["chunks"], g["per_task"]), task)


def _panels(e: Emitter, shape: Shape, layer: _Layer, called: str) -> None:
    """Maps of points; a task is a panel of filters, for which ``m`` has room."""
    with e.kernel(called, SIGNATURES["panels"]) as (_, g):

        def task(j: Value) -> None:
            _multiply(e, layer, g, g["rows"], panel=j, panels=e.number(1))
            first = e.times(j, shape.vectors)
            chunks = e.least(e.builder.sub(g["out_chunks"], first), e.number(shape.vectors))
            _out(e, layer, g, row=e.number(0), rows=g["rows"], chunk=first, chunks=chunks)

        e.queue(g["counter"], e.parts(g["out_chunks"], shape.vectors), task)


def _strips(e: Emitter, shape: Shape, layer: _Layer, called: str) -> None:
    """Maps of maps; a task is ``per_task`` rows of tiles, an even number, for which ``v`` and ``m`` have room."""
    with e.kernel(called, SIGNATURES["strips"]) as (_, g):
        panels = e.parts(g["out_chunks"], shape.vectors)

        def task(i: Value) -> None:
            row = e.times(i, g["per_task"])
            rows = e.least(e.builder.sub(g["rows"], row), g["per_task"])
            _into(
                e,
                layer.into,
                g,
                row=row,
                rows=e.plus(rows, layer.time.taps - 1),
                chunk=e.number(0),
                chunks=g["in_chunks"],
            )
            _multiply(e, layer, g, rows, panel=e.number(0), panels=panels)
            _out(e, layer, g, row=row, rows=rows, chunk=e.number(0), chunks=g["out_chunks"])

        e.queue(g["counter"], e.parts(g["rows"], g["per_task"]), task)


def _into(
    e: Emitter, into: ir.Function, g: Arguments, *, row: Value, rows: Value, chunk: Value, chunks: Value
) -> None:
    strides = [g[key] for key in ("x_chunk", "x_frame", "v_point", "v_chunk")]
    e.builder.call(into, [g["x"], g["v"], *strides, row, rows, g["columns"], chunk, chunks])


def _multiply(e: Emitter, layer: _Layer, g: Arguments, rows: Value, *, panel: Value, panels: Value) -> None:
    tap, taps = e.times(g["columns"], e.bytes), e.number(layer.time.taps)
    from_ = [g["v_point"], g["v_chunk"], tap, taps, g["in_chunks"], g["w_panel"], g["w_point"]]
    tiles, points = e.times(rows, g["columns"]), e.number(layer.time.points * layer.bands.points)
    to = [g["m_point"], g["m_chunk"], tiles, points, panel, panels]
    e.builder.call(layer.multiplied, [g["v"], g["w"], g["m"], *from_, *to])


def _out(
    e: Emitter, layer: _Layer, g: Arguments, *, row: Value, rows: Value, chunk: Value, chunks: Value
) -> None:
    """``chunk`` is that of the maps; the sums begin with the first one."""
    strides = [g[key] for key in ("m_point", "m_chunk", "y_chunk", "y_frame")]
    e.builder.call(layer.out, [g["m"], g["s"], g["y"], *strides, row, rows, g["columns"], chunk, chunks])


def _first(e: Emitter) -> None:
    """C1: maps y = ReLU(3 x 3 of one map x (frames + 2, bands + 2 or more) + bias); a task is ``per_task`` frames.

    Weights w are (chunks, 9, lanes). With nine products per value, no transformation pays.
    """
    with e.kernel("first", SIGNATURES["first"]) as (_, g):
        b = e.builder

        def task(i: Value) -> None:
            first = e.times(i, g["per_task"])

            def frame(j: Value, _: list[Value]) -> None:
                at = e.plus(first, j)
                x, y = e.at(g["x"], at, g["x_frame"]), e.at(g["y"], at, g["y_frame"])

                def chunk(c: Value, _: list[Value]) -> None:
                    weights = e.at(g["w"], c, 9 * e.bytes)
                    taps = [e.load(weights, tap * e.bytes) for tap in range(9)]
                    bias, maps = e.load(e.at(g["s"], c, e.bytes)), e.at(y, c, g["y_chunk"])

                    def columns(k: Value, _: list[Value]) -> None:
                        window, sums = e.at(x, k, 4 * _COLUMNS), [bias] * _COLUMNS
                        for row in range(3):
                            line = e.at(window, g["x_frame"], row)
                            values = [e.spread(e.single(line, 4 * band)) for band in range(_COLUMNS + 2)]
                            for column in range(_COLUMNS):
                                for tap in range(3):
                                    product = (values[column + tap], taps[3 * row + tap], sums[column])
                                    sums[column] = e.multiply_add(*product)
                        for column, value in enumerate(sums):
                            e.store(e.positive(value), e.at(maps, k, _COLUMNS * e.bytes), column * e.bytes)

                    e.loop(b.sdiv(g["columns"], e.number(_COLUMNS)), columns)

                e.loop(g["chunks"], chunk)

            e.loop(e.least(b.sub(g["frames"], first), g["per_task"]), frame)

        e.queue(g["counter"], e.parts(g["frames"], g["per_task"]), task)
