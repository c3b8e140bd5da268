"""The paper beside the count: facts/golden.json lists where they disagree."""

from __future__ import annotations

import json

import pytest

from core.models.cnn import Cnn14Config
from core.models.widths import pruned_widths
from core.profiling import PAPER, counted_reductions, disagreements, profile


def test_disagreements_are_the_known_ones(shared):
    """Each of golden.json's, with its figures, and no other."""
    listed = json.loads((shared / "facts/golden.json").read_text())["_disagreements"]
    found = {each.quantity: each for each in disagreements()}
    assert (
        len(found) == len(disagreements()) == 4 == len(listed) - 1
    )  # the last of the list is about all of them
    macs, params = found["macs_reduction_pct"], found["params_reduction_pct"]
    assert (macs.ratio, macs.paper_pct, round(macs.counted_pct, 1)) == (0.25, 24, 20.8)
    assert "states 24% fewer MACs; counting gives 20.8%." in macs.says
    assert (params.ratio, params.paper_pct, round(params.counted_pct, 1)) == (0.75, 78, 88.8)
    assert "states 78% fewer parameters; counting gives 88.8%." in params.says
    assert "50G MACs" in found["macs"].says
    assert "21.16G" in found["macs"].says
    assert "softmax" in found["output"].says
    for sentence, words in zip(
        listed, (("24%", "20.8%"), ("78%", "88.8%"), ("50G", "21.16G"), ("softmax",)), strict=False
    ):
        assert all(word in sentence for word in words)


@pytest.mark.parametrize("ratio", PAPER)
def test_what_rounds_to_the_papers_figure_agrees(shared, ratio):
    golden = json.loads((shared / "facts/golden.json").read_text())["cnn14_by_ratio"]
    part, whole = golden[str(ratio)], golden["0.0"]
    counted = counted_reductions(Cnn14Config(pruned_widths(ratio)))
    expected = {
        "params_reduction_pct": 100 - 100 * part["thop_params"] / whole["thop_params"],
        "macs_reduction_pct": 100 - 100 * part["thop_macs"] / whole["thop_macs"],
    }
    assert counted.params_pct == pytest.approx(expected["params_reduction_pct"])
    assert counted.macs_pct == pytest.approx(expected["macs_reduction_pct"])
    said = {each.quantity for each in disagreements(ratio)} & set(expected)
    assert said == {name for name, figure in expected.items() if round(figure) != PAPER[ratio][name]}


def test_a_profile_carries_its_own_disagreements_only():
    assert [each.quantity for each in profile().disagreements] == ["macs"]
    assert [each.quantity for each in profile(ratio=0.25, seconds=5).disagreements] == ["macs_reduction_pct"]
    assert [each.quantity for each in profile(ratio=0.5).disagreements] == ["output"]
    assert profile(ratio=0.75).counted["params_reduction_pct"] == pytest.approx(88.7585, abs=1e-4)
    assert profile(ratio=0.75).document()["disagreements"][0]["paper_pct"] == 78
    for other in (profile(ratio=0.3), profile(ratio=0.75, classes=18), profile(ratio=0.75, layers=("C12",))):
        assert other.paper is None
        assert other.counted is None
        assert other.disagreements == ()


def test_what_is_changed_in_a_profile_is_not_the_papers():
    counted = profile(ratio=0.5)
    assert counted.paper is not None
    counted.paper["mAP"] = 1.0
    assert PAPER[0.5]["mAP"] == profile(ratio=0.5).paper["mAP"] == 0.440
