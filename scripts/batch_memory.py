"""Memory of ``pannscope batch`` over time: resident megabytes of the main process, its workers and their decoders, every ten seconds.

    export PYTHONPATH=.
    python scripts/batch_memory.py CORPUS --minutes 60 --copies 40

The corpus is that of ``scripts/make_corpus.py``, or any folder of recordings; it is run over as often as ``--copies`` says, by hard links, which have to be on its file
system (``--folder``). The run is killed when the time is over. Printed are one line a minute, and for each kind of process the medians of the second and of the last quarter
of the time and the highest value.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from core.audio import SUFFIXES
from core.files import files_below
from scripts.batch_trials import command, environment, named, processes_of

EVERY_S = 10.0
KINDS = {"main": b"core.cli", "workers": b"spawn_main", "decoders": b"core.audio.worker"}


def resident_mb(pid: int) -> float:
    """A process's resident memory, from /proc; none of one that has ended."""
    with suppress(OSError):
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, help="for links and rows; by default the system's for temporary files"
    )
    chosen, more = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="pannscope-memory-", dir=chosen.folder))
    source, out = folder / "source", folder / "rows"
    for path in files_below(chosen.corpus, SUFFIXES):
        for copy in range(chosen.copies):
            target = source / str(copy) / os.path.relpath(path, chosen.corpus)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    words = command(source, out, chosen.workers, more)
    run = subprocess.Popen(words, env=environment(), start_new_session=True)
    started, samples = time.monotonic(), []
    while run.poll() is None and time.monotonic() - started < 60 * chosen.minutes:
        time.sleep(EVERY_S)
        alive = processes_of(run.pid)
        samples.append(
            {kind: round(sum(map(resident_mb, named(alive, word)))) for kind, word in KINDS.items()}
        )
        if len(samples) % 6 == 0:
            print(f"{time.monotonic() - started:.0f} s: {samples[-1]}", flush=True)
    minutes = (time.monotonic() - started) / 60
    for pid in processes_of(run.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.wait()
    quarter = len(samples) // 4
    for kind in KINDS:
        megabytes = [sample[kind] for sample in samples]
        print(
            json.dumps(
                {
                    "kind": kind,
                    "minutes": round(minutes, 1),
                    "second_quarter_mb": statistics.median(megabytes[quarter : 2 * quarter]),
                    "last_quarter_mb": statistics.median(megabytes[-quarter:]),
                    "highest_mb": max(megabytes),
                }
            )
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
