"""What a torch file's pickle claims, read without running it.

A pickle is a program. This module reads its opcodes (``pickletools.genops``) and records the tensors that it would create;
it imports nothing that the file names, calls nothing, and allocates nothing that the file describes. So names, shapes and
dtypes can be compared with an architecture, and storages with the file's size, before ``torch.load`` sees the file. It
understands what ``torch.save`` writes for a state dict; anything else is refused.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import torch

from core.errors import CheckpointError

MAX_PICKLE_BYTES = 1 << 20
"""The longest pickle that is read. A state dict of 500 tensors has 60 kB; the weights lie outside of it."""

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_FUNCTIONS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


@dataclass(frozen=True)
class StorageClaim:
    """A storage that the pickle refers to: its key in the file, its dtype and its claimed number of elements."""

    key: str
    dtype: torch.dtype
    elements: int

    @property
    def nbytes(self) -> int:
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True)
class TensorClaim:
    """A tensor as the pickle describes it: a dense window into a storage, its axes in any order."""

    storage: StorageClaim
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype


class _Mark:
    """Marks the position on the stack where a run of items begins."""


_MARK = _Mark()


@dataclass(frozen=True)
class _Global:
    module: str
    name: str


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"}
_LITERALS |= {
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "UNICODE",
    "BINSTRING",
    "SHORT_BINSTRING",
    "STRING",
}
_LITERALS |= {"BINBYTES", "SHORT_BINBYTES"}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle(stream: IO[bytes]) -> Any:
    """Read one pickle: dicts, lists, tuples, plain values, and claims in place of tensors and storages.

    ``stream`` stands behind the pickle afterwards, and should hold no more than ``MAX_PICKLE_BYTES``.

    Raises
    ------
    CheckpointError
        The message lacks its subject ("is damaged", "would use 'os.system'"): the caller puts the file's name before it.
    """
    try:
        return _Reader().run(pickletools.genops(stream))
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        struct.error,
    ) as error:
        raise CheckpointError("is damaged or not a torch file: its pickle cannot be read") from error


class _Reader:
    """A stack machine for the opcodes that ``torch.save`` writes; it moves plain values and claims, and runs nothing."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, opcodes: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        for opcode, argument, _ in opcodes:
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            self.step(name, argument)
        raise ValueError("no STOP")

    def step(self, name: str, argument: Any) -> None:
        push = self.stack.append
        if name in _LITERALS:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _TUPLES:
            push(self.take(_TUPLES[name]))
        elif name == "TUPLE":
            push(tuple(self.since_mark()))
        elif name == "MARK":
            push(_MARK)
        elif name == "EMPTY_DICT":
            push({})
        elif name == "EMPTY_LIST":
            push([])
        elif name in ("SETITEM", "SETITEMS"):
            self.set_items(list(self.take(2)) if name == "SETITEM" else self.since_mark())
        elif name in ("APPEND", "APPENDS"):
            items = list(self.take(1)) if name == "APPEND" else self.since_mark()
            _as(list, self.stack[-1]).extend(items)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            push(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, attribute = argument.split(" ", 1) if name == "GLOBAL" else self.take(2)
            push(_allowed(_as(str, module), _as(str, attribute)))
        elif name == "REDUCE":
            function, arguments = self.take(2)
            push(_call(_as(_Global, function), _as(tuple, arguments)))
        elif name == "BINPERSID":
            push(_storage(_as(tuple, self.stack.pop())))
        elif name == "BUILD":  # an OrderedDict's attributes: a state dict's _metadata, which is not needed
            self.stack.pop()
            _as(dict, self.stack[-1])
        elif name not in ("PROTO", "FRAME"):
            raise CheckpointError(
                f"is not a state dict: its pickle uses {name}; nothing was executed. Save model.state_dict() instead"
            )

    def take(self, count: int) -> tuple[Any, ...]:
        """The topmost ``count`` items, which must lie above the last mark."""
        if len(self.stack) < count:
            raise IndexError("stack underflow")
        items = tuple(self.stack[len(self.stack) - count :])
        if any(item is _MARK for item in items):
            raise ValueError("a mark among the items")
        del self.stack[len(self.stack) - count :]
        return items

    def since_mark(self) -> list[Any]:
        position = len(self.stack) - 1
        while self.stack[position] is not _MARK:  # an IndexError where there is none
            position -= 1
            if position < 0:
                raise IndexError("no mark")
        items = self.stack[position + 1 :]
        del self.stack[position:]
        return items

    def set_items(self, items: list[Any]) -> None:
        target = _as(dict, self.stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a nested tuple, or printing a huge number, can take very long.
            if not (isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 63)):
                raise TypeError("neither a name nor a number of bounded size")
            target[key] = value


def _as(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _allowed(module: str, name: str) -> _Global:
    """A name that a state dict's pickle may refer to; everything else is refused where it first occurs."""
    storage = module in ("torch", "torch.storage") and name in DTYPES
    if not storage and (module, name) not in _FUNCTIONS:
        called = f"{module}.{name}"[:80]
        raise CheckpointError(
            f"would use {called!r}, which is not part of a state dict; it was refused and nothing was executed. Use a file "
            "you trust that holds model.state_dict() alone"
        )
    return _Global(module, name)


def _call(function: _Global, arguments: tuple[Any, ...]) -> Any:
    """The result of one of the allowed functions, as a claim."""
    if function.name == "OrderedDict":
        if arguments:
            raise ValueError("an OrderedDict with arguments")
        return {}
    if function.name == "_rebuild_parameter":
        return _as(TensorClaim, arguments[0])
    if function.name == "_rebuild_tensor_v2":
        storage, offset, shape, stride = arguments[:4]
        return _tensor(_as(StorageClaim, storage), offset, _as(tuple, shape), _as(tuple, stride))
    raise ValueError("a storage type is not called")


def _tensor(
    storage: StorageClaim, offset: Any, shape: tuple[Any, ...], stride: tuple[Any, ...]
) -> TensorClaim:
    numbers = (offset, *shape, *stride)
    if (
        len(shape) != len(stride)
        or len(shape) > 8
        or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers)
    ):
        raise ValueError("not a tensor")
    axes = sorted((step, size) for size, step in zip(shape, stride, strict=True) if size != 1)
    elements = 1
    for step, size in axes if 0 not in shape else []:
        if step != elements:  # in some order of its axes, a dense tensor's strides are products of its sizes
            raise CheckpointError(
                "holds a tensor that is a view of another (its strides leave holes or overlap); save it again after "
                ".clone()"
            )
        elements *= size
    if offset + prod(shape) > storage.elements:
        raise CheckpointError("is damaged: it claims a tensor that is larger than its own data")
    return TensorClaim(storage, offset, shape, stride)


def _storage(saved: tuple[Any, ...]) -> StorageClaim:
    """A persistent id: ("storage", type, key, location, elements) and, in old files, a view that is always None."""
    if len(saved) not in (5, 6) or saved[0] != "storage" or (len(saved) == 6 and saved[5] is not None):
        raise CheckpointError(
            "holds a whole pickled model, or views of storages, rather than a state dict; nothing was executed. Save "
            "model.state_dict() instead"
        )
    kind, key, _, elements = saved[1:5]
    if not isinstance(kind, _Global) or not isinstance(key, str) or type(elements) is not int or elements < 0:
        raise ValueError("not a storage")
    return StorageClaim(key, DTYPES[kind.name], elements)
