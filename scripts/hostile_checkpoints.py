"""Checkpoints made to attack, each loaded in a process of its own: python scripts/hostile_checkpoints.py [--quick] [--json]

Of every file: whether it was refused, the message, how much memory the process grew, how long it took, and whether any code of the file
ran (every payload would leave a file behind). The files are made by ``hostile_kinds.py`` and ``hostile_files.py``. Exit code 1 where a file has
another outcome than expected, or crosses ``MOST_MB`` or ``MOST_S``. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.hostile_files import archives, files, safetensors, weights  # noqa: E402 (after the path is set)
from scripts.hostile_kinds import CANARY, Kind, pickles  # noqa: E402 (after the path is set)

MOST_MB, MOST_S = 450, 10.0
"""What a file may cost; the worst measured are in docs/reliability.md."""

_LIMIT_S = 60


def kinds() -> Iterator[Kind]:
    """Every kind; the first is a whole file."""
    yield from (*pickles(), *archives(), *safetensors(), *weights(), *files())


def measure_all(quick: bool) -> list[dict[str, Any]]:
    """Make and load every kind's file."""
    words = [sys.executable, __file__, "--child", *(["--quick"] if quick else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="pannscope-hostile-") as folder:
        done = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def _children(quick: bool) -> list[dict[str, Any]]:
    """One fork for each file, so that what one does to its process is nothing to the others."""
    from core.checkpoints import load_checkpoint

    rows = []
    for kind in kinds():
        if quick and kind.slow:
            continue
        folder = Path(re.sub(r"\W+", "-", kind.name))
        folder.mkdir()
        try:
            path = kind.make(folder)
            load_checkpoint(path) if kind.name == "a whole file" else None  # what loading imports
            rows.append({"name": kind.name, "expected": kind.expected} | _forked(kind, path))
        finally:
            subprocess.run(["rm", "-rf", str(folder)], check=True)
    return rows


def _forked(kind: Kind, path: Path) -> dict[str, Any]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(_LIMIT_S)
        os.write(write, json.dumps(_load(kind, path)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _pid, status = os.waitpid(pid, 0)
    result = json.loads(answer) if answer else {"outcome": f"died of {os.waitstatus_to_exitcode(status)}"}
    return result | {"ran_code": any(Path().rglob(CANARY)), "file_mb": _megabytes(path)}


def _load(kind: Kind, path: Path) -> dict[str, Any]:
    from core.checkpoints import load_checkpoint
    from core.checkpoints.weights import WeightFile
    from core.errors import CheckpointError

    if kind.meanwhile is not None:  # once the file was checked, and before its weights are read
        tensors, meanwhile = WeightFile.tensors, kind.meanwhile
        WeightFile.tensors = lambda file, claims: (meanwhile(path), tensors(file, claims))[1]  # type: ignore[method-assign, assignment]
    Path("/proc/self/clear_refs").write_text("5")
    before, began = _status("VmRSS"), time.perf_counter()
    try:
        model = load_checkpoint(path).model
        outcome = "loaded"
        if kind.afterwards is not None:
            kept = {name: value.clone() for name, value in model.state_dict().items()}
            kind.afterwards(path)
            same = all(bool((kept[name] == value).all()) for name, value in model.state_dict().items())
            outcome = "loaded" if same else "its weights changed"
    except CheckpointError as error:
        outcome = str(error)
    except Exception as error:
        outcome = f"ESCAPED {type(error).__name__}: {error}"
    seconds = time.perf_counter() - began
    return {"outcome": outcome[:400], "mb": round(_status("VmHWM") - before, 1), "seconds": round(seconds, 3)}


def _status(key: str) -> float:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return 1024 * int(found[1]) / 1e6


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 3) if path.is_file() else 0.0


def as_expected(row: dict[str, Any]) -> bool:
    """Whether a file was refused by name and in one line, or loaded where it may be, within the bounds and without running anything."""
    outcome, expected = row["outcome"], row["expected"]
    right = outcome == "loaded" if expected == "loaded" else expected in outcome and "\n" not in outcome
    alive = not outcome.startswith(("ESCAPED", "died"))
    return bool(right and alive and not row["ran_code"] and row["mb"] < MOST_MB and row["seconds"] < MOST_S)


def main() -> None:
    """Measure, print, and end with 1 where something held not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the files of over a megabyte")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_children(options.quick)))
        return
    rows = measure_all(options.quick)
    wrong = [row for row in rows if not as_expected(row)]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in sorted(rows, key=lambda row: row.get("mb", 0)):
            print(
                f"{row['name']:44} {row.get('mb', 0):7.1f} MB {row.get('seconds', 0):7.3f} s  {row['outcome'][:110]}"
            )
        refused = sum(row["expected"] != "loaded" for row in rows)
        print(f"{len(rows)} kinds, {refused} to be refused; not as expected: {len(wrong)}")
        for row in wrong:
            print(f"  {row}")
    raise SystemExit(int(bool(wrong)))


if __name__ == "__main__":
    main()
