"""What the commands print for people, from figures put in by hand; the printed text is worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.cli.evaluation import print_quality
from core.cli.pruning import _print_pruned
from core.cli.tagging import _number
from core.pruning.plan import PruningPlan
from core.training.metrics import ClassQuality, Quality

ROOT = Path(__file__).resolve().parents[2]


def test_the_quality_of_a_network(capsys):
    """An AUC of 0.75 is a d' of 0.95; where every clip is positive there is neither."""
    rows = (ClassQuality("Speech", 0.5, 0.75, 3), ClassQuality("Rain", 0.25, None, 7))
    print_quality(Quality(7, 0.123456, 0.75, 0.953873, rows))
    title, header, speech, rain, means = capsys.readouterr().out.splitlines()
    assert (title, header.split()) == ("7 clips", ["class", "average", "precision", "AUC", "d'", "positives"])
    assert speech.split() == ["Speech", "0.500", "0.750", "0.95", "3"]
    assert rain.split() == ["Rain", "0.250", "-", "-", "7"]
    assert means == "mAP 0.1235, AUC 0.7500, d' 0.95, over 2 classes."
    print_quality(Quality(7, 0.25, None, None, rows[1:]))
    assert capsys.readouterr().out.endswith("mAP 0.2500, AUC -, d' -, over 1 class.\n")
    print_quality(Quality(7, 0.25, None, None, rows[1:], accuracy=0.714286))
    assert capsys.readouterr().out.endswith("\naccuracy 0.7143, mAP 0.2500, AUC -, d' -, over 1 class.\n")


@pytest.mark.parametrize(
    ("origin", "lost"),
    [
        ({}, []),
        (
            {"loss": "divergence", "loss_measured": 0.0123456, "repaired": True},
            ["lost on the clips, after repair on the other half of them: 0.0123 nats of divergence"],
        ),
        (
            {"loss": "mAP", "loss_measured": 0.25, "repaired": False},
            ["lost on the clips, before any repair: 0.25 of mAP"],
        ),
    ],
)
def test_what_was_pruned(capsys, origin, lost):
    made = PruningPlan(
        "cnn14", (8,) * 12, "l1", {"C12": 0.5, "C11": 0.25}, {"C12": (0, 1, 2, 3)}, origin=origin
    )
    before, after = (
        SimpleNamespace(params_trainable=params, macs=macs)
        for params, macs in ((80_753_615, 21_158_377_728), (40_376_808, 15_868_783_296))
    )
    _print_pruned(Path("new.safetensors"), made, before, after)
    assert capsys.readouterr().out.splitlines() == [
        "new.safetensors: C12 50%, C11 25% of the filters removed by l1.",
        "parameters: 80.8 M -> 40.4 M (-50.0 %)",
        "MACs, 10 s: 21.2 G -> 15.9 G (-25.0 %)",
        *lost,
    ]


def test_a_tag_that_one_network_does_not_have():
    assert (_number(None), _number(0.126), _number(-0.126, "+.2f")) == ("-", "0.13", "-0.13")


@pytest.mark.parametrize("word", ["train", "finetune"])
def test_the_defaults_of_the_recipe_are_the_documented_ones(cli, word):
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    section = text.partition("## train, finetune")[2].partition("\n## ")[0]
    documented = {}
    for options, defaults in re.findall(r"^\| (`--.*?) \| (.*?) \|", section, re.MULTILINE):
        names = re.findall(r"--[a-z-]+", options)
        documented |= dict(zip(names, defaults.replace("`", "").split(", "), strict=False))
    help_text = " ".join(cli(word, "--help").out.split())
    shown = dict(re.findall(r"(--[a-z-]+) [A-Z]+ (?:(?! --).)*?\[default: ([^\]]+)\]", help_text))
    shown.pop("--width", None)
    shown.pop("--architecture", None)
    assert set(shown) == {
        "--batch", "--channel", "--learning-rate", "--schedule", "--mixup", "--average", "--seconds", "--precision", "--seed",
        "--save-every",
    }  # fmt: skip
    assert shown == {name: documented[name] for name in shown}
