"""`pannscope bench` on small networks: every row follows from what was measured, and all engines agree."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from core.audio import load_clip
from core.benchmark import SUBJECTS, Bench, available, stages
from core.benchmark.bandwidth import read_bandwidth
from core.benchmark.bench import _Case, _measured
from core.benchmark.clips import clips, write_recording
from core.benchmark.processes import WorkerError, Workers, environment, start
from core.benchmark.subjects import Files
from core.benchmark.weights import prepare
from core.checkpoints import load_checkpoint
from core.runtime.engine import EngineError, TorchEngine
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
def test_every_subject_agrees_with_the_network(name, files):
    if not available(name):
        pytest.skip(f"{name} is not installed")
    try:
        subject = SUBJECTS[name].load(files, 1)
    except EngineError as error:
        pytest.skip(str(error))
    waveforms = clips(1.7, 2)
    probabilities = subject.run(waveforms)
    expected = load_checkpoint(files.safetensors).model.probabilities(torch.from_numpy(waveforms)).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    assert np.abs(probabilities - expected).max() < (0.05 if "bf16" in name else 1e-4)


@pytest.mark.parametrize(("name", "samples"), [("mobilenet-v1", 16_000), ("cnn14-8k", 8_000)])
def test_any_architecture_beside_its_original(name, samples, tmp_path):
    """Behind torchlibrosa's front end, in torch, in onnxruntime: the same probabilities, at the architecture's rate."""
    files, source = prepare(name, tmp_path)
    waveforms = clips(samples / files.rate, 1, files.rate)
    assert waveforms.shape == (1, samples)
    assert source == "random, of this shape"
    found = [
        SUBJECTS[each].load(files, 1).run(waveforms)
        for each in ("reference", "torch", "onnxruntime-body", "onnxruntime")
    ]
    assert np.ptp(found[0]) > 0
    assert max(np.abs(other - found[0]).max() for other in found[1:]) < 1e-4


def test_layer_times_cover_a_pass(files):
    """Twelve layers and the rest, each with a time of its own, over several pieces of time."""
    engine = NcnnEngine(load_checkpoint(files.safetensors).model, PROFILES["small"], 1)
    times = engine.layer_times(np.full((1, 700, 64), -40.0, np.float32))
    assert list(times) == [*(f"C{i}" for i in range(1, 13)), "rest"]
    assert min(times.values()) > 0


def test_the_recording_is_the_engines_clip(tmp_path):
    """Stereo at 48 kHz, and after decoding as long as the clip; its left channel is the first of the batch."""
    path = tmp_path / "clip.flac"
    write_recording(path, 1.5)
    clip = load_clip(path)
    assert (clip.sample_rate_hz, clip.channels, len(clip.waveform)) == (48_000, 2, 48_000)
    left = soundfile.read(path)[0][:, 0]
    assert np.sqrt(np.mean(left**2)) == pytest.approx(np.sqrt(np.mean(clips(1.5, 1) ** 2)), rel=0.02)


def test_the_wait_policy_is_ours_alone(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert "OMP_WAIT_POLICY" not in environment(ours=False, threads=3)
    assert environment(ours=True, threads=3)["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert environment(ours=True, threads=3)["OMP_WAIT_POLICY"] == "passive"
    assert environment(ours=False, threads=3)["OMP_NUM_THREADS"] == "3"
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.skipif(sys.platform != "linux", reason="a process's state is read from /proc")
def test_workers_are_stopped_except_during_a_request(files, tmp_path):
    """Both run for a request to both, one for a request to the first; both are stopped before and after; one that ends is an error."""
    clip = tmp_path / "clip.npy"
    np.save(clip, clips(0.5, 1))
    workers = Workers("torch", files, 1, processes=2)
    try:
        first, second = workers._processes
        assert _state(first.pid) == _state(second.pid) == "T"
        taken, reply = workers.request({"clip": str(clip)})
        assert taken > reply["ms"] > 0  # until the slower of two has replied
        taken, reply = workers.request({"pass": True}, first_alone=True)
        assert taken == reply["ms"]
        assert _state(first.pid) == _state(second.pid) == "T"
        second.send_signal(signal.SIGKILL)
        with pytest.raises(WorkerError, match="code -9"):
            workers.request({"pass": True})
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


def test_a_checkpoint_file_is_timed_with_its_own_weights(files, tmp_path):
    mine, source = prepare(str(files.safetensors), tmp_path)
    assert source == "the file's own"
    pair = [load_checkpoint(each.safetensors).model.state_dict() for each in (files, mine)]
    assert all(torch.equal(value, pair[1][key]) for key, value in pair[0].items())


def test_an_engine_that_cannot_load_is_skipped_with_the_reason(files, tmp_path):
    """A damaged file takes the place of an engine that this processor cannot run."""
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
        (("--models", "resnet22:0.5"), "a pruning ratio is of CNN14's C7 to C12"),
        (("--models", "cnn14:half"), "such as cnn14:0.25"),
        (("--models", "runs/none.pth"), "runs/none.pth"),
        (("--repeats", "0"), "whole numbers, at least 1"),
    ],
)
def test_mistakes(cli, given, says):
    assert says in cli("bench", *given).complaint


@pytest.mark.parametrize(("processes", "label"), [(1, "demo, 2 threads"), (3, "demo, 2 threads x 3")])
def test_a_cases_label(files, tmp_path, monkeypatch, processes, label):
    monkeypatch.setattr(sys.modules[Bench.__module__], "start", lambda *_: ({}, {"torch": "no room"}))
    case = _Case("demo", files, 2, processes, tmp_path)
    said, left_out = [], {}
    assert list(_measured(Bench(seconds=(1.0, 0.5)), case, ["torch"], left_out, said.append)) == []
    assert said == [f"{label}: loading", f"{label}: 0.5 s, batch of 1", f"{label}: 1 s, batch of 1"]
    assert left_out == {f"torch ({label})": "no room"}


@pytest.mark.parametrize("free", [299, 300])
def test_room_for_more_processes(monkeypatch, free):
    """Two more of 150 MB each."""
    monkeypatch.setattr("core.benchmark.processes.usable_memory", lambda: free << 20)
    workers = SimpleNamespace(_processes=["one"], peak_bytes=150 << 20)
    if free == 300:
        Workers._check_room(workers, 2)
    else:
        with pytest.raises(WorkerError) as refused:
            Workers._check_room(workers, 2)
        assert str(refused.value) == "299 MB of memory are free, and 2 more of its processes need 300"


def test_the_stages_of_a_clip(files, tmp_path):
    """Every stage takes time, the parts of a pass have a median each, and an engine without layers has none."""
    path = tmp_path / "clip.flac"
    write_recording(path, 0.5)
    model = load_checkpoint(files.safetensors).model
    times = stages.stage_times(model, TorchEngine(model, "named"), path, clips(0.5, 1))
    assert list(times) == ["stages_ms", "layers_ms"]
    assert list(times["stages_ms"]) == ["decode", "front end", "network"]
    assert list(times["layers_ms"]) == [*(f"C{i}" for i in range(1, 13)), "rest"]
    plain = SimpleNamespace(probabilities=model.probabilities)
    assert stages.stage_times(model, plain, path, clips(0.5, 1))["layers_ms"] == {}
    passes = [{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 7.0}, {"a": 2.0, "b": 8.0}]
    assert stages._medians(passes) == {"a": 2.0, "b": 8.0}
