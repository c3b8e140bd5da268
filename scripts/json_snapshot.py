"""Write down what the commands print as JSON, and compare two such records: for changes that must not change a number.

    python scripts/json_snapshot.py record CLIPS OUT.json
    python scripts/json_snapshot.py compare OLD.json NEW.json

CLIPS is a folder with ``meta.csv`` and ``audio/`` (see ``scripts/train-from-labels``). The commands are those of the interpreter's own
environment. Times, paths and file sizes that depend on names are left out; every other figure is compared, and the largest difference of
each command is printed. What engines promise is 1e-5 for a probability; counts, scores and kept filters have to be equal.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLIPS = 10
MODELS = ("demo-cnn14", "demo-epanns")
LEFT_OUT = {"latency_ms", "seconds", "path", "files", "measured", "pruned_from", "at", "notes", "says"}
"""Keys whose values are times, names of temporary files, or prose."""

RENAMED = {"heard": "evaluated"}
"""Keys of a plan's origin that older records have under another name."""


def commands(clips: Path, scratch: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of every call, in an order in which each finds the files that it needs."""
    with open(clips / "meta.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["filename"] for row in rows[:: max(1, len(rows) // CLIPS)]][:CLIPS]
    paths = [str(clips / "audio" / name) for name in names]
    for model in MODELS:
        for runtime in ("torch", "auto"):
            yield f"tag {model} {runtime}", ["tag", *paths, "-m", model, "--runtime", runtime]
        yield f"profile {model}", ["profile", "-m", model]
        yield (
            f"evaluate {model}",
            [
                "evaluate",
                "-m",
                model,
                "--manifest",
                str(clips / "meta.csv"),
                "--audio",
                str(clips / "audio"),
                "--folds",
                "1",
            ],
        )
    for path in paths:
        yield f"compare {Path(path).name}", ["compare", path, "--runtime", "torch"]
    for ratio in ("0.25", "0.5", "0.75"):
        yield f"profile cnn14 {ratio}", ["profile", "-m", "cnn14", "--ratio", ratio]
    for criterion in ("operator-norm", "l1", "geometric-median", "similarity", "random"):
        yield (
            f"importance {criterion}",
            ["importance", "-m", MODELS[0], "--layer", "C9", "--criterion", criterion],
        )
    on = [word for path in paths[:4] for word in ("--clips", path)]
    half = str(scratch / "half.safetensors")
    ways = {
        "ratio": ["--ratio", "0.5", "--out", half],
        "ratios": [
            "--ratios",
            "C2=0.25,C7-C12=0.75",
            "--criterion",
            "l1",
            "--out",
            str(scratch / "own.safetensors"),
        ],
        "repair": ["--ratio", "0.5", "--repair", *on, "--out", str(scratch / "repaired.safetensors")],
        "budget": ["--budget", "macs=0.8", *on, "--out", str(scratch / "budget.safetensors")],
        "similarity": ["--criterion", "similarity", "--out", str(scratch / "similar.safetensors")],
    }
    for name, words in ways.items():
        yield f"prune {name}", ["prune", "-m", MODELS[0], *words]
    yield (
        "tag repaired",
        ["tag", *paths, "--checkpoint", str(scratch / "repaired.safetensors"), "--runtime", "torch"],
    )
    for form, ending in (
        ("onnx", "onnx"),
        ("safetensors", "safetensors"),
        ("panns", "pt"),
        ("ncnn", "param"),
        ("int8", "onnx"),
        ("bundle", "zip"),
    ):
        out = scratch / f"exported-{form}.{ending}"
        yield f"export {form}", ["export", "--checkpoint", half, "--format", form, *on, "--out", str(out)]


def record(clips: Path, out: Path) -> None:
    """Run every command and keep its documents."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, words in commands(clips.resolve(), Path(scratch)):
            run = subprocess.run(
                [sys.executable, "-m", "core.cli", *words, "--json"],
                capture_output=True,
                text=True,
                check=False,
            )
            if run.returncode:
                sys.exit(f"{name}: exit code {run.returncode}: {run.stderr.strip()}")
            try:
                found[name] = json.loads(run.stdout)
            except ValueError:
                found[name] = [json.loads(line) for line in run.stdout.splitlines()]
            sys.stderr.write(f"{name}\n")
    out.write_text(json.dumps(found), encoding="utf-8")


def compare(old: Any, new: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Every place where two documents differ, and by how much; infinite where they are not both numbers."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old:
            if key not in LEFT_OUT:
                yield from compare(old[key], new.get(key, new.get(RENAMED.get(key))), f"{where}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from compare(left, right, f"{where}[{place}]")
    elif isinstance(old, float) and isinstance(new, float):
        if old != new:
            yield where, abs(old - new)
    elif old != new:
        yield where, math.inf


def main() -> None:
    """The two uses above."""
    match sys.argv[1:]:
        case ["record", clips, out]:
            record(Path(clips), Path(out))
        case ["compare", first, second]:
            old, new = (json.loads(Path(name).read_text(encoding="utf-8")) for name in (first, second))
            worst = 0.0
            for name in old:
                differences = list(compare(old[name], new.get(name)))
                if name.startswith("export"):  # a file's size depends on the prose in it
                    differences = [each for each in differences if each[0] != ".size_bytes"]
                largest = max((size for _, size in differences), default=0.0)
                worst = max(worst, largest)
                text = (
                    f"{len(differences)} figures differ, by at most {largest:.2g}" if differences else "equal"
                )
                sys.stdout.write(f"{name:<32} {text}\n")
                for where, size in differences[:3] if largest > 1e-5 else ():
                    sys.stdout.write(f"    {where}: {size:.2g}\n")
            sys.exit(int(worst > 1e-5))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
