"""The table of several clips on the Compare page."""

from __future__ import annotations

import numpy as np
import pytest

from core.audio import encode_wav, load_clip
from core.classes import ClassSet
from core.comparisons import compare_every_two
from core.tags import Tags
from dashboard.charts.clip_picture import clip_picture
from dashboard.compare import batch
from dashboard.server.clips import OpenedClip
from dashboard.server.source import Source


@pytest.mark.parametrize(
    ("before", "after", "lost"), [(0.196, 0.1, ""), (0.204, 0.196, "Dog"), (0.9, 0.199_999, "Dog")]
)
def test_a_value_beside_the_threshold_shows_on_which_side_it_is(
    before: float, after: float, lost: str
) -> None:
    data = encode_wav(0.1 * np.sin(np.arange(32_000)))
    classes = ClassSet.from_names(["Dog", "Rain"])
    one, two = (
        Tags("", classes, np.array([value, 0.1], np.float32), "torch", 1.0, ((0.0, 1.0),))
        for value in (before, after)
    )
    clip = load_clip(data, name="a.wav")
    opened = OpenedClip(clip, clip_picture(clip.samples, clip.segments))
    outcome = batch.Outcome(Source.of_bytes("a.wav", data), opened, compare_every_two(clip, [one, two]))
    (row,) = batch.frame([outcome], ("A", "B")).to_dict("records")
    shown = [float(str(row[name]).removeprefix("Dog ")) for name in ("A", "B")]
    assert [value >= 0.2 for value in shown] == [before >= 0.2, after >= 0.2]
    assert row["Lost"] == lost


def test_three_networks_have_their_first_tags_and_each_candidate_its_agreement() -> None:
    data = encode_wav(0.1 * np.sin(np.arange(32_000)))
    clip = load_clip(data, name="a.wav")
    classes = ClassSet.from_names(["Dog", "Rain"])
    tags = [
        Tags("", classes, np.array(values, np.float32), "torch", 1.0, ((0.0, 1.0),))
        for values in ((0.9, 0.1), (0.8, 0.3), (0.1, 0.6))
    ]
    opened = OpenedClip(clip, clip_picture(clip.samples, clip.segments))
    outcome = batch.Outcome(Source.of_bytes("a.wav", data), opened, compare_every_two(clip, tags))
    failed = batch.Outcome(Source.of_bytes("b.wav", b""), error="b.wav is empty.")
    row, other = batch.frame([outcome, failed], ("A", "B", "C")).to_dict("records")
    assert [row[name] for name in "ABC"] == ["Dog 0.90", "Dog 0.80", "Rain 0.60"]
    assert (row["Kept, B"], row["Kept, C"]) == (0.5, 0.0)
    assert (row["Lost, B"], row["Lost, C"]) == ("", "Dog")
    assert (row["Gained, B"], row["Gained, C"]) == ("Rain", "Rain")
    assert row["Divergence, C"] > row["Divergence, B"] > 0
    assert list(row)[:5] == ["Clip", "Length", "A", "B", "C"]
    assert other["Remark"] == "b.wav is empty."
