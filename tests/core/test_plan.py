"""Which filters stay: counts by hand and from facts/golden.json's ratios."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import PruningError
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.models.widths import PAPER_LAYERS, kept_count, kept_widths, pruned_widths
from core.pruning.criteria import layer_importance
from core.pruning.plan import PruningPlan, keep_best, plan, similarity_plan
from core.pruning.ratios import parse_layers, parse_ratios
from core.pruning.similarity import similarity_kept

MODEL = Cnn14(Cnn14Config((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16), 6, 16))


@pytest.mark.parametrize(
    ("filters", "ratio", "kept"),
    [
        (512, 0.5, 256),
        (2048, 0.75, 512),
        (1024, 0.25, 768),
        (5, 0.5, 2),
        (10, 0.9, 1),
        (10, 0.7, 3),
        (3, 0.99, 1),
        (7, 0, 7),
    ],
)
def test_kept_count_is_the_floor_and_at_least_one(filters, ratio, kept):
    assert kept_count(filters, ratio) == kept


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 2.0, float("nan")])
def test_impossible_ratios_are_refused(ratio):
    with pytest.raises(PruningError, match="share from 0"):
        kept_count(10, ratio)


def test_layers_are_read():
    assert parse_layers("C7-C12", LAYERS) == PAPER_LAYERS == ("C7", "C8", "C9", "C10", "C11", "C12")
    assert parse_layers("c12, C1-C2", LAYERS) == ("C1", "C2", "C12")
    assert len(parse_layers("all", LAYERS)) == 12


@pytest.mark.parametrize(
    "text", ["", "C0", "C13", "C0-C4", "C3-C13", "C9-C7", "7-12", "C7-", "conv1", "C7;C8"]
)
def test_unreadable_layers_are_refused(text):
    with pytest.raises(PruningError, match="C1 to C12"):
        parse_layers(text, LAYERS)


def test_epanns_widths():
    assert pruned_widths(0.5) == (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 1024, 1024)


def test_the_best_stay_in_their_order():
    assert keep_best(np.array([0.2, 0.9, 0.1, 0.9, 0.5]), 3) == (1, 3, 4)
    assert keep_best(np.array([0.5, 0.5, 0.5]), 2) == (0, 1)


def test_a_plan_keeps_what_scores_highest():
    made = plan(MODEL, 0.5, ("C9", "C12"))
    assert set(made.kept) == {"C9", "C12"}
    assert len(made.kept["C12"]) == 8
    scores = layer_importance(MODEL, "C12")
    removed = sorted(set(range(16)) - set(made.kept["C12"]))
    assert scores[list(made.kept["C12"])].min() >= scores[removed].max()


def test_a_ratio_of_nothing_keeps_everything():
    assert plan(MODEL, 0.0).kept == {}


def test_unknown_criterion_is_refused():
    with pytest.raises(PruningError, match="operator-norm"):
        plan(MODEL, 0.5, criterion_name="best")


@pytest.mark.parametrize(
    ("filters", "ratio", "round_to", "kept"),
    [
        (512, 0.5, 8, 256),
        (100, 0.5, 8, 48),  # 50 lies between 48 and 56
        (100, 0.48, 8, 56),  # 52 is as near to 48 as to 56: the larger
        (100, 0.47, 8, 56),
        (2048, 0.9, 32, 192),  # 204.8: 192 is nearer than 224
        (64, 0.99, 16, 16),  # never less than one step
        (5, 0.5, 8, 5),  # a layer narrower than a step stays as it is
        (100, 0.01, 8, 96),  # 99 is nearer to 96 than to 104
        (100, 0.0, 8, 100),  # nothing asked, nothing removed
        (99, 0.001, 2, 98),
        (10, 0.7, 1, 3),
    ],
)
def test_widths_are_rounded_to_the_nearest_multiple(filters, ratio, round_to, kept):
    assert kept_count(filters, ratio, round_to) == kept


@pytest.mark.parametrize("round_to", [0, -8])
def test_impossible_roundings_are_refused(round_to):
    with pytest.raises(PruningError, match=f"at least 1 .no rounding.; got {round_to}"):
        kept_count(10, 0.5, round_to)


def test_ratios_are_read():
    assert parse_ratios("C8=0.25, c7=0.5", LAYERS) == {"C7": 0.5, "C8": 0.25}
    assert list(parse_ratios("C10-C12=0.1,C2=0.5,C11=0.9", LAYERS).items()) == [
        ("C2", 0.5), ("C10", 0.1), ("C11", 0.9), ("C12", 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Cannot read the ratios"),
        ("C7", "Cannot read the ratios"),
        ("C7=half", "Cannot read the ratios"),
        ("C7=nan", "Cannot read the ratios"),
        ("C13=0.5", "Cannot read the layers 'C13'"),
        ("C7=1", "a share from 0 up to"),
        ("C7=-0.1", "a share from 0 up to"),
    ],
)
def test_unreadable_ratios_are_refused(text, said):
    with pytest.raises(PruningError, match=said):
        parse_ratios(text, LAYERS)


def test_a_ratio_per_layer():
    made = plan(MODEL, {"C12": 0.5, "C2": 0.4, "C9": 0.0}, criterion_name="l1", round_to=1)
    assert made.ratios == {"C2": 0.4, "C12": 0.5}
    assert list(made.kept) == ["C2", "C12"]
    assert (
        made.after
        == (4, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 8)
        == kept_widths(MODEL.config.widths, made.ratios, LAYERS)
    )
    assert (made.ratio, made.origin) == (None, {"method": "per-layer"})
    assert made.kept["C2"] == plan(MODEL, 0.4, ("C2",), "l1").kept["C2"]


def test_a_plan_says_what_it_is_for():
    made = plan(MODEL, 0.5)
    assert (made.architecture, made.widths, made.ratio) == ("cnn14", MODEL.config.widths, 0.5)
    assert made.ratios == dict.fromkeys(PAPER_LAYERS, 0.5)
    assert made.after == pruned_widths(0.5, widths=MODEL.config.widths)
    assert plan(MODEL, 0.0).ratio == 0


def test_scores_that_are_there_are_used():
    asked = []

    def backwards(layer):
        asked.append(layer)
        return np.arange(16.0)

    assert plan(MODEL, 0.75, ("C12",), scores=backwards).kept == {"C12": (12, 13, 14, 15)}
    assert asked == ["C12"]


def test_similarity_needs_no_ratio():
    made = similarity_plan(MODEL, LAYERS)
    for layer, width in zip(LAYERS, MODEL.config.widths, strict=True):
        kept = similarity_kept(MODEL.convolution(layer).weight.detach().numpy())
        assert made.kept.get(layer, tuple(range(width))) == kept
        assert kept_count(width, made.ratios.get(layer, 0.0)) == len(kept)
    assert made.origin == {"method": "similarity"}
    assert set(similarity_plan(MODEL).kept) <= set(PAPER_LAYERS)


def widths(**changes):
    base = {
        "architecture": "cnn14",
        "widths": MODEL.config.widths,
        "criterion": "l1",
        "ratios": {},
        "kept": {"C12": (0, 3)},
    }
    return base | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kept": {"C12": ()}}, "without filters"),
        ({"kept": {"C12": (0, 16)}}, "from 0 to 15"),
        ({"kept": {"C12": (-1, 3)}}, "from 0 to 15"),
        ({"kept": {"C12": (3, 1)}}, "ascending"),
        ({"kept": {"C12": (3, 3)}}, "ascending"),
        ({"kept": {"C99": (0,)}}, "'C99'"),
        ({"ratios": {"C0": 0.5}}, "'C0'"),
        ({"ratios": {"C1": 1.0}}, "a share from 0"),
        ({"ratios": {"C1": float("nan")}}, "a share from 0"),
        ({"criterion": "fame"}, "Unknown criterion 'fame'"),
        ({"architecture": "vgg16"}, "Unknown architecture 'vgg16'"),
        ({"widths": (4,) * 11}, "each of its 12 layers"),
        ({"widths": (0,) * 12}, "each of its 12 layers"),
        ({"round_to": 0}, "at least 1"),
    ],
)  # fmt: skip
def test_impossible_plans_cannot_be_made(changes, said):
    assert PruningPlan(**widths()).after[-1] == 2
    with pytest.raises(PruningError, match=said):
        PruningPlan(**widths(**changes))


def test_of_equal_scores_the_earlier_filter_stays():
    assert keep_best(np.array([0.5, 1.0, 0.5, 0.5]), 2) == (0, 1)
    assert keep_best(np.array([0.5, 1.0, 0.5, 0.5]), 3) == (0, 1, 2)
