"""Both engines on the same sounds, what is chosen where, and what a container's limits leave."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from core import load_tagger
from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.runtime import PROFILES, EngineError, NcnnEngine, TorchEngine, choose_profile, engine_for
from core.runtime import threads as threads_used
from core.runtime.choice import _warn_once
from core.runtime.machine import usable_cpus, usable_memory
from core.synthesis import EXAMPLES, synthesise
from core.tagging import Tagger

RATE = 32_000
ROOT = Path(__file__).resolve().parents[2]


def network(widths: tuple[int, ...], seed: int = 0) -> Cnn14:
    """Random weights whose activations stay in range, batch norms unlike each other."""
    torch.manual_seed(seed)
    model = Cnn14(Cnn14Config(widths, 9, 32)).eval()
    with torch.no_grad():
        model.bn0.running_mean.fill_(-40.0)
        model.bn0.running_var.fill_(400.0)
        for layer in LAYERS:
            torch.nn.init.kaiming_normal_(model.convolution(layer).weight)
            norm = model.batch_norm(layer)
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.7, 1.4)
            norm.bias.uniform_(-0.2, 0.3)
    return model


@pytest.fixture(scope="module")
def medley() -> torch.Tensor:
    """(1, samples): every example one after the other, over 35 s."""
    sounds = np.concatenate([synthesise(example.key) for example in EXAMPLES])
    return torch.from_numpy(np.resize(sounds, 36 * RATE))[None]


@pytest.fixture(scope="module", params=["demo", "pruned", "odd"])
def model(request) -> Cnn14:
    if request.param == "demo":
        return load_tagger("demo-cnn14").model
    if request.param == "pruned":
        return load_tagger("demo-epanns").model
    return network((3, 5, 2, 7, 17, 6, 33, 9, 10, 41, 12, 13))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_length_equals_torch(model, medley, profile):
    """1 to 12 pieces of time, and every remainder that the poolings can leave of them."""
    engine = NcnnEngine(model, PROFILES[profile], 2)
    lengths = [9_920, round(1.7 * RATE), 10 * RATE, 33 * RATE]
    if min(model.config.widths) < 4:  # the odd one, which is quick
        lengths += [320 * (511 + extra) for extra in range(8)]
    for samples in lengths:
        heard = medley[:, :samples]
        wanted = model.probabilities(heard)
        found = engine.probabilities(heard)
        assert found.shape == wanted.shape
        assert found.dtype == torch.float32
        assert float((found - wanted).abs().max()) < 1e-4, samples
    assert wanted.std() > 0.01  # otherwise equality says little


def test_batches_and_silence(model, medley):
    engine = NcnnEngine(model, PROFILES["fast"], 1)
    batch = medley[0, : 4 * 64_000].reshape(4, 64_000).clone()
    batch[2] = 0.0
    assert float((engine.probabilities(batch) - model.probabilities(batch)).abs().max()) < 1e-4
    assert engine.probabilities(batch[2:3]).isfinite().all()


def test_threads_share_an_engine(medley):
    model = load_tagger("demo-epanns").model
    engine = NcnnEngine(model, PROFILES["fast"], 1)
    clips = [medley[:, start * RATE : (start + 2 + start) * RATE] for start in range(6)]
    alone = [engine.probabilities(clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.probabilities, clips * 4))
    for found, wanted in zip(together, alone * 4, strict=True):
        assert float((found - wanted).abs().max()) < 1e-6


def test_an_engine_leaves_nothing_behind_when_it_goes(medley):
    """ncnn ends the process where buffers outlive the store that they came from."""
    code = (
        "import torch; from core import load_tagger; t = load_tagger('demo-epanns', runtime='ncnn');"
        "e = t.engine; e.probabilities(torch.zeros(1, 500_000)); del t; del e; print('gone')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "gone\n", "")


def test_bf16_is_close_and_only_on_request(medley):
    model = load_tagger("demo-cnn14").model
    clip = medley[:, : 5 * RATE]
    engine = engine_for(model, "ncnn-bf16")
    apart = float((engine.probabilities(clip) - model.probabilities(clip)).abs().max())
    assert engine.name == "ncnn-bf16"
    assert 1e-6 < apart < 0.1  # it is another arithmetic, and works
    assert engine_for(model).name == "ncnn"


def test_auto_takes_ncnn_and_says_why():
    tagger = load_tagger("demo-cnn14", profile="small")
    assert tagger.runtime == "ncnn"
    assert tagger.runtime_why.startswith(
        "ncnn, the fastest here without a CUDA device; profile small, as asked"
    )
    assert load_tagger("demo-cnn14", runtime="torch").runtime_why == "torch was asked for"


def test_without_the_package_torch_runs_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ncnn", None)  # what Python itself does to forbid an import
    _warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        taggers = [load_tagger("demo-cnn14"), load_tagger("demo-epanns")]
        assert [tagger.runtime for tagger in taggers] == ["torch", "torch"]
    assert "cannot be imported" in taggers[0].runtime_why
    assert len(caplog.records) == 1
    with pytest.raises(EngineError, match="pip install ncnn"):
        load_tagger("demo-cnn14", runtime="ncnn").probabilities(np.zeros(RATE, np.float32))


def test_a_package_that_is_another_thing_is_a_reason(monkeypatch, tmp_path):
    (tmp_path / "ncnn.py").write_text("version = 'not the one'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ncnn", raising=False)
    engine = engine_for(load_tagger("demo-epanns").model)
    assert isinstance(engine, TorchEngine)
    assert "AttributeError" in engine.why


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


def test_a_tagger_makes_its_engine_when_it_first_listens(monkeypatch):
    given = load_tagger("demo-epanns")
    monkeypatch.setenv("PANNSCOPE_PROFILE", "tiny")
    tagger = Tagger(given.model, given.info)
    with pytest.raises(ModelError, match="Unknown profile 'tiny'"):
        tagger.probabilities(np.zeros(RATE, np.float32))
    monkeypatch.setenv("PANNSCOPE_PROFILE", "small")
    assert tagger.engine is tagger.engine
    assert "profile small" in tagger.runtime_why


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="tells resident pages by Linux' smaps")
def test_weights_of_a_file_are_set_aside_and_come_back(tmp_path):
    """The mapped file's pages leave memory once ncnn has its copy, and torch reads them again, the same."""
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
    assert tagger.runtime == "ncnn"
    assert resident() < with_weights - 8_000  # C12 alone takes 9,216 kB
    assert torch.equal(tagger.model.probabilities(clip), before)


def files(root: Path, **contents: str) -> Path:
    """A tree of small files; `__` in a name stands for a slash."""
    for name, text in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_limits_of_version_2(tmp_path):
    root = files(tmp_path, proc__self__cgroup="0::/pod/box\n")
    group = "sys/fs/cgroup/pod"
    files(root, **{f"{group}/box/cpu.max": "max 100000\n", f"{group}/cpu.max": "50000 100000\n"})
    assert usable_cpus(root) == 1  # half a core, from the group around it
    files(
        root,
        **{
            f"{group}/box/memory.max": "1000000\n",
            f"{group}/box/memory.current": "700000\n",
            f"{group}/box/memory.stat": "anon 1\ninactive_file 200000\n",
            f"{group}/memory.max": "max\n",
        },
    )
    assert usable_memory(root) == 500_000
    files(root, proc__meminfo="MemTotal: 100 kB\nMemAvailable:  10 kB\n")
    assert usable_memory(root) == 10_240


def test_limits_of_version_1(tmp_path):
    root = files(tmp_path, proc__self__cgroup="4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n")
    files(
        root,
        **{
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",  # the container's own, mounted at the top
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100\n",
        },
    )
    assert (usable_cpus(root), usable_memory(root)) == (1, 600)


def test_no_limits(tmp_path):
    root = files(tmp_path, proc__self__cgroup="4:memory:/\n3:cpu:/\n")
    files(
        root,
        **{
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500\n",
        },
    )
    assert usable_memory(root) is None
    assert usable_cpus(root) == len(os.sched_getaffinity(0))
    assert usable_cpus(tmp_path / "nothing") == len(os.sched_getaffinity(0))


def test_threads_can_be_named(monkeypatch):
    monkeypatch.delenv("PANNSCOPE_THREADS", raising=False)
    assert threads_used() == min(torch.get_num_threads(), usable_cpus())
    monkeypatch.setenv("PANNSCOPE_THREADS", "3")
    assert threads_used() == 3
    for wrong in ("0", "two", "-1", "9999"):
        monkeypatch.setenv("PANNSCOPE_THREADS", wrong)
        with pytest.raises(ModelError, match="PANNSCOPE_THREADS"):
            threads_used()


def test_the_profile_goes_by_memory(monkeypatch):
    monkeypatch.delenv("PANNSCOPE_PROFILE", raising=False)
    config = Cnn14Config()
    # C1 to C8, (1 x 64 + 64 x 64 + … + 512 x 512) x 9 weights, times 4; C9 to C12 times 16/9; the linear layers as they are.
    early = 9 * (64 + 64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 256**2 + 256 * 512 + 512**2)
    late = 9 * (512 * 1024 + 1024**2 + 1024 * 2048 + 2048**2)
    linear = 2048 * 2048 + 2048 * 527
    assert PROFILES["fast"].weight_bytes(config) == pytest.approx(
        4 * (4 * early + 16 / 9 * late + linear), rel=1e-6
    )
    for free, name in ((8 * 2**30, "fast"), (2**30, "small"), (None, "fast")):
        monkeypatch.setattr("core.runtime.profiles.usable_memory", lambda free=free: free)
        assert choose_profile(config)[0].name == name
    monkeypatch.setattr("core.runtime.profiles.usable_memory", lambda: 2**30)
    assert choose_profile(config, "fast")[0].name == "fast"
    monkeypatch.setenv("PANNSCOPE_PROFILE", "small")
    assert choose_profile(Cnn14Config((4,) * 12))[0].name == "small"
