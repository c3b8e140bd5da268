"""Checkpoints as people have them: the same network wherever its weights lie, and a note of what was skipped."""

from __future__ import annotations

import argparse
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.checkpoints import MEL_KEY, load_checkpoint, save_checkpoint
from core.cli import main
from core.errors import CheckpointError
from core.models.cnn import Cnn14, Cnn14Config
from core.models.fitting import FRONT_END_KEYS
from core.models.frontend import FRONT_END, mel_matrix


class Configuration:
    """An object of a class that a checkpoint's reader does not have."""

    def __init__(self) -> None:
        self.rate = 1e-3


def network(classes: int = 527) -> OrderedDict[str, torch.Tensor]:
    """A narrow CNN14's state dict in the official layout; weights that float16 and bfloat16 hold exactly."""
    model = Cnn14(Cnn14Config((2, 3, 4, 3, 2, 3, 4, 5, 4, 3, 2, 3), classes, 4))
    generator = torch.Generator().manual_seed(1)
    state = OrderedDict(model.state_dict())
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = torch.randint(1, 100, value.shape, generator=generator) / 64
    front_end = {name: torch.zeros(shape(FRONT_END)) for name, shape in FRONT_END_KEYS.items()}
    return OrderedDict(front_end | {MEL_KEY: torch.tensor(mel_matrix())} | state)


STATE = network()
WEIGHTS = {name: value for name, value in STATE.items() if name not in FRONT_END_KEYS}


def under(prefix: str, state: dict[str, Any] = STATE) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def cast(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in STATE.items()}


def masked() -> dict[str, torch.Tensor]:
    """With half of C7's filters removed by torch.nn.utils.prune; a kept filter's original is twice its weight, its mask a half."""
    state, name = dict(STATE), "conv_block4.conv1.weight"
    mask = torch.full_like(state[name], 0.5)
    state[name + "_orig"], state[name + "_mask"] = 2 * state.pop(name), mask
    return state


OPTIMIZER = {
    "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}},
    "param_groups": [{"lr": 1e-3, "params": [0]}],
}
VARIANTS: dict[str, tuple[Any, str]] = {
    "official": ({"model": STATE}, ""),
    "bare": (STATE, ""),
    "without the front end": (WEIGHTS, ""),
    "a training's state": (
        {"iteration": 10_000, "model": STATE, "sampler": {"indexes": np.arange(100), "pointer": 5}},
        "skipped without running anything: iteration, sampler",
    ),
    "optimizer": ({"model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER, "loss": 0.1}, "optimizer_state_dict, loss"),
    "arguments": ({"args": argparse.Namespace(lr=1e-3, path=Path("x")), "state_dict": STATE}, "args (argparse.Namespace)"),
    "an object": ({"model": STATE, "config": Configuration()}, "config (" + Configuration.__module__),
    "numpy values": ({"model": STATE, "best": np.float64(0.4), "ids": {1, 2}, "seed": bytearray(4)}, "ids (__builtin__.set), seed (__builtin__.bytearray)"),
    "tuple keys": ({"model": STATE, "confusion": {(0, 1): 3}}, "confusion"),
    "generator state": ({"model": STATE, "rng": torch.get_rng_state(), "device": torch.device("cpu")}, "rng, device"),
    "Lightning": (
        {"epoch": 3, "state_dict": under("model.") | {"train_acc.total": torch.zeros(1)}, "callbacks": {}, "hyper_parameters": {"lr": 1e-3}},
        "under 'model.': train_acc.total",
    ),
    "DataParallel": ({"model": under("module.")}, ""),
    "compiled": (under("module._orig_mod."), ""),
    "deeper": ({"checkpoint": {"net": {"weights": under("backbone.")}}, "epoch": 1}, "Read from 'checkpoint.net"),
    "an average beside it": (STATE | under("ema.") | {"n_averaged": torch.tensor(3)}, "ema.bn0"),
    "thop": (
        STATE | {"total_ops": torch.zeros(1, dtype=torch.float64), "conv_block1.conv1.total_params": torch.zeros(1)},
        "2 bookkeeping tensors: total_ops",
    ),
    "without counters": ({name: value for name, value in STATE.items() if "num_batches" not in name}, ""),
    "float counters": ({name: value.float() for name, value in STATE.items()}, ""),
    "float16": ({"model": cast(torch.float16)}, ""),
    "bfloat16": ({"model": cast(torch.bfloat16)}, ""),
    "float64": ({"model": cast(torch.float64)}, ""),
    "pruning masks": (masked(), "conv_block4.conv1.weight"),
    "parameters": ({name: torch.nn.Parameter(value) if value.is_floating_point() else value for name, value in STATE.items()}, ""),
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_weights_whatever_surrounds_them(variant: str, legacy: bool, tmp_path: Path) -> None:
    content, note = VARIANTS[variant]
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    checkpoint = load_checkpoint(path)
    loaded = checkpoint.model.state_dict()
    assert all(
        torch.equal(loaded[name], value) for name, value in WEIGHTS.items() if "num_batches" not in name
    )
    assert {value.dtype for name, value in loaded.items() if "num_batches" not in name} == {torch.float32}
    notes = checkpoint.info.notes
    assert any(note in said for said in notes), notes
    assert "fit CNN14, and that was assumed" in notes[-1]
    assert note or len(notes) == 1


def test_other_peoples_safetensors(tmp_path: Path) -> None:
    save_file(under("model.", dict(STATE)), tmp_path / "x.safetensors", {"format": "pt"})
    loaded = load_checkpoint(tmp_path / "x.safetensors").model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in WEIGHTS.items())


def refusal(path: Path, content: Any, **options: Any) -> str:
    torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_ambiguous_or_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    assert "holds 2 networks, under 'teacher.', 'student.'" in refusal(
        path, under("teacher.") | under("student.")
    )
    state = masked()
    state["conv_block4.conv1.weight_mask"] = torch.ones(1)
    assert "mask of 'conv_block4.conv1.weight' has another shape" in refusal(path, state)
    del state["conv_block4.conv1.weight_mask"]
    assert "CNN14 comes closest: 1 missing (conv_block4.conv1.weight); 1 unexpected" in refusal(path, state)
    # The mel filters are those of the 16 kHz network, the Fourier transform is not.
    assert "trained with another front end" in refusal(path, STATE | {MEL_KEY: torch.zeros(257, 64)})


DECISION_LEVEL = "Cnn14_DecisionLevelMax_mAP=0.385.pth"


@pytest.mark.parametrize("renamed", [False, True])
def test_decision_level_networks_are_no_cnn14(renamed: bool, tmp_path: Path) -> None:
    path = tmp_path / DECISION_LEVEL
    torch.save({"model": STATE}, path)
    if renamed:  # torch.save kept the name in the archive
        path = path.rename(tmp_path / "x.pth")
    info = load_checkpoint(path).info
    assert (info.architecture, info.notes) == ("cnn14-decision-level-max", ())
    notes = load_checkpoint(path, architecture="cnn14").info.notes
    assert notes == ("It calls itself CNN14 decision-level (maximum) and is run as CNN14, as requested.",)


@pytest.mark.parametrize("said", ["Cnn14_DecisionLevelAvg", "decision level avg"])
def test_decision_level_in_the_settings(said: str, tmp_path: Path) -> None:
    torch.save({"hyper_parameters": {"model_type": said}, "state_dict": STATE}, tmp_path / "x.pth")
    assert load_checkpoint(tmp_path / "x.pth").info.architecture == "cnn14-decision-level-avg"
    torch.save({"model": STATE}, tmp_path / "y.pth")
    assert load_checkpoint(tmp_path / "y.pth", architecture="cnn14").info.notes == ()


NAMES = ["Drone", "Rain", "Door, of the shed"]


@pytest.mark.parametrize(
    "beside",
    [
        {"classes": NAMES},
        {"hyper_parameters": {"class_names": tuple(NAMES)}},
        {"id2label": dict(enumerate(NAMES))},
        {"config": {"id2label": {str(number): name for number, name in enumerate(NAMES)}}},
    ],
)
def test_names_in_the_file_are_used(beside: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"model": network(3), **beside}, tmp_path / "x.pth")
    assert load_checkpoint(tmp_path / "x.pth").info.classes.names == tuple(NAMES)


@pytest.mark.parametrize(
    "names", [["Drone"], ["a", "a", "b"], ["a", "", "b"], [1, 2, 3], {"a": 0, "b": 1, "c": 2}]
)
def test_names_that_do_not_fit_are_not(names: Any, tmp_path: Path) -> None:
    torch.save({"model": network(3), "classes": names}, tmp_path / "x.pth")
    assert load_checkpoint(tmp_path / "x.pth").info.classes.names == ("output 1", "output 2", "output 3")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_own_classes_from_command_to_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A transfer network of three own outputs is counted, ranked, pruned, exported and tagged with."""
    base = under("base.") | {"fc_transfer.weight": torch.ones(3, 4), "fc_transfer.bias": torch.zeros(3)}
    path, pruned, exported = tmp_path / "x.pth", tmp_path / "small.safetensors", tmp_path / "small.pt"
    torch.save({"model": base}, path)
    labels, audio = tmp_path / "labels.txt", tmp_path / "noise.wav"
    labels.write_text("\n".join(NAMES))
    import soundfile

    soundfile.write(audio, np.random.default_rng(0).normal(0, 0.1, 32_000), 32_000)
    code, out, err = run(capsys, "profile", "-m", path, "--json")
    assert (code, json.loads(out)["classes"]) == (0, 3)
    assert "fc_transfer" in err
    assert run(capsys, "importance", "-m", path, "--layer", "C7")[0] == 0
    assert run(capsys, "prune", "-m", path, "--labels", labels, "--ratio", "0.5", "--out", pruned)[0] == 0
    assert load_checkpoint(pruned).info.classes.names == tuple(NAMES)
    assert run(capsys, "export", "-m", pruned, "--format", "panns", "--out", exported)[0] == 0
    info = load_checkpoint(exported).info
    assert (info.classes.names, info.notes) == (tuple(NAMES), ())
    code, out, err = run(capsys, "compare", audio, "-a", path, "-b", pruned, "--labels", labels, "--json")
    assert (code, {tag["name"] for tag in json.loads(out)["candidate"]["tags"]}) == (0, set(NAMES))
    labels.write_text("one\ntwo\n")
    code, _, err = run(capsys, "tag", audio, "-m", path, "--labels", labels)
    assert (code, err.count("\n")) == (2, 1)
    assert "3 outputs and 2 classes were given" in err
    code, out, err = run(capsys, "tag", audio, "-m", path)
    assert (code, "output 1" in out, "--labels FILE" in err) == (0, True, True)


def test_labels(tmp_path: Path) -> None:
    from core.classes import ClassSet, read_labels
    from core.errors import ModelError

    path = tmp_path / "labels.csv"
    path.write_text(
        'index,mid,display_name\n1,/m/b,"Baby cry, infant cry"\n0,/m/a,Drone\n', encoding="utf-8-sig"
    )
    assert read_labels(path).names == ("Drone", "Baby cry, infant cry")
    path.write_text("Rain\r\n\r\nSpeech\r\n")
    assert read_labels(path) == ClassSet.from_names(["Rain", "Speech"])
    own = ClassSet.named(["Drone", "Rain", "a\nb\x1b[31m"])
    assert own.names == ("Drone", "Rain", "a b [31m")
    assert own.indices[1] == ClassSet.from_names(["Rain"]).indices[0]
    assert own.indices[0] == ClassSet.named(["Drone"]).indices[0] >= 527
    assert not own.in_categories(["Animal"]).any()
    for content in (
        b"\xff\xfe\x00",
        b"a\0b",
        b"",
        b"same\nsame\n",
        b"index,mid,display_name\n1,a,b\n",
        b"x" * (1 << 20) + b"\n" + b"y",
    ):
        path.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            read_labels(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="cannot be read"):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"pruning": "by hand"}},
        {"training": {"pruning": {"format": 1}}},
        {"training": {"pruning": {"ratio": "x", "criterion": 3, "pruned_from_sha256": ["x"]}}},
        {"training": {"repair": [1]}},
        {"training": 5},
        {"kept": [1, 2]},
        {"kept": {"C7": "x"}},
        {"classes": [1.5]},
        {"classes": ["a", 1]},
        {"widths": None},
        {"name": 5},
        {"embedding": 1 << 40},
    ],
)
def test_malformed_notes(change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line and exit code 2, or work done without them; never a traceback."""
    from core import load_tagger

    demo = load_tagger("demo-epanns")
    path = tmp_path / "x.safetensors"
    model = Cnn14(Cnn14Config((2,) * 12, 527, 4)).eval()
    save_checkpoint(path, model, classes=demo.classes, name="x")
    from safetensors.torch import load_file

    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    notes = json.loads(header["__metadata__"]["pannscope"]) | change
    save_file(load_file(path), path, {"pannscope": json.dumps(notes)})
    code, _, err = run(capsys, "export", "-m", path, "--format", "bundle", "--out", tmp_path / "x.zip")
    assert code in (0, 2)
    assert err.count("\n") <= 1
    code, _, err = run(capsys, "prune", "-m", path, "--ratio", "0.5", "--out", tmp_path / "y.safetensors")
    assert code in (0, 2)
    assert err.count("\n") <= 1
