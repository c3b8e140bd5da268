"""The manifest against the facts it was made from, and against counts made by building the networks."""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoints import Entry, entry, manifest, path_of, status
from core.checkpoints.entries import KINDS, read_manifest
from core.classes import ClassSet
from core.errors import CheckpointError
from core.files import file_sha256
from core.models.registry import ARCHITECTURES, architecture
from core.profiling import profile
from core.profiling.passes import empty_network

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
    # Their checksums are asked of the record's API when they are fetched.
    "cnn14-16k": None,
    "cnn14-8k": None,
    "cnn14-emb512": None,
    "cnn14-emb128": None,
    "cnn14-emb32": None,
    "mobilenet-v1": None,
    "mobilenet-v2": None,
    "lee-net11": None,
    "lee-net24": None,
    "dai-net19": None,
    "res1dnet31": None,
    "res1dnet51": None,
}
EFFICIENTAT = ("mn04", "mn05", "mn10")
COUNTED = [each for each in ENTRIES.values() if each.figures_source is None]
WITHOUT_EXTRA = [each for each in COUNTED if ARCHITECTURES[each.architecture].extra is None]
"""Those that can be counted without an extra; test_ast.py counts the other."""

AST_HEADS = 2 * (768 * 1000 + 1000)
"""Two heads of the image network, which the paper counts and no pass uses."""


def test_what_is_listed() -> None:
    names = {kind: {each.name for each in ENTRIES.values() if each.kind == kind} for kind in KINDS}
    assert names["embedded"] == {"demo-cnn14", "demo-epanns"}
    assert names["official"] == {*MD5, *EFFICIENTAT, "epanns", "ast"}
    assert {"epanns-25", "epanns-75", "erann-2-5", "erann-1-6", "ast-ensemble", "psla"} < names["published"]


def test_published_figures_are_those_of_the_facts(shared: Path) -> None:
    """Every system of published.csv is listed, with the mAP that it states; rounded figures where none are counted."""
    by_title = {each.title.lower(): each for each in ENTRIES.values()}
    renamed = {
        "e-panns 50%": "e-panns",
        "e-panns 25%": "e-panns 25 %",
        "e-panns 75%": "e-panns 75 %",
        "wavegram-cnn": "wavegram-cnn14",
        "wavegram-logmel-cnn": "wavegram-logmel-cnn14",
        "eranns-2-5": "erann-2-5",
        "eranns-1-6": "erann-1-6",
    }
    with open(shared / "facts" / "published.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        title = row["name"].lower()
        listed = by_title[renamed.get(title, title)]
        assert listed.published_mAP == float(row["mAP_audioset"]), row
        stated = float(row["params_millions"]) * 1e6 - (AST_HEADS if title == "ast" else 0)
        assert listed.params == pytest.approx(stated, abs=1 if row["how"] == "counted" else 0.012 * stated)
        if listed.figures_source and row["gmacs_10s_clip"]:
            assert listed.macs_10s == pytest.approx(float(row["gmacs_10s_clip"]) * 1e9)


@pytest.mark.parametrize("name", MD5)
def test_panns_are_as_their_record_lists_them(name: str) -> None:
    listed = entry(name)
    assert listed.md5 == MD5[name]
    assert listed.file is not None
    assert listed.url is not None
    assert listed.url == (
        f"https://zenodo.org/records/{listed.record}/files/{listed.file.replace('=', '%3D')}?download=1"
    )
    # The file's name carries the published mAP.
    assert f"{listed.published_mAP:.3f}" == re.search(r"mAP=(.*)\.pth", listed.file).group(1)  # type: ignore[union-attr]
    # The embeddings of other sizes are addressed in an earlier version of the same record.
    assert listed.record == ("3960586" if "-emb" in name else "3987831")
    assert listed.licence == "CC BY 4.0"


def test_cnn14_is_the_file_that_was_hashed() -> None:
    assert entry("cnn14").size_bytes == 327_428_481
    assert entry("cnn14").sha256 == "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31"


def test_the_checksum_of_epanns_comes_from_its_record() -> None:
    assert (entry("epanns").md5, entry("epanns").sha256, entry("epanns").record) == (None, None, "7939403")


def test_efficientat_is_as_its_release_lists_it(shared: Path) -> None:
    for name in EFFICIENTAT:
        listed = entry(name)
        assert listed.url == (
            f"https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/{listed.file}"
        )
        assert listed.licence == "MIT"
    assert (entry("mn05").sha256, entry("mn10").sha256) == (
        None,
        None,
    )  # none is published, and none is made up
    file = shared / "teacher" / str(entry("mn04").file)
    assert (file.stat().st_size, file_sha256(file)) == (entry("mn04").size_bytes, entry("mn04").sha256)


@pytest.mark.parametrize(
    "listed", [each for each in COUNTED if each.architecture == "cnn14"], ids=lambda each: each.name
)
def test_counts_are_those_of_the_network(listed: Entry) -> None:
    classes = 527 if listed.classes == "audioset" else len(ClassSet.from_names(listed.classes))
    with torch.device("meta"):
        chosen = architecture(listed.architecture)
        model = chosen.build(
            chosen.configure(widths=listed.widths, embedding=listed.embedding, classes=classes)
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == listed.params
    assert listed.macs_10s == macs_10s(listed, classes)
    assert listed.stft_10s == 2 * 513 * 1024 * 1001
    assert listed.stft_counted


@pytest.mark.parametrize(
    "listed", [each for each in WITHOUT_EXTRA if each.architecture != "cnn14"], ids=lambda each: each.name
)
def test_counts_of_other_networks_are_those_of_their_architecture(
    listed: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the STFT's are those of two Conv1d layers of its window, for as many frames as 10 s have."""
    counted = profile(listed.architecture)
    assert (counted.params_trainable, counted.macs) == (listed.params, listed.macs_10s)
    transform, counts = torch.stft, [0]

    def spy(waveform: torch.Tensor, n_fft: int, *others: Any, **named: Any) -> torch.Tensor:
        spectrum = transform(waveform, n_fft, *others, **named)
        counts.append(2 * (n_fft // 2 + 1) * n_fft * spectrum.shape[-1])
        return spectrum

    monkeypatch.setattr(torch, "stft", spy)
    front_end = empty_network(architecture(listed.architecture), counted.config).front_end
    front_end(torch.empty(1, 10 * counted.sample_rate, device="meta"))
    assert sum(counts) == listed.stft_10s  # a long clip is transformed in pieces
    assert listed.stft_counted == (counted.params_total > counted.params_trainable or not listed.stft_10s)


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
    families = [listed.family for listed in ENTRIES.values()]
    assert sum(one != other for one, other in pairwise(families)) == len(set(families)) - 1  # each together
    for listed in ENTRIES.values():
        assert listed.kind == "embedded" or re.fullmatch(r"arXiv:\d{4}\.\d{5}", listed.paper or "")
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
    assert status(entry("beats")) == "published-only"


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
        (ENTRY + "published_mAP = 0.5", "mAP without its source"),
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
