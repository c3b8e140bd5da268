"""What a pickle claims of tensors and storages, on both sides of every bound; the files are put together by hand."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoints import torchfile
from core.checkpoints.claims import TensorClaim
from core.checkpoints.pickles import MAX_OPCODES, MAX_PICKLE_BYTES, read_pickle
from core.checkpoints.torchfile import open_torch_file
from core.errors import CheckpointError


class Storage:
    """Stands in a pickle for a storage; ``saved`` is its persistent id."""

    def __init__(self, *saved: Any) -> None:
        self.saved = saved


class Rebuilt:
    """Stands in a pickle for a tensor: a call of the function that torch.save names, with these arguments."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return torch._utils._rebuild_tensor_v2, (*self.arguments, False, OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.saved if isinstance(value, Storage) else None


def claimed(value: Any) -> Any:
    """What the reader makes of a pickle of ``value``."""
    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(value)
    return read_pickle(io.BytesIO(stream.getvalue()), MAX_OPCODES).root


def hundred(elements: Any = 100) -> Storage:
    return Storage("storage", torch.FloatStorage, "0", "cpu", elements)


def tensor(offset: Any, shape: tuple[Any, ...], stride: tuple[Any, ...], storage: Any = None) -> TensorClaim:
    claim = claimed(Rebuilt(storage or hundred(), offset, shape, stride))
    assert isinstance(claim, TensorClaim)
    return claim


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (100,), (1,)),
        (60, (40,), (1,)),  # the last element of both
        (99, (), ()),
        (0, (5, 20), (1, 5)),  # transposed
        (0, (1, 100, 1), (7, 1, 0)),  # the stride of an axis of one element means nothing
        (0, (1,) * 8, (1,) * 8),
        (100, (0,), (1,)),
    ],
)
def test_a_dense_window_of_the_storage(offset: int, shape: Any, stride: Any) -> None:
    claim = tensor(offset, shape, stride)
    assert (claim.offset, claim.shape, claim.stride, claim.dtype) == (offset, shape, stride, torch.float32)
    assert claim.dense
    assert (claim.storage.key, claim.storage.elements, claim.storage.nbytes) == ("0", 100, 400)


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "match"),
    [
        (0, (101,), (1,), "larger than its own data"),
        (61, (40,), (1,), "larger than its own data"),
        (100, (), (), "larger than its own data"),
        (1, (5, 20), (20, 1), "larger than its own data"),
        (2**48 - 1, (1,), (1,), "larger than its own data"),
        (-1, (1,), (1,), "cannot be read"),
        (0, (-1,), (1,), "cannot be read"),
        (0, (1,), (-1,), "cannot be read"),
        (True, (1,), (1,), "cannot be read"),
        (0.0, (1,), (1,), "cannot be read"),
        (2**48, (1,), (1,), "cannot be read"),
        (0, (1, 1), (1,), "cannot be read"),
        (0, (1,) * 9, (1,) * 9, "cannot be read"),
    ],
)
def test_windows_that_reach_out(offset: Any, shape: Any, stride: Any, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        tensor(offset, shape, stride)


@pytest.mark.parametrize(
    ("shape", "stride"), [((10,), (2,)), ((10,), (0,)), ((5, 10), (20, 1)), ((2, 2), (1, 1))]
)
def test_windows_with_holes_or_overlaps(shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
    assert not tensor(0, shape, stride).dense


@pytest.mark.parametrize(
    ("storage", "match"),
    [
        (hundred(-1), "cannot be read"),
        (hundred(True), "cannot be read"),
        (Storage("storage", torch.FloatStorage, 0, "cpu", 100), "cannot be read"),
        (Storage("storage", "FloatStorage", "0", "cpu", 100), "cannot be read"),
        (Storage("module", torch.FloatStorage, "0", "cpu", 100), "whole pickled model"),
        (Storage("storage", torch.FloatStorage, "0", "cpu"), "whole pickled model"),
        (Storage("storage", torch.FloatStorage, "0", "cpu", 100, ("0", 0, 50)), "views of storages"),
        (Storage("storage", torch.FloatStorage, "0", "cpu", 100, None, None), "whole pickled model"),
    ],
)
def test_storages_that_are_not_one(storage: Storage, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        tensor(0, (1,), (1,), storage)


def test_an_old_files_storage_says_that_it_is_no_view() -> None:
    assert tensor(0, (100,), (1,), Storage("storage", torch.FloatStorage, "0", "cpu", 100, None)).offset == 0


@pytest.mark.parametrize(
    ("key", "accepted"), [("name", True), (2**63 - 1, True), (2**63, False), (-(2**63), False), (None, False)]
)
def test_keys_are_names_or_numbers_of_a_bounded_size(key: Any, accepted: bool) -> None:
    assert claimed({key: 1}) == ({key: 1} if accepted else {})  # no weight has another, so that it is skipped


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_whose_tensor_begins_too_late(legacy: bool, tmp_path: Path) -> None:
    """100 elements, of which a tensor takes the last 40; then its offset, and nothing else, is one more."""
    path = tmp_path / "x.pth"
    torch.save({"a": torch.arange(100.0)[60:]}, path, _use_new_zipfile_serialization=not legacy)
    file = open_torch_file(path)
    assert file.tensors(file.root)["a"].tolist() == [float(number) for number in range(60, 100)]
    content = path.read_bytes()
    assert content.count(b"K\x3c") == 1  # BININT1 60
    path.write_bytes(content.replace(b"K\x3c", b"K\x3d"))
    if not legacy:  # with the checksum of the changed record
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(b"K\x3c", b"K\x3d"))
    with pytest.raises(CheckpointError, match="larger than its own data"):
        open_torch_file(path)


def _zip(path: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> Path:
    """A file of two tensors with 4,000 bytes each, its archive written anew by ``change``."""
    torch.save({"a": torch.zeros(1000), "b": torch.ones(1000)}, path)
    with zipfile.ZipFile(path) as old:
        records = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        change(new, records)
    return path


def test_records_that_lie_on_one_another(tmp_path: Path) -> None:
    """A small file could claim any number of storages if the archive's directory named the same bytes for all of them."""

    def overlapping(new: zipfile.ZipFile, records: dict[str, bytes]) -> None:
        (second,) = (name for name in records if name.endswith("data/1"))
        for name, content in records.items():
            if name != second:
                new.writestr(name, content)
        first = new.getinfo(second.removesuffix("1") + "0")
        again = zipfile.ZipInfo(second)
        again.header_offset, again.CRC = first.header_offset, first.CRC
        again.file_size = again.compress_size = first.file_size
        new.filelist.append(again)

    path = _zip(tmp_path / "x.pth", overlapping)
    assert path.stat().st_size < 8000
    with pytest.raises(CheckpointError, match="records overlap"):
        open_torch_file(path)


@pytest.mark.parametrize(("more", "accepted"), [(0, True), (1, False)])
def test_the_longest_description(more: int, accepted: bool, tmp_path: Path) -> None:
    def padded(new: zipfile.ZipFile, records: dict[str, bytes]) -> None:
        for name, content in records.items():
            new.writestr(name, content.ljust(MAX_PICKLE_BYTES + more) if name.endswith(".pkl") else content)

    path = _zip(tmp_path / "x.pth", padded)
    if accepted:
        assert set(open_torch_file(path).root) == {"a", "b"}
    else:
        with pytest.raises(CheckpointError, match="over 32 MB"):
            open_torch_file(path)


@pytest.mark.parametrize(("more", "accepted"), [(0, True), (1, False)])
def test_the_most_records(more: int, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(
        tmp_path / "x.pth",
        lambda new, records: [new.writestr(name, content) for name, content in records.items()] and None,
    )
    with zipfile.ZipFile(path) as archive:
        monkeypatch.setattr(torchfile, "_MAX_RECORDS", len(archive.namelist()) - more)
    if accepted:
        assert set(open_torch_file(path).root) == {"a", "b"}
    else:
        with pytest.raises(CheckpointError, match="too many"):
            open_torch_file(path)
