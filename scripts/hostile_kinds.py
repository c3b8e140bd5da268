"""The kinds of hostile checkpoints that ``hostile_checkpoints.py`` loads: pickles, put together opcode by opcode."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from core.models.cnn import Cnn14, Cnn14Config

CANARY = "code-ran"
"""The file that every payload would make."""

_SHELL = f"touch {CANARY}"


@dataclass(frozen=True)
class Kind:
    """One hostile file.

    Attributes
    ----------
    name : what is wrong with it.
    make : writes it into an empty folder and returns its path.
    expected : a part of the message that refuses it; "loaded" where its weights are whole and the rest is skipped.
    slow : it is large.
    meanwhile : called with its path after it was checked and before its weights are read.
    afterwards : called with its path once it is loaded.
    """

    name: str
    make: Callable[[Path], Path]
    expected: str
    slow: bool = False
    meanwhile: Callable[[Path], None] | None = None
    afterwards: Callable[[Path], None] | None = None


@cache
def small_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Cnn14(Cnn14Config((2,) * 12, 3, 4)).eval().state_dict()


def saved(value: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


@cache
def whole_records() -> dict[str, bytes]:
    """The records of a whole file."""
    with zipfile.ZipFile(io.BytesIO(saved(small_state()))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(
    pickle: bytes, *, records: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in (whole_records() if records is None else records).items():
            archive.writestr(name, pickle if name.endswith("data.pkl") else data)
    return out.getvalue()


def file_of(data: Callable[[], bytes], folder: Path, *, name: str = "hostile.pth") -> Path:
    path = folder / name
    path.write_bytes(data())
    return path


def text_code(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def integer_code(number: int) -> bytes:
    data = number.to_bytes(16, "little", signed=True)
    return b"\x8a\x10" + data


def _named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _call(module: str, name: str, *arguments: bytes) -> bytes:
    return _named(module, name) + b"(" + b"".join(arguments) + b"tR"


def _beside(value: bytes) -> bytes:
    """The pickle of a whole file with one more value in its dict."""
    pickle = whole_records()["archive/data.pkl"]
    assert pickle.endswith(b".")
    return b"\x80\x02}" + text_code("model") + pickle[2:-1] + b"s" + text_code("extra") + value + b"s."


def _alone(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def _tensor(offset: int, shape: list[int], stride: list[int], elements: int = 64) -> bytes:
    """A dict with one tensor, over the first storage of a whole file."""
    storage = (
        b"("
        + text_code("storage")
        + _named("torch", "FloatStorage")
        + text_code("0")
        + text_code("cpu")
        + integer_code(elements)
        + b"tQ"
    )
    sizes = (b"(" + b"".join(map(integer_code, axes)) + b"t" for axes in (shape, stride))
    built = _call("torch._utils", "_rebuild_tensor_v2", storage, integer_code(offset), *sizes, b"\x89", b"}")
    return b"\x80\x02}" + text_code("bn0.weight") + built + b"s."


def _doubled(times: int) -> bytes:
    """A list that holds the one before it twice, and so on: small in memory, endless to print or to copy."""
    first = 1_000_000  # of the memo, behind what a whole file uses
    number = partial(struct.pack, "<I")
    steps = (
        b"](j" + number(first + step) + b"j" + number(first + step) + b"er" + number(first + step + 1) + b"0"
        for step in range(times)
    )
    return b"]r" + number(first) + b"0" + b"".join(steps) + b"j" + number(first + times)


_CALLS: dict[str, tuple[tuple[str, str], tuple[bytes, ...]]] = {
    "os.system": (("os", "system"), (text_code(_SHELL),)),
    "posix.system": (("posix", "system"), (text_code(_SHELL),)),
    "subprocess.Popen": (("subprocess", "Popen"), (text_code(_SHELL),)),
    "eval": (("builtins", "eval"), (text_code(f"open('{CANARY}', 'w')"),)),
    "exec": (("builtins", "exec"), (text_code(f"open('{CANARY}', 'w')"),)),
    "exec by its old name": (("__builtin__", "exec"), (text_code(f"open('{CANARY}', 'w')"),)),
    "__import__": (("builtins", "__import__"), (text_code("antigravity"),)),
    "getattr": (("builtins", "getattr"), (text_code("x"), text_code("upper"))),
    "open": (("builtins", "open"), (text_code(CANARY), text_code("w"))),
    "importlib": (("importlib", "import_module"), (text_code("antigravity"),)),
    "runpy": (("runpy", "run_path"), (text_code("/etc/passwd"),)),
    "ctypes.CDLL": (("ctypes", "CDLL"), (text_code("libc.so.6"),)),
    "a pickle in a pickle": (("pickle", "loads"), (text_code("cos\nsystem\n"),)),
    "marshalled code": (("marshal", "loads"), (text_code("x"),)),
    "shutil.rmtree": (("shutil", "rmtree"), (text_code("."),)),
    "socket": (("socket", "create_connection"), (text_code("x"),)),
    "webbrowser": (("webbrowser", "open"), (text_code("http://127.0.0.1:9"),)),
    "operator": (("operator", "methodcaller"), (text_code("system"),)),
    "sys.exit": (("sys", "exit"), ()),
    "a submodule of os": (("os.path", "exists"), (text_code("x"),)),
}
_SKIPPED: dict[str, bytes] = {
    "bytearray(3e9)": _call("builtins", "bytearray", integer_code(3_000_000_000)),
    "bytes(3e9)": _call("builtins", "bytes", integer_code(3_000_000_000)),
    "list(range(1e12))": _call("builtins", "list", _call("builtins", "range", integer_code(10**12))),
    "a numpy array of 1e12": _call(
        "numpy.core.multiarray",
        "_reconstruct",
        _named("numpy", "ndarray"),
        b"(" + integer_code(10**12) + b"t",
        text_code("b"),
    ),
    "torch.zeros(1e12)": _call("torch", "zeros", integer_code(10**12)),
    "torch.load": _call("torch", "load", text_code("/etc/passwd")),
    "a class with a state": _named("torch.nn", "Module")
    + b")\x81}"
    + text_code("x")
    + text_code("y")
    + b"sb",
    "a function that nothing has": _call("no.such", "module"),
    "a list that holds itself": b"]q\xfah\xfaa",
    "a dict that holds itself": b"}q\xfa" + text_code("x") + b"h\xfas",
    "a list doubled 60 times": _doubled(60),
    "keys that are tuples in tuples": b"}" + b")" + b"\x85" * 50_000 + b"Ns",
    "a key of 10^4 digits": b"}\x8a\xff" + b"\xff" * 254 + b"\x01Ns",
    "tuples 50,000 deep": b")" + b"\x85" * 50_000,
    "lists 50,000 deep": b"]" * 50_001 + b"a" * 50_000,
    "dicts 20,000 deep": b"}" + (text_code("x") + b"}") * 20_000 + b"s" * 20_000,
}
_DAMAGED: dict[str, bytes] = {
    "no end": b"\x80\x02}",
    "an end without a value": b"\x80\x02.",
    "a value that was not stored": b"\x80\x02h\x07.",
    "an item without a container": b"\x80\x02NNs.",
    "marks without an end": b"\x80\x02" + b"(" * 50_000 + b".",
    "an end of marks without a mark": b"\x80\x02Nt.",
    "text of 2^60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.",
    "bytes of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "a bytearray of 2^62": b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"x.",
    "an integer of 2^31 bytes": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "an integer of -1 bytes": b"\x80\x02\x8b" + struct.pack("<i", -1) + b"x.",
    "an integer of 10^5 digits": b"\x80\x00I" + b"9" * 100_000 + b"\n.",
    "a name of a megabyte": b"\x80\x02c" + b"x" * 1_000_000 + b"\ny\n.",
    "a call of no function": b"\x80\x02}" + text_code("x") + b")Rs.",
    "an unknown opcode": b"\x80\x02\xff.",
    "text that is no text": b"\x80\x02X\x02\x00\x00\x00\xff\xfe.",
}
_UNUSUAL: dict[str, bytes] = {
    "INST": b"\x80\x00(ios\nsystem\n.",
    "OBJ": b"\x80\x01(" + _named("collections", "OrderedDict") + b"o.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"\x80\x00Pstorage\n.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
}
_TENSORS: dict[str, tuple[bytes, str]] = {
    "a tensor of 1e12 elements": (_tensor(0, [10**12], [1]), "larger than its own data"),
    "one element as 1e12 (stride 0)": (_tensor(0, [10**12], [0]), "view of another tensor"),
    "strides that overlap": (_tensor(0, [2, 2], [0, 1]), "view of another tensor"),
    "a negative stride": (_tensor(9, [2], [-1]), "cannot be read"),
    "a negative size": (_tensor(0, [-2], [1]), "cannot be read"),
    "a size of 2^70": (_tensor(0, [2**70], [1]), "cannot be read"),
    "a thousand axes": (_tensor(0, [1] * 1000, [1] * 1000), "cannot be read"),
    "an offset over the end": (_tensor(63, [2], [1]), "larger than its own data"),
    "a storage of 1e12": (_tensor(0, [2], [1], 10**12), "is damaged: it claims"),
    "a storage of -1": (_tensor(0, [1], [1], -1), "cannot be read"),
}


def pickles() -> Iterator[Kind]:
    """A whole file, and pickles that name, claim or nest what they should not."""
    yield Kind("a whole file", partial(file_of, lambda: saved(small_state())), "loaded")
    for name, (function, arguments) in _CALLS.items():
        pickle = partial(
            lambda function, arguments: zipped(_beside(_call(*function, *arguments))), function, arguments
        )
        yield Kind(f"calls {name}", partial(file_of, pickle), "nothing was executed")
    for name, value in _SKIPPED.items():
        yield Kind(
            f"beside the weights: {name}",
            partial(file_of, partial(lambda value: zipped(_beside(value)), value)),
            "loaded",
        )
        yield Kind(
            f"instead of weights: {name}",
            partial(file_of, partial(lambda value: zipped(_alone(value)), value)),
            "holds",
        )
    for name, pickle_bytes in _DAMAGED.items():
        yield Kind(name, partial(file_of, partial(zipped, pickle_bytes)), "cannot be read")
    for name, pickle_bytes in _UNUSUAL.items():
        yield Kind(
            f"the opcode {name}", partial(file_of, partial(zipped, pickle_bytes)), "nothing was executed"
        )
    for name, (pickle_bytes, message) in _TENSORS.items():
        yield Kind(name, partial(file_of, partial(zipped, pickle_bytes)), message)
