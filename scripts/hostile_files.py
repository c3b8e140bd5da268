"""Hostile archives, safetensors files, weights and files of the system, for ``hostile_kinds.py``."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors

from scripts.hostile_kinds import (
    CANARY,
    Kind,
    file_of,
    integer_code,
    saved,
    small_state,
    text_code,
    whole_records,
    zipped,
)


def archives() -> Iterator[Kind]:
    """Zip archives, and files of before 1.6."""
    whole = whole_records()["archive/data.pkl"]
    made: dict[str, tuple[Callable[[], bytes], str]] = {
        "compressed": (lambda: zipped(whole, method=zipfile.ZIP_DEFLATED), "compressed"),
        "a storage of 200 MB in 0.2 MB": (_bomb, "compressed"),
        "a record twice": (_twice, "a record twice"),
        "a pickle twice": (partial(_more, {"other/data.pkl": whole}), "torch.save did not write"),
        "code of TorchScript": (partial(_more, {"archive/constants.pkl": b"x"}), "which holds code"),
        "a path that leads out": (partial(_more, {f"../../{CANARY}": b"x"}), "loaded"),
        "big-endian": (partial(_more, {"archive/byteorder": b"big"}), "big-endian"),
        "30,000 records": (
            partial(_more, {f"archive/data/x{n}": b"" for n in range(30_000)}),
            "too many records",
        ),
        "a wrong checksum of its pickle": (_wrong_checksum, "cannot be read"),
        "cut in half": (lambda: zipped(whole)[: len(zipped(whole)) // 2], "cannot be read"),
        "cut by a byte": (lambda: zipped(whole)[:-1], "cannot be read"),
        "records on one another": (_overlapping, "is damaged"),
        "a directory that lies about sizes": (_lying, "is damaged"),
        "encrypted": (_encrypted, "cannot be read"),
        "an empty archive": (lambda: zipped(b"", records={}), "not a checkpoint"),
        "the beginning of an archive": (lambda: b"PK\x03\x04" + bytes(100), "cannot be read"),
        "no storages": (lambda: zipped(whole, records={"archive/data.pkl": b""}), "is damaged: it claims"),
        "a million keys": (partial(_many, lambda n: text_code(f"k{n}") + b"N"), "over 1,000,000 steps"),
        "300,000 keys": (partial(_many, lambda n: text_code(f"k{n}") + b"N", 300_000), "holds no weights"),
        "300,000 numbered keys": (
            partial(_many, lambda n: integer_code(n) + b"N", 300_000),
            "holds no weights",
        ),
        "a pickle of 40 MB": (
            lambda: zipped(b"\x80\x02" + text_code("x" * 40_000_000) + b"."),
            "pickle alone is over",
        ),
        "a text of 30 MB": (
            lambda: zipped(b"\x80\x02}" + text_code("x" * 30_000_000) + b"Ns."),
            "holds no weights",
        ),
        "names with control characters": (
            lambda: zipped(b"\x80\x02}" + text_code("\x1b[2J\r\n\u202e") + b"Ns."),
            "no weights",
        ),
        "legacy: os.system first": (
            lambda: b"\x80\x02cos\nsystem\n" + text_code("x") + b"\x85R.",
            "nothing was executed",
        ),
        "legacy: a plain pickle": (lambda: b"\x80\x02}.", "torch.save did not write"),
        "legacy: cut": (
            lambda: saved(small_state(), _use_new_zipfile_serialization=False)[:-99],
            "truncated",
        ),
        "legacy: a storage's size": (_legacy_size, "another size than claimed"),
    }
    large = (
        "a million keys",
        "a pickle of 40 MB",
        "a text of 30 MB",
        "30,000 records",
        "300,000 keys",
        "300,000 numbered keys",
    )
    for name, (data, expected) in made.items():
        yield Kind(f"archive: {name}", partial(file_of, data), expected, slow=name in large)


def _more(records: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in (whole_records() | records).items():
            archive.writestr(name, data)
    return out.getvalue()


def _many(item: Callable[[int], bytes], count: int = 1_000_000) -> bytes:
    return zipped(b"\x80\x02}(" + b"".join(map(item, range(count))) + b"u.")


def _bomb() -> bytes:
    records = {name: data for name, data in whole_records().items() if not name.endswith("data/0")}
    return zipped(
        records["archive/data.pkl"], records=records | {"archive/data/0": bytes(200_000_000)}, method=8
    )


def _twice() -> bytes:
    out = io.BytesIO(zipped(whole_records()["archive/data.pkl"]))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("archive/data/0", b"x" * 8)
    return out.getvalue()


def _wrong_checksum() -> bytes:
    data = bytearray(zipped(whole_records()["archive/data.pkl"]))
    data[data.index(whole_records()["archive/data.pkl"]) + 100] ^= 1
    return bytes(data)


def _directory(name: str) -> tuple[bytearray, int]:
    """A whole file, and where its directory describes a record."""
    data = bytearray(zipped(whole_records()["archive/data.pkl"]))
    return data, data.rindex(name.encode()) - 46


def _overlapping() -> bytes:
    data, first = _directory("archive/data/1")
    _, second = _directory("archive/data/2")
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(data)


def _lying() -> bytes:
    data, record = _directory("archive/data/1")
    data[record + 20 : record + 28] = struct.pack("<II", 2**31, 2**31)
    return bytes(data)


def _encrypted() -> bytes:
    data, record = _directory("archive/data.pkl")
    data[record + 8] |= 1
    return bytes(data)


def _legacy_size() -> bytes:
    data = bytearray(saved({"bn0.weight": torch.ones(64)}, _use_new_zipfile_serialization=False))
    data[-264:-256] = struct.pack("<q", 65)  # before the 256 bytes of the only storage
    return bytes(data)


def _described(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def safetensors() -> Iterator[Kind]:
    """Safetensors files whose header lies."""
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    nested = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    headers: dict[str, tuple[Callable[[], bytes], str]] = {
        "a length of 2^63": (partial(_described, {}, b"", 2**63), "not a checkpoint"),
        "a length of 99 MB": (partial(_described, {}, b"", 99_000_000), "header of over"),
        "a length over its end": (partial(_described, {}, b"", 5_000), "header cannot be read"),
        "lists 100,000 deep": (partial(_described, nested), "header cannot be read"),
        "a number of 10^5 digits": (
            partial(_described, b'{"a":' + b"9" * 100_000 + b"}"),
            "header cannot be read",
        ),
        "text that is no text": (partial(_described, b'{"\xff":1}'), "header cannot be read"),
        "offsets below zero": (
            partial(_described, {"a": one | {"data_offsets": [-8, 0]}}),
            "header cannot be read",
        ),
        "tensors on one another": (
            partial(_described, {"a": one, "b": one}, bytes(8)),
            "header cannot be read",
        ),
        "a hole": (
            partial(_described, {"a": one | {"data_offsets": [8, 16]}}, bytes(16)),
            "header cannot be read",
        ),
        "sizes whose product is 2^90": (
            partial(_described, {"a": one | {"shape": [2**45] * 2}}, bytes(8)),
            "cannot be read",
        ),
        "a million axes": (
            partial(_described, {"a": one | {"shape": [1] * 1_000_000}}, bytes(8)),
            "cannot be read",
        ),
        "sizes with a point": (
            partial(_described, {"a": one | {"shape": [2.0]}}, bytes(8)),
            "cannot be read",
        ),
        "bytes behind its tensors": (partial(_described, {"a": one}, bytes(9)), "cannot be read"),
        "a tensor of 1e12 bytes": (
            partial(
                _described,
                {"a": {"dtype": "F32", "shape": [25 * 10**10], "data_offsets": [0, 10**12]}},
                bytes(8),
            ),
            "cannot be read",
        ),
        "an unknown dtype": (
            partial(_described, {"a": one | {"dtype": "F999"}}, bytes(8)),
            "holds no weights",
        ),
        "metadata of numbers": (
            partial(_described, {"__metadata__": {"a": 1}, "b": one}, bytes(8)),
            "cannot be read",
        ),
        "a description that is none": (
            partial(_described, {"__metadata__": {"pannscope": "[" * 9_000}, "a": one}, bytes(8)),
            "",
        ),
        "a list": (partial(_described, b"{" + b" " * 90 + b"}"), "holds no weights"),
        "200,000 tensors": (partial(_tensors, 200_000), "header of over"),
        "60,000 tensors": (partial(_tensors, 60_000), "has no elements"),
    }
    large = ("a million axes", "200,000 tensors", "60,000 tensors")
    for name, (data, expected) in headers.items():
        make = partial(file_of, data, name="hostile.safetensors")
        yield Kind(f"safetensors: {name}", make, expected, slow=name in large)


def _tensors(count: int) -> bytes:
    one = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return _described({f"tensor {number}": one for number in range(count)})


def weights() -> Iterator[Kind]:
    """Weights that no network can run with."""

    def changed(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> bytes:
        state = {key: value.clone() for key, value in small_state().items()}
        return saved(state | {name: change(state[name])})

    def aliased() -> bytes:
        shared = torch.zeros(1_000)
        state = small_state()
        return saved({key: shared[: value.numel()].view(value.shape) for key, value in state.items()})

    made: dict[str, tuple[Callable[[], bytes], str]] = {
        "NaN": (
            partial(changed, "fc1.weight", lambda value: value * torch.nan),
            "NaN or infinite values in fc1.weight",
        ),
        "infinite": (
            partial(changed, "fc1.bias", lambda value: value + torch.inf),
            "NaN or infinite values in fc1.bias",
        ),
        "a negative variance": (
            partial(changed, "bn0.running_var", torch.neg),
            "negative variances in bn0.running_var",
        ),
        "over float32": (
            partial(changed, "fc1.bias", lambda value: value.double() + 1e300),
            "float32 does not have",
        ),
        "complex": (partial(changed, "fc1.bias", lambda value: value.to(torch.complex64)), "fc1.bias"),
        "quantized": (partial(changed, "fc1.bias", lambda value: value.to(torch.int8)), "of another type"),
        "without elements": (partial(changed, "fc1.bias", lambda value: value[:0]), "has no elements"),
        "of another shape": (partial(changed, "fc1.bias", lambda value: value[:1]), "of another shape"),
        "widths of 2^20": (
            partial(changed, "conv_block6.conv2.weight", lambda value: value[:1].expand(2**20, -1, -1, -1)),
            "view of another tensor",
        ),
        "one storage for all": (aliased, "loaded"),
        "none": (lambda: saved({}), "holds no weights"),
        "a name of control characters": (
            lambda: saved(small_state() | {"\x1b[2J\n": torch.ones(1)}),
            "",
        ),
    }
    for name, (data, expected) in made.items():
        yield Kind(f"weights: {name}", partial(file_of, data), expected)


def files() -> Iterator[Kind]:
    """What a path can lead to, and files that change while they are used."""

    def linked(target: str, folder: Path) -> Path:
        (folder / "hostile.pth").symlink_to(target)
        return folder / "hostile.pth"

    def fifo(folder: Path) -> Path:
        os.mkfifo(folder / "hostile.pth")
        return folder / "hostile.pth"

    def hole(beginning: bytes, folder: Path) -> Path:
        path = file_of(lambda: beginning, folder)
        os.truncate(path, 10**11)
        return path

    def written(folder: Path) -> Path:
        return file_of(lambda: save_tensors(small_state()), folder, name="hostile.safetensors")

    whole = partial(file_of, lambda: saved(small_state()))
    yield Kind("file: empty", partial(file_of, lambda: b""), "is empty")
    yield Kind("file: a link to itself", partial(linked, "hostile.pth"), "no file")
    yield Kind("file: a link to a folder", partial(linked, "."), "is a folder")
    yield Kind("file: a link to /dev/zero", partial(linked, "/dev/zero"), "no file")
    yield Kind("file: a link to /proc/self/mem", partial(linked, "/proc/self/mem"), "")
    yield Kind("file: a pipe that nobody writes to", fifo, "no file")
    yield Kind("file: a hole of 100 GB", partial(hole, b""), "not a checkpoint")
    yield Kind("file: a hole behind a zip's beginning", partial(hole, b"PK\x03\x04"), "cannot be read")
    yield Kind("file: a hole behind a pickle's", partial(hole, b"\x80\x02"), "is damaged")
    yield Kind("file: a hole behind a header", partial(hole, _described({})), "cannot be read")
    yield Kind(
        "file: shortened after its check",
        whole,
        "became shorter",
        meanwhile=lambda path: os.truncate(path, 900),
    )
    yield Kind("file: removed after its check", whole, "cannot be read", meanwhile=Path.unlink)
    for name, make in (("torch", whole), ("safetensors", written)):
        yield Kind(
            f"file: {name}, overwritten in use",
            make,
            "loaded",
            afterwards=lambda path: path.write_bytes(b"\xff" * 99),  # type: ignore[arg-type]
        )
        yield Kind(f"file: {name}, cut in use", make, "loaded", afterwards=lambda path: os.truncate(path, 0))
