"""Rows, and the files that are downloaded."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from core.audio import encode_wav, load_clip
from core.classes import ClassSet
from core.compare import Comparison, agreement
from core.comparisons import Comparisons, compare_every_two
from core.tags import Tags
from dashboard.widgets import tables

NAMES = ("Speech", "Music", "Rain", "Dog", "Siren")


def comparison(name: str = "clip.wav", threshold: float = 0.5) -> Comparison:
    classes = ClassSet.from_names(NAMES)
    one = np.array([0.90, 0.40, 0.30, 0.20, 0.60], np.float32)
    two = np.array([0.80, 0.45, 0.05, 0.35, 0.55], np.float32)
    tags = [
        Tags(model, classes, values, "torch", 12.5, ((0.0, 1.0),))
        for model, values in (("demo-cnn14", one), ("demo-epanns", two))
    ]
    clip = load_clip(encode_wav(np.zeros(32_000)), name=name)
    return Comparison(clip, *tags, agreement(*tags, threshold=threshold))


def test_rows_are_sorted_by_the_larger_and_narrowed_by_category() -> None:
    assert [row.name for row in tables.shown_rows(comparison())] == [
        "Speech",
        "Siren",
        "Music",
        "Dog",
        "Rain",
    ]
    animals = tables.shown_rows(comparison(), categories=("Animal", "Music"))
    assert [row.name for row in animals] == ["Music", "Dog"]


@pytest.mark.parametrize(
    ("threshold", "limit", "names"),
    [
        (
            0.70,
            10,
            ["Speech", "Siren", "Music", "Dog"],
        ),  # one at the threshold, and three of the four below it
        (0.59, 10, ["Speech", "Siren", "Music", "Dog", "Rain"]),
        (0.95, 10, ["Speech", "Siren", "Music"]),
        (0.70, 2, ["Speech", "Siren"]),
        (0.10, 2, ["Speech", "Siren"]),
    ],
)
def test_a_chart_has_the_tags_at_the_threshold_and_three_below_it(
    threshold: float, limit: int, names: list[str]
) -> None:
    shown = tables.chart_rows(comparison(threshold=threshold), limit=limit)
    assert [row.name for row in shown] == names


def test_one_clip_is_the_document_and_several_are_lines() -> None:
    one, two = (Comparisons.of(comparison(name)) for name in ("one.wav", "two.wav"))
    assert json.loads(tables.json_text([one])) == json.loads(json.dumps(one.document()))
    lines = tables.json_text([one, two]).splitlines()
    assert [json.loads(line)["clip"]["name"] for line in lines] == ["one.wav", "two.wav"]


def test_csv_has_every_tag_of_every_clip() -> None:
    clips = [Comparisons.of(comparison(name)) for name in ("one.wav", "two.wav")]
    read = list(csv.DictReader(io.StringIO(tables.csv_text(clips))))
    assert len(read) == 10
    assert read[0]["tag"] == "Speech"
    assert read[0]["index"] == "0"
    assert float(read[0]["demo-cnn14"]) == pytest.approx(0.9, abs=1e-6)
    assert float(read[0]["difference"]) == pytest.approx(-0.1, abs=1e-6)
    assert {row["clip"] for row in read} == {"one.wav", "two.wav"}


@pytest.mark.parametrize("name", ["=1+1.wav", "+1.wav", "-1.wav", "@sum.wav", "\t=1.wav"])
def test_no_name_becomes_a_formula(name: str) -> None:
    read = list(csv.reader(io.StringIO(tables.csv_text([Comparisons.of(comparison(name))]))))
    assert {row[0] for row in read[1:]} == {"'" + name.lstrip()}


def test_tag_frame_lists_names_categories_and_the_difference() -> None:
    frame = tables.tag_frame(Comparisons.of(comparison()).rows(), ("CNN14", "E-PANNs"))
    assert list(frame.columns) == ["Tag", "CNN14", "E-PANNs", "Difference", "Category"]
    assert frame["Difference"].iloc[4] == pytest.approx(-0.25, abs=1e-6)
    assert frame["Category"].iloc[3] == "Animal"


def test_three_networks_have_a_column_each_and_what_is_between_the_largest_and_the_smallest() -> None:
    """The third has two of the classes, and one that the others do not have; of a class of one network there is no difference."""
    pair = comparison()
    classes = ClassSet.from_names(("Speech", "Dog", "Owl"))
    third = Tags("=own", classes, np.array([0.85, 0.05, 0.7], np.float32), "onnxruntime", 1.0, ((0.0, 1.0),))
    clips = [compare_every_two(pair.clip, [pair.baseline, pair.candidate, third], threshold=0.5)]
    read = {row["tag"]: row for row in csv.DictReader(io.StringIO(tables.csv_text(clips)))}
    assert list(read["Dog"])[4:] == ["demo-cnn14", "demo-epanns", "'=own", "difference"]
    assert list(read["Dog"].values())[4:] == ["0.200000", "0.350000", "0.050000", "0.300000"]
    assert list(read["Music"].values())[4:] == ["0.400000", "0.450000", "", "0.050000"]
    assert list(read["Owl"].values())[4:] == ["", "", "0.700000", ""]
    frame = tables.tag_frame(clips[0].rows(), ("A", "B", "C"))
    assert list(frame.columns) == ["Tag", "A", "B", "C", "Difference", "Category"]
    assert list(frame["Tag"][:3]) == ["Speech", "Owl", "Siren"]
    assert frame["Difference"][0] == pytest.approx(0.1, abs=1e-6)
    document = json.loads(tables.json_text(clips))
    assert [each["model"] for each in document["others"]] == ["=own"]
    assert len(document["pairwise"]) == 3
