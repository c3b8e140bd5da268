"""Rows, the one-sentence answer, and the files that are downloaded."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from core.audio import encode_wav, load_clip
from core.classes import ClassSet
from core.compare import Comparison, agreement
from core.tagging import Tags
from dashboard.widgets import tables

NAMES = ("Speech", "Music", "Rain", "Dog", "Siren")


def comparison(name: str = "clip.wav", top_k: int = 3) -> Comparison:
    classes = ClassSet.from_names(NAMES)
    one = np.array([0.90, 0.40, 0.30, 0.20, 0.60], np.float32)
    two = np.array([0.80, 0.45, 0.05, 0.35, 0.55], np.float32)
    tags = [
        Tags(model, classes, values, "torch", 12.5, ((0.0, 1.0),))
        for model, values in (("demo-cnn14", one), ("demo-epanns", two))
    ]
    clip = load_clip(encode_wav(np.zeros(32_000)), name=name)
    return Comparison(clip, *tags, agreement(*tags, top_k=top_k, threshold=0.5))


def test_the_answer_is_one_sentence() -> None:
    # first three: Speech, Siren, Music on both sides; the largest difference is Rain's 0.25
    assert (
        tables.answer(comparison()) == "They agree on 3 of the first 3 tags · largest difference 0.25 (Rain)"
    )
    assert tables.answer(comparison(top_k=1)).startswith("They agree on 1 of the first tag ·")


def test_rows_are_sorted_by_the_larger_and_narrowed_by_category() -> None:
    assert [row.name for row in tables.shown_rows(comparison())] == [
        "Speech",
        "Siren",
        "Music",
        "Dog",
        "Rain",
    ]
    assert [row.name for row in tables.shown_rows(comparison(), limit=2)] == ["Speech", "Siren"]
    animals = tables.shown_rows(comparison(), categories=("Animal", "Music"))
    assert [row.name for row in animals] == ["Music", "Dog"]


def test_one_clip_is_the_document_and_several_are_lines() -> None:
    one, two = comparison("one.wav"), comparison("two.wav")
    assert json.loads(tables.json_text([one])) == json.loads(json.dumps(one.document()))
    lines = tables.json_text([one, two]).splitlines()
    assert [json.loads(line)["clip"]["name"] for line in lines] == ["one.wav", "two.wav"]


def test_csv_has_every_tag_of_every_clip() -> None:
    read = list(csv.DictReader(io.StringIO(tables.csv_text([comparison("one.wav"), comparison("two.wav")]))))
    assert len(read) == 10
    assert read[0]["tag"] == "Speech"
    assert read[0]["index"] == "0"
    assert float(read[0]["demo-cnn14"]) == pytest.approx(0.9, abs=1e-6)
    assert float(read[0]["difference"]) == pytest.approx(-0.1, abs=1e-6)
    assert {row["clip"] for row in read} == {"one.wav", "two.wav"}


@pytest.mark.parametrize("name", ["=1+1.wav", "+1.wav", "-1.wav", "@sum.wav", "\t=1.wav"])
def test_no_name_becomes_a_formula(name: str) -> None:
    read = list(csv.reader(io.StringIO(tables.csv_text([comparison(name)]))))
    assert {row[0] for row in read[1:]} == {"'" + name.lstrip()}


def test_tag_frame_lists_names_categories_and_the_difference() -> None:
    frame = tables.tag_frame(tables.shown_rows(comparison()), baseline="CNN14", candidate="E-PANNs")
    assert list(frame.columns) == ["Tag", "Category", "CNN14", "E-PANNs", "Difference"]
    assert frame["Difference"].iloc[4] == pytest.approx(-0.25, abs=1e-6)
    assert frame["Category"].iloc[3] == "Animal"
