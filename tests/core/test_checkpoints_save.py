"""Our own layout: what is written comes back, and what was not written by us is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from core.checkpoints import load_checkpoint, save_checkpoint
from core.classes import ClassSet
from core.errors import CheckpointError
from core.models.cnn import Cnn14, Cnn14Config

CLASSES = ClassSet.from_names(("Music", "Speech", "Rain"))
WIDTHS = (4, 4, 6, 6, 8, 8, 3, 4, 5, 6, 7, 8)
KEPT = {"C7": [0, 2, 5], "C8": [1, 2, 3, 9]}
TRAINING = {"seed": 3, "folds": [1, 2], "note": "Ende gut, alles gut: ü", "mAP": 0.97}


@pytest.fixture
def model() -> Cnn14:
    torch.manual_seed(2)
    model = Cnn14(Cnn14Config(WIDTHS, 3, 16)).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(1e-9, 2)
            elif name.endswith("num_batches_tracked"):
                value.fill_(17)
    return model


def saved(path: Path, model: Cnn14, **options: Any) -> Path:
    values: dict[str, Any] = {"classes": CLASSES, "name": "mine"} | options
    save_checkpoint(path, model, **values)
    return path


def edited(path: Path, **changes: Any) -> Path:
    """The file with other metadata; None removes an entry."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = {**json.loads(file.metadata()["pannscope"]), **changes}
    kept = {key: value for key, value in metadata.items() if value is not None}
    save_file(load_file(path), path, {"pannscope": json.dumps(kept)})
    return path


@pytest.mark.parametrize("half", [False, True])
def test_a_round_trip(tmp_path: Path, model: Cnn14, half: bool) -> None:
    path = tmp_path / "deep" / "folder" / "x.safetensors"
    written = save_checkpoint(
        path, model, classes=CLASSES, name="mine", kept=KEPT, training=TRAINING, half=half
    )
    loaded = load_checkpoint(path)
    assert loaded.info == written
    assert loaded.info.widths == WIDTHS
    assert loaded.info.classes.names == ("Music", "Speech", "Rain")
    assert (loaded.info.kept, loaded.info.training) == (KEPT, TRAINING)
    assert loaded.info.size_bytes == path.stat().st_size
    assert list(path.parent.iterdir()) == [path]
    state = loaded.model.state_dict()
    for name, value in model.state_dict().items():
        exact = not half or value.ndim < 2
        expected = value if exact else value.half().float()
        assert torch.equal(state[name], expected), name
        assert state[name].dtype == value.dtype
    waveform = torch.rand(1, 16_000) - 0.5
    assert torch.allclose(
        loaded.model.probabilities(waveform), model.probabilities(waveform), atol=2e-3 if half else 0, rtol=0
    )


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind are POSIX's")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_others_may_read_it_where_the_umask_lets_them(
    tmp_path: Path, model: Cnn14, mask: int, mode: int
) -> None:
    """The image serves as another user than the one that built it."""
    before = os.umask(mask)
    try:
        path = saved(tmp_path / "x.safetensors", model)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_a_name_that_would_play_with_the_terminal_is_shown_plainly(tmp_path: Path, model: Cnn14) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    edited(path, name="\x1b[31mred\n \u202eenim" + 200 * "x")
    name = load_checkpoint(path).info.name
    assert name.startswith("[31mred enimx")
    assert (len(name), name.isprintable()) == (120, True)
    edited(path, name="\x07")
    assert load_checkpoint(path).info.name == "checkpoint"


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    model = Cnn14(Cnn14Config((16,) * 12, 3, 64))
    full = saved(tmp_path / "full.safetensors", model).stat().st_size
    half = saved(tmp_path / "half.safetensors", model, half=True).stat().st_size
    weights = sum(value.numel() for value in model.state_dict().values() if value.ndim > 1)
    assert full - half == pytest.approx(2 * weights, abs=200)


def test_a_loaded_checkpoint_can_be_saved_over_itself(tmp_path: Path, model: Cnn14) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    before = path.read_bytes()
    saved(path, load_checkpoint(path).model)
    assert path.read_bytes() == before


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, model: Cnn14) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    before = path.read_bytes()
    with torch.no_grad():
        model.fc1.weight[0, 0] = float("nan")
    with pytest.raises(
        CheckpointError, match=r"fc1\.weight holds NaN or infinite values, so the checkpoint was not saved"
    ):
        saved(path, model)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_weights_too_large_for_half_precision(tmp_path: Path, model: Cnn14) -> None:
    with torch.no_grad():
        model.fc1.weight[0, 0] = 1e5
    with pytest.raises(CheckpointError, match="too large for half precision; save with half=False"):
        saved(tmp_path / "x.safetensors", model, half=True)
    saved(tmp_path / "x.safetensors", model)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": ClassSet.audioset()}, "3 outputs and 527 classes"),
        ({"kept": {"C13": [0]}}, "kept filters of 'C13'"),
        ({"kept": {"C7": [0, 1]}}, "do not fit its 3 filters"),
        ({"kept": {"C7": [0, 2, 2]}}, "do not fit"),
        ({"kept": {"C7": [2, 1, 0]}}, "do not fit"),
        ({"kept": {"C7": [-1, 1, 2]}}, "do not fit"),
        ({"training": {"model": object()}}, "plain JSON"),
        ({"training": {"loss": float("nan")}}, "plain JSON"),
    ],
)
def test_what_cannot_be_saved(tmp_path: Path, model: Cnn14, options: dict[str, Any], match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        saved(tmp_path / "x.safetensors", model, **options)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path, model: Cnn14) -> None:
    with pytest.raises(
        CheckpointError, match=r"saved as \.safetensors files; got 'x\.pth': name it x\.safetensors"
    ):
        saved(tmp_path / "x.pth", model)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        saved(tmp_path / "file" / "x.safetensors", model)
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        saved(tmp_path / "x.safetensors", model)


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, **options)
    assert "\n" not in str(caught.value)
    assert os.fspath(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 2}, "has format '2' and this Pannscope reads 1"),
        ({"architecture": "vgg"}, "Unknown architecture 'vgg'"),
        ({"architecture": 3}, "damaged metadata"),
        ({"widths": [4, 4]}, "2 widths for the 12 layers"),
        ({"widths": [*WIDTHS[:11], 9]}, "other widths than its metadata"),
        ({"widths": "many"}, "damaged metadata"),
        ({"embedding": 17}, "other widths than its metadata"),
        ({"embedding": True}, "damaged metadata"),
        ({"embedding": 2**31 - 1}, "other widths than its metadata"),
        ({"embedding": 2**31}, "damaged metadata"),
        ({"embedding": -1}, "damaged metadata"),
        ({"classes": [1, 2]}, "3 outputs and 2 classes"),
        ({"classes": [1, 2, 9999]}, "cannot be built"),
        ({"classes": [1, 2, -1]}, "damaged metadata"),
        ({"kept": {"C7": [0]}}, "do not fit its 3 filters"),
        ({"kept": {"C7": []}}, "do not fit its 3 filters"),
        ({"kept": {"C7": [0, 2, 1]}}, "ascending indices"),
        ({"kept": {"C7": [0, 1, 1]}}, "ascending indices"),
        ({"kept": {"C7": [0, 1, 2, 3]}}, "do not fit its 3 filters"),
        ({"kept": {"C7": [-1, 0, 1]}}, "damaged metadata"),
        ({"kept": {"C13": [0]}}, "lists kept filters of 'C13'; cnn14 has C1, "),
        ({"kept": [3]}, "damaged metadata"),
        ({"training": 3}, "damaged metadata"),
        ({"name": None}, "damaged metadata"),
    ],
)
def test_metadata_that_is_wrong(tmp_path: Path, model: Cnn14, changes: dict[str, Any], match: str) -> None:
    refused(edited(saved(tmp_path / "x.safetensors", model), **changes), match)


@pytest.mark.parametrize("text", ["", "[", "[" * 5000, "3", "null", "[1]", "{}"])
def test_metadata_that_is_not_a_description(tmp_path: Path, model: Cnn14, text: str) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    save_file(load_file(path), path, {"pannscope": text})
    refused(path, "damaged metadata")


def test_a_safetensors_file_of_another_program(tmp_path: Path, model: Cnn14) -> None:
    save_file(model.state_dict(), tmp_path / "x.safetensors", {"format": "pt"})
    info = load_checkpoint(tmp_path / "x.safetensors").info
    assert (info.name, info.widths, info.embedding) == ("x", model.config.widths, model.config.embedding)
    named = {"format": "pt", "class_names": json.dumps(["Drone", "Rain", "Door of the shed"])}
    save_file(model.state_dict(), tmp_path / "x.safetensors", named)
    assert load_checkpoint(tmp_path / "x.safetensors").info.classes.names == (
        "Drone",
        "Rain",
        "Door of the shed",
    )


def test_tensors_that_do_not_fit(tmp_path: Path, model: Cnn14) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(path)
    save_file({**state, "more": torch.zeros(2)}, path, metadata)
    refused(path, r"1 unexpected \(more\)")
    save_file({key: value for key, value in state.items() if key != "fc1.bias"}, path, metadata)
    refused(path, r"1 missing \(fc1.bias\)")
    save_file({**state, "fc1.bias": torch.zeros(16, dtype=torch.uint8)}, path, metadata)
    refused(path, "fc1.bias uint8 instead of float32")
    save_file({**state, "fc1.bias": torch.zeros(0)}, path, metadata)
    refused(path, "'fc1.bias' has no elements")


def test_kept_filters_are_checked_when_they_are_saved(tmp_path: Path, model: Cnn14) -> None:
    for kept in ([-1, 0, 1], [0, 1], [2, 1, 0]):
        with pytest.raises(
            CheckpointError, match="'small' lists kept filters of C7 that do not fit its 3 filters"
        ):
            save_checkpoint(
                tmp_path / "x.safetensors",
                model,
                classes=ClassSet.from_names(["Music", "Speech", "Rain"]),
                name="small",
                kept={"C7": kept},
            )
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file(tmp_path: Path, model: Cnn14) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    content = path.read_bytes()
    for share in (0.01, 0.5, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        refused(path, "damaged or truncated")


def test_what_the_caller_says_is_checked(tmp_path: Path, model: Cnn14) -> None:
    path = saved(tmp_path / "x.safetensors", model)
    refused(path, "holds a cnn14, not a cnn10", architecture="cnn10")
    assert load_checkpoint(path, name="other").info.name == "other"
