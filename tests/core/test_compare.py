"""Agreement measures: by hand, and Spearman's against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.audio import Clip, encode_wav, load_clip
from core.classes import ClassSet
from core.compare import agreement, compare, rows, spearman
from core.errors import ModelError
from core.tags import Tags


def tags(model: str, probabilities: dict[int, float]) -> Tags:
    classes = ClassSet(tuple(probabilities))
    return Tags(
        model, classes, np.array(list(probabilities.values()), np.float32), "torch", 1.0, ((0.0, 1.0),)
    )


A = tags("a", {0: 0.9, 1: 0.6, 2: 0.3, 3: 0.1})
B = tags("b", {0: 0.8, 1: 0.2, 2: 0.55, 3: 0.15})


def test_by_hand():
    found = agreement(A, B, top_k=2, threshold=0.5)
    assert (found.top_k, found.top_k_overlap) == (2, 1)  # {0, 1} and {0, 2}
    assert found.spearman == pytest.approx(0.8)  # ranks 4 3 2 1 and 4 2 3 1: 1 - 6 x 2 / 60
    assert found.max_abs_difference == pytest.approx(0.4)
    assert found.max_difference_tag == ClassSet((1,)).names[0]
    assert found.gained == ClassSet((2,)).names
    assert found.lost == ClassSet((1,)).names
    assert found.shared_classes == 4


def test_a_tag_exactly_at_the_threshold_is_above_it():
    """0.5 is exact in float32: class 0 is gained and class 1 lost at the threshold, class 2 stays on it."""
    before = tags("a", {0: 0.4375, 1: 0.5, 2: 0.5, 3: 0.75})
    after = tags("b", {0: 0.5, 1: 0.4375, 2: 0.5, 3: 0.5})
    result = agreement(before, after, threshold=0.5)
    assert result.gained == ClassSet((0,)).names
    assert result.lost == ClassSet((1,)).names

    assert result.kept == ClassSet((2, 3)).names
    assert result.kept_share == 0.5
    assert result.document()["shared_above_threshold"] == 2


def test_a_tag_just_below_the_threshold_does_not_count():
    below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    result = agreement(tags("a", {0: below, 1: 0.5}), tags("b", {0: below, 1: below}), threshold=0.5)
    assert (result.kept, result.lost, result.gained) == ((), ClassSet((1,)).names, ())
    assert result.kept_share == 0.0


def test_counted_tags_come_by_their_larger_probability_and_equal_ones_in_audiosets_order():
    before = tags("a", {9: 0.75, 3: 0.5, 7: 0.25, 5: 0.25})
    after = tags("b", {9: 0.5, 3: 0.75, 7: 0.875, 5: 0.375})
    result = agreement(before, after, threshold=0.5)
    assert [row.index for row in result.counted] == [7, 3, 9]
    assert [row.index for row in result.rows_of("kept")] == [3, 9]
    assert result.likeliest.index == 7


def test_where_no_tag_counts_the_kept_share_is_undefined_and_the_likeliest_is_known():
    result = agreement(tags("a", {0: 0.25, 1: 0.125}), tags("b", {0: 0.125, 1: 0.375}), threshold=0.5)
    assert (result.counted, result.kept_share, result.likeliest.index) == ((), None, 1)
    assert result.document()["kept_share"] is None


def test_a_class_of_one_network_alone_is_neither_lost_nor_gained():
    result = agreement(
        tags("a", {0: 0.75, 1: 0.75, 4: 0.25}), tags("b", {0: 0.75, 2: 0.5, 3: 0.25}), threshold=0.5
    )
    assert (result.kept, result.lost, result.gained) == (ClassSet((0,)).names, (), ())
    assert [row.index for row in result.one_sided] == [1, 2]


def test_the_divergence_is_the_sum_of_the_classes_by_hand():
    result = agreement(tags("a", {0: 0.75, 1: 0.5}), tags("b", {0: 0.25, 1: 0.5}))
    assert result.divergence == pytest.approx(
        0.5 * math.log(3)
    )  # 3/4 ln 3 + 1/4 ln 1/3, and nothing for equal ones


def test_the_overlap_is_of_exactly_the_first_k_tags():
    """The third and fourth tags change places: that shows at 3, and neither at 2 nor at 4."""
    before = tags("a", {0: 0.9, 1: 0.8, 2: 0.7, 3: 0.6, 4: 0.1})
    after = tags("b", {0: 0.9, 1: 0.8, 2: 0.6, 3: 0.7, 4: 0.1})
    overlaps = [agreement(before, after, top_k=k).top_k_overlap for k in (1, 2, 3, 4, 5)]
    assert overlaps == [1, 2, 2, 4, 5]


def test_ten_tags_and_a_threshold_of_a_fifth_by_default():
    clip = load_clip(encode_wav(np.zeros(32_000, np.float32)), name="a.wav")
    many = tags("a", {index: 0.99 - 0.05 * index for index in range(12)})
    found = compare(clip, Recorded(many, []), Recorded(many, [])).agreement  # type: ignore[arg-type]
    assert (found.top_k, found.threshold) == (10, 0.2)
    assert (agreement(many, many).top_k, agreement(many, many).threshold) == (10, 0.2)


class Recorded:
    """Stands in for a tagger: outputs known tags, and says in ``calls`` that it ran."""

    def __init__(self, output: Tags, calls: list[str]) -> None:
        self.output, self.calls = output, calls

    def tag(self, clip: Clip) -> Tags:
        self.calls.append(self.output.model)
        return self.output


def test_baseline_and_candidate_keep_their_sides():
    """What the candidate alone has at the threshold is gained, in the document too; the baseline runs first."""
    clip, calls = load_clip(encode_wav(np.zeros(32_000, np.float32)), name="a.wav"), []
    result = compare(clip, Recorded(A, calls), Recorded(B, calls), top_k=2, threshold=0.5)  # type: ignore[arg-type]
    assert calls == ["a", "b"]
    assert (result.baseline, result.candidate, result.clip) == (A, B, clip)
    assert result.agreement.gained == ClassSet((2,)).names
    assert result.agreement.lost == ClassSet((1,)).names
    document = result.document()
    assert [document[side]["model"] for side in ("baseline", "candidate")] == ["a", "b"]
    assert document["agreement"]["gained"] == list(ClassSet((2,)).names)
    assert (document["agreement"]["top_k"], document["agreement"]["threshold"]) == (2, 0.5)


def test_rows_have_the_baseline_first():
    row = next(row for row in rows(A, B) if row.index == 2)
    assert (row.baseline, row.candidate) == (pytest.approx(0.3), pytest.approx(0.55))
    assert row.difference == pytest.approx(0.25)
    assert row.largest == pytest.approx(0.55)


def test_rows_of_equal_probability_come_in_audioset_order():
    assert [row.index for row in rows(tags("a", {5: 0.5, 2: 0.5}), tags("b", {7: 0.5, 5: 0.25}))] == [2, 5, 7]


def test_a_model_agrees_with_itself():
    found = agreement(A, A, top_k=10)
    assert (found.top_k, found.top_k_overlap, found.spearman, found.max_abs_difference) == (4, 4, 1.0, 0.0)
    assert found.gained == found.lost == ()


def test_classes_are_matched_by_index_not_by_position():
    small = tags("small", {2: 0.55, 0: 0.8})
    found = agreement(A, small, top_k=1)
    assert found.shared_classes == 2
    assert found.max_abs_difference == pytest.approx(0.25)
    assert found.top_k_overlap == 1


def test_rows_keep_what_only_one_model_knows():
    small = tags("small", {2: 0.95, 0: 0.8})
    listed = rows(A, small)
    assert [row.index for row in listed] == [2, 0, 1, 3]
    assert listed[0].difference == pytest.approx(0.65)
    assert listed[2].candidate is None
    assert listed[2].difference is None


def test_spearman_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 6, 30).astype(float), rng.integers(0, 6, 30).astype(float)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_without_an_order_is_undefined():
    assert spearman(np.ones(5), np.arange(5.0)) is None
    assert spearman(np.ones(1), np.ones(1)) is None


def test_impossible_requests_are_refused():
    with pytest.raises(ModelError, match="at least 1"):
        agreement(A, B, top_k=0)
    for threshold in (0.0, 1.0):
        with pytest.raises(ModelError, match="between 0 and 1"):
            agreement(A, B, threshold=threshold)
    with pytest.raises(ModelError, match="no class in common"):
        agreement(A, tags("far", {400: 0.5}))
