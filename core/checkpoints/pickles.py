"""What a torch file's pickle claims, read without running it.

A pickle is a program. This module reads its opcodes (``pickletools.genops``) and records the tensors that it would create; it
imports nothing that the file names, calls nothing, and allocates nothing that the file describes. So names, shapes and dtypes can
be compared with an architecture, and storages with the file's size, before a weight is read. Whatever else lies beside the weights
(a sampler's arrays, an optimiser, arguments) becomes a ``Skipped``, which does nothing.

``torch.load(weights_only=True)`` is no substitute: it calls ``bytearray(n)`` for any n, and a file of 2 kB takes 3 GB.
"""

from __future__ import annotations

import builtins
import pickletools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import torch

from core.checkpoints.claims import MAX_AXES, Skipped, StorageClaim, TensorClaim, is_count
from core.checkpoints.info import KEY
from core.errors import CheckpointError

MAX_PICKLE_BYTES = 32 << 20
"""The longest pickle that is read. A state dict of 500 tensors has 60 kB; the arrays of a sampler lie in the pickle too."""

MAX_OPCODES = 1_000_000
"""Of one pickle. An opcode takes some 2 microseconds to read, and up to 64 bytes; a state dict of 500 tensors has 16,000."""

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

_RUNNING_CODE = frozenset(
    [
        "os",
        "posix",
        "nt",
        "subprocess",
        "sys",
        "importlib",
        "runpy",
        "ctypes",
        "shutil",
        "socket",
        "pty",
        "code",
        "pickle",
        "marshal",
        "webbrowser",
        "operator",
    ]
)
"""Modules that no data needs. Nothing is called whatever a pickle names; but one that names these was made to attack, and is refused."""


class _Mark:
    """Marks the position on the stack where a run of items begins."""


_MARK = _Mark()


@dataclass(frozen=True)
class _Global:
    module: str
    name: str

    @property
    def skipped(self) -> Skipped:
        return Skipped(f"{self.module}.{self.name}")


_LARGE = 1 << 63
_LONGEST_NAME = 200

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    [
        "BININT",
        "BININT1",
        "BININT2",
        "INT",
        "LONG",
        "LONG1",
        "LONG4",
        "BINFLOAT",
        "FLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "UNICODE",
        "BINSTRING",
        "SHORT_BINSTRING",
        "STRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class Pickle:
    """One pickle, read.

    Attributes
    ----------
    root : dicts, lists, tuples, plain values, and in place of objects ``TensorClaim``, ``StorageClaim`` and ``Skipped``.
    storages : every storage that it refers to, by key.
    note : the description that Pannscope writes with a state dict that it exports, as JSON; "" in other files.
    """

    root: Any
    storages: dict[str, StorageClaim]
    note: str


def read_pickle(stream: IO[bytes], most: int) -> Pickle:
    """Read one pickle of at most ``most`` opcodes.

    ``stream`` stands behind the pickle afterwards, and should hold no more than ``MAX_PICKLE_BYTES``.

    Raises
    ------
    CheckpointError
        The message lacks its subject ("is damaged", "would use 'os.system'"): the caller puts the file's name before it.
    """
    reader = _Reader(most)
    try:
        return Pickle(reader.run(pickletools.genops(stream)), reader.storages, reader.note)
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
    """A stack machine for a pickle's opcodes; it moves plain values and claims, and runs nothing."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageClaim] = {}
        self.note = ""

    def run(self, opcodes: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Any:
        for count, (opcode, argument, _) in enumerate(opcodes):
            if opcode.name == "STOP":
                return self.take(1)[0]
            if count == self.most:
                raise CheckpointError(
                    f"is not a state dict: its pickle has over {self.most:,} steps; save model.state_dict() alone"
                )
            self.step(opcode.name, argument)
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
            if not isinstance(self.stack[-1], Skipped):
                _as(list, self.stack[-1]).extend(items)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            push(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, attribute = argument.split(" ", 1) if name == "GLOBAL" else self.take(2)
            push(_global(_as(str, module), _as(str, attribute)))
        elif name == "REDUCE":
            function, arguments = self.take(2)
            push(_call(_as(_Global, function), _as(tuple, arguments)))
        elif name in ("NEWOBJ", "NEWOBJ_EX"):
            push(_as(_Global, self.take(2 if name == "NEWOBJ" else 3)[0]).skipped)
        elif name == "BINPERSID":
            push(self.storage(_as(tuple, self.stack.pop())))
        elif name == "BUILD":
            self.set_attributes(self.take(1)[0])
        elif name == "EMPTY_SET":
            push(Skipped("set"))
        elif name in ("ADDITEMS", "FROZENSET", "POP_MARK"):
            self.since_mark()
            if name == "FROZENSET":
                push(Skipped("set"))
        elif name == "POP":
            self.take(1)
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
        if isinstance(self.stack[-1], Skipped):
            return
        target = _as(dict, self.stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            # No weight has another key; and to hash a nested tuple, or to print a huge number, can take very long.
            if isinstance(key, str) or (isinstance(key, int) and -_LARGE < key < _LARGE):
                target[key] = value

    def set_attributes(self, state: Any) -> None:
        """Of a state dict: ``_metadata``, in which Pannscope's export has a text. Of what is skipped: nothing."""
        target = self.stack[-1]
        if not isinstance(target, dict | Skipped | TensorClaim):
            raise TypeError("not an object")
        metadata = state.get("_metadata") if isinstance(target, dict) and isinstance(state, dict) else None
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        self.note = text if isinstance(text, str) else self.note

    def storage(self, saved: tuple[Any, ...]) -> StorageClaim | Skipped:
        """A persistent id: ("storage", type, key, location, elements) and, in old files, a view that is always None."""
        if len(saved) not in (5, 6) or saved[0] != "storage" or (len(saved) == 6 and saved[5] is not None):
            raise CheckpointError(
                "holds a whole pickled model, or views of storages, rather than a state dict; nothing was executed. Save "
                "model.state_dict() instead"
            )
        kind, key, _, elements = saved[1:5]
        if not isinstance(kind, _Global) or not isinstance(key, str) or not is_count(elements):
            raise ValueError("not a storage")
        if kind.name not in DTYPES:
            return kind.skipped
        claim = StorageClaim(key, DTYPES[kind.name], elements)
        if self.storages.setdefault(key, claim) != claim:
            raise CheckpointError("is damaged: it describes one storage in two ways")
        return claim


def _as(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _global(module: str, name: str) -> _Global:
    """What a pickle calls an object or a function, which nothing imports."""
    if len(module) + len(name) > _LONGEST_NAME:
        raise ValueError("not a name")
    plain_type = module not in ("builtins", "__builtin__") or isinstance(getattr(builtins, name, None), type)
    if module.partition(".")[0] in _RUNNING_CODE or not plain_type:
        raise CheckpointError(
            f"would use {module + '.' + name!r}, which is not part of a state dict; it was refused and nothing was executed. Use a file "
            "you trust that holds model.state_dict() alone"
        )
    return _Global(module, name)


def _call(function: _Global, arguments: tuple[Any, ...]) -> Any:
    """What a function would return: a claim for a tensor's, ``Skipped`` for any other."""
    if (function.module, function.name) == ("collections", "OrderedDict") and not arguments:
        return {}
    if function.module == "torch._utils":
        if function.name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return arguments[0] if isinstance(arguments[0], TensorClaim) else function.skipped
        if function.name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            storage, offset, shape, stride = arguments[:4]
            if isinstance(storage, Skipped):
                return storage
            return _tensor(_as(StorageClaim, storage), offset, _as(tuple, shape), _as(tuple, stride))
    if (function.module, function.name) == ("torch._tensor", "_rebuild_from_type_v2"):
        inner = _as(_Global, arguments[0])
        return _call(inner, _as(tuple, arguments[2])) if inner.module == "torch._utils" else inner.skipped
    return function.skipped


def _tensor(
    storage: StorageClaim, offset: Any, shape: tuple[Any, ...], stride: tuple[Any, ...]
) -> TensorClaim:
    few = len(shape) == len(stride) <= MAX_AXES
    if not few or not all(map(is_count, (offset, *shape, *stride))):
        raise ValueError("not a tensor")
    reach = 0 if 0 in shape else 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if offset + reach > storage.elements:
        raise CheckpointError("is damaged: it claims a tensor that is larger than its own data")
    return TensorClaim(storage, offset, shape, stride)
