"""Counts against the reference implementation's (facts/golden.json), torch's flop counter, and by hand."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.errors import ModelError, PruningError
from core.models.cnn import Cnn14, Cnn14Config
from core.profiling import PAPER, measure_latencies, profile, profile_model
from core.pruning.plan import pruned_widths

RATIOS = ("0.0", "0.25", "0.5", "0.75")


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "facts/golden.json").read_text())["cnn14_by_ratio"]


@pytest.mark.parametrize("ratio", RATIOS)
def test_counts_are_the_references(golden, ratio):
    counted, expected = profile(ratio=float(ratio)), golden[ratio]
    assert counted.params_total == expected["params_total"]
    assert counted.params_trainable == expected["params_trainable"]
    assert counted.macs == pytest.approx(expected["thop_macs"], rel=0.005)


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_papers_figures_are_the_papers(golden, ratio):
    expected = golden[ratio]
    assert PAPER[float(ratio)] == {
        "params_reduction_pct": expected["paper_params_reduction_pct"],
        "macs_reduction_pct": expected["paper_macs_reduction_pct"],
        "mAP": expected["paper_mAP"],
    }
    assert profile(ratio=float(ratio)).paper == PAPER[float(ratio)]


def test_only_the_published_network_stands_beside_the_paper():
    assert profile(ratio=0.5, classes=18).paper is None
    assert profile(ratio=0.6).paper is None
    assert profile(ratio=0.5, layers=("C12",)).paper is None
    assert profile(widths=pruned_widths(0.5)).paper == PAPER[0.5]  # E-PANNs by its own widths
    assert profile_model(Cnn14(Cnn14Config((4,) * 12))).paper is None


@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_network_macs_are_half_of_torchs_flops(seconds):
    config = Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), 6, 16)
    model = Cnn14(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.network(torch.zeros(1, 1, round(seconds * 100) + 1, 64))
    counted = profile(widths=config.widths, classes=6, embedding=16, seconds=seconds)
    assert 2 * counted.macs_network == counter.get_total_flops()
    assert counted.params_trainable == sum(parameter.numel() for parameter in model.parameters())


def test_layers_by_hand():
    """C1: 1 x 64 kernels of 9 weights and 2 x 64 of batch norm; 1001 x 64 positions. C12: 2048 x 2048 x 9, 31 x 2."""
    layers = {layer.name: layer for layer in profile().layers}
    assert (layers["C1"].params, layers["C1"].macs) == (704, 36_900_864)
    assert (layers["C12"].params, layers["C12"].macs) == (37_752_832, 37_748_736 * 62)
    assert (layers["fc_audioset"].params, layers["fc_audioset"].macs) == (1_079_823, 1_079_296)


def test_size_is_that_of_the_published_layout(tmp_path):
    """A state dict of panns_inference's CNN14 has 81,837,071 float32 weights, 13 batch norms' statistics and counters."""
    norms = 64 + sum((64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024, 2048, 2048))
    assert profile().size_bytes == 4 * (81_837_071 + 2 * norms) + 8 * 13


def test_profiling_leaves_the_network_alone():
    model = Cnn14(Cnn14Config((4,) * 12, 6, 16)).eval()
    names = set(model.state_dict())
    counted = profile_model(model)
    assert set(model.state_dict()) == names
    assert not any(module._forward_hooks for module in model.modules())
    assert counted.params_trainable == sum(parameter.numel() for parameter in model.parameters())


def test_impossible_requests_are_refused():
    with pytest.raises(ModelError, match=r"0\.31 s"):
        profile(seconds=0.1)
    for seconds in (float("nan"), float("inf"), 1e15):
        with pytest.raises(ModelError, match="cannot be counted"):
            profile(seconds=seconds)
    with pytest.raises(PruningError, match="share from 0"):
        profile(ratio=1.0)
    with pytest.raises(ModelError, match="cnn14"):
        profile("resnet1")


def test_latencies_are_measured_turn_about():
    """The slow one takes 20 ms a call and the quick one none; both are called as often, in turn."""
    calls: list[str] = []

    class Sleeper:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.seconds = name, seconds

        def probabilities(self, waveform: np.ndarray) -> np.ndarray:
            calls.append(self.name)
            time.sleep(self.seconds)
            return waveform

    pair = (Sleeper("a", 0.02), Sleeper("b", 0.0))
    slow, quick = measure_latencies(pair, np.zeros(10, np.float32), repeats=3, warmup=2)  # type: ignore[arg-type]
    assert calls == ["a", "b"] * 5
    assert 20 <= slow.low_ms <= slow.median_ms <= slow.high_ms
    assert quick.low_ms < 20
    assert slow.repeats == 3
