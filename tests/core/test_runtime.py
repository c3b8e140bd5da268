"""The choice of an engine, its reason, and the memory of the weights that it replaces."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core import load_tagger
from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.errors import SettingsError
from core.models.cnn import Cnn14
from core.runtime import choice
from core.runtime.choice import _warn_once, engine_for
from core.runtime.engine import EngineError
from core.runtime.winograd import native
from core.tagging import Tagger
from tests.core.networks import network

RATE = 32_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("runtime", ["ncnn", "winograd"])
def test_an_engine_leaves_nothing_behind_when_it_goes(runtime):
    """ncnn ends the process where buffers outlive the store that they came from."""
    code = (
        f"import torch; from core import load_tagger; t = load_tagger('demo-epanns', runtime='{runtime}');"
        "e = t.engine; e.probabilities(torch.zeros(1, 500_000)); del t; del e; print('gone')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "gone\n", "")


def test_auto_takes_the_fastest_and_says_why(monkeypatch):
    monkeypatch.setenv("PANNSCOPE_PROFILE", "small")
    tagger = load_tagger("demo-cnn14")
    assert tagger.runtime == "winograd"
    assert tagger.runtime_why.startswith(
        "winograd, the fastest here without a CUDA device; profile small, as requested; "
    )
    assert load_tagger("demo-cnn14", runtime="torch").runtime_why == "torch, as requested"


@pytest.fixture
def no_compiler(monkeypatch):
    """As where llvmlite is not installed: None is what Python itself puts there to forbid an import."""
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    for name in ("engine", "layer", "native", "kernels", "emit"):
        monkeypatch.delitem(sys.modules, f"core.runtime.winograd.{name}", raising=False)


def test_without_the_compiler_ncnn_runs_and_says_so(no_compiler):
    engine = engine_for(load_tagger("demo-epanns").model)
    assert engine.name == "ncnn"
    assert "a faster engine cannot be used: winograd: winograd failed (ModuleNotFoundError" in engine.why
    with pytest.raises(EngineError, match="llvmlite"):
        engine_for(load_tagger("demo-epanns").model, "winograd")


def test_a_processor_without_the_instructions_is_a_reason(monkeypatch):
    native.native.cache_clear()
    monkeypatch.setattr(native.llvm, "get_host_cpu_features", lambda: {"sse4.2": True, "avx": True})
    with pytest.raises(EngineError, match="neither AVX-512 nor AVX2 with FMA"):
        engine_for(load_tagger("demo-epanns").model, "winograd")
    assert engine_for(load_tagger("demo-epanns").model).name == "ncnn"


def test_without_any_fast_engine_torch_runs_and_says_so_once(no_compiler, monkeypatch, caplog):
    for package in ("ncnn", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    _warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        taggers = [load_tagger("demo-cnn14"), load_tagger("demo-epanns")]
        assert [tagger.runtime for tagger in taggers] == ["torch", "torch"]
    assert "cannot be imported" in taggers[0].runtime_why
    assert len(caplog.records) == 1
    with pytest.raises(EngineError, match="pip install ncnn"):
        load_tagger("demo-cnn14", runtime="ncnn").probabilities(np.zeros(RATE, np.float32))


def test_a_package_that_is_another_thing_is_a_reason(no_compiler, monkeypatch, tmp_path):
    (tmp_path / "ncnn.py").write_text("version = 'not the one'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ncnn", raising=False)
    engine = engine_for(load_tagger("demo-epanns").model)
    assert engine.name == "onnxruntime"
    assert "a faster engine cannot be used" in engine.why
    assert "AttributeError" in engine.why


class Shifted:
    """An engine whose probabilities are torch's plus a constant."""

    name, why, nbytes = "shifted", "", 0

    def __init__(self, model: Cnn14, shift: float) -> None:
        self._model, self._shift = model, shift

    def probabilities(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self._model.probabilities(waveforms) + self._shift


@pytest.mark.parametrize(
    ("runtime", "factory", "shift", "accepted"),
    [
        ("ncnn", "NcnnEngine", 0.9e-4, True),
        ("ncnn", "NcnnEngine", 1.1e-4, False),
        ("ncnn", "NcnnEngine", -1.1e-4, False),
        ("ncnn", "NcnnEngine", float("nan"), False),
        ("bf16", "Bf16Engine", 0.09, True),
        ("bf16", "Bf16Engine", 0.11, False),
        ("bf16", "Bf16Engine", float("nan"), False),
    ],
)
def test_an_engine_is_used_within_its_tolerance(runtime, factory, shift, accepted, monkeypatch):
    monkeypatch.setattr(choice, factory, lambda model, *_: Shifted(model, shift))
    model = network((4,) * 12)
    if accepted:
        assert engine_for(model, runtime).name == "shifted"
    else:
        with pytest.raises(EngineError, match=f"{runtime}'s probabilities differ from torch's"):
            engine_for(model, runtime)


def test_torch_takes_no_more_threads_than_there_are_cores(monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setenv("PANNSCOPE_THREADS", "2")
        engine_for(network((4,) * 12), "torch")
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("PANNSCOPE_THREADS", "3")
        engine_for(network((4,) * 12), "torch")
        assert torch.get_num_threads() == 2  # more is never set
    finally:
        torch.set_num_threads(before)


def test_other_numbers_than_torch_are_a_reason():
    """Weights so large that float32 overflows in either engine: no answer that could be trusted to be the same."""
    model = network((8,) * 12)
    with torch.no_grad():
        model.convolution("C5").weight.mul_(1e38)
    engine = engine_for(model)
    assert engine.name == "torch"
    assert "differ from torch's" in engine.why
    with pytest.raises(EngineError, match="differ"):
        engine_for(model, "ncnn")


def test_a_tagger_builds_its_engine_when_it_first_runs(monkeypatch):
    given = load_tagger("demo-epanns")
    monkeypatch.setenv("PANNSCOPE_PROFILE", "tiny")
    tagger = Tagger(given.model, given.info)
    with pytest.raises(SettingsError, match="PANNSCOPE_PROFILE is one of auto, fast, small; got 'tiny'"):
        tagger.probabilities(np.zeros(RATE, np.float32))
    monkeypatch.setenv("PANNSCOPE_PROFILE", "small")
    assert tagger.engine is tagger.engine
    assert "profile small" in tagger.runtime_why


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads resident pages from Linux' smaps")
def test_weights_of_a_file_are_paged_out_and_come_back(tmp_path):
    """The mapped file's pages leave memory once an engine has its copy, and torch reads them again, the same."""
    path, classes = tmp_path / "wide.safetensors", ClassSet(tuple(range(9)))
    save_checkpoint(path, network((8,) * 10 + (512, 512)), classes=classes, name="wide")
    tagger = load_tagger(checkpoint=path)
    clip = torch.zeros(1, RATE)
    before = tagger.model.probabilities(clip)

    def resident() -> int:
        address, kilobytes, inside = tagger.model.conv_block6.conv2.weight.data_ptr(), 0, False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                start, end = (int(edge, 16) for edge in first.split("-"))
                inside = start <= address < end
            elif inside and first == "Rss:":
                kilobytes = int(line.split()[1])
        return kilobytes

    with_weights = resident()
    assert tagger.runtime == "winograd"
    assert resident() < with_weights - 8_000  # C12 alone takes 9,216 kB
    assert torch.equal(tagger.model.probabilities(clip), before)
