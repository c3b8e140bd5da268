"""``pannscope distil`` on the command line: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json

import pytest

from core.checkpoints import load_checkpoint

SHORT = ("--steps", 2, "--batch", 2, "--seconds", 0.5, "--balance", 0, "--threads", 1)


@pytest.fixture
def distil(cli, studio):
    """``distil(out, more…)`` with the studio's recordings."""
    return lambda out, *more: cli("distil", "--audio", studio, "--out", out, *SHORT, *more)


def test_a_student_from_another_network(distil, studio, tmp_path):
    out = tmp_path / "student.safetensors"
    said = distil(
        out, "--teacher", studio / "small.safetensors", "--student", studio / "stranger.safetensors", "--new-outputs",
        "--held-out", 0.3, "--half", "--json",
    )  # fmt: skip
    document = said.document
    assert set(document) == {
        "checkpoint", "steps", "classes", "recordings", "held_out", "unreadable", "silent", "metrics",
    }  # fmt: skip
    assert (document["steps"], document["classes"], document["silent"]) == (2, 3, ["silent.wav"])
    assert document["recordings"] + document["held_out"] == 4
    assert "1 of 5 recordings are silent: silent.wav" in said.err
    assert set(document["metrics"]["agreement"]) >= {"first_in_three", "first_five", "difference"}
    line = json.loads(out.with_suffix(".metrics.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 2
    assert line["difference"] == document["metrics"]["agreement"]["difference"]
    info = load_checkpoint(out).info
    assert info.classes.names == ("Speech", "Rain", "Siren")
    notes = info.training
    assert (notes["distilled_from"], notes["distillation"]["teacher"], notes["distillation"]["steps"]) == (
        "stranger",
        "small",
        2,
    )
    again = distil(out, "--teacher", studio / "small.safetensors")
    assert "exists already" in again.complaint


def test_a_new_network_from_a_manifest(distil, studio, tmp_path):
    out = tmp_path / "new.safetensors"
    said = distil(
        out, "--teacher", studio / "small.safetensors", "--width", 0.03, "--manifest", studio / "clips.csv", "--folds", "1",
        "--labels-weight", 0.5, "--held-out", 0, "--mixtures", "light",
    )  # fmt: skip
    assert said.code == 0, said.err
    mixtures = load_checkpoint(out).info.training["distillation"]["mixtures"]
    assert (mixtures["noise"], mixtures["reverb"], mixtures["recordings"][2]) == (0, 0, 0)
    assert f"{out}: 2 steps on 3 recordings" in said.out
    assert load_checkpoint(out).info.classes.names == ("Speech", "Rain", "Siren")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--student", "stranger.safetensors"), "have none in common"),
        (("--audio", "empty"), "There is no recording in"),
        (("--audio", "none"), "is not a folder"),
        (("--new-outputs",), "goes with --student"),
        (("--folds", "1"), "are those of a manifest"),
        (("--device", "tpu"), "--device is cpu or cuda"),
        (("--mixtures", "none"), "--mixtures is one of full, light; got 'none'"),
        (("--steps", 0), "steps = 0"),
        (("--manifest", "clips.csv", "--manifest", "clips.csv"), "one --manifest for each --audio"),
        (("--architecture", "cnn15", "--width", 1), "Unknown architecture"),
    ],
)
def test_mistakes(cli, studio, tmp_path, monkeypatch, more, complaint):
    monkeypatch.chdir(studio)
    words = [
        "distil",
        "--teacher",
        "small.safetensors",
        "--out",
        tmp_path / "x.safetensors",
        *SHORT,
        "--width",
        0.03,
    ]
    audio = [] if "--audio" in more else ["--audio", "."]
    run = cli(*words, *audio, *more)
    assert complaint in run.complaint
    assert not list(tmp_path.iterdir())
