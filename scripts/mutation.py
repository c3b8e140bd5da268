#!/usr/bin/env python3
"""Mutation testing: change one operator, constant, call or guard of a module at a time, and see whether its tests notice.

    scripts/mutation.py                             # 20 mutants of every module of core
    scripts/mutation.py core/compare.py core/pruning --mutants 100
    scripts/mutation.py --report                    # what runs/mutation.jsonl holds

Mutants are drawn with a fixed seed from all that scripts/mutants.py makes. Each runs in a copy of the tree, one a worker, on the test
files that import its module, and then on those that import what imports it. The run continues where an earlier one ended: mutants in
the results file are not run again while their module and their line stay the same. Survivors that nothing could notice are listed in
scripts/equivalent_mutants.toml, with the reason. Needs what the tests need, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.import_graph import imports, modules  # noqa: E402 (after the path is set)
from scripts.mutants import Mutant, mutants_of  # noqa: E402

EQUIVALENT = ROOT / "scripts" / "equivalent_mutants.toml"
NOT_COPIED = (".git", ".venv", "__pycache__", "runs", "weights", ".*_cache", "*.egg-info", "node_modules")
LONGEST_TESTS_S = 600  # a test file that takes longer than this is not used


def main() -> int:
    """Run or report; 1 if a mutant survived that is not listed as equivalent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=["core"], help="modules or folders to mutate (core)")
    parser.add_argument("--mutants", type=int, default=20, help="at most so many a module (20)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, help="start no mutant after so many minutes")
    parser.add_argument("--test-files", type=int, default=6, help="at most so many test files a mutant (6)")
    parser.add_argument("--test-seconds", type=float, default=60, help="tests of a mutant, in all (60)")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutation.jsonl")
    parser.add_argument(
        "--report", action="store_true", help="print what the results file holds; run nothing"
    )
    options = parser.parse_args()
    if not options.report:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        run(draw(options.paths, options.mutants, options.seed), options)
    return report(read(options.out))


def draw(paths: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """At most ``count`` mutants of every module, in turns, so that a run that is stopped early covers all modules."""
    files = sorted(
        {f for p in paths for f in ([ROOT / p] if p.endswith(".py") else (ROOT / p).rglob("*.py"))}
    )
    drawn = []
    for file in files:
        path = file.relative_to(ROOT).as_posix()
        found = mutants_of(path, file.read_text(encoding="utf-8"))
        chosen = random.Random(f"{seed} {path}").sample(found, min(count, len(found)))
        drawn += list(enumerate(chosen))
    return [mutant for _, mutant in sorted(drawn, key=lambda item: item[0])]


# Which tests


def tests_by_module() -> dict[str, list[str]]:
    """The test files of every module's path: those that import it, then those that import a module that imports it."""
    packages = ("core", "dashboard", "benchmarks", "scripts", "pannscope")
    known = modules(ROOT, packages)
    targets: dict[str, set[str]] = defaultdict(set)
    for found in imports(ROOT, (*packages, "tests")):
        targets[found.module].add(found.target)
    # a test that imports a package's face may use all that the face imports
    faces = {name: targets[name] for name, path in known.items() if path.name == "__init__.py"}
    direct: dict[str, set[str]] = defaultdict(set)
    breadth: dict[str, int] = {}  # a test file that imports little is about what it imports
    for name, path in modules(ROOT, ("tests",)).items():
        if path.name.startswith("test_") and "browser" not in path.parts:
            breadth[path.relative_to(ROOT).as_posix()] = len(targets[name])
            for target in targets[name]:
                for module in {target, *faces.get(target, ())}:
                    direct[module].add(path.relative_to(ROOT).as_posix())
            if "cli(" in path.read_text(encoding="utf-8"):
                for module in known:
                    if module.startswith("core.cli."):
                        direct[module].add(path.relative_to(ROOT).as_posix())
    users: dict[str, set[str]] = defaultdict(set)
    for module, taken in targets.items():
        for target in taken:
            users[target].add(module)
    chosen = {}
    for module, path in known.items():
        words = set(module.split("."))
        ordered = sorted(
            direct[module],
            key=lambda test: (-len(words & set(Path(test).stem.split("_"))), breadth[test], test),
        )
        reached = {module}
        for step in range(4):  # the users, and their users in turn where those have no tests either
            reached |= set().union(*(users[each] for each in reached))
            if step == 0 or not ordered:
                ordered += sorted(set().union(*(direct[user] for user in reached)) - set(ordered))
        chosen[path.relative_to(ROOT).as_posix()] = ordered
    return chosen


# Running


def run(drawn: list[Mutant], options: argparse.Namespace) -> None:
    """Run the mutants that the results file does not have yet, and append to it."""
    done = {result["id"] for result in read(options.out)}
    drawn = [mutant for mutant in drawn if mutant.id not in done]
    tests = {path: files[: options.test_files] for path, files in tests_by_module().items()}
    started = time.monotonic()
    wanted = sorted({test for mutant in drawn for test in tests.get(mutant.path, [])})
    with copies(min(options.workers, max(1, len(drawn)))) as free, ThreadPoolExecutor(free.qsize()) as pool:
        say(f"{len(drawn)} mutants on {free.qsize()} workers; {len(wanted)} test files, first as they are")
        seconds = dict(zip(wanted, pool.map(lambda test: baseline(free, test), wanted), strict=True))
        for test, taken in seconds.items():
            if taken is None:
                say(f"not used, since it fails or has nothing to run here: {test}")
        lock, results = threading.Lock(), Counter[str]()

        def work(mutant: Mutant) -> None:
            if options.minutes and time.monotonic() - started > 60 * options.minutes:
                return
            chosen: list[str] = []
            total = 0.0
            for test in tests.get(mutant.path, []):
                taken = seconds[test]
                if taken is not None and (not chosen or total + taken <= options.test_seconds):
                    chosen.append(test)
                    total += taken
            outcome = trial(free, mutant, chosen, 20 + 4 * total) if chosen else "untested"
            with lock, options.out.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps(asdict(mutant) | {"id": mutant.id, "outcome": outcome, "tests": chosen}) + "\n"
                )
                results[outcome] += 1
                if results.total() % 20 == 0:
                    say(
                        f"{results.total()} of {len(drawn)}: {dict(results)}, {time.monotonic() - started:.0f} s"
                    )

        list(pool.map(work, drawn))


def baseline(free: queue.Queue[Path], test: str) -> float | None:
    """Seconds that a test file takes; None where it fails or all of it is skipped."""
    tree = free.get()
    started = time.monotonic()
    try:
        code, output = pytest(tree, [test], LONGEST_TESTS_S)
    finally:
        free.put(tree)
    return time.monotonic() - started if code == 0 and " passed" in output else None


def trial(free: queue.Queue[Path], mutant: Mutant, tests: list[str], limit_s: float) -> str:
    """``killed`` if a test fails, ``timeout`` if the tests take far longer than without the mutant, else ``survived``."""
    tree = free.get()
    original = (ROOT / mutant.path).read_bytes()
    try:
        (tree / mutant.path).write_bytes(mutant.apply(original))
        code, _ = pytest(tree, tests, limit_s)
    finally:
        (tree / mutant.path).write_bytes(original)
        free.put(tree)
    return {0: "survived", None: "timeout"}.get(code, "killed")


def pytest(tree: Path, tests: list[str], limit_s: float) -> tuple[int | None, str]:
    """The exit status and output of the tests in a copy of the tree; None after ``limit_s`` seconds."""
    environment = (
        os.environ
        | {
            "PYTHONPATH": str(tree),
            "PYTHONDONTWRITEBYTECODE": "1",  # a mutant of the same size within the same second would be taken for the one before
            "PANNSCOPE_SHARED": os.environ.get("PANNSCOPE_SHARED") or str(ROOT.parent / "shared"),
            "OMP_NUM_THREADS": "1",
        }
    )
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None, ""
    return process.returncode, output


@contextmanager
def copies(count: int) -> Iterator[queue.Queue[Path]]:
    """Copies of the tree, free for use; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        free: queue.Queue[Path] = queue.Queue()
        for number in range(count):
            tree = Path(folder) / str(number) / "tree"
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
            (tree / "checkpoints" / "weights").mkdir(exist_ok=True)
            free.put(tree)
        yield free


# Reporting


def read(path: Path) -> list[dict[str, Any]]:
    """The results so far; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def report(results: list[dict[str, Any]]) -> int:
    """Print the survivors that are not listed as equivalent, and how many of each module's mutants were killed."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    equivalent = {(entry["path"], entry["before"], entry["after"]) for entry in listed}
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for result in sorted(results, key=lambda result: (result["path"], result["line"])):
        outcome = result["outcome"]
        if outcome == "survived" and (result["path"], result["before"], result["after"]) in equivalent:
            outcome = "equivalent"
        table[result["path"]][outcome] += 1
        if outcome in ("survived", "untested"):
            print(
                f"{result['path']}:{result['line']} {outcome}\n  - {result['before']}\n  + {result['after']}"
            )
    print(f"\n{'module':44} mutants  killed  equivalent  survived  untested")
    for path, counts in [*table.items(), ("all", sum(table.values(), Counter()))]:
        killed = counts["killed"] + counts["timeout"]
        rest = f"{killed:8}{counts['equivalent']:12}{counts['survived']:10}{counts['untested']:10}"
        print(f"{path:44}{counts.total():8}{rest}")
    return int(any(counts["survived"] for counts in table.values()))


def say(message: str) -> None:
    """A line of progress."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
