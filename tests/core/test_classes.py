"""The class list against the facts file, and class sets against hand-picked places of the ontology."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from core.classes import CATEGORIES, ClassSet, audioset
from core.errors import ModelError


def test_well_known_places_of_the_class_list() -> None:
    classes = audioset()
    assert len(classes) == 527
    assert [known.index for known in classes] == list(range(527))
    assert (classes[0].name, classes[0].mid) == ("Speech", "/m/09x0r")
    assert classes[74].name == "Dog"
    assert classes[137].name == "Music"
    assert classes[526].name == "Field recording"
    assert len({known.name for known in classes}) == len({known.mid for known in classes}) == 527


def test_agrees_with_the_facts_file(shared: Path) -> None:
    with (shared / "facts" / "audioset_classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["index"]), row["mid"], row["name"]) for row in rows] == [
        (known.index, known.mid, known.name) for known in audioset()
    ]
    for row, known in zip(rows, audioset(), strict=True):
        assert " > ".join(known.paths[0]) == row["parents"]  # the facts give a class's first place only


def test_every_class_stands_in_a_category() -> None:
    assert len(CATEGORIES) == 7
    assert {category for known in audioset() for category in known.categories} == set(CATEGORIES)


def test_places_in_the_ontology() -> None:
    by_name = {known.name: known for known in audioset()}
    assert by_name["Tick-tock"].paths == (("Sounds of things", "Mechanisms", "Clock"),)
    assert by_name["Animal"].paths == ((),)
    assert by_name["Animal"].categories == ("Animal",)
    assert by_name["Bell"].categories == ("Music", "Sounds of things")
    assert by_name["Hiss"].categories == ("Animal", "Natural sounds", "Source-ambiguous sounds")


def test_class_set_by_name_keeps_the_order_given() -> None:
    chosen = ClassSet.from_names(["Music", "Speech", "Waves, surf"])
    assert chosen.indices == (137, 0, 295)
    assert chosen.names == ("Music", "Speech", "Waves, surf")
    assert len(chosen) == 3
    assert chosen == ClassSet((137, 0, 295))


def test_names_are_made_once() -> None:
    """They are read once for every tag: a tuple each time would be 527 times 527 names for the tags of one clip."""
    classes = ClassSet.audioset()
    assert classes.names is classes.names


def test_the_whole_of_audioset() -> None:
    assert ClassSet.audioset().indices == tuple(range(527))


def test_category_mask() -> None:
    chosen = ClassSet.from_names(["Dog", "Music", "Rain", "Bell"])
    np.testing.assert_array_equal(chosen.in_categories(["Music"]), [False, True, False, True])
    np.testing.assert_array_equal(
        chosen.in_categories(["Animal", "Natural sounds"]), [True, False, True, False]
    )
    mask = chosen.in_categories([])
    assert mask.dtype == bool
    assert not mask.any()
    assert ClassSet.audioset().in_categories(CATEGORIES).all()


@pytest.mark.parametrize(
    ("name", "near"),
    [("Tick tock", "Tick-tock"), ("dog", "Dog"), ("surf", "Waves, surf"), ("Speach", "Speech")],
)
def test_unknown_name_is_told_with_close_ones(name: str, near: str) -> None:
    with pytest.raises(ModelError) as refused:
        ClassSet.from_names(["Rain", name])
    assert f'"{name}"' in str(refused.value)
    assert f'"{near}"' in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("indices", [(), (527,), (-1,), (3, 4, 3)])
def test_impossible_sets_are_refused(indices: tuple[int, ...]) -> None:
    with pytest.raises(ModelError):
        ClassSet(indices)


def test_unknown_category_is_refused() -> None:
    with pytest.raises(ModelError, match="Animal"):
        ClassSet.audioset().in_categories(["Animals"])


def test_the_message_for_an_unknown_name_in_full() -> None:
    with pytest.raises(ModelError) as refused:
        ClassSet.from_names(["Tick tock"])
    message = r'AudioSet has no class "Tick tock"\. Did you mean "Tick-tock"(?: or "[^"]+")*\?'
    assert re.fullmatch(message, str(refused.value))
    with pytest.raises(ModelError) as refused:
        ClassSet.from_names(["zzzqqq"])
    assert str(refused.value) == 'AudioSet has no class "zzzqqq". Give a display name.'
