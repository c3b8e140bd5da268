"""Loading: both layouts, parity with the reference's own class, memory, and files of every other kind."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchlibrosa.stft import LogmelFilterBank, Spectrogram

from core.checkpoints import load_checkpoint, save_checkpoint
from core.classes import ClassSet
from core.errors import CheckpointError
from core.models.cnn import CNN14_WIDTHS, Cnn14, Cnn14Config

WIDTHS = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
ROOT = Path(__file__).parents[2]


def front_end(
    sample_rate: int = 32_000, n_fft: int = 1024, fmax: float = 14_000.0
) -> dict[str, torch.Tensor]:
    """The three frozen tensors, made by the library that the published checkpoints were made with."""
    stft = Spectrogram(n_fft=n_fft, hop_length=320, win_length=n_fft)
    mel = LogmelFilterBank(sr=sample_rate, n_fft=n_fft, n_mels=64, fmin=50, fmax=fmax)
    named = {f"spectrogram_extractor.{key}": value for key, value in stft.state_dict().items()}
    return named | {f"logmel_extractor.{key}": value for key, value in mel.state_dict().items()}


FRONT_END = front_end()


def network(widths: tuple[int, ...] = WIDTHS, classes: int = 527, embedding: int = 16) -> Cnn14:
    """A narrow CNN14 whose weights and batch-norm statistics are all different."""
    model = Cnn14(Cnn14Config(widths, classes, embedding)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.2 + 0.1)
    return model


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with one entry that is not a number."""
    changed = tensor.clone()
    changed[100, 20] = float("nan")
    return changed


MODEL = network()
WAVEFORM = torch.rand(1, 32_000, generator=torch.Generator().manual_seed(4)) - 0.5


def official(**changes: Any) -> dict[str, torch.Tensor]:
    """The narrow network's state dict as the official layout has it; None removes a tensor."""
    state = {**FRONT_END, **MODEL.state_dict(), **changes}
    return {name: value for name, value in state.items() if value is not None}


def save(path: Path, content: Any, legacy: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def refused(path: Path, match: str, **options: Any) -> str:
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["model", None])
def test_official_layout(tmp_path: Path, legacy: bool, key: str | None) -> None:
    path = save(tmp_path / "x.pth", {"iteration": 600_000, key: official()} if key else official(), legacy)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.model.probabilities(WAVEFORM), MODEL.probabilities(WAVEFORM))
    assert not loaded.model.training
    info = loaded.info
    assert (info.name, info.architecture, info.widths, info.embedding) == ("x", "cnn14", WIDTHS, 16)
    assert info.classes == ClassSet.audioset()
    assert (info.kept, info.training, info.path, info.size_bytes) == ({}, {}, path, path.stat().st_size)
    assert (
        load_checkpoint(path, name="epanns", architecture="cnn14", classes="audioset").info.name == "epanns"
    )


def test_the_whole_model_is_real(tmp_path: Path) -> None:
    model = load_checkpoint(save(tmp_path / "x.pth", official())).model
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    model.train()
    torch.nn.functional.binary_cross_entropy_with_logits(model(WAVEFORM), torch.zeros(1, 527)).backward()
    assert model.fc1.weight.grad is not None  # and it can be trained on


def test_training_a_mapped_checkpoint_leaves_its_file_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", official())
    before = path.read_bytes()
    with torch.no_grad():
        load_checkpoint(path).model.fc1.weight.zero_()
    assert path.read_bytes() == before


def test_half_precision_weights_are_loaded_as_float32(tmp_path: Path) -> None:
    state = {name: value.half() if value.is_floating_point() else value for name, value in official().items()}
    del state["logmel_extractor.melW"]  # its rounding would be another front end
    model = load_checkpoint(save(tmp_path / "x.pth", state)).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.allclose(model.probabilities(WAVEFORM), MODEL.probabilities(WAVEFORM), atol=1e-2)


def test_transposed_and_shared_tensors(tmp_path: Path) -> None:
    weight = MODEL.state_dict()["fc1.weight"]
    state = official(**{"fc1.weight": weight.t().contiguous().t(), "bn0.weight": MODEL.bn0.bias.detach()})
    state["bn0.bias"] = state["bn0.weight"]
    model = load_checkpoint(save(tmp_path / "x.pth", state)).model
    assert torch.equal(model.fc1.weight, weight)
    assert torch.equal(model.bn0.weight, model.bn0.bias)


CREATE = """
import importlib.util, sys, types
import numpy as np, torch
# The package's own __init__ downloads a label file; its models module is all that is wanted.
package = types.ModuleType("panns_inference")
package.__path__ = list(importlib.util.find_spec("panns_inference").submodule_search_locations)
sys.modules["panns_inference"] = package
from panns_inference.models import Cnn14
torch.manual_seed(1)
model = Cnn14(sample_rate=32000, window_size=1024, hop_size=320, mel_bins=64, fmin=50, fmax=14000, classes_num=527).eval()
for name, value in model.state_dict().items():
    if name.endswith("running_mean"): value.normal_(0, 0.1)
    if name.endswith("running_var"): value.uniform_(0.5, 1.5)
folder = sys.argv[1]
torch.save({"model": model.state_dict()}, folder + "/zip.pth")
torch.save({"model": model.state_dict()}, folder + "/legacy.pth", _use_new_zipfile_serialization=False)
waveform = np.random.default_rng(5).normal(0, 0.1, (1, 32000)).astype(np.float32)
with torch.inference_mode():
    np.savez(folder + "/reference.npz", waveform=waveform, probabilities=model(torch.from_numpy(waveform))["clipwise_output"])
"""

LOAD = """
import json, re, sys
from pathlib import Path
import core.checkpoints, core.tagging
# Not ru_maxrss: that of a process starts at what its parent had.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
imported = peak()
loaded = core.checkpoints.load_checkpoint(sys.argv[1])
print(json.dumps({"imported": imported, "peak": peak(), "widths": loaded.info.widths}))
import numpy as np, torch
folder = sys.argv[2]
given = np.load(folder + "/reference.npz")
ours = loaded.model.probabilities(torch.from_numpy(given["waveform"])).numpy()
print(float(np.abs(ours - given["probabilities"]).max()), float(given["probabilities"].std()))
"""


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("full")
    subprocess.run([sys.executable, "-c", CREATE, str(folder)], check=True, cwd=ROOT)
    yield folder
    shutil.rmtree(folder)  # 655 MB


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is Linux's")
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_full_cnn14_by_the_reference_class(full_size: Path, layout: str) -> None:
    """Parity with panns_inference, and a peak of less than 450 MB in all with torch's CPU build: both layouts are mapped."""
    run = [sys.executable, "-c", LOAD, str(full_size / f"{layout}.pth"), str(full_size)]
    out = subprocess.run(run, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    memory = json.loads(out[0])
    assert tuple(memory["widths"]) == CNN14_WIDTHS
    if torch.version.cuda is None:  # torch's CUDA build takes 80 MB more to import
        assert memory["peak"] < 450
    assert memory["peak"] - memory["imported"] < 60  # nothing but the head and the vectors
    assert sorted(file.name for file in full_size.iterdir()) == ["legacy.pth", "reference.npz", "zip.pth"]
    difference, spread = map(float, out[1].split())
    assert difference < 1e-5
    assert spread > 1e-3  # the probabilities are not all alike


# Wrong weights


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"bn0.bias": None, "fc1.bias": None}, r"2 missing \(bn0.bias, fc1.bias\)"),
        ({"extra.weight": torch.zeros(2)}, r"1 unexpected \(extra.weight\)"),
        ({"a\n\x1b[31mb": torch.zeros(2)}, r"1 unexpected \('a\\n\\x1b\[31mb'\)"),
        (
            {"conv_block2.conv1.weight": torch.zeros(6, 9, 3, 3)},
            r"1 of another shape \(conv_block2.conv1.weight \(6, 9, 3, 3\) instead of \(6, 5, 3, 3\)\)",
        ),
        ({"fc1.weight": torch.zeros(16, 14)}, r"fc1.weight \(16, 14\) instead of \(16, 15\)"),
        ({"conv_block1.conv2.weight": torch.zeros(5, 4, 5, 5)}, r"1 of another kind \(conv_block1.conv2.weight \(5, 4, 5, 5\)\)"),
        ({"fc1.bias": torch.zeros(16, dtype=torch.int64)}, "1 of another type .fc1.bias int64 instead of float32"),
        ({"bn0.running_var": torch.full((64,), float("nan"))}, "NaN or infinite values in bn0.running_var"),
        ({"fc_audioset.weight": None}, r"CNN14 comes closest: 1 missing \(fc_audioset.weight\)"),
        ({"logmel_extractor.melW": FRONT_END["logmel_extractor.melW"] * 1.01}, "another front end"),
        ({"logmel_extractor.melW": with_nan(FRONT_END["logmel_extractor.melW"])}, "NaN or infinite values in logmel_extractor.melW"),
        ({"fc1.weight": torch.full((16, 15), float("inf"))}, "NaN or infinite values in fc1.weight"),
        ({"conv_block3.bn2.running_var": torch.full((9,), -0.1)}, "negative variances in conv_block3.bn2.running_var"),
        ({"fc1.bias": torch.full((16,), 1e300, dtype=torch.float64)}, "values in fc1.bias that float32 does not have"),
        (dict(front_end(fmax=16_000.0)), "another front end .its mel filters differ by up to"),
        (dict(front_end(22_050, 2048, 8_000.0)), r"CNN14 comes closest: it was trained with another front end: .* \(1025, 1, 2048\) instead of \(513, 1, 1024\)"),
        ({"bn0.bias": torch.zeros(64, 0)}, "'bn0.bias' has no elements"),
        ({"fc1.weight": torch.zeros(1, 1).expand(16, 15)}, "a view of another"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("legacy", [False, True])
def test_weights_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], match: str, legacy: bool) -> None:
    refused(save(tmp_path / "x.pth", {"model": official(**changes)}, legacy), match)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    state = official(**{name: None for name in MODEL.state_dict() if ".bn" in name})
    message = refused(save(tmp_path / "x.pth", state), "48 missing .*and 45 more")
    assert len(message) < 500


def test_classes(tmp_path: Path) -> None:
    model = network(classes=3)
    path = save(tmp_path / "x.pth", model.state_dict())
    unnamed = load_checkpoint(path).info
    assert unnamed.classes.names == ("output 1", "output 2", "output 3")
    assert "no class names" in unnamed.notes[-1]
    refused(path, "has 3 outputs and 2 classes were given", classes=["Speech", "Music"])
    refused(path, "Speech. is given twice", classes=["Speech", "Music", "Speech"])
    assert load_checkpoint(path, classes=["Speech", "Music", "Wombat"]).info.classes.names[2] == "Wombat"
    names = ("Music", "Speech", "Rain")
    assert load_checkpoint(path, classes=names).info.classes.names == names
    assert load_checkpoint(path, classes=ClassSet.from_names(names)).info.classes.names == names


def test_ratio(tmp_path: Path) -> None:
    widths = tuple(width // 16 for width in CNN14_WIDTHS)
    half = (*widths[:6], *(width // 2 for width in widths[6:]))
    path = save(tmp_path / "x.pth", network(half).state_dict())
    assert load_checkpoint(path, ratio=0.5).info.widths == half
    refused(path, "which do not follow from a ratio of 0.25", ratio=0.25)
    for ratio in (1.0, 1.5, -0.01, float("nan")):
        with pytest.raises(CheckpointError, match=f"at least 0 and under 1; got {ratio}"):
            load_checkpoint(path, ratio=ratio)
    refused(path, "which do not follow from a ratio of 0.0", ratio=0.0)
    assert load_checkpoint(save(path, network(widths).state_dict()), ratio=0.0).info.widths == widths


def test_an_unknown_architecture(tmp_path: Path) -> None:
    refused(save(tmp_path / "x.pth", official()), "Unknown architecture 'vgg'", architecture="vgg")


# Files without a state dict

EXECUTED: list[str] = []


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("how", ["zip", "legacy", "plain", "plain-2", "beside"])
def test_a_pickle_that_runs_a_command(tmp_path: Path, how: str) -> None:
    trace, path = tmp_path / "executed", tmp_path / "x.pth"
    if how.startswith("plain"):
        path.write_bytes(pickle.dumps({"model": Bomb(trace)}, protocol=2 if how == "plain-2" else 5))
    else:
        content: Any = (
            {"model": Bomb(trace)} if how != "beside" else {"model": official(), "optimizer": Bomb(trace)}
        )
        save(path, content, legacy=how == "legacy")
    refused(
        path,
        r"would use '(posix|nt)\.system', which is not part of a state dict; it was refused and nothing was executed",
    )
    assert not trace.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickled_module(tmp_path: Path, legacy: bool) -> None:
    refused(save(tmp_path / "x.pth", torch.nn.Linear(2, 2), legacy), "nothing was executed")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"model": {}}, "holds no weights: it has 'model'"),
        (
            {"epoch": 3},
            "holds no weights: it has 'epoch', and a state dict is expected on top or under model, state_dict",
        ),
        ({"state_dict": {"a": torch.zeros(1)}}, "none of them has a name"),
        ([torch.zeros(1)], "holds a list instead of a state dict"),
        (torch.zeros(3), "holds a tensor instead of a state dict"),
        ({"model": {"a": torch.zeros(1), "b": "text"}}, "none of them has a name"),
        ({"a": torch.zeros(1, dtype=torch.complex64)}, "ComplexFloatStorage|list of storages does not fit"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_without_a_state_dict(tmp_path: Path, content: Any, match: str, legacy: bool) -> None:
    refused(save(tmp_path / "x.pth", content, legacy), match)


def rewritten(
    source: Path, target: Path, change: Callable[[str, bytes], bytes | None], **options: Any
) -> Path:
    """A copy of a zip archive with its records changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def claiming(elements: int, legacy: bool = False) -> bytes:
    """A torch file of about 1.5 kB whose pickle claims one tensor of ``elements`` float32."""
    file = io.BytesIO()
    torch.save({"fc1.weight": torch.zeros(77)}, file, _use_new_zipfile_serialization=not legacy)
    # 77 is written as BININT1 (K M) in the storage's persistent id and in the shape; BININT holds four bytes.
    content = file.getvalue()
    assert content.count(b"K\x4d") == 2
    changed = b"J" + elements.to_bytes(4, "little")
    if legacy:
        return content.replace(b"K\x4d", changed)
    old, new = io.BytesIO(content), io.BytesIO()
    with zipfile.ZipFile(old) as archive, zipfile.ZipFile(new, "w") as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name).replace(b"K\x4d", changed))
    return new.getvalue()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_small_file_that_claims_a_huge_tensor(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(claiming(1_000_000_000, legacy))
    assert path.stat().st_size < 3000
    refused(path, "truncated: it claims at least 4" if legacy else "claims 4000000000 bytes .* and holds 308")


def test_damaged_archives(tmp_path: Path) -> None:
    good = save(tmp_path / "good.pth", official())

    def changed(name: str, change: Callable[[str, bytes], bytes | None], match: str, **options: Any) -> None:
        refused(rewritten(good, tmp_path / name, change, **options), match)

    changed(
        "short", lambda name, content: content[:-4] if name.endswith("data/7") else content, "storage '7'"
    )
    changed(
        "lost", lambda name, content: None if name.endswith("data/7") else content, "storage '7' and holds 0"
    )
    changed("packed", lambda _, content: content, "compressed", compression=zipfile.ZIP_DEFLATED)
    changed("big", lambda name, content: b"big" if name.endswith("byteorder") else content, "big-endian")
    changed("script", lambda name, content: content if name.endswith(".pkl") else None, "damaged")
    changed(
        "foreign",
        lambda name, content: None if name.endswith(".pkl") else content,
        "torch.save did not write",
    )
    changed(
        "bloated",
        lambda name, content: content + bytes(32 << 20) if name.endswith(".pkl") else content,
        "32 MB",
    )
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("x/constants.pkl", b"")
    refused(tmp_path / "script.pt", "TorchScript")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated_files(tmp_path: Path, legacy: bool, share: float) -> None:
    path = save(tmp_path / "x.pth", {"model": official()}, legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "truncated|damaged")


@pytest.mark.parametrize("legacy", [False, True])
def test_no_bit_flip_in_the_description_ends_in_another_error(tmp_path: Path, legacy: bool) -> None:
    path = save(tmp_path / "x.pth", {"model": official()}, legacy)
    content = path.read_bytes()
    generator = np.random.default_rng(11)
    # The pickle, and the archive's directory; between them lie weights, of which any value is possible.
    for turn in range(64):
        position, bit = int(generator.integers(0, 9_000)), int(generator.integers(0, 8))
        position = position if turn % 4 else -1 - position
        changed = bytearray(content)
        changed[position] ^= 1 << bit
        path.write_bytes(bytes(changed))
        with contextlib.suppress(CheckpointError):  # a flip may also hit what nobody needs
            load_checkpoint(path)


PICKLES = {
    "no stop": b"\x80\x02}",
    "a mark for an item": b"\x80\x02(\x85.",
    "nothing to build": b"\x80\x02}b.",
    "a call of text": b"\x80\x02X\x01\x00\x00\x00a)R.",
    "an unknown memo": b"\x80\x02h\x07.",
    "a huge memo index": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a list as a key": b"\x80\x02}]K\x01s.",
    "a huge text": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "an object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "a storage called": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "an odd number of items": b"\x80\x02}(K\x01u.",
    "deep nesting": b"\x80\x02" + b"]" * 5 + b"a" * 9 + b".",
}


@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES.keys())
def test_hostile_pickles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    refused(path, "damaged|not a state dict|not part of a state dict|whole|torch.save did not write")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"hello, I am no checkpoint", "is a text file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (gzip.compress(b"x" * 100, mtime=0), "gzip-compressed"),
        (b"PK\x03\x04" + bytes(100), "damaged or truncated: its zip archive"),
        (b"PK\x05\x06" + bytes(18), "is not a checkpoint"),
        (np.random.default_rng(1).bytes(4096), "is neither a safetensors nor a torch file"),
        (b"\x80", "is neither a safetensors nor a torch file"),
        (b"\x80\x02K\x01.", "is a pickle that torch.save did not write"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "is neither"),
        ((900).to_bytes(8, "little") + b"{}", "damaged or truncated"),
        ((2).to_bytes(8, "little") + b"{}", "holds no weights: it has nothing"),
    ],
)
def test_files_that_are_not_a_checkpoint(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    refused(path, match)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "none.pth", "There is no file .*none.pth; check the path")


def test_a_torch_file_called_safetensors(tmp_path: Path) -> None:
    assert load_checkpoint(save(tmp_path / "x.safetensors", official())).info.architecture == "cnn14"


def test_our_layout_loads_whatever_it_is_called(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.safetensors", MODEL, classes=ClassSet.audioset(), name="mine")
    (tmp_path / "x.safetensors").rename(tmp_path / "x.pth")
    assert load_checkpoint(tmp_path / "x.pth").info.name == "mine"
