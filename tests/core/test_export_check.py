"""The check of a copy: what difference passes, which clips int8 is calibrated and measured on, and what happens to the files."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.checkpoints import entry
from core.errors import ExportError
from core.export import FORMATS, export, export_bytes, onnx_file, saving, writers
from core.export import int8 as int8_module
from core.export.archive import write_zip
from core.export.check import ExportJob
from core.export.describe import description
from core.export.lineage import Lineage, lineage
from core.tagging import Tagger, load_tagger

EXACT = ("bundle", "onnx", "ncnn", "safetensors", "panns")


@pytest.fixture(scope="module")
def small(studio) -> Tagger:
    return load_tagger(checkpoint=studio / "small.safetensors")


@pytest.fixture(scope="module")
def short_job(small) -> ExportJob:
    """A job that compares on one short clip, so that a test takes no time."""

    class OneClip(ExportJob):
        waveforms = (0.1 * np.random.default_rng(0).standard_normal(9_920).astype(np.float32),)

    return OneClip(small, None)


def shifted(network, difference: float):
    """The network with every probability off by so much."""
    return lambda waveform: network(waveform) + difference


@pytest.mark.parametrize("name", EXACT)
def test_a_difference_up_to_one_in_ten_thousand_passes(short_job, name):
    network = short_job.tagger.model.probabilities
    passed = short_job.verify(shifted(network, 5e-5), FORMATS[name])
    assert passed.largest == pytest.approx(5e-5, rel=0.01)
    assert passed.mean == pytest.approx(5e-5, rel=0.01)
    for difference in (2e-4, -2e-4, float("nan")):
        with pytest.raises(ExportError, match=r"0\.0001 is accepted, so nothing was written"):
            short_job.verify(shifted(network, difference), FORMATS[name])


def test_eight_bits_have_no_limit_and_every_format_is_one_or_the_other(short_job):
    assert {name for name, form in FORMATS.items() if form.tolerance is None} == {"int8"}
    assert set(EXACT) | {"int8"} == set(FORMATS) == set(writers.WRITERS)
    network = short_job.tagger.model.probabilities
    assert short_job.verify(shifted(network, 0.1), FORMATS["int8"]).largest == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize(("difference", "written"), [(5e-5, True), (2e-4, False)])
def test_an_export_that_differs_is_not_written(small, tmp_path, monkeypatch, difference, written):
    original = writers.onnx_network
    monkeypatch.setattr(writers, "onnx_network", lambda path: shifted(original(path), difference))
    if written:
        assert export(small, "onnx", tmp_path / "a.onnx").max_abs_difference == pytest.approx(5e-5, rel=0.1)
    else:
        with pytest.raises(ExportError, match=r"differs from it by 0\.0002 in a probability"):
            export(small, "onnx", tmp_path / "a.onnx")
        assert list(tmp_path.iterdir()) == []


def test_the_figures_of_a_difference(small):
    """Two clips, three classes: differences of 0.1, 0.2 and 0.3 on one, none on the other, whose first tag stays."""
    rng = np.random.default_rng(1)
    clips = [0.1 * rng.standard_normal(samples).astype(np.float32) for samples in (16_000, 32_000)]
    outputs = iter([[0.5, 0.3, 0.1], [0.9, 0.0, 0.2]])
    copies = iter([[0.4, 0.5, 0.4], [0.9, 0.0, 0.2]])
    model = SimpleNamespace(probabilities=lambda _: torch.tensor([next(outputs)]), architecture="cnn14")
    job = ExportJob(SimpleNamespace(model=model), None)
    result = job.compare(lambda _: torch.tensor([next(copies)]), clips)
    assert (result.largest, result.mean) == (pytest.approx(0.3), pytest.approx(0.1))
    assert (result.first_tag, result.clips, result.audio_seconds) == (0.5, 2, 1.5)


def test_eight_bits_are_calibrated_on_every_other_clip(small, tmp_path, monkeypatch):
    """64 at most and 10 s of each; the loss is measured on the others alone."""
    read: list[np.ndarray] = []
    measured: list[np.ndarray] = []

    def quantize_static(source, target, reader, **_settings):
        while (clip := reader.get_next()) is not None:
            read.append(clip["waveform"])
        shutil.copy(source, target)

    kinds = SimpleNamespace(QDQ=0, QUInt8=0, QInt8=0)
    fake = SimpleNamespace(
        CalibrationDataReader=object, quantize_static=quantize_static, QuantFormat=kinds, QuantType=kinds
    )
    fake.quant_pre_process = lambda source, target, **_settings: shutil.copy(source, target)
    monkeypatch.setattr(int8_module, "require", lambda _module: fake)
    original = ExportJob.compare

    def compare(job, copy, waveforms=None):
        measured.extend(waveforms)
        return original(job, copy, waveforms[:1])

    monkeypatch.setattr(ExportJob, "compare", compare)
    clips = [np.full(9_920, index / 1_000, np.float32) for index in range(131)]
    clips[2] = np.full(11 * 32_000, 0.002, np.float32)
    result = export(small, "int8", tmp_path / "a.onnx", waveforms=clips)
    assert [round(1_000 * float(clip[0, 0])) for clip in read] == list(range(0, 128, 2))
    assert [clip.shape[1] for clip in read[:3]] == [9_920, 320_000, 9_920]
    assert [round(1_000 * float(clip[0])) for clip in measured] == list(range(1, 131, 2))
    assert (result.measured["calibration_clips"], result.measured["held_out"]) == (64, True)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("demo", "demo"),
        ("../../etc/passwd", "etc-passwd"),
        ("a b.c", "a-b-c"),
        ("…", "network"),
        ("", "network"),
        ("x" * 61, "x" * 60),
    ],
)
def test_the_name_of_a_download(name, file):
    assert saving._file_name(name) == file


def test_eight_bits_and_onnx_have_different_names(small, monkeypatch):
    def write(_job, draft):
        draft.write_bytes(b"model")
        return writers.Written(short, [], {})

    short = ExportJob(small, None).compare(small.model.probabilities, [np.zeros(9_920, np.float32)])
    for name in ("onnx", "int8"):
        monkeypatch.setitem(writers.WRITERS, name, write)
    names = [export_bytes(small, name)[1].path.name for name in ("onnx", "int8")]
    assert names == ["small.onnx", "small-int8.onnx"]


def test_files_that_were_replaced_come_back_if_one_of_them_cannot_be(small, tmp_path, monkeypatch):
    old = {"net.bin": b"weights", "net.json": b"notes", "net.param": b"layers"}
    for name, content in old.items():
        (tmp_path / name).write_bytes(content)
    original = saving.move_into_place

    def fails_for_the_last(draft, target):
        if target.name == "net.param":
            raise OSError(28, "No space left on device")
        original(draft, target)

    monkeypatch.setattr(saving, "move_into_place", fails_for_the_last)
    with pytest.raises(ExportError, match="No space left on device"):
        export(small, "ncnn", tmp_path / "net.param", force=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == old
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(ExportError, match="No space left on device"):
        export(small, "ncnn", tmp_path / "net.param")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_has_no_dates_and_files_that_everybody_may_read(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"weights" * 100)
    write_zip(
        tmp_path / "a.zip",
        [("model.onnx", tmp_path / "model.onnx"), ("README.md", "text " * 100), ("classes.csv", b"a,b")],
    )
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == ["model.onnx", "README.md", "classes.csv"]
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {stat.S_IMODE(entry.external_attr >> 16) for entry in entries} == {0o644}
    assert entries[0].compress_size == entries[0].file_size
    assert entries[1].compress_size < 100


def test_the_classes_in_the_description_by_hand(short_job):
    """Speech, Rain and Siren are 0, 289 and 396 of AudioSet's class list."""
    difference = short_job.verify(short_job.tagger.model.probabilities, FORMATS["onnx"])
    assert description(short_job, difference)["classes"] == [
        {"index": 0, "name": "Speech"},
        {"index": 289, "name": "Rain"},
        {"index": 396, "name": "Siren"},
    ]


def test_the_suffixes_are_the_documented_ones():
    suffixes = [FORMATS[name].suffix for name in ("bundle", "onnx", "ncnn", "int8", "safetensors", "panns")]
    assert suffixes == [".zip", ".onnx", ".param", ".onnx", ".safetensors", ".pt"]
    text = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert "ends in " + ", ".join(f"`{suffix}`" for suffix in suffixes) in text


def test_a_network_is_a_known_one_or_made_from_it(studio):
    """By its sha256, and not where the sha256 is only the parent's."""
    known = load_tagger("demo-epanns").info
    assert lineage(known, None) == Lineage(entry("demo-epanns"), True)
    assert lineage(known, {"pruned_from_sha256": known.sha256}) == Lineage(entry("demo-epanns"), False)
    stranger = load_tagger(checkpoint=studio / "small.safetensors").info
    assert lineage(stranger, None) == Lineage(None, False)
    assert lineage(stranger, {"pruned_from_sha256": known.sha256}) == Lineage(entry("demo-epanns"), False)


@pytest.mark.parametrize(
    ("value", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (150, "9601"), (16_384, "808001")]
)
def test_lengths_in_a_protocol_buffer(value, encoded):
    """Base 128, least significant group first; 150 is the example of protobuf.dev/programming-guides/encoding."""
    assert onnx_file._varint(value).hex() == encoded


def test_field_numbers_of_an_onnx_file():
    onnx = pytest.importorskip("onnx")

    def number(message, field):
        return message.DESCRIPTOR.fields_by_name[field].number

    assert number(onnx.ModelProto, "graph") == onnx_file._GRAPH
    assert number(onnx.ModelProto, "metadata_props") == onnx_file._METADATA
    assert number(onnx.GraphProto, "initializer") == onnx_file._INITIALIZER
    assert number(onnx.TensorProto, "raw_data") == onnx_file._RAW_DATA


def test_metadata_is_read_back(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    onnx_file.append_metadata(path, {"classes": "x" * 200, "licence": "CC0"})
    read = onnx.ModelProto.FromString(path.read_bytes())
    assert [(each.key, each.value) for each in read.metadata_props] == [
        ("classes", "x" * 200),
        ("licence", "CC0"),
    ]
