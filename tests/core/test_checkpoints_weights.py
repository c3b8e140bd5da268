"""Weights taken from a file: the same as torch.load reads, safe from what happens to the file, and nothing left behind."""

from __future__ import annotations

import mmap
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.checkpoints.opening import open_weights
from core.checkpoints.weights import WeightFile
from core.errors import CheckpointError

STATE = {
    "odd": torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)),
    "half": torch.randn(11).half(),
    "brain": torch.randn(13).bfloat16(),
    "counter": torch.tensor(2**40 + 1),
    "double": torch.randn(13, dtype=torch.float64),
    "flags": torch.tensor([True, False, True]),
}
"""Odd sizes, so that what follows is nowhere aligned, and every width of element."""


@pytest.fixture(params=["zip", "legacy", "safetensors"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> WeightFile:
    path = tmp_path / "weights"
    if request.param == "safetensors":
        save_file(STATE, path)
    else:
        shared = {"permuted": STATE["odd"].permute(2, 0, 1), "also": STATE["odd"]}
        torch.save(STATE | shared, path, _use_new_zipfile_serialization=request.param == "zip")
    return open_weights(path)


def same(file: WeightFile) -> bool:
    tensors = file.tensors(file.root)
    assert all(tensor.data_ptr() % tensor.itemsize == 0 for tensor in tensors.values())
    if "also" in tensors:
        assert torch.equal(tensors["permuted"], STATE["odd"].permute(2, 0, 1))
        assert tensors["also"].data_ptr() == tensors["permuted"].data_ptr()
    return all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype
        for name, value in STATE.items()
    )


def test_tensors_are_those_that_were_saved(file: WeightFile) -> None:
    assert same(file)
    assert [left.name for left in file.path.parent.iterdir()] == ["weights"]


def test_what_is_written_into_them_does_not_reach_the_file(file: WeightFile) -> None:
    before = file.path.read_bytes()
    file.tensors(file.root)["odd"].zero_()
    assert file.path.read_bytes() == before


def test_without_room_for_a_scratch_file_they_are_read_into_memory(
    file: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.checkpoints.weights.tempfile.TemporaryFile", no_room)
    assert same(file)


def test_windows_deletes_no_mapped_file_so_they_are_read_into_memory(
    file: WeightFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(mmap, "mmap", None)
    assert same(file)


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_file_that_becomes_shorter_meanwhile(file: WeightFile, kept: float) -> None:
    with file.path.open("r+b") as cut:
        cut.truncate(int(kept * file.path.stat().st_size))
    with pytest.raises(CheckpointError, match="became shorter while it was read"):
        file.tensors(file.root)
    assert [left.name for left in file.path.parent.iterdir()] == ["weights"]


CHANGES = """
import sys
from pathlib import Path
import numpy as np, torch
from core import load_tagger
from core.checkpoints import save_checkpoint
demo = load_tagger("demo-epanns", runtime="torch")
noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
expected = demo.probabilities(noise)
for suffix in (".pth", ".safetensors"):
    for change in (lambda: path.open("r+b").truncate(0), lambda: path.write_bytes(b"x" * 100), lambda: path.unlink()):
        path = Path(sys.argv[1], "x" + suffix)
        if suffix == ".pth":
            torch.save(demo.model.state_dict(), path)
        else:
            save_checkpoint(path, demo.model, classes=demo.classes, name="x")
        tagger = load_tagger(checkpoint=path, runtime="torch")
        change()
        assert np.array_equal(tagger.probabilities(noise), expected)
"""


def test_a_file_that_changes_after_it_was_loaded_changes_nothing(tmp_path: Path) -> None:
    """In a process of its own: where the file itself is mapped, the system ends it with SIGBUS."""
    run = subprocess.run([sys.executable, "-c", CHANGES, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, (run.returncode, run.stderr)
