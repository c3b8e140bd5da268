"""The matrix product, in which all layers spend their time.

It keeps ``rows`` tiles by ``vectors`` vectors of filters in registers, multiplies a block of channels into those of all tiles, and then
the next block, which has been prefetched meanwhile. (Goto & van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", ACM TOMS 2008, with all packing done beforehand.)
"""

from __future__ import annotations

from llvmlite import ir

from core.runtime.winograd.emit import Emitter, Value
from core.runtime.winograd.signatures import Shape

_BLOCK_BYTES = 8192
"""Of a block of weights: with the tiles that it is multiplied with, it fits a level-1 cache of 32 KB or more."""

_UNROLLED = 4
"""Channels per iteration of the innermost loop; more made it no faster, and the kernels slower to compile."""


def _block(e: Emitter, shape: Shape, rows: int) -> ir.Function:
    """o (rows, vectors) = or += a (rows, channels) w (channels, vectors), for some chunks of channels, in registers."""
    numbers = "a_chunk chunks o_vector ahead step fresh"
    with e.internal(f"block{rows}", "a w o", numbers) as (function, g):
        places = [
            (e.at(g["o"], g["o_vector"], vector), row * e.bytes)
            for row in range(rows)
            for vector in range(shape.vectors)
        ]
        b = e.builder
        before, loading, ready = b.block, b.append_basic_block(), b.append_basic_block()
        b.cbranch(b.icmp_signed("!=", g["fresh"], e.number(0)), ready, loading)
        b.position_at_end(loading)
        stored = [e.load(place, offset) for place, offset in places]
        b.branch(ready)
        b.position_at_end(ready)
        start = [b.phi(e.vector) for _ in places]
        for value, loaded in zip(start, stored, strict=True):
            value.add_incoming(e.constant(0.0), before)
            value.add_incoming(loaded, loading)

        def chunk(position: Value, carried: list[Value]) -> list[Value]:
            tiles = e.at(g["a"], position, g["a_chunk"])

            def channels(fours: Value, carried: list[Value]) -> list[Value]:
                *sums, weights, coming = carried
                values = e.at(tiles, fours, 4 * _UNROLLED)
                for channel in range(_UNROLLED):
                    line = channel * shape.vectors * e.bytes
                    filters = [e.load(weights, line + vector * e.bytes) for vector in range(shape.vectors)]
                    e.prefetch(coming)
                    coming = e.at(coming, g["step"])
                    for row in range(rows):
                        value = e.spread(e.single(values, row * e.bytes + 4 * channel))
                        for vector in range(shape.vectors):
                            at = row * shape.vectors + vector
                            sums[at] = e.multiply_add(value, filters[vector], sums[at])
                return [*sums, e.at(weights, _UNROLLED * shape.vectors * e.bytes), coming]

            return e.loop(e.number(shape.lanes // _UNROLLED), channels, carried)

        done = e.loop(g["chunks"], chunk, [*start, g["w"], e.at(g["w"], g["ahead"])])
        for (place, offset), value in zip(places, done[: len(places)], strict=True):
            e.store(value, place, offset)
    return function


def product(e: Emitter, shape: Shape) -> ir.Function:
    """o (points, filters, tiles) = a (points, channels, tiles) w (panels, points, channels, filters) for some panels."""
    numbers = "a_point a_chunk a_tap taps chunks w_panel w_point o_point o_chunk rows points panel panels"
    blocks = [_block(e, shape, rows) for rows in range(1, shape.rows + 1)]
    chunk_bytes = shape.lanes * shape.vectors * e.bytes
    at_once = max(1, _BLOCK_BYTES // chunk_bytes)
    with e.internal("product", "a w o", numbers) as (function, g):
        b = e.builder
        parts = e.parts(g["rows"], shape.rows)
        size, more = b.sdiv(g["rows"], parts), b.srem(g["rows"], parts)
        # Each part of a block prefetches a share of the block that follows it in memory.
        step = b.sdiv(e.number(shape.vectors * e.bytes), parts)

        def point(p: Value, _: list[Value]) -> None:
            a_point = e.at(g["a"], p, g["a_point"])

            def panel(j: Value, _: list[Value]) -> None:
                w_point = e.at(e.at(g["w"], e.plus(j, g["panel"]), g["w_panel"]), p, g["w_point"])
                o_point = e.at(e.at(g["o"], j, shape.vectors, g["o_chunk"]), p, g["o_point"])

                def tap(t: Value, _: list[Value]) -> None:
                    a_tap, w_tap = e.at(a_point, t, g["a_tap"]), e.at(w_point, t, g["chunks"], chunk_bytes)

                    def pass_(k: Value, _: list[Value]) -> None:
                        first = e.times(k, at_once)
                        chunks = e.least(b.sub(g["chunks"], first), e.number(at_once))
                        a, w = e.at(a_tap, first, g["a_chunk"]), e.at(w_tap, first, chunk_bytes)
                        fresh = b.zext(b.icmp_signed("==", e.plus(t, k), e.number(0)), e.number(0).type)
                        block_bytes = e.times(chunks, chunk_bytes)

                        def part(i: Value, _: list[Value]) -> None:
                            longer = b.icmp_signed("<", i, more)
                            rows = e.plus(size, b.select(longer, e.number(1), e.number(0)))
                            tile = e.times(e.plus(e.times(i, size), e.least(i, more)), e.bytes)
                            ahead = e.plus(block_bytes, e.times(i, step, chunks, shape.lanes))
                            after = b.append_basic_block()
                            choice = b.switch(rows, after)
                            for count, block in enumerate(blocks, 1):
                                case = b.append_basic_block()
                                choice.add_case(e.number(count), case)
                                b.position_at_end(case)
                                places = [e.at(a, tile), w, e.at(o_point, tile)]
                                b.call(
                                    block, [*places, g["a_chunk"], chunks, g["o_chunk"], ahead, step, fresh]
                                )
                                b.branch(after)
                            b.position_at_end(after)

                        e.loop(parts, part)

                    e.loop(e.parts(g["chunks"], at_once), pass_)

                e.loop(g["taps"], tap)

            e.loop(g["panels"], panel)

        e.loop(g["points"], point)
    return function
