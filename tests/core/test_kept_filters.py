"""Which filters the embedded pair and pruned networks of full size kept, and how much smaller a pruned file is."""

from __future__ import annotations

import json

import pytest

from core import checkpoints
from core.models.cnn import LAYERS, Cnn14
from core.models.widths import PAPER_LAYERS
from core.profiling import profile_model
from core.pruning.plan import plan
from core.pruning.surgery import prune
from core.tagging import load_tagger


def test_the_embedded_pair_kept_what_the_definition_keeps():
    """The file's own note of what it kept is what the criterion keeps of the network that it was made from."""
    pruned, parent = load_tagger("demo-epanns"), load_tagger("demo-cnn14")
    kept = {layer: tuple(indices) for layer, indices in pruned.info.kept.items()}
    assert kept == plan(parent.model, 0.5, PAPER_LAYERS).kept


@pytest.mark.parametrize(("ratio", "golden"), [(0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75")])
def test_widths_and_counts_of_the_full_network_are_the_references(shared, ratio, golden):
    """A real pruning of 81 million weights, counted by its own tensors, against facts/golden.json."""
    expected = json.loads((shared / "facts/golden.json").read_text())["cnn14_by_ratio"][golden]
    model = Cnn14()
    made = plan(model, ratio, criterion_name="l1")
    pruned = prune(model, made, share=True)
    assert sum(each.numel() for each in pruned.parameters()) == expected["params_trainable"]
    counted = profile_model(pruned)
    assert (counted.params_total, counted.macs) == (expected["params_total"], expected["thop_macs"])
    before = dict(zip(LAYERS, model.config.widths, strict=True))
    assert {layer: len(kept) for layer, kept in made.kept.items()} == {
        layer: int(before[layer] * (1 - ratio)) for layer in PAPER_LAYERS
    }


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_a_pruned_file_is_smaller_by_the_stated_share(tmp_path, ratio):
    tagger = load_tagger("demo-cnn14")
    pruned = prune(tagger.model, plan(tagger.model, ratio))
    sizes = []
    for name, model in (("whole", tagger.model), ("pruned", pruned)):
        path = tmp_path / f"{name}.safetensors"
        checkpoints.save_checkpoint(path, model, classes=tagger.classes, name=name)
        sizes.append(path.stat().st_size)
    stated = profile_model(pruned).file_bytes / profile_model(tagger.model).file_bytes
    assert sizes[1] / sizes[0] == pytest.approx(stated, abs=0.002)  # the header, a few kB, is not stated
