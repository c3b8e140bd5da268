"""Plans in files: what is saved is what is loaded, and what is no plan is refused in one line."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

from core.checkpoints import load_checkpoint
from core.errors import PruningError
from core.models.cnn import Cnn14, Cnn14Config
from core.pruning.plan import MAX_BYTES, PruningPlan, plan
from core.pruning.plan_file import load_plan, save_plan
from core.pruning.provenance import pruned_info, save_pruned
from core.pruning.surgery import check_fits, prune
from core.tagging import Tagger, load_tagger


@pytest.fixture
def tagger(studio) -> Tagger:
    return load_tagger(checkpoint=studio / "small.safetensors")


@pytest.fixture
def made(tagger) -> PruningPlan:
    return plan(
        tagger.model,
        {"C3": 0.25, "C12": 0.6},
        round_to=2,
        origin={"method": "budget", "budget": {"share": 0.5}},
    )


def test_a_plan_survives_its_file(made, tmp_path):
    path = save_plan(tmp_path / "plan.json", made)
    assert load_plan(path) == made
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]
    document = json.loads(path.read_text())
    assert document == made.document() == PruningPlan.from_text(path.read_text()).document()
    assert document["kept"]["C12"] == list(made.kept["C12"])
    assert (document["format"], document["widths"], document["round_to"]) == (
        2,
        [4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16],
        2,
    )


def test_an_empty_plan_survives_its_file(tagger, tmp_path):
    nothing = plan(tagger.model, 0.0)
    assert load_plan(save_plan(tmp_path / "plan.json", nothing)) == nothing


def test_the_checkpoint_holds_its_plan(made, tagger, tmp_path):
    pruned = prune(tagger.model, made)
    path = tmp_path / "pruned.safetensors"
    saved = save_pruned(path, tagger, made, pruned, repair={"clips": 3})
    assert load_plan(path) == made
    notes = load_checkpoint(path).info.training
    assert notes["pruning"]["pruned_from_sha256"] == tagger.info.sha256
    assert notes["repair"] == {"clips": 3}
    kept = {layer: list(indices) for layer, indices in made.kept.items()}
    in_memory = pruned_info(tagger.info, made, pruned, "pruned", {"clips": 3})
    for known in (saved, in_memory):
        assert (known.name, known.widths, known.kept, known.training) == ("pruned", made.after, kept, notes)
    assert in_memory.size_bytes == sum(
        tensor.numel() * tensor.element_size() for tensor in pruned.state_dict().values()
    )
    other = pruned_info(tagger.info, plan(tagger.model, 0.5), pruned, "pruned")
    assert len({in_memory.sha256, other.sha256, saved.sha256, tagger.info.sha256}) == 4


def test_pruned_again_the_file_holds_the_second_plan_and_no_stale_repair(made, tagger, tmp_path):
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    save_pruned(once, tagger, made, prune(tagger.model, made), repair={"clips": 3})
    again = load_tagger(checkpoint=once)
    second = plan(again.model, 0.5, ("C12",))
    save_pruned(twice, again, second, prune(again.model, second))
    info = load_checkpoint(twice).info
    assert load_plan(twice) == second
    assert "repair" not in info.training
    assert info.kept["C12"] == [made.kept["C12"][index] for index in second.kept["C12"]]


DAMAGE = {
    "is no JSON": (b"ratio: 0.5", "cannot be read as JSON"),
    "cut short": (b'{"format": 1, "widths": [4, 4', "cannot be read as JSON"),
    "deep": (b"[" * 100_000, "cannot be read as JSON"),
    "no object": (b"[1, 2]", "This is not a pruning plan"),
    "another JSON": (b'{"name": "x"}', "This is not a pruning plan"),
    "binary": (bytes(range(256)), "not UTF-8 text"),
    "empty": (b"", "cannot be read as JSON"),
    "huge": (b" " * (MAX_BYTES + 1), "more than 4 MB"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_no_plan_is_refused(tmp_path, name):
    content, said = DAMAGE[name]
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(PruningError, match=said) as raised:
        load_plan(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


CHANGES = {
    "format": (3, "this Pannscope reads 1 and 2"),
    "architecture": ("vgg16", "Unknown architecture"),
    "widths": ([4.0] * 12, "whole numbers expected"),
    "criterion": (3, "text expected"),
    "ratios": ({"C12": "half"}, "a number expected"),
    "round_to": (True, "whole numbers expected"),
    "kept": ({"C12": [0, 99]}, "from 0 to 15"),
    "origin": ([], "an object expected"),
    "groups": ({"C3": ["C3"], "C12": ["C12", "C11"]}, "C12 shared its filters with other layers"),
}


@pytest.mark.parametrize("key", CHANGES)
def test_damaged_plans_are_refused(made, key):
    value, said = CHANGES[key]
    with pytest.raises(PruningError, match=said):
        PruningPlan.from_document(made.document() | {key: value})
    if key not in ("format", "widths", "kept"):
        without = {name: each for name, each in made.document().items() if name != key}
        with pytest.raises(PruningError, match=f"has no '{key}'"):
            PruningPlan.from_document(without)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "10" * 400])
def test_numbers_that_are_none_are_refused(made, number):
    for old in ('"C12": 0.6', '"share": 0.5'):
        text = made.text().replace(old, old.split(":")[0] + ": " + number)
        if number.isdigit() and "share" in old:
            continue  # a large whole number in the notes does no harm
        with pytest.raises(PruningError, match=r"JSON|damaged"):
            PruningPlan.from_text(text)


def test_files_that_are_not_there(made, tmp_path, studio):
    with pytest.raises(PruningError, match="There is no plan"):
        load_plan(tmp_path / "none.json")
    with pytest.raises(PruningError, match="not made with a plan"):
        load_plan(studio / "small.safetensors")
    with pytest.raises(PruningError, match="cannot be written"):
        save_plan(tmp_path / "no" / "plan.json", made)
    folder = tmp_path / "plan.json"
    folder.mkdir()
    with pytest.raises(PruningError, match="cannot be written"):
        save_plan(folder, made)
    assert os.listdir(tmp_path) == ["plan.json"]


def test_a_plan_for_other_widths_is_refused(made):
    with pytest.raises(PruningError, match="is for a network of widths 4, 4, 4"):
        check_fits(made, Cnn14(Cnn14Config((8,) * 12, 3, 16)))


def test_a_loaded_plan_does_the_same(made, tagger, tmp_path):
    again = load_plan(save_plan(tmp_path / "plan.json", made))
    waveform = 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    first, second = (prune(tagger.model, each).probabilities(waveform).numpy() for each in (made, again))
    np.testing.assert_array_equal(first, second)
