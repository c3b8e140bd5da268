"""Activation memory against the tensors that are really alive during a pass; a process's growth against memory really used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.errors import ModelError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.profiling import activation_bytes, activations, measure, profile, resident_growth


class LiveBytes(TorchDispatchMode):
    """Adds up, after every operator, the storages that are still referred to, other than the network's own."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        own = [*model.parameters(), *model.buffers()]
        self.own = {tensor.untyped_storage()._cdata for tensor in own}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.own:
                    self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.alive = {key: value for key, value in self.alive.items() if not value[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return out


def _measured(config: Cnn14Config, samples: int) -> int:
    model = Cnn14(config).eval()
    with LiveBytes(model) as live:
        model.probabilities(torch.zeros(1, samples))
    return live.peak


def _wide(layer: str, filters: int) -> tuple[int, ...]:
    return tuple(filters if name == layer else 2 for name in LAYERS)


@pytest.mark.parametrize(
    ("config", "seconds", "step"),
    [
        (Cnn14Config((2,) * 12, 3, 4), 1.0, "front end"),
        # 32 filters of the first block outweigh the front end, and every pooling leaves a quarter of a map.
        *(
            (Cnn14Config(_wide(layer, 32 * 4 ** (n // 2)), 3, 4), 2.0, layer)
            for n, layer in enumerate(LAYERS)
        ),
        (Cnn14Config(_wide("C12", 32_768), 3, 4), 0.31, "fc1"),
        (Cnn14Config((2,) * 12, 200_000, 1), 0.5, "fc_audioset"),
        (Cnn14Config((2,) * 12, 3, 200_000), 0.5, "fc_audioset"),
        (Cnn14Config((16, 24, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2), 3, 4), 2.7, "C2"),
    ],
)
def test_the_peak_is_what_is_alive_at_once(config, seconds, step):
    memory = activations(config, seconds)
    assert max(memory, key=memory.__getitem__) == step
    assert activation_bytes(config, seconds) == memory[step] == _measured(config, round(32_000 * seconds))


def test_a_long_clip_takes_what_its_windows_take():
    """33 s are tagged in two windows of 16.5 s."""
    config = Cnn14Config((4,) * 12, 3, 4)
    assert activation_bytes(config, 33.0) == activation_bytes(config, 16.5) == _measured(config, 528_000)
    assert activation_bytes(config, 30.0) == _measured(config, 960_000)
    narrow = Cnn14Config(
        (2,) * 12, 3, 4
    )  # whose front end decides, with the spectra of its second piece of three
    memory = activations(narrow, 30.0)
    assert memory["front end"] == max(memory.values()) == _measured(narrow, 960_000)


def test_the_published_networks_peak_by_hand():
    """C2 reads 64 maps of 1001 x 64 and makes as many twice; the waveform and the log-mel are there as well."""
    counted = profile()
    assert counted.peak_at == "C2"
    assert counted.peak_activation_bytes == 4 * (3 * 64 * 1001 * 64 + 320_000 + 1001 * 64)
    assert (
        profile(ratio=0.5).peak_activation_bytes == counted.peak_activation_bytes
    )  # C7 to C12 are small maps
    assert counted.layers[11].activation_bytes == 4 * (3 * 2048 * 31 * 2 + 320_000 + 1001 * 64)


def test_a_process_grows_by_what_is_used():
    grown = resident_growth(lambda: np.ones(8 * 2**20))  # 64 MiB, each page written
    if grown is None:
        pytest.skip("this system does not say how large a process was at most")
    assert 63 * 2**20 < grown < 72 * 2**20  # the kernel counts pages in batches
    assert resident_growth(lambda: None) < 2**20


def test_a_measured_pass_takes_time():
    config = Cnn14Config((2,) * 12, 3, 4)
    taken = measure("cnn14", config, seconds=10.0, repeats=3)
    assert (taken.seconds, taken.threads, taken.latency.repeats) == (10.0, torch.get_num_threads(), 3)
    assert 0 < taken.latency.low_ms <= taken.latency.median_ms <= taken.latency.high_ms
    assert taken.document()["latency"] == taken.latency.document()
    with pytest.raises(ModelError, match="too long to be measured"):
        measure("cnn14", config, seconds=601)


def test_a_measured_pass_takes_memory():
    """C2's maps of 10 s are the most of it: 3 x 16 MB are held. In a new process, whose allocator has nothing at hand."""
    code = (
        "from core.models.cnn import Cnn14Config; from core.profiling import activation_bytes, measure\n"
        "config = Cnn14Config((64, 64, *(2,) * 10), 3, 4)\n"
        "grown = measure('cnn14', config, seconds=10.0, repeats=1).memory_growth_bytes\n"
        "print('unknown' if grown is None else grown / activation_bytes(config))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    if said == "unknown":
        pytest.skip("this system does not say how large a process was at most")
    assert float(said) > 0.5


def test_the_longest_clip_that_is_measured_is_600_s(monkeypatch):
    monkeypatch.setattr("core.profiling.measured.mean_probabilities", lambda _network, _waveform: None)
    assert measure("cnn14", Cnn14Config((2,) * 12, 3, 4), seconds=600, repeats=1).seconds == 600
    with pytest.raises(ModelError, match="measure with up to 600 s"):
        measure("cnn14", Cnn14Config((2,) * 12, 3, 4), seconds=600.1, repeats=1)
