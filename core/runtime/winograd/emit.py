"""Generating code for vectors: a thin layer over llvmlite's builder.

Addresses are in bytes. All vectors have ``lanes`` float32 and are aligned to their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from core.runtime.winograd.signatures import Signature

Value = Any
"""llvmlite's values have no useful static types."""

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
Arguments = Mapping[str, Value]
"""A function's arguments by name."""

POINTER = ir.IntType(8).as_pointer()

_READ, _LEVEL_1, _DATA = 0, 3, 1  # arguments of llvm.prefetch (LLVM language reference)


class Emitter:
    """Writes functions into a module; arithmetic is emitted at the current function's builder."""

    def __init__(self, lanes: int) -> None:
        self.lanes, self.bytes = lanes, 4 * lanes
        self.module = ir.Module(name="winograd")
        self.vector = ir.VectorType(F32, lanes)
        self.builder = ir.IRBuilder()
        self._fma = ir.Function(
            self.module, ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fmuladd.v{lanes}f32"
        )
        self._prefetch = ir.Function(
            self.module, ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32]), "llvm.prefetch.p0"
        )

    @contextmanager
    def kernel(self, name: str, signature: Signature) -> Iterator[tuple[ir.Function, Arguments]]:
        """A function for callers outside, whose pointers must not alias; yields it with its arguments by name."""
        pointers, numbers = signature.pointers.split(), signature.numbers.split()
        kinds = [POINTER] * len(pointers) + [I64] * len(numbers)
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), name)
        for argument in function.args[: len(pointers)]:
            argument.add_attribute("noalias")
        outside, self.builder = self.builder, ir.IRBuilder(function.append_basic_block())
        yield function, dict(zip((*pointers, *numbers), function.args, strict=True))
        self.builder.ret_void()
        self.builder = outside

    @contextmanager
    def internal(self, name: str, pointers: str, numbers: str) -> Iterator[tuple[ir.Function, Arguments]]:
        """A function that only kernels call."""
        with self.kernel(name, Signature(pointers, numbers)) as (function, arguments):
            function.linkage = "internal"
            function.attributes.add("noinline")
            yield function, arguments

    def number(self, value: int | Value) -> Value:
        """A 64-bit number."""
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def times(self, *factors: int | Value) -> Value:
        """A product of numbers."""
        product = self.number(factors[0])
        for factor in factors[1:]:
            product = self.builder.mul(product, self.number(factor))
        return product

    def plus(self, first: int | Value, second: int | Value) -> Value:
        """A sum of two numbers."""
        return self.builder.add(self.number(first), self.number(second))

    def least(self, first: Value, second: Value) -> Value:
        """The lesser of two numbers."""
        return self.builder.select(self.builder.icmp_signed("<", first, second), first, second)

    def parts(self, count: Value, size: int | Value) -> Value:
        """The number of parts of ``size`` that ``count`` splits into, the last of which may be smaller."""
        size = self.number(size)
        return self.builder.sdiv(self.builder.sub(self.plus(count, size), self.number(1)), size)

    def at(self, pointer: Value, *offset: int | Value) -> Value:
        """``pointer`` moved by the product of ``offset`` bytes."""
        return self.builder.gep(pointer, [self.times(*offset)])

    def loop(
        self,
        count: Value,
        body: Callable[[Value, list[Value]], Sequence[Value] | None],
        carried: Sequence[Value] = (),
    ) -> list[Value]:
        """``body(i, carried)`` for i from 0 to ``count``; its result is carried to the next run, and that of the last returned."""
        b = self.builder
        before, head, inside, after = b.block, *(b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        position, *values = [b.phi(value.type) for value in (self.number(0), *carried)]
        for value, first in zip([position, *values], [self.number(0), *carried], strict=True):
            value.add_incoming(first, before)
        b.cbranch(b.icmp_signed("<", position, self.number(count)), inside, after)
        b.position_at_end(inside)
        following = [*(body(position, values) or ())]
        for value, last in zip([position, *values], [self.plus(position, 1), *following], strict=True):
            value.add_incoming(last, b.block)
        b.branch(head)
        b.position_at_end(after)
        return values

    def queue(self, counter: Value, count: Value, body: Callable[[Value], None]) -> None:
        """``body(i)`` for every i below ``count`` that no other thread at the same counter has taken."""
        b = self.builder
        head, inside, after = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        taken = b.atomic_rmw("add", b.bitcast(counter, I64.as_pointer()), self.number(1), "monotonic")
        b.cbranch(b.icmp_signed("<", taken, count), inside, after)
        b.position_at_end(inside)
        body(taken)
        b.branch(head)
        b.position_at_end(after)

    def load(self, pointer: Value, offset: int = 0) -> Value:
        """A vector."""
        vector = self.builder.load(self.builder.bitcast(self.at(pointer, offset), self.vector.as_pointer()))
        vector.align = self.bytes
        return vector

    def store(self, vector: Value, pointer: Value, offset: int = 0) -> None:
        """Write a vector."""
        self.builder.store(
            vector, self.builder.bitcast(self.at(pointer, offset), self.vector.as_pointer()), align=self.bytes
        )

    def single(self, pointer: Value, offset: int = 0) -> Value:
        """One float32."""
        return self.builder.load(self.builder.bitcast(self.at(pointer, offset), F32.as_pointer()), align=4)

    def spread(self, single: Value) -> Value:
        """One float32 in all lanes."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, single, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(
            first, nothing, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        )

    def gathered(self, singles: Sequence[Value]) -> Value:
        """A vector of one float32 per lane."""
        vector = ir.Constant(self.vector, ir.Undefined)
        for lane, single in enumerate(singles):
            vector = self.builder.insert_element(vector, single, ir.Constant(I32, lane))
        return vector

    def constant(self, value: float) -> Value:
        """A vector that is ``value`` in all lanes."""
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def multiply_add(self, first: Value, second: Value, third: Value) -> Value:
        """first x second + third, rounded once where the processor can."""
        return self.builder.call(self._fma, [first, second, third])

    def combined(self, factors: Sequence[float], vectors: Sequence[Value]) -> Value:
        """The sum of ``factors`` x ``vectors``; where a factor is 0, the vector may be None."""
        total = None
        # Terms without a multiplication come first.
        for factor, vector in sorted(zip(factors, vectors, strict=True), key=lambda pair: pair[0] != 1):
            if factor == 0:
                continue
            if total is None:
                total = vector if factor == 1 else self.builder.fmul(vector, self.constant(factor))
            elif factor == 1:
                total = self.builder.fadd(total, vector)
            elif factor == -1:
                total = self.builder.fsub(total, vector)
            else:
                total = self.multiply_add(vector, self.constant(factor), total)
        return total

    def positive(self, vector: Value) -> Value:
        """ReLU."""
        zero = self.constant(0.0)
        return self.builder.select(self.builder.fcmp_ordered(">", vector, zero), vector, zero)

    def prefetch(self, pointer: Value) -> None:
        """Load a cache line ahead of its use; harmless for any address."""
        level = [ir.Constant(I32, value) for value in (_READ, _LEVEL_1, _DATA)]
        self.builder.call(self._prefetch, [pointer, *level])
