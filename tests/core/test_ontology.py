"""Classes grouped by the ontology, and found by a few letters: every expectation written out by hand from the published ontology."""

from __future__ import annotations

import json

from core.class_search import closest_classes, find_classes
from core.classes import ClassSet, audioset
from core.ontology import OTHERS, grouped, has_audioset_classes, other_parents


def lines(*names: str) -> list[str]:
    """The grouped classes, one line each; a line above every group, empty where it has no heading."""
    classes = ClassSet.named(names)
    by_index = dict(zip(classes.indices, names, strict=True))
    said = []
    for place in grouped(classes.indices):
        said += [] if place.heading is None else [" > ".join(place.heading)]
        said.append("-" * place.depth + by_index[place.index])
    return said


def test_a_parent_stands_above_its_children_whatever_is_between_them() -> None:
    """Dog is a child of "Domestic animals, pets", which is not among them, and that one of Animal."""
    assert lines("Bark", "Cat", "Animal", "Dog") == ["", "Animal", "-Dog", "--Bark", "-Cat"]


def test_groups_and_siblings_come_by_their_likeliest_member() -> None:
    assert lines("Helicopter", "Music", "Rain", "Vehicle", "Stream") == [
        "Sounds of things",
        "Vehicle",
        "-Helicopter",
        "",
        "Music",
        "Natural sounds > Water",
        "Rain",
        "Stream",
    ]


def test_what_is_no_output_is_a_heading() -> None:
    assert lines("Speech") == ["Human sounds > Human voice", "Speech"]
    assert lines("Bang") == ["Source-ambiguous sounds > Generic impact sounds", "Bang"]


def test_two_top_level_categories_are_two_groups() -> None:
    assert lines("Music", "Dog", "Animal", "Guitar") == ["", "Music", "-Guitar", "", "Animal", "-Dog"]


def test_a_class_with_several_parents_stands_under_the_first_whichever_others_are_there() -> None:
    """Hiss: of cats, snakes and steam, and an onomatopoeia."""
    hiss = ClassSet.named(["Hiss"]).indices[0]
    assert lines("Steam", "Snake", "Hiss")[-2:] == ["Animal > Domestic animals, pets > Cat", "Hiss"]
    assert other_parents(hiss) == ("Snake", "Steam", "Onomatopoeia")
    assert (
        other_parents(ClassSet.named(["Church bell"]).indices[0]) == ()
    )  # Bell is its parent in both places


def test_classes_that_audioset_does_not_have() -> None:
    assert lines("Drone", "Rain", "Whale boat") == [
        OTHERS,
        "Drone",
        "Whale boat",
        "Natural sounds > Water",
        "Rain",
    ]
    assert has_audioset_classes(["Drone", "Rain"])
    assert not has_audioset_classes(["output 1", "rain"])


def test_all_classes_stand_once_under_the_groups_that_are_no_outputs() -> None:
    places = grouped(range(527))
    assert sorted(place.index for place in places) == list(range(527))
    known = {each.name for each in audioset()}
    headings = {place.heading for place in places if place.heading}
    assert {heading[0] for heading in headings} <= {
        "Human sounds",
        "Natural sounds",
        "Sounds of things",
        "Source-ambiguous sounds",
        "Channel, environment and background",
    }
    assert not any(name in known for heading in headings for name in heading)


def test_search_takes_words_in_any_order_and_ignores_case_and_punctuation() -> None:
    names = [each.name for each in audioset()]
    assert find_classes("HIP-HOP", names) == ["Hip hop music"]
    assert find_classes("truck fire", names) == ["Fire engine, fire truck (siren)"]
    assert find_classes("rain", names)[:3] == ["Rain", "Raindrop", "Rain on surface"]
    assert "Train" in find_classes("rain", names)
    assert find_classes("output 1", ["output 1", "output 2", "output 10"]) == ["output 1", "output 10"]
    assert find_classes("  ", names) == find_classes("zzz", names) == []
    assert closest_classes("Helikopter", names)[0] == "Helicopter"
    assert closest_classes("zzzqqq", names) == []


def test_tag_in_groups_and_by_name(cli, studio):
    """The network has the classes Speech, Rain and Siren."""
    words = ["tag", studio / "tone.wav", "-m", studio / "small.safetensors", "--runtime", "torch"]
    said = [
        line.rsplit(maxsplit=1)[0]
        for line in cli(*words, "--group").out.splitlines()[2:]
        if line[-3:-2] == "."
    ]
    assert sorted(said) == ["  Rain", "  Siren", "  Speech"]
    assert "Natural sounds > Water" in cli(*words, "--group").out.splitlines()
    (tag,) = json.loads(cli(*words, "--find", "rAI", "--group", "--json").out)["tags"]
    assert (tag["name"], tag["paths"]) == ("Rain", [["Natural sounds", "Water"]])
    assert cli(*words, "--find", "syren").complaint.endswith(
        'small has no class with "syren" in its name. Did you mean "Siren"?\n'
    )
