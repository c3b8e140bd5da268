"""Looking into a layer: ranks, agreement of criteria, neighbours, order dependence and feature maps, by direct definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from core.errors import ModelError, PruningError
from core.feature_map import feature_map, layer_input
from core.models.cnn import LAYERS, Cnn14, Cnn14Config, ends_block
from core.models.frontend import FRONT_END
from core.pruning.criteria import CRITERIA
from core.pruning.order import order_dependence
from core.pruning.ranking import kept_in_common, largest_channels, neighbours, rank_correlations, ranks
from core.pruning.similarity import distances, prototypes

RNG = np.random.default_rng(11)


def published_scores(weight: np.ndarray) -> np.ndarray:
    """The published operator norm by full singular value decompositions, the sign by the first entry of u."""
    total = np.zeros(len(weight))
    for channel in range(weight.shape[1]):
        kernels = weight[:, channel].reshape(len(weight), -1)
        centred = kernels - kernels.mean(axis=0)
        left, _, right = np.linalg.svd(centred, full_matrices=False)
        total += centred @ (right[0] * (-1.0 if left[0, 0] < 0 else 1.0))
    return total**2 / (total**2).max()


def best(scores: np.ndarray, count: int) -> set[int]:
    return set(np.argsort(-scores)[:count].tolist())


def overlap_under_permutation(weight: np.ndarray, permutations: int) -> float:
    """The share of the kept half that stays when the filters are shuffled before they are scored: from the definition."""
    half = len(weight) // 2
    usual = best(published_scores(weight), half)
    shares = []
    for seed in range(permutations):
        order = np.random.default_rng(seed).permutation(len(weight))
        shuffled = {int(order[place]) for place in best(published_scores(weight[order]), half)}
        shares.append(len(usual & shuffled) / half)
    return float(np.mean(shares))


def test_ranks_by_hand_equal_scores_in_the_order_of_the_file():
    assert ranks(np.array([0.2, 1.0, 0.5, 0.5, 0.0])).tolist() == [4, 1, 2, 3, 5]


def test_rank_correlations_equal_scipys():
    scores = {"a": RNG.random(30), "b": RNG.integers(0, 5, 30).astype(float), "c": RNG.random(30)}
    found = rank_correlations(scores)
    expected = spearmanr(np.stack(list(scores.values()), axis=1)).statistic
    assert np.allclose(found, expected, atol=1e-12)


def test_a_criterion_without_an_order_has_no_correlation():
    found = rank_correlations({"flat": np.ones(6), "steep": np.arange(6.0)})
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 0])
    assert found[1, 1] == 1.0


def test_kept_in_common_by_hand():
    """Of six filters half stay: {0, 1, 2}, {3, 4, 5} and {0, 1, 5}."""
    scores = {
        "first": np.array([6, 5, 4, 3, 2, 1.0]),
        "last": np.array([1, 2, 3, 4, 5, 6.0]),
        "ends": np.array([6, 5, 1, 2, 3, 4.0]),
    }
    assert np.allclose(kept_in_common(scores, 0.5), [[1, 0, 2 / 3], [0, 1, 1 / 3], [2 / 3, 1 / 3, 1]])
    with pytest.raises(PruningError, match="from 0 up to, but not including, 1"):
        kept_in_common(scores, 1.0)


def test_neighbours_equal_the_matrix_of_distances():
    weight = RNG.standard_normal((20, 4, 3, 3))
    apart = distances(weight)
    for index in (0, 7, 19):
        found = neighbours(prototypes(weight), index, 4)
        assert [each for each, _ in found] == np.argsort(apart[index])[:4].tolist()
        assert [gap for _, gap in found] == pytest.approx(np.sort(apart[index])[:4].tolist())


def test_a_layer_with_few_filters_has_few_neighbours_and_a_wrong_filter_is_refused():
    directions = prototypes(RNG.standard_normal((3, 2, 3, 3)))
    assert len(neighbours(directions, 1, 5)) == 2
    assert neighbours(directions[:1], 0) == []
    with pytest.raises(PruningError, match="no filter 3; this layer's are 0 to 2"):
        neighbours(directions, 3)


def test_largest_channels_by_hand():
    """Kernels of lengths 5, 0, 13 and 1."""
    kernels = np.zeros((4, 1, 2))
    kernels[0, 0], kernels[2, 0], kernels[3, 0] = (3, -4), (5, 12), (0, -1)
    assert largest_channels(kernels, 3).tolist() == [2, 0, 3]
    assert largest_channels(kernels, 9).tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_putting_a_filter_first_is_what_the_definition_gives_for_that_order(ratio):
    weight = RNG.standard_normal((12, 6, 3, 3))
    found = order_dependence(weight, ratio)
    kept = found.kept
    assert kept == round(12 * (1 - ratio))
    usual = best(published_scores(weight), kept)
    for first in range(12):
        order = np.array([first, *(each for each in range(12) if each != first)])
        scores = published_scores(weight[order])
        stay = {int(order[place]) for place in best(scores, kept)}
        assert found.stays[first] == pytest.approx(len(stay & usual) / kept)
        assert found.rank_when_first[first] == 1 + int((scores > scores[0]).sum())


def test_nothing_but_the_first_filter_matters_for_the_order():
    weight = RNG.standard_normal((16, 8, 3, 3))
    order = np.concatenate([[0], 1 + np.random.default_rng(2).permutation(15)])
    assert np.allclose(published_scores(weight[order]), published_scores(weight)[order])


def test_shuffling_random_filters_keeps_a_part_of_the_kept_half_only():
    """All first filters together say what many permutations say; with many channels that is no better than chance."""
    few, many = RNG.standard_normal((48, 3, 3, 3)), RNG.standard_normal((48, 40, 3, 3))
    for weight, low, high in ((few, 0.55, 0.80), (many, 0.45, 0.60)):
        direct = overlap_under_permutation(weight, 60)
        found = order_dependence(weight, 0.5)
        assert low < direct < high
        assert float(found.stays.mean()) == pytest.approx(direct, abs=0.05)
        assert found.chance == 0.5


def test_the_filter_that_comes_first_ranks_first_and_other_readings_do_not_mind():
    weight = RNG.standard_normal((32, 64, 3, 3))
    assert order_dependence(weight, 0.5).first_ranks_first == 1.0
    order = np.array([9, *(each for each in range(32) if each != 9)])
    assert ranks(CRITERIA["operator-norm"](weight[order]))[0] == 1
    for reading in ("operator-norm-energy", "operator-norm-abs"):
        assert best(CRITERIA[reading](weight[order]), 16) == {
            int(np.flatnonzero(order == each)[0]) for each in best(CRITERIA[reading](weight), 16)
        }


def test_one_channel_or_one_filter_leaves_nothing_to_orient():
    one_channel = order_dependence(RNG.standard_normal((10, 1, 3, 3)), 0.5)
    assert one_channel.mean_stays == 1.0
    one_filter = order_dependence(RNG.standard_normal((1, 4, 3, 3)), 0.5)
    assert (one_filter.kept, one_filter.mean_stays, one_filter.rank_when_first.tolist()) == (1, 1.0, [1])


@pytest.fixture(scope="module")
def network() -> Cnn14:
    torch.manual_seed(0)
    model = Cnn14(Cnn14Config((4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16), 3, 16)).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if "running" in name or name.endswith(("bn1.weight", "bn2.bias")):
                value.copy_(0.5 + torch.rand(value.shape))
    return model


@pytest.mark.parametrize("layer", LAYERS)
def test_a_feature_map_is_the_networks_own_before_pooling(network, layer):
    waveform = (0.1 * RNG.standard_normal(32_000)).astype(np.float32)
    inputs = layer_input(network, layer, waveform)
    with torch.inference_mode():
        whole = network.layer(layer, inputs.maps.clone())
    for index in (0, 3):
        found = feature_map(network, layer, index, inputs)
        assert found.values.dtype == np.float32
        assert found.values.min() >= 0
        values = torch.from_numpy(found.values)[None, None]
        if ends_block(layer) and layer != "C12":
            values = torch.nn.functional.avg_pool2d(values, 2)
        assert torch.allclose(values[0, 0], whole[0, index], atol=1e-5)


def test_the_axes_of_a_feature_map_are_the_sounds(network):
    """One second gives 101 frames of 10 ms in 64 bands; every pooling halves both. C7 comes after three of them."""
    inputs = layer_input(network, "C7", np.ones(32_000, np.float32))
    found = feature_map(network, "C7", 0, inputs)
    assert FRONT_END.frames(32_000) == 101
    assert found.values.shape == (12, 8)
    assert found.mel_bands == found.band_height == 8
    assert found.frame_s == pytest.approx(0.08)
    assert found.first_frame_s == pytest.approx(0.035)  # the mean of 0, 10 … 70 ms
    assert found.first_band == 3.5
    assert (
        feature_map(network, "C1", 0, layer_input(network, "C1", np.ones(32_000, np.float32))).frame_s == 0.01
    )


def test_a_short_clip_is_padded_and_a_wrong_filter_or_layer_is_refused(network):
    inputs = layer_input(network, "C12", np.zeros(100, np.float32))
    assert feature_map(network, "C12", 15, inputs).values.shape == (1, 2)
    with pytest.raises(ModelError, match="C12 has no filter 16; its filters are 0 to 15"):
        feature_map(network, "C12", 16, inputs)
    with pytest.raises(ModelError, match="no layer 'C13'"):
        layer_input(network, "C13", np.zeros(100, np.float32))


def test_of_equal_scores_the_earlier_filter_ranks_first():
    """Scores 0.5, 1, 0.5, 1: by hand the order is 1, 3, 0, 2."""
    assert ranks(np.array([0.5, 1.0, 0.5, 1.0])).tolist() == [3, 1, 4, 2]
