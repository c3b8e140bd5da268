"""The embedded pair with AudioSet's 527 classes: what is in the files, and that it agrees with its teacher on what it did not learn from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from core.audio import load_clip
from core.checkpoints import entry
from core.classes import ClassSet
from core.examples import example_clip
from core.export.bundle import plan_of
from core.export.check import ExportJob
from core.export.lineage import lineage
from core.models.widths import PAPER_LAYERS
from core.profiling import profile_model
from core.pruning.plan import plan
from core.tagging import EMBEDDED_PAIR, Tagger, load_tagger

PAIR = ("demo-cnn14-527", "demo-epanns-527")
PARAMS = (5_253_599, 1_655_519)
"""Counted by hand below."""

TAUGHT = {
    "01084-cannon1.ogg": "Artillery fire",
    "01097-laugh1.ogg": "Speech",
    "01109-whoosh2.ogg": "Whoosh, swoosh, swish",
    "01130-slide2.ogg": "Gasp",
    "02059-cheek-lout-rr1.ogg": "Finger snapping",
    "02065-chestthump-l-vl2-rr1.ogg": "Clapping",
}
"""The class that the teacher (mn04, the published weights) gives the first 5 s of a recording first, with 0.3 or more. All are of sources that
no stage of the training has used (checkpoints/README.md)."""


@pytest.fixture(scope="module")
def pair() -> tuple[Tagger, Tagger]:
    return load_tagger(PAIR[0], runtime="torch"), load_tagger(PAIR[1], runtime="torch")


@pytest.mark.parametrize(("name", "params"), list(zip(PAIR, PARAMS, strict=True)))
def test_parameters_by_hand(name: str, params: int) -> None:
    """3x3 kernels without biases, two numbers a filter for its batch norm and 64 mel bands', two linear layers with biases."""
    widths, embedding = entry(name).widths, entry(name).embedding
    kernels = sum(9 * inputs * outputs for inputs, outputs in pairwise((1, *widths)))
    linear = widths[-1] * embedding + embedding + embedding * 527 + 527
    assert kernels + 2 * sum(widths) + 2 * 64 + linear == params


@pytest.mark.parametrize("which", [0, 1])
def test_the_manifest_says_what_is_in_the_files(which: int, pair: tuple[Tagger, Tagger]) -> None:
    tagger, known = pair[which], entry(PAIR[which])
    counted = profile_model(tagger.model)
    assert counted.params_trainable == known.params == PARAMS[which]
    assert counted.macs == known.macs_10s
    assert (tagger.name, tagger.info.widths, tagger.info.embedding) == (
        known.name,
        known.widths,
        known.embedding,
    )
    assert tagger.classes == ClassSet.audioset()
    assert known.class_count == 527


def test_the_pruned_network_is_the_plan_on_its_parent(pair: tuple[Tagger, Tagger]) -> None:
    """The file records its parent and a plan; operator norm chooses the same filters on the parent again."""
    parent, pruned = pair
    made = plan(parent.model, 0.5)
    assert {layer: tuple(kept) for layer, kept in pruned.info.kept.items()} == made.kept
    assert tuple(made.kept) == PAPER_LAYERS
    notes = pruned.info.training["pruning"]
    assert (notes["pruned_from"], notes["pruned_from_sha256"]) == (PAIR[0], parent.info.sha256)
    job = ExportJob(pruned, pruning=notes)
    assert plan_of(job) == made
    assert (lineage(pruned.info, notes).entry, lineage(pruned.info, notes).same) == (entry(PAIR[1]), True)


def test_a_sound_that_the_18_classes_have_no_name_for(pair: tuple[Tagger, Tagger]) -> None:
    for tagger in pair:
        top = tagger.tag(example_clip("heartbeat")).top(1)[0]
        assert top.name == "Heart sounds, heartbeat"
        assert top.probability > 0.5


def test_nothing_loads_them_unless_they_are_chosen() -> None:
    assert not set(PAIR) & set(EMBEDDED_PAIR)


def test_the_teachers_likeliest_class_is_among_their_first_five(shared, pair: tuple[Tagger, Tagger]) -> None:
    for name, taught in TAUGHT.items():
        waveform = load_clip(shared / "pool/audio" / name).waveform[: 5 * 32_000]
        for tagger in pair:
            first = np.argsort(-tagger.probabilities(waveform))[:5]
            assert taught in {tagger.classes.names[position] for position in first}, name
