"""The kernels of the Winograd engine, as LLVM's intermediate language.

Feature maps are (chunks, frames + 2 or more, bands + 2, lanes): ``lanes`` channels beside each other make a vector, and a border of zeros
is the convolution's padding. What a layer's ``Algorithm`` pair makes of them, a point being a pair of points, is (points, chunks, tiles,
lanes); of the weights (panels, points, taps x channels, vectors x lanes): a panel is the filters that one matrix product gives at once.

Exported, for each pair of algorithms as far as it is used: ``prepare`` (weights), ``strips`` (a layer, a strip of time a task, where maps
are large), ``spread`` then ``panels`` (a layer, a panel of filters a task, where weights are); and ``first`` (C1). All take their tasks
from a counter, so that any number of threads may call them at once with the same arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from core.runtime.winograd.algorithms import Algorithm
from core.runtime.winograd.emit import Emitter, Value
from core.runtime.winograd.product import product
from core.runtime.winograd.signatures import SIGNATURES, Shape, exported
from core.runtime.winograd.transforms import into_points, out_of_points, prepare

_COLUMNS = 4  # bands of C1 at once; its 64 bands are a multiple


def written(shape: Shape, pairs: Sequence[tuple[Algorithm, Algorithm, bool]]) -> str:
    """The text of all kernels for (time, bands, pooled) layers."""
    e = Emitter(shape.lanes)
    multiplied = product(e, shape)
    for time, bands in dict.fromkeys((time, bands) for time, bands, _ in pairs):
        prepare(e, shape, time, bands)
        into = into_points(e, time, bands)
        _spread(e, into, exported(time, bands, "spread"))
        for pooled in sorted(pooled for *pair, pooled in pairs if pair == [time, bands]):
            out = out_of_points(e, time, bands, pooled)
            _strips(e, shape, into, multiplied, out, time, bands, exported(time, bands, "strips", pooled))
            _panels(e, shape, multiplied, out, time, bands, exported(time, bands, "panels", pooled))
    _first(e)
    return str(e.module)


def _spread(e: Emitter, into: ir.Function, called: str) -> None:
    """``into`` for all rows; a task is ``each`` chunks."""
    with e.kernel(called, SIGNATURES["spread"]) as (_, g):
        b = e.builder

        def task(i: Value) -> None:
            first = e.times(i, g["each"])
            chunks = e.least(b.sub(g["chunks"], first), g["each"])
            strides = [g[key] for key in ("x_chunk", "x_frame", "v_point", "v_chunk")]
            b.call(into, [g["x"], g["v"], *strides, e.number(0), g["rows"], g["columns"], first, chunks])

        e.queue(g["counter"], b.sdiv(b.sub(e.plus(g["chunks"], g["each"]), e.number(1)), g["each"]), task)


def _panels(
    e: Emitter,
    shape: Shape,
    multiplied: ir.Function,
    out: ir.Function,
    time: Algorithm,
    bands: Algorithm,
    called: str,
) -> None:
    """Maps of points; a task is a panel of filters, for which ``m`` has room."""
    with e.kernel(called, SIGNATURES["panels"]) as (_, g):
        b = e.builder
        tiles = e.times(g["rows"], g["columns"])

        def task(j: Value) -> None:
            sizes = [
                e.times(g["columns"], e.bytes),
                e.number(time.taps),
                g["in_chunks"],
                g["w_panel"],
                g["w_point"],
            ]
            strides = [
                g["m_point"],
                g["m_chunk"],
                tiles,
                e.number(time.points * bands.points),
                j,
                e.number(1),
            ]
            b.call(multiplied, [g["v"], g["w"], g["m"], g["v_point"], g["v_chunk"], *sizes, *strides])
            first = e.times(j, shape.vectors)
            # ``out`` counts o's chunks from the first it is given.
            last = e.least(b.sub(g["out_chunks"], first), e.number(shape.vectors))
            places = [
                g["m_point"],
                g["m_chunk"],
                g["y_chunk"],
                g["y_frame"],
                e.number(0),
                g["rows"],
                g["columns"],
            ]
            b.call(out, [g["m"], g["s"], g["y"], *places, first, last])

        e.queue(
            g["counter"], b.sdiv(e.plus(g["out_chunks"], shape.vectors - 1), e.number(shape.vectors)), task
        )


def _strips(
    e: Emitter,
    shape: Shape,
    into: ir.Function,
    multiplied: ir.Function,
    out: ir.Function,
    time: Algorithm,
    bands: Algorithm,
    called: str,
) -> None:
    """Maps of maps; a task is ``each`` rows of tiles, for which ``v`` and ``m`` have room. Without pooling or with one-frame tiles
    and pooling, ``each`` is even."""
    with e.kernel(called, SIGNATURES["strips"]) as (_, g):
        b = e.builder
        panels = b.sdiv(e.plus(g["out_chunks"], shape.vectors - 1), e.number(shape.vectors))

        def task(i: Value) -> None:
            row = e.times(i, g["each"])
            rows = e.least(b.sub(g["rows"], row), g["each"])
            strides = [g[key] for key in ("x_chunk", "x_frame", "v_point", "v_chunk")]
            heard = e.plus(rows, time.taps - 1)
            b.call(into, [g["x"], g["v"], *strides, row, heard, g["columns"], e.number(0), g["in_chunks"]])
            sizes = [
                e.times(g["columns"], e.bytes),
                e.number(time.taps),
                g["in_chunks"],
                g["w_panel"],
                g["w_point"],
            ]
            tiles, points = e.times(rows, g["columns"]), e.number(time.points * bands.points)
            strides = [g["m_point"], g["m_chunk"], tiles, points, e.number(0), panels]
            b.call(multiplied, [g["v"], g["w"], g["m"], g["v_point"], g["v_chunk"], *sizes, *strides])
            places = [g["m_point"], g["m_chunk"], g["y_chunk"], g["y_frame"], row, rows, g["columns"]]
            b.call(out, [g["m"], g["s"], g["y"], *places, e.number(0), g["out_chunks"]])

        e.queue(g["counter"], b.sdiv(b.sub(e.plus(g["rows"], g["each"]), e.number(1)), g["each"]), task)


def _first(e: Emitter) -> None:
    """C1: maps y = ReLU(3 x 3 of one map x (frames + 2, bands + 2 or more) + bias); a task is ``each`` frames.

    Weights w are (chunks, 9, lanes). Nine products a value are too few for any transformation to pay.
    """
    with e.kernel("first", SIGNATURES["first"]) as (_, g):
        b = e.builder

        def task(i: Value) -> None:
            first = e.times(i, g["each"])

            def frame(j: Value, _: list[Value]) -> None:
                at = e.plus(first, j)
                x, y = e.at(g["x"], at, g["x_frame"]), e.at(g["y"], at, g["y_frame"])

                def chunk(c: Value, _: list[Value]) -> None:
                    weights = e.at(g["w"], c, 9 * e.bytes)
                    taps = [e.load(weights, tap * e.bytes) for tap in range(9)]
                    bias, maps = e.load(e.at(g["s"], c, e.bytes)), e.at(y, c, g["y_chunk"])

                    def columns(k: Value, _: list[Value]) -> None:
                        heard, sums = e.at(x, k, 4 * _COLUMNS), [bias] * _COLUMNS
                        for row in range(3):
                            line = e.at(heard, g["x_frame"], row)
                            values = [e.spread(e.single(line, 4 * band)) for band in range(_COLUMNS + 2)]
                            for column in range(_COLUMNS):
                                for tap in range(3):
                                    product = (values[column + tap], taps[3 * row + tap], sums[column])
                                    sums[column] = e.multiply_add(*product)
                        for column, value in enumerate(sums):
                            e.store(e.positive(value), e.at(maps, k, _COLUMNS * e.bytes), column * e.bytes)

                    e.loop(b.sdiv(g["columns"], e.number(_COLUMNS)), columns)

                e.loop(g["chunks"], chunk)

            e.loop(e.least(b.sub(g["frames"], first), g["each"]), frame)

        e.queue(g["counter"], b.sdiv(b.sub(e.plus(g["frames"], g["each"]), e.number(1)), g["each"]), task)
