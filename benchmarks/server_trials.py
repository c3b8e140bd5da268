"""Trials of a running server: python benchmarks/server_trials.py [--only flood network signals visitors] [--write]

Starts the real server in the ways that there are, and treats it as the internet does: floods of uploads, handshakes from foreign pages,
signals under load, twelve visitors at once. Prints a table of what was done and what happened; ``--write`` puts it into
docs/reliability.md. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import http.client
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from websockets.exceptions import WebSocketException

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.app_client import Visitor  # noqa: E402 (after the path is set)
from benchmarks.trial_server import STARTS, TrialServer  # noqa: E402

Row = tuple[str, str]
"""What was done, and what happened."""

MEMORY = 10**9
"""Bytes that a server takes for the machine's memory: those of a small host."""

FILE_BYTES = 49_000_000
TIMES = 10
PAIR = ("demo-cnn14", "demo-epanns")
PAGE = ROOT / "docs" / "reliability.md"
MARKS = ("<!-- trials: written by benchmarks/server_trials.py -->", "<!-- end: trials -->")


def flood() -> Iterator[Row]:
    """Ten uploads by one visitor, then fifty by fifty, at a server that has 1 GB."""
    noise = random.Random(0).randbytes(FILE_BYTES)
    for number, visitors in ((10, 1), (50, 50)):
        with TrialServer("pannscope serve", memory=MEMORY) as server, server.watched() as seen:
            crowd = [Visitor(server.address, *PAIR) for _ in range(visitors)]
            crowd[0].open_page()
            offers = [
                (visitor, visitor.upload_urls("flood.wav").upload_url)
                for visitor in crowd * (number // visitors)
            ]
            with ThreadPoolExecutor(10) as pool:
                sent = [pool.submit(visitor.offer, url, "flood.wav", noise) for visitor, url in offers]
                statuses = Counter(each.result() for each in sent)
            health = server.get("/_stcore/health")
            page = Visitor(server.address, *PAIR).open_page()
            for visitor in crowd:
                visitor.close()
            yield (
                f"{number} uploads of 49 MB at once by {visitors} visitor{'s'[: visitors > 1]}, 1 GB of memory",
                f"{statuses[204]} taken, {statuses[413]} refused, "
                f"{number - statuses[204] - statuses[413]} cut off; at most {seen.peak_mb:.0f} MB resident; "
                f"slowest answer meanwhile {seen.slowest_s:.1f} s, health then {health}, the next visitor's page has {page.charts} charts",
            )


def network() -> Iterator[Row]:
    """Starts, visits and foreign handshakes, with every connection that the process opens recorded."""
    for start in STARTS:
        with _recording_proxy() as (proxy, requests), TrialServer(start, proxy=proxy) as server:
            visitor = Visitor(server.address, *PAIR)
            visitor.open_page()
            visitor.close()
            slowest, statuses = 0.0, Counter[int]()
            for number in range(20):
                began = time.perf_counter()
                statuses[server.handshake(f"https://page{number}.example")] += 1
                slowest = max(slowest, time.perf_counter() - began)
            left = [*server.outside(), *requests]
            yield (
                f"`{start}`: start, a visit, 20 handshakes with a foreign Origin",
                f"{statuses[403]} refused with 403, the slowest after {1000 * slowest:.0f} ms; "
                f"{len(left)} look-ups and connections beyond this machine{': ' + ', '.join(left) if left else ''}",
            )


def signals() -> Iterator[Row]:
    """SIGTERM and SIGINT while the server computes, receives and downloads."""
    chance = random.Random(1)
    for start in STARTS:
        for number in (signal.SIGTERM, signal.SIGINT):
            codes, seconds, remains, complaints = Counter[int](), [], [], []
            for _ in range(TIMES):
                with _slow_mirror() as mirror, TrialServer(start, mirror=mirror) as server:
                    with _load(server):
                        time.sleep(chance.uniform(0.2, 5.0))
                        began = time.perf_counter()
                        codes[server.signal(number)] += 1
                        seconds.append(time.perf_counter() - began)
                    remains += server.drafts()
                    complaints += server.complaints()
            yield (
                f"`{start}`, {number.name} {TIMES} times under load",
                f"exit codes {', '.join(f'{code} ({times} times)' for code, times in codes.items())}; "
                f"{min(seconds):.1f} to {max(seconds):.1f} s; {len(remains)} half-written files; "
                f"{len(complaints)} aborts or tracebacks{': ' + complaints[0] if complaints else ''}",
            )


def visitors() -> Iterator[Row]:
    """Twelve sessions with the embedded pair, each with a recording of its own."""
    from benchmarks.app_memory import recording

    with TrialServer("pannscope serve", memory=MEMORY) as server, server.watched() as seen:
        Visitor(server.address, *PAIR).open_page()  # which waits for the warm-up
        idle = server.resident_mb()
        crowd = [Visitor(server.address, *PAIR) for _ in range(12)]

        def visit(index: int) -> int:
            shown = crowd[index].open_page()
            data = recording(10, 32_000, 1, "WAV", "PCM_16", seed=index)
            return crowd[index].upload(shown.uploader, "own.wav", data).charts

        with ThreadPoolExecutor(12) as pool:
            charts = list(pool.map(visit, range(12)))
        yield (
            "12 visitors at once, each with 10 s of audio, embedded pair, 1 GB of memory",
            f"all {sum(count > 0 for count in charts)} pages drawn; {idle:.0f} MB resident before, "
            f"at most {seen.peak_mb:.0f} MB, {server.resident_mb():.0f} MB afterwards",
        )


TRIALS: dict[str, Callable[[], Iterator[Row]]] = {
    "flood": flood,
    "network": network,
    "signals": signals,
    "visitors": visitors,
}


@contextmanager
def _load(server: TrialServer) -> Iterator[None]:
    """Two visitors, a measurement, an upload that never ends and a download that nobody reads, beside the start's own work."""
    stop = threading.Event()

    def compute(page: str) -> None:
        with suppress(OSError, RuntimeError, StopIteration, AssertionError, WebSocketException):
            visitor = Visitor(server.address, *PAIR)
            shown = visitor.open_page(page)
            for label, button in shown.buttons.items():
                if label.startswith(("Measure", "Find")):
                    visitor.press(button)
            if shown.player:
                connection = http.client.HTTPConnection(server.address, timeout=60)
                connection.request("GET", shown.player)
            visitor.begin_upload(FILE_BYTES)
            stop.wait(60)

    threads = [threading.Thread(target=compute, args=(page,), daemon=True) for page in ("", "prune")]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


@contextmanager
def _served(handle: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                handle(self)

        do_CONNECT = do_POST = do_HEAD = do_GET  # noqa: N815 (the names that http.server calls)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        listener.server_close()


@contextmanager
def _recording_proxy() -> Iterator[tuple[str, list[str]]]:
    """An HTTP proxy that notes every request and answers none; its address and the requests."""
    requests: list[str] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        requests.append(f"{handler.command} {handler.path}")
        handler.send_error(503)

    with _served(note) as address:
        yield address, requests


@contextmanager
def _slow_mirror() -> Iterator[str]:
    """A mirror of Zenodo that sends a little of the file every tenth of a second."""

    def dribble(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "327428481")
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(bytes(65536))
            time.sleep(0.1)

    with _served(dribble) as address:
        yield address


def main() -> None:
    """Run the trials and print their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS), metavar="TRIAL")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    lines = ["| what was done | what happened |", "|---|---|"]
    for name in options.only:
        for row in TRIALS[name]():
            lines.append(f"| {row[0]} | {row[1]} |")
            print(lines[-1], flush=True)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        before, rest = text.split(MARKS[0])
        PAGE.write_text("\n".join([before + MARKS[0], *lines, MARKS[1] + rest.split(MARKS[1])[1]]), "utf-8")


if __name__ == "__main__":
    main()
