"""Trials of ``pannscope batch`` with an object store on this machine: moto's S3 server, of whose requests some fail, as source and as target.

    pip install "moto[server]" s3fs
    python scripts/make_corpus.py ../shared/clips/audio CORPUS --clips 200 --seconds 1
    PYTHONPATH=. python scripts/batch_s3.py CORPUS

Rows and failures have to be those of a run on the folder: with every fifth request failing in one of five ways (``FAULTS``), after ten SIGKILLs (then the same files as
without any, too), with an object that cannot be read at all, which is one more failure; and when the bucket is deleted during a run, it has to stop in one line.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
from moto.server import DomainDispatcherApplication, create_backend_app
from pyarrow import Table, dataset
from werkzeug.serving import make_server

from core.audio import SUFFIXES
from core.files import files_below
from scripts.batch_trials import environment, killed

SHARE = 0.2
"""Of requests that fail."""

KILLS, LATEST_S = 10, 60.0
"""How often a run is killed, and before it has run how long."""

FAULTS = {"500": 30, "503": 30, "refused": 20, "cut off": 15, "unanswered": 3, "stalled": 2}
"""Kinds of failures and their weights: two answers; the connection reset before the request is done, in the middle of the answer, and once it is done; and no answer."""

STALLED_S = 20.0
"""More than the 15 s that s3fs waits for an answer."""


class Unreliable:
    """A WSGI application whose requests fail at random, and always for ``lost`` keys."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.share = 0.0
        self.lost: tuple[str, ...] = ()
        self.answers: Counter[str] = Counter()

    def __call__(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        fault = ""
        if request["REQUEST_METHOD"] == "GET" and request["PATH_INFO"].endswith(self.lost or ("\0",)):
            fault = "503"
        elif random.random() < self.share:
            (fault,) = random.choices(list(FAULTS), list(FAULTS.values()))
        self.answers[fault or "answered"] += 1
        if fault in ("500", "503"):
            request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
            start(f"{fault} Failed", [("Content-Type", "application/xml")])
            return [
                b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            ]
        if fault == "stalled":
            time.sleep(STALLED_S)
        if fault not in ("refused", "cut off", "unanswered"):
            return self.application(request, start)
        answer = [] if fault == "refused" else list(self.application(request, start))
        return self._reset(request["werkzeug.socket"], b"".join(answer) if fault == "cut off" else b"")

    @staticmethod
    def _reset(connection: socket.socket, answer: bytes) -> Iterator[bytes]:
        """Half of an answer, and then a TCP reset."""
        if answer:
            yield answer[: len(answer) // 2]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ours, theirs = socket.socketpair()
        theirs.close()
        os.dup2(ours.fileno(), connection.fileno())  # closes it, and leaves the server one that has ended
        ours.close()
        raise ConnectionResetError


def command(source: str, out: str) -> list[str]:
    words = [
        "batch",
        source,
        "--out",
        out,
        "-m",
        "demo-epanns",
        "--workers",
        "2",
        "--part-clips",
        "10",
        "--json",
    ]
    return [sys.executable, "-m", "core.cli", *words]


def tables(out: str) -> tuple[Table, list[str]]:
    """Rows without their paths, by clip, and the clips of the failures."""
    system, path = fsspec.core.url_to_fs(out)
    system.invalidate_cache()
    rows = (
        dataset.dataset(f"{path}/clips", filesystem=system, partitioning="hive")
        .to_table()
        .drop(["path"])
        .sort_by("clip")
    )
    failures = dataset.dataset(f"{path}/failures", filesystem=system).to_table()["clip"].to_pylist()
    return rows, sorted(failures)


def contents(system: Any, out: str) -> dict[str, bytes]:
    """The part files."""
    system.invalidate_cache()
    return {
        path.removeprefix(out): system.cat_file(path)
        for path in system.find(out)
        if path.endswith(".parquet")
    }


def main() -> None:
    corpus, local = Path(sys.argv[1]).resolve(), tempfile.mkdtemp(prefix="pannscope-s3-")
    clips = [os.path.relpath(path, corpus) for path in files_below(corpus, SUFFIXES)]
    subprocess.run(command(str(corpus), local), env=environment(), check=True, stdout=subprocess.DEVNULL)
    expected, broken = tables(local)
    store = Unreliable(DomainDispatcherApplication(create_backend_app))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not every request
    server = make_server("127.0.0.1", 0, store, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "trial",
        "AWS_SECRET_ACCESS_KEY": "trial",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    system = fsspec.filesystem("s3")
    for bucket in ("corpus", "rows"):
        system.mkdir(bucket)
    for clip in clips:
        system.put_file(str(corpus / clip), f"corpus/clips/{clip}")

    def compared(title: str, out: str, lost: list[str]) -> None:
        store.share = 0.0
        rows, failures = tables(out)
        kept = expected.filter([clip not in lost for clip in expected["clip"].to_pylist()])
        assert rows == kept, f"{title}: other rows"
        assert failures == sorted([*broken, *lost]), f"{title}: other failures"
        print(
            f"{title}: {len(rows)} rows and {len(failures)} failures, as of the folder; requests {dict(store.answers)}",
            flush=True,
        )
        store.answers.clear()

    store.share = SHARE
    subprocess.run(
        command("s3://corpus/clips", "s3://rows/a"), env=environment(), check=True, stdout=subprocess.DEVNULL
    )
    compared(f"{SHARE:.0%} of requests failed", "s3://rows/a", [])

    words = command("s3://corpus/clips", "s3://rows/b")
    kills, store.share = 0, SHARE
    while kills < KILLS and killed(words, random.uniform(0, LATEST_S), all_of_it=kills % 2 == 0):
        kills, store.share = kills + 1, 0.0
        print(f"killed {kills} times; {len(contents(system, 'rows/b'))} part files", flush=True)
        store.share = SHARE
    subprocess.run(words, env=environment(), check=True, stdout=subprocess.DEVNULL)
    compared(f"killed {kills} times and resumed", "s3://rows/b", [])
    assert contents(system, "rows/b") == contents(system, "rows/a"), "other files than without a kill"

    store.lost = (expected["clip"][0].as_py(),)
    subprocess.run(
        command("s3://corpus/clips", "s3://rows/c"), env=environment(), check=True, stdout=subprocess.DEVNULL
    )
    compared("one object cannot be read", "s3://rows/c", list(store.lost))

    store.lost = ()
    run = subprocess.Popen(
        command("s3://corpus/clips", "s3://rows/d"), env=environment(), stderr=subprocess.PIPE, text=True
    )
    while not system.exists("rows/d/dataset.json"):
        system.invalidate_cache()
        time.sleep(0.2)
    system.rm("corpus", recursive=True)
    _, said = run.communicate()
    print(f"bucket deleted during a run: exit {run.returncode}: {said.strip()}")
    assert run.returncode == 2
    server.shutdown()


if __name__ == "__main__":
    main()
