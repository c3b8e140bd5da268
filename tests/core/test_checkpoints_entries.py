"""The manifest against the facts it was made from, and against counts made by building the networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from core.checkpoints import Entry, entry, manifest, path_of, status
from core.checkpoints.entries import read_manifest
from core.classes import ClassSet
from core.errors import CheckpointError
from core.models.registry import ARCHITECTURES
from core.profiling import profile

ENTRIES = manifest()

# Zenodo record 3987831 as it lists its files.
MD5 = {
    "cnn6": "e25e26b84585b14c7754c91e48efc9be",
    "cnn10": "bfb1f1f9968938fa8ef4012b8471f5f6",
    "cnn14": "541141fa2ee191a88f24a3219fff024e",
    "cnn14-decision-level-att": "c8281ca2b9967244b91d557aa941e8ca",
    "cnn14-decision-level-max": None,
    "resnet22": "cf36d413096793c4e15dc752a3abd599",
    "resnet38": "bf12f36aaabac4e0855e22d3c3239c1b",
    "resnet54": "4f1f1406d37a29e2379916885e18c5f3",
    "wavegram-cnn14": "1e3506ab640371e0b5a417b15fd66d21",
    "wavegram-logmel-cnn14": "17fa9ab65af3c0eb5ffbc5f65552c4e1",
}


def test_what_is_listed() -> None:
    kinds = {
        kind: [each.name for each in ENTRIES.values() if each.kind == kind]
        for kind in ("embedded", "published")
    }
    assert kinds == {"embedded": ["demo-cnn14", "demo-epanns"], "published": ["epanns-25", "epanns-75"]}
    assert {each.name for each in ENTRIES.values() if each.kind == "official"} == {*MD5, "epanns"}


@pytest.mark.parametrize("name", MD5)
def test_panns_are_as_their_record_lists_them(name: str) -> None:
    listed = entry(name)
    assert listed.md5 == MD5[name]
    assert listed.file is not None
    assert listed.url is not None
    assert listed.url == (
        f"https://zenodo.org/records/3987831/files/{listed.file.replace('=', '%3D')}?download=1"
    )
    # The file's name carries the published mAP.
    assert f"{listed.published_mAP:.3f}" == re.search(r"mAP=(.*)\.pth", listed.file).group(1)  # type: ignore[union-attr]
    assert listed.record == "3987831"
    assert listed.licence == "CC BY 4.0"


def test_cnn14_is_the_file_that_was_hashed() -> None:
    assert entry("cnn14").size_bytes == 327_428_481
    assert entry("cnn14").sha256 == "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31"


def test_the_checksum_of_epanns_comes_from_its_record() -> None:
    assert (entry("epanns").md5, entry("epanns").sha256, entry("epanns").record) == (None, None, "7939403")


@pytest.mark.parametrize("name", [each.name for each in ENTRIES.values() if each.architecture == "cnn14"])
def test_counts_are_those_of_the_network(name: str) -> None:
    listed = ENTRIES[name]
    classes = 527 if listed.classes == "audioset" else len(ClassSet.from_names(listed.classes))
    with torch.device("meta"):
        chosen = ARCHITECTURES[listed.architecture]
        model = chosen.build(
            chosen.configure(widths=listed.widths, embedding=listed.embedding, classes=classes)
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == listed.params
    assert listed.macs_10s == macs_10s(listed, classes)


@pytest.mark.parametrize("name", [each.name for each in ENTRIES.values() if each.architecture != "cnn14"])
def test_counts_of_other_networks_are_those_of_their_architecture(name: str) -> None:
    counted = profile(ENTRIES[name].architecture)
    assert (counted.params_trainable, counted.macs) == (ENTRIES[name].params, ENTRIES[name].macs_10s)


def macs_10s(listed: Entry, classes: int) -> int:
    """MACs of 10 s by hand: STFT as two Conv1d, 3x3 convolutions on halving maps, 4 operations a batch-norm input."""
    total = 2 * 513 * 1024 * 1001 + 4 * 1001 * 64
    assert listed.widths is not None
    assert listed.embedding is not None
    inputs = 1
    for block, cells in enumerate((1001 * 64, 500 * 32, 250 * 16, 125 * 8, 62 * 4, 31 * 2)):
        for width in listed.widths[2 * block : 2 * block + 2]:
            total += 9 * inputs * width * cells + 4 * width * cells
            inputs = width
    return total + inputs * listed.embedding + listed.embedding * classes


def test_every_entry_says_what_it_is() -> None:
    for listed in ENTRIES.values():
        assert listed.about.endswith(".")
        assert len(listed.about) < 140
        assert listed.title
        assert listed.source


def test_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    assert status(entry("demo-cnn14")) == "embedded"
    assert status(entry("epanns-75")) == "published-only"
    assert status(entry("epanns")) == "available"
    path_of(entry("epanns")).write_bytes(b"")
    assert status(entry("epanns")) == "available"
    path_of(entry("epanns")).write_bytes(b"x")
    assert status(entry("epanns")) == "installed"
    path_of(entry("cnn14")).write_bytes(b"x")  # 327,428,480 bytes are missing
    assert status(entry("cnn14")) == "available"


def test_an_architecture_that_cannot_be_built_is_not_offered() -> None:
    for listed in ENTRIES.values():
        if listed.architecture not in ARCHITECTURES:
            assert status(listed) == "published-only"


def test_the_embedded_pair_lies_beside_the_manifest_and_downloads_in_the_weights_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    embedded = Path(__file__).parents[2] / "checkpoints" / "demo-cnn14.safetensors"
    assert path_of(entry("demo-cnn14")) == embedded
    assert path_of(entry("cnn14")).parent == tmp_path


def test_what_has_no_file_has_no_path() -> None:
    with pytest.raises(CheckpointError, match="known from its publication only"):
        path_of(entry("epanns-25"))


ENTRY = """
[[checkpoint]]
name = "a"
title = "A"
kind = "official"
architecture = "cnn14"
file = "a.pth"
url = "https://example.org/a.pth"
licence = "MIT"
source = "s"
about = "x."
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checkpoint = 3 4", "cannot be read"),
        (ENTRY + ENTRY, "lists 'a' twice"),
        (ENTRY + "colour = 'red'", "unknown field 'colour'"),
        (ENTRY.replace("licence", "#"), "missing 1 required.*'licence'"),
        (ENTRY.replace("official", "free"), "kind 'free'"),
        (ENTRY.replace('"a.pth"', '"../a.pth"'), "without a folder"),
        (ENTRY.replace("https:", "file:"), r"no http\(s\) url"),
        (ENTRY.replace('file = "a.pth"', ""), "names no file"),
    ],
)
def test_a_manifest_with_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_manifest(path)


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing; it is part of Pannscope"):
        read_manifest(tmp_path / "manifest.toml")
