"""Trials of ``pannscope batch``: its speed by number of workers, and data sets of runs that are killed at random moments.

    python scripts/make_corpus.py ../shared/clips/audio CORPUS --clips 1000 --seconds 1
    export PYTHONPATH=.
    python scripts/batch_trials.py speed CORPUS --workers 1 2
    python scripts/batch_trials.py kills CORPUS --kills 20
    python scripts/batch_trials.py shards CORPUS
    python scripts/batch_trials.py ray CORPUS

``kills`` ends the main process (every second time its workers, too) with SIGKILL, and starts the same command again until it succeeds. Then every clip has to be in the
data set exactly once for each network, or among the failures exactly once, and all files have to be those of a run that nobody killed, byte for byte.
``shards`` runs all shards of one, of three and of seven, into a data set each. ``ray`` starts two Ray nodes on this machine, and compares a run on them, one of whose
workers is killed, and one whose head is killed, which is then resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyarrow import dataset

from core.audio import SUFFIXES
from core.files import files_below

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("demo-cnn14", "demo-epanns")
RAY_PORT = 9_210
RAY_TOKEN = secrets.token_hex(32)
NODE_S = 300.0
"""What a Ray node may take to start."""

LEFT_S = 120.0
"""How long a worker may live without its main process."""


def command(corpus: Path, out: Path, workers: int, more: list[str]) -> list[str]:
    """The words of a run."""
    networks = [word for name in NETWORKS for word in ("-m", name)]
    words = [sys.executable, "-m", "core.cli", "batch", str(corpus), "--out", str(out), *networks]
    return [*words, "--workers", str(workers), "--json", *more]


def environment() -> dict[str, str]:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": RAY_TOKEN}  # a cluster takes nobody without it
    return os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **token}


def run(words: list[str]) -> dict[str, float]:
    """A whole run's JSON."""
    done = subprocess.run(words, env=environment(), check=True, stdout=subprocess.PIPE)
    document: dict[str, float] = json.loads(done.stdout)
    return document


def processes_of(session: int) -> list[int]:
    """The processes of a session that are alive, from /proc."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                state, _parent, _group, its = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if int(its) == session and state != "Z":
                found.append(int(folder.name))
    return found


def killed(words: list[str], after_s: float, *, all_of_it: bool) -> int | None:
    """Start a run and kill it: its session, or None where it had ended already."""
    process = subprocess.Popen(
        words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(after_s)
        return None
    except subprocess.TimeoutExpired:
        for pid in processes_of(process.pid) if all_of_it else [process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    return process.pid


def nothing_left(sessions: list[int]) -> None:
    """Fail where a process of a killed run outlives it by more than ``LEFT_S``: it would go on without anybody to stop it."""
    deadline = time.monotonic() + LEFT_S
    while left := [pid for session in sessions for pid in processes_of(session)]:
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{len(left)} processes are left {LEFT_S:g} s after their main processes were killed"
            )
        time.sleep(0.5)


def contents(out: Path) -> dict[str, bytes]:
    """The part files."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet")}


def check(corpus: Path, out: Path) -> tuple[int, int]:
    """Every clip exactly once for each network, or once among the failures; their numbers."""
    clips = {os.path.relpath(path, corpus) for path in files_below(corpus, SUFFIXES)}
    failures = (
        dataset.dataset(out / "failures").to_table().column("clip").to_pylist()
        if (out / "failures").exists()
        else []
    )
    rows = dataset.dataset(out / "clips", partitioning="hive").to_table(columns=["clip", "model"])
    counted = Counter(zip(rows["model"].to_pylist(), rows["clip"].to_pylist(), strict=True))
    expected = Counter((name, clip) for name in NETWORKS for clip in clips - set(failures))
    assert counted == expected, (
        f"{len(expected - counted)} rows are missing, {len(counted - expected)} are too many"
    )
    assert len(failures) == len(set(failures))
    return len(clips), len(failures)


def speed(chosen: argparse.Namespace, folder: Path, more: list[str]) -> None:
    """Print clips a second for every number of workers."""
    for workers in chosen.workers:
        out = folder / f"speed-{workers}"
        load = os.getloadavg()[0]
        document = run(command(chosen.corpus, out, workers, more))
        check(chosen.corpus, out)
        size = sum(map(len, contents(out).values()))
        print(
            json.dumps(
                {"workers": workers, "load_average_before": round(load, 1), "bytes_written": size, **document}
            )
        )


def kills(chosen: argparse.Namespace, folder: Path, more: list[str]) -> None:
    """Kill runs and resume them; print what was checked."""
    whole = folder / "whole"
    seconds = run(command(chosen.corpus, whole, 2, more))["seconds"]
    number_of_clips, number_of_failures = check(chosen.corpus, whole)
    random.seed(0)
    left, data_sets = chosen.kills, 0
    while left:
        out = folder / f"killed-{data_sets}"
        sessions = []
        while left:
            words = command(chosen.corpus, out, random.choice(chosen.workers), more)
            session = killed(words, random.uniform(0.0, chosen.latest_s), all_of_it=left % 2 == 0)
            if session is None:
                break
            sessions.append(session)
            left -= 1
            print(
                f"killed {chosen.kills - left} times; {len(contents(out))} files of {len(contents(whole))}",
                flush=True,
            )
        run(command(chosen.corpus, out, 2, more))
        assert check(chosen.corpus, out) == (number_of_clips, number_of_failures)
        assert contents(out) == contents(whole), "other files than those of a run that was not killed"
        nothing_left(sessions)
        print(f"{len(sessions)} kills, then resumed: as it should be", flush=True)
        data_sets += 1
    print(
        f"{chosen.kills} kills in {data_sets} data sets of {number_of_clips} clips (a run of {seconds:.0f} s): every clip exactly once for each "
        f"network, {number_of_failures} failures once, the same bytes"
    )


@contextmanager
def ray_nodes(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Two Ray nodes of one core each on this machine: the cluster's address, and the processes of head and second node."""
    address = f"127.0.0.1:{RAY_PORT}"
    start = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--block",
        "--num-cpus=1",
        "--node-ip-address=127.0.0.1",
    ]
    head = [
        *start,
        "--head",
        f"--port={RAY_PORT}",
        "--include-dashboard=false",
        "--disable-usage-stats",
        f"--temp-dir={folder / 'ray'}",
    ]
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        for words in (head, [*start, f"--address={address}"]):
            path = folder / f"node-{len(nodes)}.log"
            with path.open("wb") as log:
                nodes.append(
                    subprocess.Popen(words, env=environment(), stdout=log, stderr=log, start_new_session=True)
                )
            deadline = time.monotonic() + NODE_S
            while b"Ray runtime started" not in path.read_bytes():
                if nodes[-1].poll() is not None or time.monotonic() > deadline:
                    raise TimeoutError(path.read_text())
                time.sleep(0.5)
        yield address, nodes
    finally:
        for node in nodes:
            end_tree(node.pid)
            node.wait()


def parents() -> dict[int, int]:
    """Every process and its parent, from /proc."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def descendants(pid: int) -> list[int]:
    """The processes below one, itself first."""
    tree, known = [pid], parents()
    for each in tree:
        tree += [child for child, parent in known.items() if parent == each]
    return tree


def end_tree(pid: int) -> None:
    """SIGKILL for a process and those below it."""
    for each in descendants(pid):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def named(pids: list[int], name: bytes) -> list[int]:
    """Those of the processes whose command line has this in it."""
    found = []
    for pid in pids:
        with suppress(OSError):
            if name in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def on_ray(chosen: argparse.Namespace, folder: Path, more: list[str]) -> None:
    """A run on two nodes whose worker is killed, and one whose head is killed; print what was checked."""
    whole = folder / "whole"
    run(command(chosen.corpus, whole, 1, more))
    check(chosen.corpus, whole)
    with ray_nodes(folder) as (address, nodes):
        for victim in ("worker", "head"):
            out = folder / f"without-{victim}"
            process = subprocess.Popen(
                command(chosen.corpus, out, 2, [*more, "--ray", address]),
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            actors: list[list[int]] = [[], []]
            while process.poll() is None and not (
                4 * len(contents(out)) > len(contents(whole)) and all(actors)
            ):
                actors = [named(descendants(node.pid), b"MapWorker") for node in nodes]
                time.sleep(0.2)
            hit = actors[1][0] if victim == "worker" else named(descendants(nodes[0].pid), b"gcs_server")[0]
            os.kill(hit, signal.SIGKILL)
            before, started = len(contents(out)), time.monotonic()
            _, said = process.communicate()
            print(
                f"{victim} killed after {before} files, actors on the nodes: {[len(pids) for pids in actors]}; "
                f"exit {process.returncode} after {time.monotonic() - started:.0f} s; {said.strip().splitlines()[-1:]}",
                flush=True,
            )
            if victim == "head":
                assert process.returncode == 2, said
                run(command(chosen.corpus, out, 1, more))
            else:
                assert process.returncode == 0, said
            check(chosen.corpus, out)
            assert contents(out) == contents(whole), "other files than those of a run without Ray"
            print("every clip exactly once, the same bytes as without Ray", flush=True)


def shards(chosen: argparse.Namespace, folder: Path, more: list[str]) -> None:
    """All shards of 1, 3 and 7, each by a command of its own; print what was checked."""
    whole = None
    for count in (1, 3, 7):
        out = folder / f"shards-{count}"
        listed = [
            run(command(chosen.corpus, out, 2, [*more, "--shard", f"{number}/{count}"]))["listed"]
            for number in range(1, count + 1)
        ]
        number_of_clips, number_of_failures = check(chosen.corpus, out)
        assert sum(listed) == number_of_clips
        table = dataset.dataset(out / "clips", partitioning="hive").to_table()
        table = table.sort_by([("model", "ascending"), ("clip", "ascending")]).combine_chunks()
        assert whole is None or table == whole, "other rows than those of one shard"
        whole = table
        print(
            f"{count} shards of {listed} clips: {len(table)} rows, {number_of_failures} failures; every clip exactly once, the same rows",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trial", choices=("speed", "kills", "shards", "ray"))
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--latest-s", type=float, default=15.0, help="a run is killed before it has run so long"
    )
    chosen, more = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="pannscope-trials-"))
    {"speed": speed, "kills": kills, "shards": shards, "ray": on_ray}[chosen.trial](chosen, folder, more)
    shutil.rmtree(folder)  # not what an assertion above was wrong about


if __name__ == "__main__":
    main()
