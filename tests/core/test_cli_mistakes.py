"""A user's mistake ends in exit code 2 and one line that says what to do: no traceback, nothing on stdout, no file left behind."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from core.checkpoints import entry, status

ROOT = Path(__file__).resolve().parents[2]


def wav(samples: bytes, *, rate: int = 32_000, claimed: int | None = None) -> bytes:
    """A mono 16-bit WAV whose header may claim what it does not hold."""
    size = len(samples) if claimed is None else claimed
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + size)
        + b"WAVEfmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", size)
        + samples
    )


def not_a_number(path: Path) -> None:
    samples = np.zeros(16_000, np.float32)
    samples[8_000] = np.nan
    soundfile.write(path, samples, 32_000, subtype="FLOAT")


SECOND = bytes(64_000)
RECORDINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "does not exist"),
    "text": (lambda path: path.write_text("Dear diary, no sound today.\n" * 9), "is not in a format"),
    "empty": (Path.touch, "is empty"),
    "too long": (lambda path: path.write_bytes(wav(SECOND * 4)), "up to 3 s"),
    "endless header": (
        lambda path: path.write_bytes(wav(SECOND, claimed=2_000_000_000)),
        "declares 31250.00 s",
    ),
    "cut short": (lambda path: path.write_bytes(wav(SECOND, claimed=128_000)), "is truncated"),
    "zero frames": (lambda path: path.write_bytes(wav(b"")), "holds no samples"),
    "not a number": (not_a_number, "from 0.25 s on"),
    "absurd rate": (
        lambda path: path.write_bytes(wav(SECOND, rate=1_000_000)),
        "sample rate of 1,000,000 Hz",
    ),
}


@pytest.fixture
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    make, expected = RECORDINGS[request.param]
    path = tmp_path / "clip.wav"
    make(path)
    return path, expected


@pytest.mark.parametrize("recording", RECORDINGS, indirect=True)
def test_bad_recordings(cli, studio, recording):
    path, expected = recording
    model = studio / "small.safetensors"
    said = cli("tag", path, "-m", model, "--json", "--max-seconds", 3).complaint
    assert said.startswith('pannscope: "clip.wav" ')
    assert expected in said
    assert cli("compare", path, "-a", model, "-b", model, "--max-seconds", 3).complaint == said


WORDS: dict[str, str] = {
    "tagg clip.wav": "No such command 'tagg'. Did you mean 'tag'? See: pannscope --help",
    "tag": "Missing argument 'FILE'. See: pannscope tag --help",
    "tag {tone} --modle cnn14": "No such option: --modle (Possible options: --model). See: pannscope tag --help",
    "tag {tone} -m {small} --top many": "--top takes a whole number; got 'many'. See: pannscope tag --help",
    "tag {tone} -m {small} --top 0": "--top is a number of tags, 1 or more; got 0.",
    "tag {tone} -m {small} --max-seconds nan": "A limit of nan s accepts no recording.",
    "tag {tone} -m {small} --max-seconds soon": "--max-seconds takes a number; got 'soon'.",
    "tag {tone} -m {small} --checkpoint {small}": "give one of them",
    "tag {tone} -m {small} --architecture cnn99": "holds a cnn14, not a cnn99",
    "tag {tone} -m {small} --ratio 0.5": "widths are read from the file",
    "tag {tone} -m epans": "Unknown checkpoint 'epans'; known are demo-cnn14, demo-epanns, cnn6",
    "tag {tone} -m ast-ensemble-3": "known by its published figures only",
    "tag {tone} -m ./none.safetensors": "There is no file none.safetensors",
    "compare {tone} -a {small} -b {stranger}": "small and stranger have no class in common",
    "compare {tone} -a {small} -b {small} --threshold 1": "between 0 and 1; got 1.",
    "compare {tone} -a {small} -b {small} --top -1": "1 or more; got -1.",
    "compare {tone} --also a --also b --also c": "2 to 4 networks are compared at a time; got 5.",
    "compare {tone} -a {small} -b {small} --also {stranger}": "small and stranger have no class in common",
    "compare {studio} -a {small} -b {small}": "is a folder. Give the path of a recording",
    "profile --seconds 0.1": "count for at least 0.31 s",
    "profile -m demo-cnn14 --measure --seconds 601": "too long to be measured; measure with up to 600 s",
    "profile --seconds inf": "A clip of inf s cannot be counted",
    "profile --ratio 1": "a share from 0 up to, but not including, 1; got 1.",
    "profile --ratio 0.5 --layers C13": "Cannot read the layers 'C13'; give all, or a layer, a range or a list of them from C1 to C12",
    "profile --architecture vgg": "Unknown architecture 'vgg'; Pannscope can build cnn14",
    "profile --seconds 1e15": "A clip of 1e+15 s cannot be counted",
    "profile -m cnn14 --architecture vgg": "cnn14 is a cnn14, not a vgg",
    "profile -m resnet38 --ratio 0.5 --layers layer9": "or a part of the network, such as conv_block_after1.",
    "profile --architecture dcase2021-task1a --seconds 9": "takes clips of 10 s and no others; got 9 s",
    "importance -m {small} --layer C0": "Cannot read the layers 'C0'; give all, or a layer, a range or a list of them from C1 to C12",
    "importance -m {small} --layer C1 --ratio 1": "A pruning ratio is a share from 0 up to, but not including, 1; got 1.",
    "importance -m {small} --layer C1 --criterion fame": "Unknown criterion 'fame'; known: operator-norm",
    "fetch resnet99": "Unknown checkpoint 'resnet99'",
    "fetch erann-2-5": "there is no file to fetch",
    "remove resnet99": "Unknown checkpoint 'resnet99'",
    "remove runs/mine.pth": "runs/mine.pth is a file, and a model's name is accepted here",
    "fetch mine.safetensors": "mine.safetensors is a file, and a model's name is accepted here",
    "remove demo-cnn14": "is part of Pannscope and stays",
    "remove ast": "is not installed",
    "prune -m {small} --ratio 0.5": "Missing option '--out'. See: pannscope prune --help",
    "{prune}": "Say how much is to be removed: --ratio SHARE",
    "{prune} --criterion l1": "Only --criterion similarity needs none of them.",
    "{prune} --ratio 0.5 --ratios C7=0.5": "--ratio and --ratios each say how much is to be removed; give one",
    "{prune} --budget macs=0.5 --tolerance 1": "--budget and --tolerance each say how much",
    "{prune} --ratio nan": "a share from 0 up to, but not including, 1; got nan.",
    "{prune} --ratio 0.5 --round-to 0": "a multiple of a whole number, at least 1 (no rounding); got 0.",
    "{prune} --ratios C7=1": "a share from 0 up to, but not including, 1; got 1.",
    "{prune} --ratios C13=0.5": "Cannot read the layers 'C13'",
    "{prune} --ratios C7": "Cannot read the ratios 'C7'",
    "{prune} --ratios C7=0.5 --layers C7": "--layers cannot be given here: it is set with --ratios",
    "{prune} --plan none.json": "There is no plan none.json",
    "{prune} --plan {clips}": "This is not a pruning plan: it cannot be read as JSON",
    "{prune} --plan {small}": "This checkpoint was not made with a plan",
    "{prune} --plan {tone}": "not UTF-8 text",
    "{prune} --plan {other_plan}": "The plan is for a network of widths 8, 8, 8, 8",
    "{prune} --plan {other_plan} --criterion l1": "--criterion cannot be given here: it is the plan's",
    "{prune} --plan {other_plan} --round-to 4": "--round-to cannot be given here: it is the plan's",
    "{prune} --criterion similarity --round-to 4": "--round-to cannot be given here: it is left to similarity",
    "{prune} --budget macs=0.5": "--budget needs clips; give --clips FILE or FOLDER",
    "{prune} --tolerance 0.1": "--tolerance needs clips; give --clips FILE or FOLDER",
    "{prune} --ratio 0.5 --repair": "--repair needs clips; give --clips FILE or FOLDER",
    "{prune} --budget half --clips {tone}": "Cannot read the budget 'half'",
    "{prune} --budget watts=0.5 --clips {tone}": "A budget is one of params, macs, time; got 'watts'.",
    "{prune} --budget macs=nan --clips {tone}": "above 0 and below 1; got nan.",
    "{prune} --budget macs=0.5 --clips {tone}": "A budget of 50% of the macs cannot be met: with 90% of all layers removed, ",
    "{prune} --tolerance -1 --clips {tone}": "A tolerated loss is a number, at least 0; got -1.",
    "{prune} --tolerance 1 --clips none.wav": "does not exist",
    "{prune} --tolerance 1 --clips {empty}": "contains no recordings",
    "{prune} --tolerance 1 --clips {tone} --manifest {clips} --audio {studio}": "Both --clips and --manifest were given",
    "{prune} --tolerance 1 --manifest {clips}": "and the folder of its recordings, --audio; give both.",
    "{prune} --ratio 0.5 --save-plan new.txt": "'new.txt' has to end in .json: name it new.json.",
    "{prune} --ratio 0.5 --save-plan no/new.json": "The folder no does not exist; make it first.",
    "sensitivity -m {small}": "sensitivity needs clips; give --clips FILE or FOLDER",
    "sensitivity -m {small} --clips {tone} --criterion fame": "Unknown criterion 'fame'",
    "sensitivity -m {small} --clips {tone} --layers C0": "Cannot read the layers 'C0'",
    "prune -m {small} --out new.safetensors --ratio -0.5": "a share from 0 up to",
    "prune -m {small} --out new.safetensors --ratio half": "--ratio takes a number; got 'half'.",
    "prune -m {small} --out new.safetensors --ratio 0.5 --layers C9-C7": "Cannot read the layers 'C9-C7'",
    "prune -m {small} --out new.safetensors --ratio 0.5 --criterion fame": "Unknown criterion 'fame'",
    "prune -m {small} --out new.pth --ratio 0.5": "'new.pth' has to end in .safetensors: name it new.safetensors.",
    "prune -m {small} --out no/new.safetensors --ratio 0.5": "The folder no does not exist; make it first.",
    "evaluate -m {small} --audio {studio} --manifest {studio}/none.csv": "cannot be read (",
    "evaluate -m {stranger} --audio {studio} --manifest {clips}": "labels no clip with a class of this model",
    "evaluate -m {small} --audio {studio} --manifest {clips} --folds 9": "has no fold '9'; its folds are 1, 2.",
    "evaluate -m {small} --audio {studio} --manifest {clips} --channel 3": "has 2 channels, and channel 3",
    "{train} --channel left": "mean or loudest",
    "{train} --audio no": "'tone.wav' is not a file in no.",
    "{train} --manifest {tone}": "cannot be read (",
    "{train} --folds 3": "has no fold '3'; its folds are 1, 2.",
    "{train} --folds= ": "has no fold ''; its folds are 1, 2.",
    "{train} --evaluate-folds 3": "has no fold '3'; its folds are 1, 2.",
    "{train} --width 0": "above 0 and at most 1; got 0.",
    "{train} --steps 0": "steps = 0; it must be at least 1.",
    "{train} --batch 1": "batch = 1; it must be at least 2.",
    "{train} --learning-rate nan": "learning rate = nan; it must be above 0",
    "{train} --schedule zigzag": "schedule = 'zigzag'; it must be 'constant' or 'cosine'.",
    "{train} --precision int8": "precision = 'int8'; it must be 'float32' or 'bfloat16'.",
    "{train} --mixup inf": "mixup = inf; it must be 0 (off) to 100.",
    "{train} --average 1": "average = 1.0; it must be 0 (off) to below 1.",
    "{train} --seed -1": "seed = -1; it must be a whole number from 0",
    "{train} --seconds 0.2": "windows of 0.2 s; give 0.31 to 600 s.",
    "{train} --seconds nan": "windows of nan s; give 0.31 to 600 s.",
    "{train} --threads 0": "a number of CPU threads, 1 to 256; got 0.",
    "{train} --resume": "There is no training state new.state.pt to resume from; start without --resume.",
    "finetune -m {stranger} --manifest {clips} --audio {studio} --steps 1 --out new.safetensors": "labels no clip",
}


@pytest.mark.parametrize("words", WORDS)
def test_bad_words(cli, studio, tmp_path, monkeypatch, words):
    """Every one of them is found before anything is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    names = {name: studio / f"{name}.safetensors" for name in ("small", "stranger")}
    names |= {"studio": studio, "tone": studio / "tone.wav", "clips": studio / "clips.csv"}
    train = f"train --manifest {names['clips']} --audio {studio} --width 0.03 --steps 1 --batch 2 --out new.safetensors"
    prune = f"prune -m {names['small']} --out new.safetensors"
    names |= {"other_plan": studio / "other-plan.json", "empty": studio / "empty"}
    said = cli(*words.format(**names, train=train, prune=prune).split()).complaint
    assert WORDS[words] in said
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_name_is_corrected(cli, studio):
    assert cli("tag", studio / "tone.wav", "-m", "demo-cnn41").complaint.endswith(
        "Did you mean demo-cnn14?\n"
    )


MANIFESTS = {
    "file,labels\na.wav,Dog\n": "has the columns file, labels; needed are 'filename' and 'labels'",
    "filename,labels\n": "lists no clips",
    "": "has the columns none",
    "filename,labels\nnone.wav,Dog\n": "clips.csv, line 2: 'none.wav' is not a file in",
    "filename,labels\ntone.wav,Dgo\n": "clips.csv, line 2: 'Dgo' is not an AudioSet class.",
    "filename,labels\ntone.wav,\n": "labels no clip",
}


@pytest.mark.parametrize("text", MANIFESTS)
def test_bad_manifests(cli, studio, tmp_path, text):
    manifest = tmp_path / "clips.csv"
    manifest.write_text(text)
    words = ["--manifest", manifest, "--audio", studio]
    assert MANIFESTS[text] in cli("evaluate", *words, "-m", studio / "small.safetensors").complaint
    out = tmp_path / "new.safetensors"
    assert MANIFESTS[text] in cli("train", *words, "--steps", 1, "--out", out).complaint
    assert list(tmp_path.iterdir()) == [manifest]


@pytest.mark.parametrize("option", ["--folds", "--evaluate-folds"])
def test_a_fold_without_labels_is_found_before_training(cli, studio, tmp_path, option):
    (tmp_path / "clips.csv").write_text("filename,labels,fold\ntone.wav,Siren,1\nnoise.flac,,2\n")
    data = ["--manifest", tmp_path / "clips.csv", "--audio", studio]
    out = tmp_path / "new.safetensors"
    said = cli("train", *data, "--width", 0.03, "--steps", 1, "--batch", 2, "--out", out, option, 2).complaint
    assert "No clip of fold 2 is labelled with a class of this model" in said
    assert list(tmp_path.iterdir()) == [tmp_path / "clips.csv"]


def test_a_bad_recording_in_a_manifest_is_named(cli, studio, tmp_path):
    (tmp_path / "bad.wav").write_bytes(wav(b""))
    (tmp_path / "clips.csv").write_text("filename,labels\nbad.wav,Rain\n")
    words = ["--manifest", tmp_path / "clips.csv", "--audio", tmp_path]
    assert (
        '"bad.wav" holds no samples' in cli("evaluate", *words, "-m", studio / "small.safetensors").complaint
    )


class Payload:
    """What a malicious checkpoint does when it is unpickled without care."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


CHECKPOINTS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "web page": (lambda path, own: path.write_text("<!DOCTYPE html><title>Log in</title>"), "is a web page"),
    "empty": (lambda path, own: path.touch(), "is empty"),
    "folder": (lambda path, own: path.mkdir(), "is a folder"),
    "cut short": (lambda path, own: path.write_bytes(own.read_bytes()[:-1000]), "truncated"),
    "foreign": (
        lambda path, own: torch.save({"weight": torch.zeros(3)}, path),
        "none of them has a name that any of these has",
    ),
    "malicious": (lambda path, own: torch.save({"model": Payload()}, path), "nothing was executed"),
    "malicious pickle": (lambda path, own: path.write_bytes(pickle.dumps(Payload())), "nothing was executed"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_bad_checkpoints(cli, studio, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    make, expected = CHECKPOINTS[kind]
    make(path, studio / "small.safetensors")
    assert expected in cli("tag", studio / "tone.wav", "--checkpoint", path).complaint
    assert (
        expected in cli("prune", "--checkpoint", path, "--ratio", 0.5, "--out", "new.safetensors").complaint
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", ["prune --ratio 0.5", "train --steps 1", "finetune --steps 1"])
def test_an_existing_file_stays(cli, studio, tmp_path, command):
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"precious")
    model = [] if command.startswith("train") else ["-m", studio / "small.safetensors"]
    data = [] if command.startswith("prune") else ["--manifest", studio / "clips.csv", "--audio", studio]
    assert "exists already" in cli(*command.split(), *model, *data, "--out", out).complaint
    assert out.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [out]


def test_a_fetch_that_fails_is_one_line(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("PANNSCOPE_ZENODO", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("PANNSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("core.checkpoints.download.BACKOFF_S", 0.0)
    assert "cannot be reached" in cli("fetch", "cnn14").complaint
    assert status(entry("cnn14")) == "available"


def limited(words: list[object], kilobytes: int) -> subprocess.CompletedProcess[str]:
    """The command in a shell that lets no file grow beyond ``kilobytes``: a disk that fills up."""
    script = f'ulimit -f {kilobytes}; exec "$@"'
    given = ["bash", "-c", script, "bash", sys.executable, "-m", "core.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(given, capture_output=True, text=True, env=environment, timeout=120)


@pytest.mark.parametrize(
    "command", ["prune --ratio 0.1", "train --steps 1 --batch 2 --seconds 0.5 --width 0.03"]
)
def test_a_full_disk_leaves_no_half_written_file(studio, tmp_path, command):
    out = tmp_path / "new.safetensors"
    pruning = command.startswith("prune")
    data = (
        ["-m", studio / "small.safetensors"]
        if pruning
        else ["--manifest", studio / "clips.csv", "--audio", studio]
    )
    done = limited([*command.split(), *data, "--out", out], 4)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("pannscope: ")
    assert done.stderr.count("\n") == 1
    assert not [file.name for file in tmp_path.iterdir() if file.suffix != ".jsonl"]
    assert all(file.stat().st_size for file in tmp_path.iterdir())


def test_a_device_that_takes_no_output(studio):
    words = ["tag", studio / "tone.wav", "-m", studio / "small.safetensors"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "core.cli", *map(str, words)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "No space left on device" in done.stderr
