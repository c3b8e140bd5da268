"""Profiles against the reference implementation's counts (facts/golden.json), and by hand; measured times."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from core.errors import ModelError, PruningError
from core.models.cnn import Cnn14, Cnn14Config
from core.models.groups import prunable_layers
from core.models.registry import architecture
from core.models.widths import pruned_widths
from core.profiling import (
    PAPER,
    SWEEP_RATIOS,
    Latency,
    measure_latencies,
    profile,
    profile_model,
    sweep,
)

RATIOS = ("0.0", "0.25", "0.5", "0.75")


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "facts/golden.json").read_text())["cnn14_by_ratio"]


@pytest.mark.parametrize("ratio", RATIOS)
def test_counts_are_the_references(golden, ratio):
    counted, expected = profile(ratio=float(ratio)), golden[ratio]
    assert counted.params_total == expected["params_total"]
    assert counted.params_trainable == expected["params_trainable"]
    assert counted.params_paper == expected["thop_params"]
    assert counted.macs == expected["thop_macs"]
    assert counted.macs_flop_counter == counted.macs_network


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


def test_layers_by_hand():
    """C1: 1 x 64 kernels of 9 weights and 2 x 64 of batch norm; 1001 x 64 positions. C12: 2048 x 2048 x 9, 31 x 2."""
    layers = {layer.name: layer for layer in profile().layers}
    assert (layers["C1"].params, layers["C1"].macs) == (704, 36_900_864)
    assert (layers["C12"].params, layers["C12"].macs) == (37_752_832, 37_748_736 * 62)
    assert (layers["fc_audioset"].params, layers["fc_audioset"].macs) == (1_079_823, 1_079_296)


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


def test_a_sweep_goes_from_nothing_to_nine_tenths_and_says_what_profiles_say():
    entry = architecture("cnn14")
    points = sweep("cnn14", entry.configure(), entry.default_layers)
    assert [point.ratio for point in points] == pytest.approx(np.arange(19) * 0.05)
    assert [point.ratio for point in points if point.paper] == [0.0, 0.25, 0.5, 0.75]
    for index in (0, 5, 7, 18):
        whole = profile(ratio=SWEEP_RATIOS[index])
        assert points[index].params_trainable == whole.params_trainable
        assert points[index].macs == whole.macs  # of the unpruned network's count here, thop's there
        assert points[index].paper == whole.paper


def test_a_sweep_of_another_network():
    """10 filters in C3: 0.9 keeps 1 of them and 0.25 keeps 7; C4 and the rest stay."""
    points = sweep("cnn14", Cnn14Config((10,) * 12, classes=3, embedding=5), ("C3",))
    quarter, most = points[5], points[18]
    assert (quarter.ratio, most.ratio) == (0.25, 0.9)
    assert quarter.params_trainable - most.params_trainable == 6 * (9 * 10 + 9 * 10 + 2)


def test_a_sweep_of_a_residual_network():
    """The figures are ``profile``'s where layers share their filters, and where a depthwise convolution follows."""
    for name in ("resnet22", "mobilenet-v2"):
        config = architecture(name).configure(classes=3)
        layers = prunable_layers(name)
        whole = profile(name, config=config, ratio=0.5, layers=layers)
        half = sweep(name, config, layers)[10]
        assert (half.params_trainable, half.macs) == (whole.params_trainable, whole.macs)


def test_ratios_per_layer_and_rounded_widths():
    """Half of 100 filters in steps of 8: 48 or 56, of which 48 is nearer to 50. Without a quarter of 30, 22 are left."""
    widths = (10, 10, 10, 10, 10, 10, 100, 30, 10, 10, 10, 10)
    assert profile(widths=widths, ratio={"C7": 0.5, "C8": 0.25}).widths[6:8] == (50, 22)
    rounded, exact = (sweep("cnn14", Cnn14Config(widths), ("C7",), round_to)[10] for round_to in (8, 1))
    assert exact.params_trainable - rounded.params_trainable == 2 * (9 * 10 + 9 * 30 + 2)
    with pytest.raises(PruningError, match="C13"):
        profile(ratio={"C13": 0.5})


def test_quartiles_by_hand():
    """Of 1, 2, 3, 4, 10 ms the quartiles are 2 and 4, in whatever order they came."""
    latency = Latency.of([10, 1, 3, 2, 4])
    assert latency == Latency(3, 2, 4, 1, 10, 5)
    assert latency.document()["upper_quartile_ms"] == 4


def test_latencies_are_measured_alternately():
    """The slow one takes 20 ms per call and the quick one none; they are called alternately, and the first round does not count."""
    calls: list[str] = []

    class Sleeper:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.seconds = name, seconds

        def probabilities(self, waveform: np.ndarray) -> np.ndarray:
            calls.append(self.name)
            time.sleep(self.seconds)
            return waveform

    pair = (Sleeper("a", 0.02), Sleeper("b", 0.0))
    runs = [sleeper.probabilities for sleeper in pair]
    slow, quick = measure_latencies(runs, np.zeros(10, np.float32), repeats=3)
    assert calls == ["a", "b"] * 4
    assert (
        20
        <= slow.low_ms
        <= slow.lower_quartile_ms
        <= slow.median_ms
        <= slow.upper_quartile_ms
        <= slow.high_ms
    )
    assert quick.low_ms < 20
    assert slow.repeats == 3
