"""Export: what is written, what is refused, and that nothing incomplete stays."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
import torch

from core.checkpoints import load_checkpoint
from core.errors import ExportError
from core.export import FORMATS, export, export_bytes
from core.export.archive import write_zip
from core.export.check import check_waveforms
from core.export.panns import stft_kernels
from core.pruning.plan import plan
from core.pruning.provenance import pruned_info
from core.pruning.surgery import prune
from core.tagging import Tagger, load_tagger


@pytest.fixture(scope="module")
def small(studio) -> Tagger:
    return load_tagger(checkpoint=studio / "small.safetensors")


@pytest.fixture(scope="module")
def pruned() -> Tagger:
    """The embedded CNN14 without half of C7 to C12, in memory only."""
    parent = load_tagger("demo-cnn14")
    made = plan(parent.model, 0.5)
    model = prune(parent.model, made)
    return Tagger(model, pruned_info(parent.info, made, model, "demo-half"))


def test_the_check_has_clips_of_several_lengths():
    seconds = [len(waveform) / 32_000 for waveform in check_waveforms()]
    assert seconds == [0.31, 1.7, 8.0, 30.0]
    assert all(np.abs(waveform).max() > 0.05 for waveform in check_waveforms())


def test_safetensors_is_the_network_again(pruned, tmp_path):
    done = export(pruned, "safetensors", tmp_path / "half.safetensors")
    assert done.max_abs_difference == 0.0
    loaded = load_checkpoint(done.path)
    for name, value in pruned.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    assert loaded.info.kept == pruned.info.kept
    assert loaded.info.training["pruning"] == pruned.info.training["pruning"]
    assert loaded.info.training["export"]["largest"] == 0.0
    assert done.size_bytes == done.path.stat().st_size


def test_half_precision_states_its_loss(tmp_path):
    tagger = load_tagger("demo-epanns")
    with torch.no_grad():
        tagger.model.fc1.weight.mul_(1.0003)  # its file is in half precision already: away from that grid
    whole = export(tagger, "safetensors", tmp_path / "whole.safetensors")
    half = export(tagger, "safetensors", tmp_path / "half.safetensors", half=True)
    assert half.size_bytes < 0.52 * whole.size_bytes
    copy = load_checkpoint(half.path).model
    apart = [
        np.abs(copy.probabilities(torch.from_numpy(clip)[None])[0].numpy() - tagger.probabilities(clip)).max()
        for clip in map(np.array, check_waveforms())
    ]
    assert 1e-6 < max(apart) < 1e-2
    assert half.max_abs_difference == pytest.approx(max(apart), abs=1e-6)
    assert "float16" in half.notes[0]


def test_given_recordings_are_part_of_the_check(small, tmp_path):
    noise = np.random.default_rng(0).standard_normal(40_000).astype(np.float32) * 0.1
    alone = export(small, "onnx", tmp_path / "a.onnx")
    more = export(small, "onnx", tmp_path / "b.onnx", waveforms=[noise])
    assert (alone.clips, more.clips) == (4, 5)
    assert more.audio_seconds == pytest.approx(alone.audio_seconds + 1.25)


@pytest.mark.parametrize("format", ["onnx", "ncnn", "panns", "safetensors"])
def test_a_copy_that_differs_leaves_nothing(small, tmp_path, format, monkeypatch):
    """At one clip every logit is near 0, and its rounding in the sixth digit decides it; or a kernel is a little wrong."""
    tagger = load_tagger(checkpoint=small.info.path)
    model = tagger.model
    with torch.no_grad():
        if format == "safetensors":  # nothing is computed anew there; what is not a number has to be seen
            model.fc1.bias.fill_(torch.nan)
        elif (
            format == "panns"
        ):  # the same operations but for the STFT, so that on some processors nothing rounds otherwise
            model.fc_audioset.weight.mul_(1e-8)  # of logits that no sigmoid saturates
            kernels = stft_kernels(model.front_end.front_end)
            monkeypatch.setattr("core.export.panns.stft_kernels", lambda _: [0.9 * one for one in kernels])
        else:
            logmel = model.front_end(torch.from_numpy(np.array(check_waveforms()[2]))[None])
            x = model.normalize(logmel)
            for layer in [f"C{i}" for i in range(1, 13)]:
                x = model.layer(layer, x)
            embedding = torch.relu(model.fc1(model.pool(x)))[0]
            model.fc_audioset.weight.mul_(1e7)
            model.fc_audioset.bias.copy_(-(model.fc_audioset.weight @ embedding))
    (tmp_path / "mine.txt").write_text("kept")
    suffix = FORMATS[format].suffix
    with pytest.raises(Exception, match=r"nothing was written|not finite|NaN") as refused:
        export(tagger, format, tmp_path / f"edge{suffix}")
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_existing_files_stay_without_force(small, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"precious")
    with pytest.raises(ExportError, match=r"net\.bin exists already"):
        export(small, "ncnn", tmp_path / "net.param")
    assert [path.name for path in tmp_path.iterdir()] == ["net.bin"]
    done = export(small, "ncnn", tmp_path / "net.param", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.json", "net.param"]
    assert done.path == tmp_path / "net.param"
    assert set(done.files) == set(tmp_path.iterdir())
    assert done.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    with pytest.raises(ExportError, match=r"net\.param exists already"):
        export(small, "ncnn", tmp_path / "net.param")


@pytest.mark.parametrize(
    ("format", "name", "said"),
    [
        ("onxx", "a.onnx", r"Unknown format 'onxx'.*Did you mean onnx\?"),
        ("onnx", "a.bin", r"'a\.bin' has to end in \.onnx: name it a\.onnx"),
        ("panns", "nowhere/a.pt", r"folder .*nowhere does not exist"),
    ],
)
def test_bad_places_are_refused_before_any_work(small, tmp_path, format, name, said):
    with pytest.raises(ExportError, match=said):
        export(small, format, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_half_is_for_safetensors(small, tmp_path):
    with pytest.raises(ExportError, match="Only safetensors"):
        export(small, "onnx", tmp_path / "a.onnx", half=True)


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("onnx", "onnxruntime"), ("ncnn", "ncnn")])
def test_a_missing_package_is_named(small, tmp_path, monkeypatch, format, package):
    monkeypatch.setitem(
        sys.modules, package, None
    )  # what Python itself does for a module that is not to be had
    for module in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExportError, match=rf"pip install {package}$"):
        export(small, format, tmp_path / f"a{FORMATS[format].suffix}")
    assert list(tmp_path.iterdir()) == []


def test_bytes_for_a_download(small, tmp_path):
    data, done = export_bytes(small, "ncnn")
    assert done.path.name == "small-ncnn.zip"
    assert done.size_bytes == len(data)
    (tmp_path / "a.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert sorted(archive.namelist()) == ["small.bin", "small.json", "small.param"]
        notes = json.loads(archive.read("small.json"))
    assert [each["name"] for each in notes["classes"]] == ["Speech", "Rain", "Siren"]
    assert notes["check"]["largest"] == done.max_abs_difference
    assert notes["source"]["sha256"] == small.info.sha256


def test_a_hostile_name_becomes_no_path(small):
    info = type(small.info)(**{**vars(small.info), "name": "../../etc/passwd"})
    _, done = export_bytes(Tagger(small.model, info), "panns")
    assert str(done.path) == "etc-passwd.pt"


def test_a_zip_is_the_same_bytes_for_the_same_contents(tmp_path):
    source = tmp_path / "weights.bin"
    source.write_bytes(bytes(range(256)) * 9)
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, [("notes.md", "text"), ("weights.bin", source)])
        shutil.copy(source, tmp_path / "again")  # another date, the same contents
        shutil.move(tmp_path / "again", source)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.read("weights.bin") == source.read_bytes()
