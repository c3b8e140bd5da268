"""The table of several clips on the Compare page."""

from __future__ import annotations

import numpy as np
import pytest

from core.audio import encode_wav, load_clip
from core.classes import ClassSet
from core.compare import Comparison, agreement
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
    outcome = batch.Outcome(
        Source.of_bytes("a.wav", data), opened, Comparison(clip, one, two, agreement(one, two))
    )
    (row,) = batch.frame([outcome], ("A", "B")).to_dict("records")
    shown = [float(str(row[name]).removeprefix("Dog ")) for name in ("A", "B")]
    assert [value >= 0.2 for value in shown] == [before >= 0.2, after >= 0.2]
    assert row["Lost"] == lost
