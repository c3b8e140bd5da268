"""Which filters stay: counts by hand and from facts/golden.json's ratios."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import PruningError
from core.models.cnn import Cnn14, Cnn14Config
from core.pruning.importance import layer_importance
from core.pruning.plan import PAPER_LAYERS, keep_best, kept_count, parse_layers, plan, pruned_widths

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
    assert parse_layers("C7-C12") == PAPER_LAYERS == ("C7", "C8", "C9", "C10", "C11", "C12")
    assert parse_layers("c12, C1-C2") == ("C1", "C2", "C12")
    assert len(parse_layers("all")) == 12


@pytest.mark.parametrize("text", ["", "C0", "C13", "C9-C7", "7-12", "C7-", "conv1", "C7;C8"])
def test_unreadable_layers_are_refused(text):
    with pytest.raises(PruningError, match="C1 to C12"):
        parse_layers(text)


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
