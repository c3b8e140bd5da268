"""The commands one after the other: prune what was trained, fine-tune what was pruned, go on with what was stopped, use what was
fetched."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from core.checkpoints import Entry, entries
from core.models.cnn import Cnn14, Cnn14Config
from core.training.train import Trainer

QUALITY = {"clips", "classes", "mAP", "accuracy", "auc", "d_prime", "per_class"}


def metadata(path: Path) -> dict:
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["pannscope"])


def test_kept_filters_of_the_file_are_the_original_networks(cli, studio, tmp_path):
    """Pruned twice: the indices in the file pick the weights straight out of the first network."""
    source, once, twice = (
        studio / "small.safetensors",
        tmp_path / "once.safetensors",
        tmp_path / "twice.safetensors",
    )
    first = cli("prune", "-m", source, "--ratio", 0.5, "--out", once, "--json").document
    assert set(first) == {"path", "kept", "profile", "plan", "repair"}
    assert first["path"] == str(once)
    assert {layer: len(kept) for layer, kept in first["kept"].items()} == {
        "C7": 4, "C8": 4, "C9": 4, "C10": 4, "C11": 8, "C12": 8,
    }  # fmt: skip
    assert metadata(once)["kept"] == first["kept"]
    assert first["profile"] == cli("profile", "--checkpoint", once, "--json").document

    second = cli("prune", "-m", once, "--ratio", 0.25, "--layers", "C8,C9", "--out", twice, "--json").document
    kept = metadata(twice)["kept"]
    assert kept["C9"] == [first["kept"]["C9"][index] for index in second["kept"]["C9"]]
    original, pruned = load_file(source), load_file(twice)
    weight = "conv_block5.conv1.weight"  # C9: its inputs are the filters of C8
    np.testing.assert_array_equal(pruned[weight], original[weight][kept["C9"]][:, kept["C8"]])
    np.testing.assert_array_equal(pruned["fc1.weight"], original["fc1.weight"][:, kept["C12"]])

    text = cli("prune", "-m", source, "--ratio", 0.5, "--out", once, "--force", "--half").out
    assert "50% of the filters" in text
    assert once.stat().st_size < 0.75 * source.stat().st_size
    assert sorted(file.name for file in tmp_path.iterdir()) == ["once.safetensors", "twice.safetensors"]


@pytest.fixture
def train(cli, studio):
    """``train(out, more…)`` with a tiny network on the studio's clips."""
    data = ["--manifest", studio / "clips.csv", "--audio", studio]
    short = ["--steps", 6, "--save-every", 3, "--batch", 2, "--seconds", 0.5, "--seed", 5, "--threads", 1]

    def call(word, out, *more):
        own = ["--width", 0.03] if word == "train" else []
        return cli(word, *data, *short, *own, "--out", out, "--json", *more)

    return call


def test_train_prune_finetune_evaluate(cli, studio, train, tmp_path):
    data = ["--manifest", studio / "clips.csv", "--audio", studio, "--json"]
    whole, pruned, tuned = (tmp_path / f"{name}.safetensors" for name in ("whole", "pruned", "tuned"))
    trained = train("train", whole, "--folds", "1", "--evaluate-folds", "2").document
    assert set(trained) == {"checkpoint", "steps", "metrics"}
    assert (trained["checkpoint"], trained["steps"]) == (str(whole), 6)
    quality = trained["metrics"]["evaluation"]
    assert set(quality) == QUALITY
    assert set(quality["per_class"][0]) == {"name", "average_precision", "auc", "d_prime", "positives"}
    assert [(row["name"], row["positives"]) for row in quality["per_class"]] == [
        ("Speech", 1), ("Rain", 1), ("Siren", 1),
    ]  # fmt: skip
    assert cli("evaluate", *data, "--checkpoint", whole, "--folds", "2").document == quality
    assert cli("evaluate", *data, "-m", whole).document["clips"] == 6
    assert metadata(whole)["training"]["training"]["folds"] == "1"
    assert metadata(whole)["training"]["training"]["channel"] == "mean"
    assert [json.loads(line)["step"] for line in whole.with_suffix(".metrics.jsonl").open()] == [6]

    cut = cli("prune", "-m", whole, "--ratio", 0.5, "--out", pruned, "--json").document
    before = cli("evaluate", *data, "-m", pruned, "--folds", "2").document
    after = train("finetune", tuned, "-m", pruned, "--evaluate-folds", "2").document
    assert after["metrics"]["evaluation"] != before
    assert cli("evaluate", *data, "-m", tuned, "--folds", "2").document == after["metrics"]["evaluation"]
    assert cli("profile", "-m", tuned, "--json").document == cut["profile"]
    notes = metadata(tuned)
    assert notes["kept"] == cut["kept"]
    assert set(notes["training"]) == {
        "training", "pruning", "finetuning", "finetuned_from", "finetuned_from_sha256",
    }  # fmt: skip
    assert (
        notes["training"]["pruning"]["pruned_from_sha256"] == hashlib.sha256(whole.read_bytes()).hexdigest()
    )
    text = cli("evaluate", *data[:-1], "-m", tuned).out
    assert text.splitlines()[-1].startswith("mAP 0.")


def test_a_stopped_training_goes_on_to_the_same_weights(train, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    assert train("train", whole).code == 0
    advance = Trainer.advance

    def until_ctrl_c(trainer):
        if trainer.step == 4:
            raise KeyboardInterrupt
        return advance(trainer)

    monkeypatch.setattr(Trainer, "advance", until_ctrl_c)
    run = train("train", stopped)
    assert (run.code, run.out, run.err) == (130, "", "pannscope: stopped.\n")
    assert {file.name for file in tmp_path.glob("stopped*")} == {"stopped.state.pt"}
    monkeypatch.undo()

    assert "--resume" in train("train", stopped).complaint
    assert "with batch = 2, not 4" in train("train", stopped, "--resume", "--batch", 4).complaint
    assert train("train", stopped, "--resume").document["steps"] == 6
    first, second = load_file(whole), load_file(stopped)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_resume_never_takes_up_a_run_that_force_replaced(train, tmp_path, monkeypatch):
    out = tmp_path / "mine.safetensors"
    assert train("train", out).code == 0

    def ctrl_c(trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "advance", ctrl_c)
    assert train("train", out, "--force").code == 130  # before its first state was saved
    monkeypatch.undo()
    assert "no training state" in train("train", out, "--resume").complaint


def test_a_run_killed_between_its_last_state_and_its_checkpoint_is_finished(train, tmp_path):
    out = tmp_path / "mine.safetensors"
    assert train("train", out).code == 0
    first = load_file(out)
    out.unlink()
    out.with_name("mine.state.pt.part").write_bytes(b"what kill -9 leaves of a state that was being written")
    assert train("train", out, "--resume").document["steps"] == 6
    second = load_file(out)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert [json.loads(line)["step"] for line in out.with_suffix(".metrics.jsonl").open()] == [6]


def test_fetch_installs_what_tag_then_uses(cli, studio, tmp_path, monkeypatch):
    folder = tmp_path / "site" / "records" / "1" / "files"
    folder.mkdir(parents=True)
    file = folder / "small.pth"
    torch.manual_seed(0)
    torch.save(Cnn14(Cnn14Config((4,) * 12, 527, 16)).state_dict(), file)
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("PANNSCOPE_ZENODO", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    small = Entry(
        name="tiny", title="Tiny", architecture="cnn14", kind="official", licence="CC0", source="a test", about="None.",
        file="small.pth", url="https://zenodo.org/records/1/files/small.pth?download=1", record="1",
        size_bytes=file.stat().st_size, md5=hashlib.md5(file.read_bytes()).hexdigest(),
    )  # fmt: skip
    monkeypatch.setitem(entries._manifest(), "tiny", small)
    try:
        assert cli("tag", studio / "tone.wav", "-m", "tiny").complaint.endswith("pannscope fetch tiny\n")
        run = cli("fetch", "tiny", "--json")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert run.document == {
        "name": "tiny",
        "path": str(tmp_path / "weights" / "small.pth"),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    assert run.err == ""
    assert len(cli("tag", studio / "tone.wav", "-m", "tiny", "--json").document["tags"]) == 527
    freed = cli("remove", "tiny", "--json").document
    assert freed["name"] == "tiny"
    assert freed["freed_bytes"] > file.stat().st_size
    assert cli("tag", studio / "tone.wav", "-m", "tiny").complaint.endswith("pannscope fetch tiny\n")


@pytest.mark.parametrize("word", ["train", "finetune"])
def test_every_option_of_the_recipe_reaches_the_training(cli, studio, tmp_path, word):
    """No option is at its default, and each has a value of its own: one that went astray would show."""
    asked = {
        "steps": 2, "batch": 3, "learning_rate": 2e-4, "schedule": "cosine", "mixup_alpha": 0.7, "spec_augment": False,
        "augment_waveform": True, "average": 0.5, "seconds": 0.6, "precision": "bfloat16", "seed": 11, "save_every": 4,
    }  # fmt: skip
    given = ["--no-spec-augment", "--augment"]
    for name, value in asked.items():
        if not isinstance(value, bool):
            given += ["--" + {"mixup_alpha": "mixup"}.get(name, name.replace("_", "-")), value]
    own = ["--width", 0.03] if word == "train" else ["-m", studio / "small.safetensors"]
    out = tmp_path / "made.safetensors"
    done = cli(
        word,
        "--manifest",
        studio / "clips.csv",
        "--audio",
        studio,
        *own,
        *given,
        "--threads",
        1,
        "--out",
        out,
    )
    assert done.code == 0, done.err
    record = metadata(out)["training"]["training" if word == "train" else "finetuning"]
    assert {name: record[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("words", "augmented"),
    [
        ([], False),
        (["--augment"], True),
        (["--no-augment"], False),
        (["--disguise"], True),
        (["--augment", "--no-disguise"], False),
    ],
)
def test_disguise_is_the_old_name_of_augment(cli, train, tmp_path, words, augmented):
    out = tmp_path / "made.safetensors"
    assert train("train", out, *words).code == 0
    assert metadata(out)["training"]["training"]["augment_waveform"] is augmented
    assert "--augment" in cli("train", "--help").out
    assert "--disguise" not in cli("train", "--help").out
