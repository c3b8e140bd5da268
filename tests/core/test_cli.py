"""The command line's contract (docs/command-line.md): what every command prints, and how the commands work together."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from core.audio import load_clip
from core.checkpoints import manifest
from core.cli import main
from core.compare import compare
from core.tagging import load_tagger

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "models", "fetch", "remove", "tag", "compare", "profile", "importance", "prune", "train", "finetune", "distil", "evaluate", "export",
    "sensitivity", "bench", "tradeoff", "serve", "timeline", "embed", "batch",
}  # fmt: skip
ANSWER = {"model", "runtime", "output", "latency_ms", "windows_s", "notes", "tags"}
PROFILE = {
    "architecture", "output", "sample_rate", "seconds", "params_total", "params_trainable", "macs", "macs_network", "size_bytes", "layers", "paper",
    "widths", "classes", "embedding", "params_paper", "macs_flop_counter", "size_bytes_float16", "file_bytes",
    "file_bytes_float16", "peak_activation_bytes", "peak_at", "counted", "disagreements",
}  # fmt: skip
LAYER = {"name", "in_channels", "out_channels", "params", "macs", "activation_bytes"}


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own."""
    words = [sys.executable, "-m", "core.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)


def test_the_installed_command_is_main():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"pannscope": "pannscope.__main__:main"}


def test_help_needs_neither_torch_nor_scikit_learn():
    check = "import sys, core.cli; sys.exit(bool({'torch', 'sklearn', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_lists_every_command(cli, words):
    run = cli(*words)
    assert run.code == 0
    lines = run.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    listed = {line.split()[0] for line in lines}
    assert listed == COMMANDS
    for name in listed:
        page = cli(name, "--help")
        assert page.code == 0
        assert f"Usage: pannscope {name}" in page.out
        assert ("--json" in page.out) == (name != "serve")
    assert not [line for line in lines if "..." in line]  # no description is cut off


def test_the_document_names_every_option(cli):
    text = (ROOT / "docs" / "command-line.md").read_text()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    sections = {name: part for part in parts for name in re.findall(r"[a-z]+", part.partition("\n")[0])}
    for name in COMMANDS:
        options = set(re.findall(r"--[a-z-]+", cli(name, "--help").out)) - {"--help", "--json"}
        assert options <= set(re.findall(r"--[a-z-]+", sections[name])), name


def test_models(cli):
    listed = cli("models", "--json").document
    assert [model["name"] for model in listed] == list(manifest())
    for model in listed:
        assert set(model) == {
            "name", "architecture", "status", "params", "macs_10s", "published_mAP", "licence", "source",
            "title", "family", "about", "paper", "download_bytes", "figures_source", "mAP_source",
        }  # fmt: skip
        assert model["status"] in {"embedded", "installed", "available", "published-only"}
    text = cli("models").out
    assert all(model["name"] in text for model in listed)
    assert max(map(len, text.splitlines())) <= 80


def test_tag_in_a_process_of_its_own(studio):
    model, file = studio / "small.safetensors", studio / "tone.wav"
    done = command("tag", file, "--checkpoint", model, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert set(said) == ANSWER | {"path", "clip"}
    assert said["path"] == str(file)
    assert said["clip"] == {
        "name": "tone.wav",
        "duration_s": 1.0,
        "sample_rate_hz": 44_100,
        "channels": 2,
        "channel": "mean",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "silent": False,
        "peak_dbfs": -10.5,  # channels of 0.4 and 0.2: 20 log10(0.3)
    }
    assert (said["model"], said["runtime"]) == ("small", "winograd")
    assert {(tag["index"], tag["name"]) for tag in said["tags"]} == {
        (0, "Speech"),
        (289, "Rain"),
        (396, "Siren"),
    }
    given = [tag["probability"] for tag in said["tags"]]
    assert given == sorted(given, reverse=True)
    waveform = load_clip(file).waveform
    assert sorted(given) == pytest.approx(
        sorted(load_tagger(checkpoint=model).probabilities(waveform)), abs=1e-6
    )


def test_several_clips_are_one_line_each(cli, studio):
    names = ["tone.wav", "short.wav", "silent.wav", "long.wav"]
    run = cli(
        "tag", *(studio / name for name in names), "-m", studio / "small.safetensors", "--json", "--top", 2
    )
    assert run.code == 0
    said = [json.loads(line) for line in run.out.splitlines()]
    assert [one["clip"]["name"] for one in said] == names
    assert {len(one["tags"]) for one in said} == {2}
    assert [len(one["windows_s"]) for one in said] == [1, 1, 1, 2]
    assert said[3]["windows_s"] == [[0.0, 15.5], [15.5, 31.0]]
    notes = [f'"{one["clip"]["name"]}": {note}' for one in said for note in one["notes"]]
    assert run.err.splitlines() == notes
    assert ["padded" in notes[0], "silent" in notes[1], "2 windows" in notes[2]] == [True] * 3


def test_tag_for_people(cli, studio):
    run = cli("tag", studio / "tone.wav", studio / "noise.flac", "-m", studio / "small.safetensors", "-k", 2)
    first, second = run.out.split("\n\n")
    assert first.startswith("tone.wav (1.0 s), small, ")
    assert [len(first.splitlines()), len(second.splitlines())] == [4, 4]
    assert run.err == ""


def test_one_bad_file_does_not_stop_the_others(cli, studio):
    files = [studio / "tone.wav", studio / "nothing.wav", studio / "noise.flac"]
    run = cli("tag", *files, "-m", studio / "small.safetensors", "--json")
    assert run.code == 2
    said = [json.loads(line) for line in run.out.splitlines()]
    assert [one["path"] for one in said] == list(map(str, files))
    assert set(said[1]) == {"path", "error"}
    assert run.err.startswith('pannscope: "nothing.wav" does not exist.')
    assert run.err.count("\n") == 1


def test_a_longer_limit(cli, studio):
    words = ["tag", studio / "long.wav", "-m", studio / "small.safetensors", "--max-seconds"]
    assert "31 s" in cli(*words, 20).complaint
    assert cli(*words, 40).code == 0


def test_compare_prints_what_core_compares(cli, studio):
    first, second = studio / "small.safetensors", studio / "other.safetensors"
    said = cli(
        "compare", studio / "tone.wav", "-a", first, "-b", second, "--top", 2, "--threshold", 0.4, "--json"
    ).document
    clip = load_clip(studio / "tone.wav")
    a, b = load_tagger(checkpoint=first), load_tagger(checkpoint=second)
    expected = compare(clip, a, b, top_k=2, threshold=0.4).document()
    assert set(said) == {"clip", "baseline", "candidate", "agreement"}
    for side in ("baseline", "candidate"):
        assert set(said[side]) == ANSWER
        assert said[side].pop("latency_ms") > 0
        del expected[side]["latency_ms"]
    assert said == json.loads(json.dumps(expected))
    assert said["agreement"]["max_abs_difference"] == pytest.approx(
        np.abs(a.probabilities(clip.waveform) - b.probabilities(clip.waveform)).max()
    )
    text = cli("compare", studio / "tone.wav", "-a", first, "-b", second, "-k", 1).out
    assert f"largest difference {said['agreement']['max_abs_difference']:.2f}" in text
    assert text.startswith("tone.wav (1.0 s): other loses Speech (1.00 → 0.00)")
    assert len(text.splitlines()) == 4


def test_compare_of_three_adds_to_the_document_of_two(cli, studio):
    first, second, clip = studio / "small.safetensors", studio / "other.safetensors", studio / "tone.wav"
    words = ("compare", clip, "-a", first, "-b", second)
    two, three = (cli(*words, *also, "--json").document for also in ((), ("--also", "demo-epanns")))
    third = cli("tag", clip, "-m", "demo-epanns", "--json").document
    for each in (
        two["baseline"],
        two["candidate"],
        three["baseline"],
        three["candidate"],
        *three["others"],
        third,
    ):
        assert each.pop("latency_ms") > 0
    assert {name: three[name] for name in two} == two
    assert set(three) == set(two) | {"others", "pairwise"}
    assert three["others"] == [{name: third[name] for name in three["candidate"]}]
    sides = [(pair.pop("baseline"), pair.pop("candidate")) for pair in three["pairwise"]]
    assert sides == [("small", "other"), ("small", "demo-epanns"), ("other", "demo-epanns")]
    assert three["pairwise"][0] == two["agreement"]
    given = {tag["index"]: tag["probability"] for tag in third["tags"]}
    for pair, side in zip(three["pairwise"][1:], ("baseline", "candidate"), strict=True):
        differences = {
            tag["name"]: abs(tag["probability"] - given[tag["index"]]) for tag in two[side]["tags"]
        }
        assert pair["max_abs_difference"] == pytest.approx(max(differences.values()))
        assert pair["max_difference_tag"] == max(differences, key=differences.get)
        assert pair["shared_classes"] == len(pair["shared"]) == 3
    lines = cli(*words, "--also", "demo-epanns", "-k", 2).out.splitlines()
    assert lines[1].split() == ["tag", "small", "other", "demo-epanns"]
    (line,) = [line for line in lines if line.startswith("small and demo-epanns")]
    assert f"{three['pairwise'][1]['max_abs_difference']:.2f}" in line.split()


def test_compare_says_what_tag_says_of_the_clip(cli, studio):
    first, second = studio / "small.safetensors", studio / "other.safetensors"
    said = cli("compare", studio / "silent.wav", "-a", first, "-b", second, "--json").document
    tagged = cli("tag", studio / "silent.wav", "-m", first, "--json").document
    assert said["baseline"]["notes"] == said["candidate"]["notes"] == tagged["notes"] == ["it is silent"]
    assert said["clip"]["silent"] is tagged["clip"]["silent"] is True
    for command in (
        ("compare", studio / "silent.wav", "-a", first, "-b", second),
        ("tag", studio / "silent.wav", "-m", first),
    ):
        assert (
            "The recording is silent: there is nothing to recognise" in cli(*command).out.partition("\n")[0]
        )


@pytest.mark.parametrize("ratio", ["0.0", "0.25", "0.5", "0.75"])
def test_profile_gives_the_references_counts(cli, shared, ratio):
    golden = json.loads((shared / "facts" / "golden.json").read_text())["cnn14_by_ratio"][ratio]
    said = cli("profile", "--architecture", "cnn14", "--ratio", ratio, "--json").document
    assert set(said) == PROFILE
    assert (said["params_total"], said["params_trainable"]) == (
        golden["params_total"],
        golden["params_trainable"],
    )
    assert said["macs"] == pytest.approx(golden["thop_macs"], rel=0.005)
    assert said["paper"]["mAP"] == golden["paper_mAP"]
    assert set(said["layers"][0]) == LAYER
    assert [layer["name"] for layer in said["layers"]] == [f"C{n}" for n in range(1, 13)] + [
        "fc1",
        "fc_audioset",
    ]


def test_profile_measures_on_request(cli):
    said = cli("profile", "-m", "demo-epanns", "--seconds", 1, "--measure", "--json").document
    assert set(said) == PROFILE | {"measured"}
    latency = said["measured"]["latency"]
    assert 0 < latency["low_ms"] <= latency["lower_quartile_ms"] <= latency["median_ms"]
    assert latency["median_ms"] <= latency["upper_quartile_ms"] <= latency["high_ms"]
    text = cli("profile", "-m", "demo-epanns", "--seconds", 1, "--measure").out
    assert "for a clip of 1 s; half of 7 passes took" in text


def test_profile_counts_every_architecture(cli):
    """ResNet38 as a model of the manifest and as an architecture; the scene network's layers and classes."""
    said = cli("profile", "-m", "resnet38", "--json").document
    assert said == cli("profile", "--architecture", "resnet38", "--json").document
    assert set(said) == PROFILE
    assert (said["params_trainable"], said["macs"], said["paper"]) == (73_783_247, 24_537_148_672, None)
    assert said["macs_flop_counter"] == said["macs_network"]
    text = cli("profile", "--architecture", "dcase2021-task1a", "--measure").out
    assert "Input: 44,100 Hz. Output: scenes." in text
    assert "half of 7 passes took" in text


def test_profile_says_where_the_paper_and_the_count_part(cli):
    text = cli("profile", "--ratio", 0.25).out
    assert "Counted in its way: 40.8% and 20.8%." in text
    assert "With 25% of C7 to C12 removed the paper states 24% fewer MACs; counting gives 20.8%." in text
    assert "states" not in cli("profile", "--ratio", 0.3).out


def test_profile_of_a_model_that_is_not_installed(cli):
    plain = cli("profile", "--json").document
    assert cli("profile", "-m", "cnn14", "--json").document == plain
    assert (
        cli("profile", "-m", "epanns", "--json").document == cli("profile", "--ratio", 0.5, "--json").document
    )
    assert cli("profile", "-m", "cnn14", "--seconds", 5, "--json").document["macs"] < 0.51 * plain["macs"]
    text = cli("profile", "--ratio", 0.5).out
    assert "The paper states 70% fewer parameters, 36% fewer MACs and an mAP of 0.440." in text
    row = next(line.split() for line in text.splitlines() if line.startswith("C12"))
    assert row[:4] == [
        "C12",
        "1024",
        "1024",
        "9,439,232",
    ]  # 1024 x 1024 x 3 x 3, and two a filter for its batch norm


def test_importance(cli, studio):
    said = cli("importance", "--layer", "c9", "-m", studio / "small.safetensors", "--json").document
    assert {key: said[key] for key in ("model", "layer", "criterion")} == {
        "model": "small", "layer": "C9", "criterion": "operator-norm",
    }  # fmt: skip
    assert (len(said["scores"]), max(said["scores"])) == (8, 1.0)
    best = cli("importance", "--layer", "C9", "-m", studio / "small.safetensors").out.splitlines()[2]
    assert best.split() == [str(np.argmax(said["scores"])), "1.0000", "1", "kept"]
    by_score = sorted(range(8), key=lambda index: -said["scores"][index])
    assert [said["ranks"][index] for index in by_score] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (said["ratio"], said["kept"]) == (0.5, sorted(by_score[:4]))


def test_importance_of_all_layers_at_another_ratio(cli, studio):
    words = ("importance", "--layer", "all", "--ratio", "0.25", "-m", studio / "small.safetensors")
    said = cli(*words, "--json").document
    assert [each["layer"] for each in said["layers"]] == [f"C{number}" for number in range(1, 13)]
    (c9,) = (each for each in said["layers"] if each["layer"] == "C9")
    alone = cli(
        "importance", "--layer", "C9", "--ratio", "0.25", "-m", studio / "small.safetensors", "--json"
    )
    assert c9 == {key: alone.document[key] for key in c9}
    assert len(c9["kept"]) == 6
    assert cli(*words).out.count("removed\n") >= 12 * 2


def test_a_reader_that_leaves_early(studio):
    """``pannscope tag … | head -1``: no traceback, no complaint about a broken pipe."""
    words = [
        sys.executable,
        "-m",
        "core.cli",
        "tag",
        *[str(studio / "tone.wav")] * 3,
        "-m",
        str(studio / "small.safetensors"),
    ]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()  # before the first line is written
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_main_exits_rather_than_returns(studio):
    with pytest.raises(SystemExit, match="0"):
        main(["importance", "--layer", "C1", "-m", str(studio / "small.safetensors")])


@pytest.mark.parametrize(
    ("channel", "peak_dbfs"), [("1", -8.0), ("2", -14.0), ("loudest", -8.0), ("mean", -10.5)]
)
def test_a_channel_is_chosen(cli, studio, channel: str, peak_dbfs: float) -> None:
    """tone.wav has amplitudes of 0.4 and 0.2."""
    said = cli(
        "tag",
        studio / "tone.wav",
        "--checkpoint",
        studio / "small.safetensors",
        "--channel",
        channel,
        "--json",
    )
    assert said.document["clip"]["peak_dbfs"] == peak_dbfs


@pytest.mark.parametrize(
    ("channel", "said"),
    [("3", "has 2 channels, and channel 3"), ("0", "mean or loudest"), ("left", "mean or loudest")],
)
def test_a_channel_that_is_not_there_is_one_line(cli, studio, channel: str, said: str) -> None:
    run = cli(
        "compare",
        studio / "tone.wav",
        "-a",
        studio / "small.safetensors",
        "-b",
        studio / "other.safetensors",
        "--channel",
        channel,
    )
    assert said in run.complaint
