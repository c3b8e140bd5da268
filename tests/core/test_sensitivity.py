"""Sensitivity against doing it: every layer really pruned, every clip really tagged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from core.classes import ClassSet
from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import plan
from core.pruning.search.sensitivity import Sensitivity, mean_average_precision, measure_sensitivity
from core.pruning.surgery import prune
from core.training.metrics import quality

RATIOS = (0.25, 0.75)


@pytest.fixture(scope="module")
def model() -> Cnn14:
    """A network whose batch norms are as uneven as trained ones."""
    torch.manual_seed(3)
    network = Cnn14(Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16), 4, 12))
    for layer in LAYERS:
        norm = network.batch_norm(layer)
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.3, 0.5)
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2.0)
    return network.eval()


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Three clips; one is shorter than the network hears."""
    rng = np.random.default_rng(5)
    return [0.1 * rng.standard_normal(samples).astype(np.float32) for samples in (6_000, 20_000, 12_000)]


@pytest.fixture(scope="module")
def measured(model, clips) -> Sensitivity:
    targets = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], bool)
    return measure_sensitivity(model, clips, ratios=RATIOS, criterion_name="l1", targets=targets)


def test_every_cell_is_that_layer_pruned(model, clips, measured):
    assert (measured.layers, measured.ratios) == (LAYERS, RATIOS)
    parent = predictions(model, clips)
    for row, layer in enumerate(LAYERS):
        for column, ratio in enumerate(RATIOS):
            pruned = predictions(prune(model, plan(model, ratio, (layer,), "l1")), clips)
            close = fidelity(parent, pruned)
            assert measured.divergence[row, column] == pytest.approx(close.divergence, rel=1e-3, abs=1e-9)
            assert measured.first_tag[row, column] == close.first_tag
    assert measured.divergence.min() > 0


def test_a_long_clip_is_heard_in_windows(model):
    long = [0.1 * np.random.default_rng(7).standard_normal(31 * 32_000).astype(np.float32)]
    seen = []
    found = measure_sensitivity(
        model, long, layers=("C11",), ratios=(0.5,), on_progress=lambda *at: seen.append(at)
    )
    assert seen == [(1, 2), (2, 2)]
    close = fidelity(predictions(model, long), predictions(prune(model, plan(model, 0.5, ("C11",))), long))
    assert found.divergence[0, 0] == pytest.approx(close.divergence, rel=1e-3)


def test_map_is_the_evaluations(model, clips, measured):
    targets = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0]], np.float32)
    classes = ClassSet((0, 1, 2, 3))
    parent = predictions(model, clips)
    expected = quality(targets, parent, classes).mean_average_precision
    assert measured.base == mean_average_precision(targets, parent) == pytest.approx(expected)
    pruned = predictions(prune(model, plan(model, 0.75, ("C5",), "l1")), clips)
    assert measured.mean_average_precision[4, 1] == quality(targets, pruned, classes).mean_average_precision
    np.testing.assert_array_equal(measured.loss, measured.base - measured.mean_average_precision)


def test_without_labels_the_loss_is_the_divergence(model, clips):
    found = measure_sensitivity(model, clips[:1], layers=("C9", "C2"), ratios=(0.5,))
    assert (found.layers, found.base, found.mean_average_precision) == (("C2", "C9"), None, None)
    assert found.loss is found.divergence
    assert found.divergence.shape == (2, 1)
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["divergence"] == found.divergence.tolist()
    assert (document["layers"], document["clips"], document["mAP"]) == (["C2", "C9"], 1, None)


def test_scores_that_are_there_are_used(model, clips):
    def given(layer):
        scores = np.arange(float(model.convolution(layer).out_channels))
        return scores if layer == "C3" else scores[::-1]

    found = measure_sensitivity(model, clips[:1], layers=("C3",), ratios=(0.5,), scores=given)
    made = plan(model, 0.5, ("C3",), scores=given)
    assert made.kept == {"C3": (3, 4, 5)}
    close = fidelity(predictions(model, clips[:1]), predictions(prune(model, made), clips[:1]))
    assert found.divergence[0, 0] == pytest.approx(close.divergence, rel=1e-3)


def test_progress_and_a_way_to_stop(model, clips):
    seen = []
    measure_sensitivity(
        model, clips, layers=("C1", "C12"), ratios=(0.5,), on_progress=lambda *at: seen.append(at)
    )
    assert seen == [(done, 6) for done in range(1, 7)]  # 2 layers and 3 clips

    class StopError(Exception):
        pass

    def stop(done, total):
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        measure_sensitivity(model, clips, on_progress=stop)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"waveforms": []}, "at least one of each"),
        ({"layers": ()}, "at least one of each"),
        ({"ratios": ()}, "at least one of each"),
        ({"layers": ("C13",)}, "no layer 'C13'"),
        ({"ratios": (0.5, 1.0)}, "a share from 0"),
        ({"criterion_name": "fame"}, "Unknown criterion 'fame'"),
        ({"targets": np.ones((2, 4))}, "got an array of shape"),
        ({"targets": np.zeros((1, 4))}, "None of these clips"),
    ],
)
def test_impossible_questions_are_refused(model, clips, changes, said):
    asked = {"waveforms": clips[:1]} | changes
    with pytest.raises(PruningError, match=said):
        measure_sensitivity(model, asked.pop("waveforms"), **asked)
