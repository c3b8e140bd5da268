"""The bundle: what lies in it, and its script in an environment that has onnxruntime, numpy and soundfile alone."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import shutil
import subprocess
import venv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from packaging.requirements import Requirement

from core.audio import load_clip
from core.checkpoints import CHECKPOINTS_DIR
from core.examples import synthesize
from core.export import export
from core.export.bundle import REQUIREMENTS
from core.export.check import check_waveforms
from core.files import file_sha256
from core.pruning.plan import plan
from core.pruning.plan_file import load_plan
from core.pruning.provenance import pruned_info
from core.pruning.surgery import prune
from core.tagging import Tagger, load_tagger

PACKAGES = ("onnxruntime", "numpy", "soundfile")


@pytest.fixture(scope="module", autouse=True)
def short_checks() -> Iterator[None]:
    """What every export is checked on, cut to CNN14's shortest input: test_export_check.py has the whole."""
    short = tuple(waveform[:9_920] for waveform in check_waveforms())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.export.check.check_waveforms", lambda: short)
        yield


@pytest.fixture(scope="module")
def pruned() -> Tagger:
    """The embedded CNN14 without half of C7 to C12, in memory only."""
    parent = load_tagger("demo-cnn14")
    made = plan(parent.model, 0.5)
    model = prune(parent.model, made)
    return Tagger(model, pruned_info(parent.info, made, model, "demo-half"))


@pytest.fixture(scope="module")
def unpacked(pruned, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    done = export(pruned, "bundle", folder / "half.zip")
    assert done.files == (folder / "half.zip",)
    with zipfile.ZipFile(done.path) as archive:
        archive.extractall(folder / "half")
    return folder / "half"


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """The interpreter of a new virtual environment with links to what pip would install for the three, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in needed(PACKAGES):
        files = importlib.metadata.files(package)
        if not files:
            pytest.skip(f"the installed {package} does not list its files")
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            source = Path(str(importlib.metadata.distribution(package).locate_file(top)))
            if source.exists():
                (site / top).symlink_to(source)
    return folder / "bin" / "python"


def needed(packages: Iterable[str]) -> set[str]:
    """The packages, and what they require."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            requirements = map(Requirement, importlib.metadata.requires(package) or [])
            waiting += [
                each.name
                for each in requirements
                if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return found


def run(python: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-I", *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120
    )


def printed(output: str) -> dict[str, dict[str, float]]:
    """Recording -> its printed tags."""
    found: dict[str, dict[str, float]] = {}
    path = ""
    for line in output.splitlines():
        number, _, name = line.partition("  ")
        if name:
            found[path][name] = float(number)
        else:
            path = line
            found[path] = {}
    return found


def test_the_environment_is_bare(bare, tmp_path):
    for module in ("torch", "core", "scipy", "soxr", "onnx", "pip"):
        assert run(bare, "-c", f"import {module}", cwd=tmp_path).returncode == 1
    done = run(bare, "-c", "import onnxruntime, numpy, soundfile", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(line.partition(">")[0] for line in REQUIREMENTS.split()) == sorted(PACKAGES)


def test_the_script_tags_as_pannscope_does(pruned, unpacked, bare, tmp_path):
    rng = np.random.default_rng(0)
    at_44100 = 0.3 * np.sin(2 * np.pi * 650 * np.arange(4 * 44_100) / 44_100)
    at_44100 += 0.02 * rng.standard_normal(len(at_44100))
    long = np.concatenate(
        [synthesize(key) for key in ("rain", "siren", "fire", "clock", "helicopter", "waves")]
    )
    long = np.concatenate([long, long])[: 41 * 32_000]
    recordings = {
        "siren.wav": (synthesize("siren"), 32_000),
        "stereo.flac": (np.stack([synthesize("fire"), 0.2 * synthesize("fire")], axis=1), 32_000),
        "short.wav": (synthesize("clock")[:6_000], 32_000),
        "long.wav": (long, 32_000),
        "cd.wav": (at_44100, 44_100),
    }
    for name, (samples, rate) in recordings.items():
        soundfile.write(tmp_path / name, samples, rate)
    done = run(bare, unpacked / "tag.py", *recordings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = printed(done.stdout)
    assert list(found) == list(recordings)
    for name, (_, rate) in recordings.items():
        tags = pruned.tag(load_clip(tmp_path / name))
        wanted = {tag.name: tag.probability for tag in tags.top(10)}
        tolerance = 1e-3 if rate == 32_000 else 0.02  # another filter at the edge of the band than soxr's
        assert len(found[name]) == 10
        for tag, probability in found[name].items():
            whole = dict(zip(tags.classes.names, tags.probabilities, strict=True))
            assert abs(probability - whole[tag]) < tolerance, (name, tag)
        assert next(iter(found[name])) == next(iter(wanted))


def self_tested(python: Path, folder: Path, cwd: Path) -> tuple[int, list[str]]:
    """Exit code of the self-test, and its line of each model."""
    done = run(python, folder / "tag.py", "--self-test", cwd=cwd)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()[::2]


def test_the_self_test_passes_and_states_what_eight_bits_lose(pruned, unpacked, bare, tmp_path):
    done = run(bare, unpacked / "tag.py", "--self-test", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = json.loads((unpacked / "self_test.json").read_text())
    first = stored["recordings"][0]
    waveform, _ = soundfile.read(unpacked / first["file"], dtype="float32")
    wanted = pruned.model.probabilities(torch.from_numpy(waveform)[None])[0].numpy()
    assert np.allclose(first["probabilities"], wanted, atol=1e-6)
    assert np.allclose(first["embedding"], pruned.embedding(waveform), rtol=1e-4, atol=1e-5)
    assert stored["models"]["model.onnx"]["probability"] < 2e-5
    lost = stored["models"]["model.int8.onnx"]["measured"]
    assert 1e-5 < lost < 0.05
    lines = done.stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[::2]] == ["passed", "passed"]
    assert f"{lost:.2g}" in lines[3]


def change_a_weight(path: Path, name: str) -> None:
    """Turn the sign of the largest value of one tensor."""
    model = onnx.load(path)
    weight = next(each for each in model.graph.initializer if each.name == name)
    values = onnx.numpy_helper.to_array(weight).copy()
    values[np.unravel_index(np.abs(values.astype(np.float32)).argmax(), values.shape)] *= -1
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)


def test_the_self_test_fails_on_one_changed_weight(unpacked, bare, tmp_path):
    """By the file's checksum, and by its outputs where that was written anew."""
    folder = tmp_path / "changed"
    shutil.copytree(unpacked, folder)
    change_a_weight(folder / "model.onnx", "fc1.weight")
    change_a_weight(folder / "model.int8.onnx", "fc1.weight.int8")
    stored = json.loads((folder / "self_test.json").read_text())
    stored["models"]["model.onnx"]["sha256"] = file_sha256(folder / "model.onnx")
    (folder / "self_test.json").write_text(json.dumps(stored))
    code, (whole, eight_bits) = self_tested(bare, folder, tmp_path)
    assert code == 1
    assert "embedding differs by more" in whole
    assert "not the one that was exported" not in whole
    assert "not the one that was exported" in eight_bits


def test_the_self_test_of_a_damaged_or_missing_model_fails_in_a_line(unpacked, bare, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(unpacked, folder)
    (folder / "model.onnx").write_bytes(b"no model")
    (folder / "model.int8.onnx").unlink()
    code, lines = self_tested(bare, folder, tmp_path)
    assert code == 1
    assert all("FAILED" in line for line in lines)


def test_the_script_without_a_recording_says_how(unpacked, bare, tmp_path):
    done = run(bare, unpacked / "tag.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "python tag.py [--int8] FILE..." in done.stderr
    assert "Traceback" not in done.stderr


def test_what_lies_in_it(pruned, unpacked):
    names = {path.name for path in unpacked.iterdir()}
    assert names == {
        "README.md", "MODEL_CARD.md", "model.onnx", "model.int8.onnx", "classes.csv", "class_labels_indices.csv", "plan.json", "tag.py",
        "requirements.txt", "self_test.json", "test_wavs", "CREDITS.md",
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO((unpacked / "classes.csv").read_text())))
    assert [row["name"] for row in rows] == list(pruned.classes.names)
    assert [int(row["index"]) for row in rows] == list(pruned.classes.indices)
    assert len((unpacked / "tag.py").read_text().splitlines()) < 120
    table = list(csv.reader(io.StringIO((unpacked / "class_labels_indices.csv").read_text())))
    assert table[0] == ["index", "mid", "display_name"]
    assert {row[2]: row[1] for row in table}["Speech"] == "/m/09x0r"  # AudioSet's own identifier
    assert [row[2] for row in table[1:]] == list(pruned.classes.names)
    assert (unpacked / "CREDITS.md").read_bytes() == (CHECKPOINTS_DIR / "CREDITS.md").read_bytes()


def test_the_plan_makes_the_same_network(pruned, unpacked):
    made = load_plan(unpacked / "plan.json")
    again = prune(load_tagger("demo-cnn14").model, made).state_dict()
    assert all(np.array_equal(again[name], value) for name, value in pruned.model.state_dict().items())


def test_the_card_counts_what_is_there(pruned, unpacked):
    card = (unpacked / "MODEL_CARD.md").read_text()
    learned = sum(value.numel() for value in pruned.model.parameters())
    assert f"| parameters, learned | {learned:,} | {100 * learned / 5_253_599:.1f} % |" in card
    assert "made from Demo CNN14" in card
    assert "A demonstration model" in card
    assert "criterion: operator-norm" in card
    assert "C7 50 %" in card
    assert pruned.info.training["pruning"]["pruned_from_sha256"] in card
    assert "under MIT" in card
    assert "None" not in card


def test_a_network_that_was_never_pruned_has_no_plan(studio, tmp_path):
    tagger = load_tagger(checkpoint=studio / "small.safetensors")
    done = export(tagger, "bundle", tmp_path / "small.zip")
    with zipfile.ZipFile(done.path) as archive:
        names = archive.namelist()
        card = archive.read("MODEL_CARD.md").decode()
    assert "plan.json" not in names
    assert "CREDITS.md" not in names
    assert "not in Pannscope's list" in card
    assert "The bundle has no plan" in done.notes[1]


def test_the_embedded_pair_has_its_plan_although_its_file_is_older(tmp_path):
    done = export(load_tagger("demo-epanns"), "bundle", tmp_path / "epanns.zip")
    with zipfile.ZipFile(done.path) as archive:
        archive.extract("plan.json", tmp_path)
    made = load_plan(tmp_path / "plan.json")
    assert made.after == load_tagger("demo-epanns").model.config.widths
    assert set(made.ratios.values()) == {0.5}


def test_twice_the_same_bytes(studio, tmp_path):
    tagger = load_tagger(checkpoint=studio / "small.safetensors")
    first = export(tagger, "bundle", tmp_path / "a.zip").path.read_bytes()
    assert export(tagger, "bundle", tmp_path / "b.zip").path.read_bytes() == first


def test_on_the_command_line(cli, studio, tmp_path):
    out = tmp_path / "small.zip"
    words = [
        "export",
        "--format",
        "bundle",
        "-m",
        studio / "small.safetensors",
        "--clips",
        studio / "noise.flac",
    ]
    found = cli(*words, "--out", out, "--json").document
    assert (found["path"], found["format"], found["clips"]) == (str(out), "bundle", 5)
    assert 0 <= found["max_abs_difference"] < 1e-4
    assert "exists already" in cli(*words, "--out", out).complaint
    assert json.loads(cli(*words, "--out", out, "--force", "--json").out)["size_bytes"] == out.stat().st_size
    assert "end in .zip" in cli(*words, "--out", tmp_path / "a.onnx").complaint
    assert "Unknown format 'tflite'" in cli("export", "-f", "tflite", "--out", out).complaint
    assert (
        "belong together"
        in cli("export", "-f", "int8", "--out", tmp_path / "a.onnx", "--audio", studio).complaint
    )
    (tmp_path / "empty").mkdir()
    assert (
        "contains no recordings"
        in cli(*words, "--clips", tmp_path / "empty", "--out", tmp_path / "b.zip").complaint
    )
    plain = cli("export", "-f", "ncnn", "-m", studio / "small.safetensors", "--out", tmp_path / "s.param")
    assert plain.code == 0
    assert "s.bin" in plain.out
    assert "within" in plain.out
