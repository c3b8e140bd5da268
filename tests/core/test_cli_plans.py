"""Plans on the command line: made, found, saved, carried out again, and what is measured for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from core.audio import load_clip
from core.checkpoints import save_checkpoint
from core.classes import ClassSet
from core.models.cnn import LAYERS, Cnn14, Cnn14Config
from core.pruning.fidelity import fidelity, predictions
from core.pruning.plan import plan, similarity_plan
from core.pruning.plan_file import load_plan
from core.pruning.repair.repair import repair
from core.pruning.search.sensitivity import measure_sensitivity
from core.pruning.surgery import prune
from core.tagging import load_tagger


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A network whose answers depend on every layer; the studio's are sure of everything."""
    torch.manual_seed(8)
    model = Cnn14(Cnn14Config((4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 16, 16), 3, 16))
    model.bn0.running_mean.fill_(-20.0)
    model.bn0.running_var.fill_(100.0)
    for layer in LAYERS:
        norm = model.batch_norm(layer)
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.uniform_(-0.3, 0.5)
        norm.running_var.uniform_(0.1, 0.4)
    path = tmp_path_factory.mktemp("network") / "small.safetensors"
    save_checkpoint(path, model, classes=ClassSet.from_names(("Speech", "Rain", "Siren")), name="small")
    return path


@pytest.fixture
def pruned(cli, small, tmp_path):
    """``pruned("once", words…)``: what ``prune`` says of the small network, and the file it wrote."""

    def call(name, *words):
        out = tmp_path / f"{name}.safetensors"
        return cli("prune", "-m", small, "--out", out, *words, "--json").document, out

    return call


def network(path: Path) -> Cnn14:
    return load_tagger(checkpoint=path).model


def notes(path) -> dict:
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["pannscope"])["training"]


def test_a_saved_plan_does_it_again(pruned, small, tmp_path):
    saved = tmp_path / "plan.json"
    said, once = pruned("once", "--ratios", "C12=0.5,C2-C3=0.25", "--round-to", 2, "--save-plan", saved)
    expected = plan(network(small), {"C2": 0.25, "C3": 0.25, "C12": 0.5}, round_to=2)
    assert load_plan(saved) == load_plan(once) == expected
    document = json.loads(json.dumps(expected.document()))
    assert (said["kept"], said["plan"]) == (document.pop("kept"), document)
    assert said["repair"] is None
    for source in (saved, once):
        again, twice = pruned(f"from-{source.stem}", "--plan", source)
        assert again["kept"] == said["kept"]
        first, second = load_file(once), load_file(twice)
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert load_plan(twice) == expected


def test_similarity_without_a_ratio(pruned, small):
    said, _ = pruned("similar", "--criterion", "similarity", "--layers", "all")
    made = similarity_plan(network(small), [f"C{n}" for n in range(1, 13)])
    assert said["kept"] == {layer: list(kept) for layer, kept in made.kept.items()}
    assert said["plan"]["origin"] == {"method": "similarity"}


def test_a_plan_found_for_a_budget_and_repaired(pruned, small, studio):
    clips = ("--clips", studio / "tone.wav", "--clips", studio / "noise.flac")
    said, out = pruned("found", "--budget", "params=0.5", *clips, "--repair")
    model = network(small)
    made = load_plan(out)
    narrow = prune(model, made)
    count = [sum(parameter.numel() for parameter in each.parameters()) for each in (narrow, model)]
    assert count[0] <= 0.5 * count[1]
    assert said["plan"]["origin"]["budget"] == {"kind": "params", "share": 0.5}
    heard = [load_clip(studio / name).waveform for name in ("tone.wav", "noise.flac")]
    first = repair(
        model, made, narrow, heard[:1]
    ).model  # what was found on: repaired on one clip, heard on the other
    lost = fidelity(predictions(model, heard[1:]), predictions(first, heard[1:])).divergence
    assert said["plan"]["origin"]["loss_measured"] == pytest.approx(lost, rel=1e-3)
    assert lost > 1e-9
    mended = repair(model, made, narrow, heard)
    assert said["repair"] == notes(out)["repair"] == json.loads(json.dumps(mended.document))
    waveform = load_clip(studio / "short.wav").waveform
    expected = predictions(mended.model, [waveform])
    np.testing.assert_allclose(
        predictions(load_tagger(checkpoint=out).model, [waveform]), expected, atol=1e-5
    )


def test_a_tolerated_fall_of_map(pruned, small, studio, cli):
    labelled = ("--manifest", studio / "clips.csv", "--audio", studio)
    said, out = pruned("tolerated", "--tolerance", 0.01, *labelled, "--folds", "2", "--layers", "C9-C12")
    assert said["plan"]["origin"]["loss"] == "mAP"
    assert said["plan"]["origin"]["clips"] == 3
    assert set(said["kept"]) <= {"C9", "C10", "C11", "C12"}
    before, after = (
        cli("evaluate", *labelled, "--folds", "2", "-m", each, "--json").document["mAP"]
        for each in (small, out)
    )
    assert before - after <= 0.01 + 1e-9
    assert said["plan"]["origin"]["loss_measured"] == pytest.approx(before - after, abs=1e-9)


def test_sensitivity(cli, small, studio):
    words = ("--clips", studio / "noise.flac", "--layers", "C9-C10", "-m", small)
    said = cli("sensitivity", *words, "--json").document
    heard = [load_clip(studio / "noise.flac").waveform]
    expected = measure_sensitivity(network(small), heard, layers=("C9", "C10"))
    assert said == {"model": "small"} | json.loads(json.dumps(expected.document()))
    text = cli("sensitivity", *words).out
    assert "divergence in nats over 1 clip, by operator-norm" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("C10"))
    assert row[1:] == [f"{value:.3f}" for value in expected.divergence[1]]
    assert expected.divergence.max() > 0.01


def test_a_folder_of_recordings_and_labels(cli, small, studio, tmp_path):
    for name in ("noise.flac", "short.wav"):
        (tmp_path / name).write_bytes((studio / name).read_bytes())
    (tmp_path / "notes.txt").write_text("no recording")
    words = ("--layers", "C12", "-m", small, "--json")
    assert cli("sensitivity", "--clips", tmp_path, *words).document["clips"] == 2
    labelled = ("--manifest", studio / "clips.csv", "--audio", studio)
    said = cli("sensitivity", *labelled, *words).document
    assert (said["clips"], np.shape(said["mAP"])) == (6, (1, 5))
    quality = cli("evaluate", *labelled, "-m", small, "--json").document
    assert said["mAP_unpruned"] == pytest.approx(quality["mAP"])
    text = cli("sensitivity", *labelled, *words[:-1]).out
    assert f"mAP; of the unpruned network {quality['mAP']:.3f}" in text


def test_what_people_are_told(cli, small, studio, tmp_path):
    words = ("prune", "-m", small, "--force", "--out", tmp_path / "out.safetensors")
    assert (
        "C3 25%, C12 50% of the filters removed by operator-norm."
        in cli(*words, "--ratios", "C3=0.25,C12=0.5").out
    )
    assert "no filter removed by operator-norm." in cli(*words, "--ratio", 0).out
    found = cli(*words, "--tolerance", 5, "--clips", studio / "noise.flac").out
    assert "lost on the clips, before any repair: " in found
    assert found.count("\n") == 4


def test_a_file_that_exists_is_kept(cli, small, tmp_path):
    out, saved = tmp_path / "out.safetensors", tmp_path / "plan.json"
    saved.write_text("mine")
    words = ("prune", "-m", small, "--ratio", 0.5, "--out", out, "--save-plan", saved)
    assert "plan.json exists already" in cli(*words).complaint
    assert (saved.read_text(), out.exists()) == ("mine", False)
    assert cli(*words, "--force").code == 0
    assert load_plan(saved).ratio == 0.5
