"""Into an algorithm's points and out of them: maps, sums and weights."""

from __future__ import annotations

from llvmlite import ir

from core.runtime.winograd.algorithms import Algorithm
from core.runtime.winograd.emit import Emitter, Value
from core.runtime.winograd.signatures import SIGNATURES, Shape, exported


def into_points(e: Emitter, time: Algorithm, bands: Algorithm) -> ir.Function:
    """v (points, chunks, tiles, lanes) of maps x, for some rows of tiles and some chunks."""
    numbers = "x_chunk x_frame v_point v_chunk row rows columns chunk chunks"
    bands_in = [any(row[band] for row in bands.points_from) for band in range(len(bands.points_from[0]))]
    with e.internal(exported(time, bands, "into"), "x v", numbers) as (function, g):

        def tile(x: Value, v: Value) -> None:
            across = []
            for frame in range(len(time.points_from[0])):
                line = e.at(x, g["x_frame"], frame)
                samples = [
                    e.load(line, band * e.bytes) if used else None for band, used in enumerate(bands_in)
                ]
                across.append([e.combined(row, samples) for row in bands.points_from])
            for q in range(bands.points):
                column = [line[q] for line in across]
                for p, row in enumerate(time.points_from):
                    e.store(e.combined(row, column), e.at(v, g["v_point"], p * bands.points + q))

        def chunk(c: Value, _: list[Value]) -> None:
            x_chunk, v_chunk = (e.at(g[of], e.plus(c, g["chunk"]), g[f"{of}_chunk"]) for of in "xv")

            def row(i: Value, _: list[Value]) -> None:
                x_row = e.at(x_chunk, e.plus(i, g["row"]), time.outputs, g["x_frame"])
                v_row = e.at(v_chunk, i, g["columns"], e.bytes)
                e.loop(
                    g["columns"],
                    lambda j, _: tile(e.at(x_row, j, bands.outputs * e.bytes), e.at(v_row, j, e.bytes)),
                )

            e.loop(g["rows"], row)

        e.loop(g["chunks"], chunk)
    return function


def out_of_points(e: Emitter, time: Algorithm, bands: Algorithm, pooled: bool) -> ir.Function:
    """Maps y = ReLU(outputs of o + bias), each the mean of 2 x 2 where ``pooled``, for some rows of tiles and some chunks.

    Where a tile has one frame, two rows make a pooled one, and a last odd one is left out.
    """
    numbers = "o_point o_chunk y_chunk y_frame row rows columns chunk chunks"
    together = 2 if pooled and time.outputs == 1 else 1
    frames, shrink = together * time.outputs, 2 if pooled else 1
    with e.internal(exported(time, bands, "out", pooled), "o s y", numbers) as (
        function,
        g,
    ):
        b = e.builder

        def tile(o: Value, y: Value, bias: Value) -> None:
            values: list[list[Value]] = []
            for row in range(together):
                o_row = e.at(o, row, g["columns"], e.bytes)
                down = []
                for p in range(time.points):
                    products = [
                        e.load(e.at(o_row, g["o_point"], p * bands.points + q)) for q in range(bands.points)
                    ]
                    down.append([e.combined(line, products) for line in bands.outputs_from])
                for line in time.outputs_from:
                    sums = [e.combined(line, [across[k] for across in down]) for k in range(bands.outputs)]
                    values.append([e.positive(b.fadd(value, bias)) for value in sums])
            if pooled:
                values = [
                    [
                        b.fmul(
                            b.fadd(
                                b.fadd(upper[k], upper[k + 1]),
                                b.fadd(lower[k], lower[k + 1]),
                            ),
                            e.constant(0.25),
                        )
                        for k in range(0, bands.outputs, 2)
                    ]
                    for upper, lower in zip(values[::2], values[1::2], strict=True)
                ]
            for frame, outputs in enumerate(values):
                for band, value in enumerate(outputs):
                    e.store(value, e.at(y, g["y_frame"], frame), band * e.bytes)

        def chunk(c: Value, _: list[Value]) -> None:
            at = e.plus(c, g["chunk"])
            o_chunk, y_chunk = e.at(g["o"], c, g["o_chunk"]), e.at(g["y"], at, g["y_chunk"])
            bias = e.load(e.at(g["s"], at, e.bytes))

            def row(i: Value, _: list[Value]) -> None:
                o_row = e.at(o_chunk, i, together, g["columns"], e.bytes)
                above = b.sdiv(g["row"], e.number(together))
                y_row = e.at(y_chunk, e.plus(i, above), frames // shrink, g["y_frame"])
                width = bands.outputs // shrink * e.bytes
                e.loop(g["columns"], lambda j, _: tile(e.at(o_row, j, e.bytes), e.at(y_row, j, width), bias))

            e.loop(b.sdiv(g["rows"], e.number(together)), row)

        e.loop(g["chunks"], chunk)
    return function


def prepare(e: Emitter, shape: Shape, time: Algorithm, bands: Algorithm) -> None:
    """w (panels, points, taps x channels, filters) of weights g (filters, channels, 3, 3) times a factor per filter; a task is a panel.

    The panels are full; w has ``w_channels`` rows per tap, of which those that g lacks are not written.
    """
    assert bands.points_from_taps is not None
    with e.kernel(exported(time, bands, "prepare"), SIGNATURES["prepare"]) as (_, g):

        def task(j: Value) -> None:
            w_panel = e.at(g["w"], j, g["w_panel"])
            for vector in range(shape.vectors):
                first = e.plus(e.times(j, shape.filters), vector * shape.lanes)
                factor = e.load(e.at(g["f"], first, 4))
                filters = [
                    e.at(g["g"], e.plus(first, lane), g["channels"], 36) for lane in range(shape.lanes)
                ]
                place = e.at(w_panel, vector * e.bytes)

                def one_channel(
                    c: Value,
                    _: list[Value],
                    of: tuple[list[Value], Value, Value] = (filters, factor, place),
                ) -> None:
                    channel(c, *of)

                e.loop(g["channels"], one_channel)

        def channel(c: Value, filters: list[Value], factor: Value, w: Value) -> None:
            b = e.builder
            own = [e.at(pointer, c, 36) for pointer in filters]
            taps = [
                [
                    b.fmul(e.gathered([e.single(pointer, 12 * frame + 4 * band) for pointer in own]), factor)
                    for band in range(3)
                ]
                for frame in range(3)
            ]
            line = shape.filters * 4
            across = [[e.combined(row, kernel) for row in bands.points_from_taps or ()] for kernel in taps]
            for q in range(bands.points):
                column = [kernel[q] for kernel in across]
                if time.points_from_taps is None:
                    for tap, value in enumerate(column):
                        place = e.plus(e.times(g["w_channels"], tap), c)
                        e.store(value, e.at(e.at(w, g["w_point"], q), place, line))
                    continue
                for p, row in enumerate(time.points_from_taps):
                    place = e.at(w, g["w_point"], p * bands.points + q)
                    e.store(e.combined(row, column), e.at(place, c, line))

        e.queue(g["counter"], g["panels"], task)
