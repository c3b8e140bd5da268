"""The benchmark on small networks: what it says is arithmetic on what it measured, and every engine answers alike."""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
import torch

from core.audio import load_clip
from core.benchmark import SUBJECTS, available, plans, precision
from core.benchmark.bandwidth import read_bandwidth
from core.benchmark.clips import clips, write_recording
from core.benchmark.macs import comparisons, macs_left
from core.benchmark.page import SECTIONS, write_page
from core.benchmark.processes import WorkerError, Workers, environment, start
from core.benchmark.subjects import Files
from core.benchmark.weights import prepare
from core.checkpoints import load_checkpoint
from core.errors import DataError, ModelError
from core.runtime.ncnn_engine import NcnnEngine
from core.runtime.profiles import PROFILES

ROW = {"engine", "model", "seconds", "batch", "threads", "processes", "median_ms", "lower_quartile_ms"}
ROW |= {"upper_quartile_ms", "low_ms", "high_ms", "repeats", "compared_with", "ratio_to_reference"}
ROW |= {"real_time_factor", "max_abs_difference", "peak_rss_mb", "load_s", "stages_ms", "layers_ms"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    return prepare("demo-epanns", tmp_path_factory.mktemp("weights"))[0]


def test_rows_agree_with_themselves(cli):
    document = cli(
        *("bench", "--models", "demo-epanns", "--engines", "torch,ncnn-small", "--seconds", "0.5,1"),
        *("--batch", "2", "--threads", "1", "--repeats", "2", "--stages", "--json"),
    ).document
    rows = document["rows"]
    assert [(row["engine"], row["seconds"]) for row in rows] == [
        (engine, seconds) for seconds in (0.5, 1.0) for engine in ("torch", "ncnn-small")
    ]
    for place, row in enumerate(rows):
        first = rows[place - place % 2]
        assert set(row) == ROW
        assert (row["batch"], row["threads"], row["processes"], row["compared_with"]) == (2, 1, 1, "torch")
        assert row["ratio_to_reference"] == pytest.approx(first["median_ms"] / row["median_ms"])
        assert row["real_time_factor"] == pytest.approx(2 * row["seconds"] / (row["median_ms"] / 1e3))
        assert row["max_abs_difference"] < 1e-4
        assert 100 < row["peak_rss_mb"] < 4000
        assert list(row["stages_ms"]) == ["decode", "front end", "network"]
        assert list(row["layers_ms"]) == [*(f"C{i}" for i in range(1, 13)), "rest"]
        assert min((*row["stages_ms"].values(), *row["layers_ms"].values())) > 0
    assert document["host"]["cores"] >= 1
    assert set(document["host"]["memory_read"]["gb_per_s"]) == {"1"}
    assert document["weights"] == {"demo-epanns": "Demo E-PANNs's own"}
    assert document["left_out"] == {}


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_gives_the_network_s_answer(name, files):
    if not available(name):
        pytest.skip(f"{name} is not installed")
    heard = clips(1.7, 2)
    found = SUBJECTS[name].load(files, 1).run(heard)
    wanted = load_checkpoint(files.safetensors).model.probabilities(torch.from_numpy(heard)).numpy()
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3
    assert np.abs(found - wanted).max() < (0.05 if "bf16" in name else 1e-4)


def test_layer_times_cover_a_pass(files):
    """Twelve layers and the rest, each with a time of its own, over several pieces of time."""
    engine = NcnnEngine(load_checkpoint(files.safetensors).model, PROFILES["small"], 1)
    times = engine.layer_times(np.full((1, 700, 64), -40.0, np.float32))
    assert list(times) == [*(f"C{i}" for i in range(1, 13)), "rest"]
    assert min(times.values()) > 0


def test_the_recording_is_what_the_engines_hear(tmp_path):
    """Stereo at 48 kHz, and after decoding as long as the clip; its left channel is the first of the batch."""
    path = tmp_path / "clip.flac"
    write_recording(path, 1.5)
    clip = load_clip(path)
    assert (clip.sample_rate_hz, clip.channels, len(clip.waveform)) == (48_000, 2, 48_000)
    left = soundfile.read(path)[0][:, 0]
    assert np.sqrt(np.mean(left**2)) == pytest.approx(np.sqrt(np.mean(clips(1.5, 1) ** 2)), rel=0.02)


def test_peers_wait_as_they_like_and_ours_as_pannscope_does(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert "OMP_WAIT_POLICY" not in environment(ours=False, threads=3)
    assert environment(ours=True, threads=3)["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert environment(ours=True, threads=3)["OMP_WAIT_POLICY"] == "passive"
    assert environment(ours=False, threads=3)["OMP_NUM_THREADS"] == "3"
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="a process's state is read as Linux tells it")
def test_workers_are_stopped_unless_it_is_their_turn(files, tmp_path):
    """Both at once when both are asked, one when the first is; both stopped before and after; and one that ends is noticed."""
    clip = tmp_path / "clip.npy"
    np.save(clip, clips(0.5, 1))
    workers = Workers("torch", files, 1, processes=2)
    try:
        first, second = workers._processes
        assert _state(first.pid) == _state(second.pid) == "T"
        taken, answer = workers.ask({"hear": str(clip)})
        assert taken > answer["ms"] > 0  # until the slower of two has answered
        taken, answer = workers.ask({"pass": True}, first_alone=True)
        assert taken == answer["ms"]
        assert _state(first.pid) == _state(second.pid) == "T"
        second.send_signal(signal.SIGKILL)
        with pytest.raises(WorkerError, match="code -9"):
            workers.ask({"pass": True})
    finally:
        workers.end()


def _state(pid: int) -> str:
    """T is stopped; the signal takes a moment to arrive, and a process that runs on would be R or S for good."""
    for _ in range(1000):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            state = file.read().rpartition(")")[2].split()[0]
        if state == "T":
            break
    return state


def test_an_engine_that_cannot_load_is_left_out_and_says_why(files, tmp_path):
    """Weights that are none stand for an engine that this processor cannot run."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    found, failed = start(["onnxruntime", "torch"], replace(files, onnx=broken), 1, 1)
    for workers in found.values():
        workers.end()
    assert list(found) == ["torch"]
    assert "broken.onnx" in failed["onnxruntime"]


def test_memory_is_read_at_a_possible_rate():
    """A gigabyte per second is less than any machine of this century reads, ten thousand more."""
    found = read_bandwidth([1], memory_free=256 << 20)
    assert found["buffer_mb"] == 64
    assert 1 < found["gb_per_s"]["1"] < 10_000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--engines", "tpu"), "Unknown engine 'tpu'"),
        (("--seconds", "0.1"), "0.31 to 600 s"),
        (("--seconds", "ten"), "--seconds takes numbers"),
        (("--models", "resnet22"), "The shape of resnet22 is not known"),
        (("--models", "cnn14:half"), "such as cnn14:0.25"),
        (("--repeats", "0"), "whole numbers from 1"),
    ],
)
def test_mistakes(cli, given, says):
    assert says in cli("bench", *given).complaint


# What is made of the measurements


def _row(engine: str, model: str, layers: dict[str, float], **other: float) -> dict:
    row = {"engine": engine, "model": model, "seconds": 10.0, "batch": 1, "threads": 1, "processes": 1}
    row |= {"median_ms": sum(layers.values()), "repeats": 3, "compared_with": "torch"}
    row |= {"lower_quartile_ms": 1.0, "upper_quartile_ms": 900.0, "ratio_to_reference": 1.0}
    row |= {"real_time_factor": 1.0, "max_abs_difference": 0.0, "peak_rss_mb": 100.0}
    return row | {"layers_ms": layers, "stages_ms": {"decode": 1.0, "front end": 2.0, "network": 3.0}} | other


def _layer_macs(widths: tuple[int, ...]) -> dict[str, float]:
    """Multiplications of 3 x 3 convolutions on the maps of 10 s: 1001 frames and 64 bands, halved after every second layer."""
    frames, bands, inputs, found = 1001, 64, 1, {}
    for place, width in enumerate(widths):
        found[f"C{place + 1}"] = 9 * inputs * width * frames * bands
        inputs = width
        if place % 2 and place < 11:
            frames, bands = frames // 2, bands // 2
    return found


WHOLE = (64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048)
HALVED = (*WHOLE[:6], *(width // 2 for width in WHOLE[6:]))


def _found() -> dict:
    """Two networks whose layers do 100 MACs a nanosecond, but for the pruned C12, which takes as long as the whole one."""
    before, after = ({name: macs / 1e8 for name, macs in _layer_macs(w).items()} for w in (WHOLE, HALVED))
    after["C12"] = before["C12"]
    rows = [_row("torch", "cnn14", before), _row("torch", "epanns", after)]
    read = {"memory_read": {"buffer_mb": 1, "gb_per_s": {"1": 10.0}}, "load_average": 0.5, "processor": "P"}
    host = read | {
        "cores": 1,
        "memory_free_mb": 1,
        "system": "S",
        "python": "3",
        "packages": {},
        "instructions": [],
    }
    host |= {"omp_wait_policy": {"ours": "passive", "peers": "their own"}, "between_turns": "stopped"}
    return {"engines": {"host": host, "rows": rows, "left_out": {"openvino": "not installed"}, "weights": {}}}


def test_time_is_set_against_macs_layer_by_layer():
    (found,) = comparisons(_found()["engines"]["rows"])
    before, after = _layer_macs(WHOLE), _layer_macs(HALVED)
    for layer in found.layers:
        assert layer.macs == (before[layer.name], after[layer.name])
        assert layer.rate(0) == pytest.approx(100)
    early = sum(before[f"C{i}"] for i in range(1, 7)) / sum(before.values())
    assert found.share(pruned=False, of_time=True) == pytest.approx(early)
    assert found.share(pruned=False, of_time=False) == pytest.approx(early)
    assert found.layers_cut_by_macs == pytest.approx(1 - sum(after.values()) / sum(before.values()))
    late = 1 - (sum(after.values()) - after["C12"] + before["C12"]) / sum(before.values())
    assert found.layers_cut == pytest.approx(late)
    assert found.macs_cut == pytest.approx(0.3607, abs=1e-4)  # the paper's 36 %
    c12 = found.layers[-1]
    assert (c12.macs_cut, c12.time_cut) == (0.75, 0)
    assert c12.weight_bytes == (4 * 9 * 2048 * 2048, 4 * 9 * 1024 * 1024)
    assert c12.reading_ms(0, 10.0) == pytest.approx(15.099, abs=1e-3)  # 151 MB at 10 GB/s
    assert macs_left("cnn14:0.5") == pytest.approx(1 - found.macs_cut, abs=1e-9)


def test_the_page_is_filled_between_its_markers(tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    sections = ("engines", "macs", "host", "length")
    text = "".join(
        f"before {name}\n<!-- measured: {name} -->\nstale\n<!-- end: {name} -->\n" for name in sections
    )
    page.write_text(text)
    found = _found()
    assert write_page(found, page, tmp_path / "images") == ["engines", "macs", "host"]
    first = page.read_text()
    assert first.count("stale") == 1  # the length was not measured
    assert [line for line in first.splitlines() if line.startswith("before")] == [
        f"before {n}" for n in sections
    ]
    before = sum(_layer_macs(WHOLE).values()) / 1e8
    assert f"| torch | cnn14 | {before:.0f} | 1–900 | 1.00 |" in first
    assert "| C12 | 2340 | 585 | 75 % | 23.4 → 23.4, 0 % |" in first
    assert (
        "Pruning takes less of the time than of the MACs from C12 (75 % of the MACs, 0 % of the time)."
        in first
    )
    assert "would take 65 % of C12's time (144 MiB, 15.1 of 23.4 ms)" in first
    assert "openvino: not installed" in first
    pictures = {path.name: ElementTree.parse(path) for path in (tmp_path / "images").iterdir()}
    assert sorted(pictures) == ["performance-engines.svg", "performance-macs.svg"]
    words = {name: "".join(tree.getroot().itertext()) for name, tree in pictures.items()}
    assert "time of a clip, ms" in words["performance-engines.svg"]
    assert "C12" in words["performance-macs.svg"]
    kept = (tmp_path / "images" / "performance-macs.svg").read_bytes()
    write_page(found, page, tmp_path / "images")
    assert page.read_text() == first
    assert (tmp_path / "images" / "performance-macs.svg").read_bytes() == kept


def test_a_page_without_markers_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Speed\n")
    with pytest.raises(ModelError, match="measured: NAME"):
        write_page(_found(), page, tmp_path)


def test_the_page_that_there_is_has_every_section():
    text = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- measured: (\S+) -->", text)) == sorted(SECTIONS)
    assert re.findall(r"<!-- measured: (\S+) -->", text) == re.findall(r"<!-- end: (\S+) -->", text)


def test_the_whole_run_covers_what_the_page_needs():
    found = plans(cores=6)
    assert found["length"].seconds == (1.0, 2.0, 10.0, 60.0)
    assert found["ratio"].models == ("cnn14", "cnn14:0.25", "cnn14:0.5", "cnn14:0.75")
    assert found["batch"].batches == (1, 2, 4, 8)
    assert found["batch"].threads == found["threads"].threads == (1, 2, 4, 6)
    assert found["processes"].processes == (2, 4, 6)
    assert set(found["engines"].engines) == set(SUBJECTS)
    assert "processes" not in plans(cores=1)


def test_precision_is_what_evaluate_says(cli, studio, tmp_path):
    """The command's mAP, of a network a fold the mean of both folds'; and no difference of torch from itself."""
    for fold, name in (("1", "small"), ("2", "other")):
        (tmp_path / f"{fold}.safetensors").write_bytes((studio / f"{name}.safetensors").read_bytes())
    small, each = str(tmp_path / "1.safetensors"), str(tmp_path / "{fold}.safetensors")
    found = precision(studio / "clips.csv", studio, ("1", "2"), (small, each), ("ncnn", "torch"))

    def evaluated(network: str, folds: str) -> dict:
        words = ("--manifest", studio / "clips.csv", "--audio", studio, "--folds", folds, "--json")
        return cli("evaluate", "--checkpoint", tmp_path / network, "--runtime", "torch", *words).document

    first, _, second, _ = found["rows"]
    assert [row["runtime"] for row in found["rows"]] == ["torch", "ncnn"] * 2
    assert [row["held_out"] for row in (first, second)] == [False, True]
    both = evaluated("1.safetensors", "1,2")
    assert (first["clips"], first["mAP"], first["auc"], first["d_prime"]) == (
        *(6, both["mAP"], both["auc"]),
        pytest.approx(both["d_prime"]),
    )
    alone = [evaluated(f"{fold}.safetensors", fold)["mAP"] for fold in "12"]
    assert (second["clips"], second["mAP"]) == (6, pytest.approx(sum(alone) / 2))
    assert first["max_abs_difference"] == second["max_abs_difference"] == 0
    assert max(row["max_abs_difference"] for row in found["rows"]) < 1e-4
    with pytest.raises(DataError, match="say which folds"):
        precision(studio / "clips.csv", studio, (), (each,))
