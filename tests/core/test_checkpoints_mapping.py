"""Legacy torch files, mapped from an aligned copy: the same tensors as torch.load reads, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.checkpoints.mapping import map_tensors
from core.checkpoints.torchfile import open_torch_file


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """Odd sizes (so that what follows is nowhere aligned), another order of axes, every width of element, one storage twice."""
    torch.manual_seed(0)
    both = torch.randn(5, 7)
    state = {
        "odd": torch.randn(3, 5, 7),
        "half": torch.randn(11).half(),
        "permuted": torch.randn(4, 6, 2).permute(2, 0, 1),
        "counter": torch.tensor(2**40 + 1),
        "double": torch.randn(13, dtype=torch.float64),
        "flags": torch.tensor([True, False, True]),
        "shared": both,
        "also": both,
    }
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def test_tensors_are_those_that_torch_reads(legacy: Path) -> None:
    expected = torch.load(legacy, weights_only=True)
    found = open_torch_file(legacy).tensors()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].stride()) == (tensor.dtype, tensor.stride())
        assert torch.equal(found[name], tensor), name
        assert found[name].data_ptr() % tensor.itemsize == 0
    assert [file.name for file in legacy.parent.iterdir()] == ["old.pth"]


def test_what_is_mapped_does_not_write_back(legacy: Path) -> None:
    before = legacy.read_bytes()
    open_torch_file(legacy).tensors()["odd"].zero_()
    assert legacy.read_bytes() == before


def test_without_room_for_a_scratch_file_the_tensors_are_read(
    legacy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.checkpoints.mapping.tempfile.NamedTemporaryFile", no_room)
    found = open_torch_file(legacy).tensors()
    assert torch.equal(found["permuted"], torch.load(legacy, weights_only=True)["permuted"])


def test_windows_deletes_no_mapped_file_so_the_tensors_are_read(
    legacy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_torch_file(legacy)
    assert file.positions is not None
    monkeypatch.setattr("sys.platform", "win32")
    assert map_tensors(legacy, file.claims, file.positions) is None
    assert torch.equal(file.tensors()["odd"], torch.load(legacy, weights_only=True)["odd"])


def test_a_file_that_becomes_shorter_is_not_mapped(legacy: Path) -> None:
    file = open_torch_file(legacy)
    assert file.positions is not None
    with legacy.open("r+b") as cut:
        cut.truncate(max(file.positions.values()))
    assert map_tensors(legacy, file.claims, file.positions) is None
    assert [found.name for found in legacy.parent.iterdir()] == ["old.pth"]
