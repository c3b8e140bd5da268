"""Resident memory of the running app: python benchmarks/app_memory.py [--models cnn14 epanns] [--profiles fast small] [--json]

Starts the real server once for every profile and every long recording, visits its Compare page, and reads /proc (Linux only): after the
start, with both models on a clip of 10 s, with twelve more visitors at once, with a recording of 10 minutes, and the most there was at any
time in each step. Official models that are not installed are replaced by random weights of their shape, as large and as fast.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core import checkpoints  # noqa: E402 (after the path is set)
from core.runtime import process  # noqa: E402 (after the path is set)
from core.tagging import default_pair  # noqa: E402

LONG_SECONDS = 600
CROWD = 12
_SHORT_SECONDS = 10
_START_S = 120.0

LONG = {
    "wav-32k-mono": (32_000, 1, "WAV", "PCM_16"),
    "ogg-48k-stereo": (48_000, 2, "OGG", "VORBIS"),
    "flac-48k-stereo": (48_000, 2, "FLAC", "PCM_16"),
}
"""Recordings of ten minutes: rate, channels, container, codec. All are under the 50 MB that may be uploaded."""


class Server:
    """The app in a process of its own, watched through /proc."""

    def __init__(self, profile: str, weights: Path | None, memory: int) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = os.environ | {"PANNSCOPE_PROFILE": profile}
        if weights is not None:
            environment["PANNSCOPE_WEIGHTS"] = str(weights)
        words = [sys.executable, __file__, "--serve", self.address.partition(":")[2], "--memory", str(memory)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by end)
        self._process = subprocess.Popen(words, env=environment, cwd=ROOT, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                urllib.request.urlopen(f"http://{self.address}/_stcore/health", timeout=5).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"The app did not start:\n{self.log()}") from None
                time.sleep(0.2)

    def resident_mb(self) -> float:
        """Resident now."""
        return self._status("VmRSS")

    def peak_mb(self) -> float:
        """The most that was resident since ``forget_peak``."""
        return self._status("VmHWM")

    def children_mb(self) -> float:
        """In the processes that the app has started, decoders; what several share counts as shares."""
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/children")
        children = [child for thread in threads for child in thread.read_text().split()]
        return sum(status_mb(int(child), "Pss", "smaps_rollup") for child in children)

    def forget_peak(self) -> None:
        """Begin a new step."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def log(self) -> str:
        """The output of the app."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def end(self) -> None:
        """Stop the app."""
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def _status(self, key: str) -> float:
        return status_mb(self._process.pid, key)


def status_mb(process_id: int, key: str, file: str = "status") -> float:
    """A line of a process's /proc/…/status, such as VmRSS, or of another such file, in MB."""
    text = Path(f"/proc/{process_id}/{file}").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found, text
    return 1024 * int(found[1]) / 1e6


def measure(
    profile: str, pair: tuple[str, str], long: str, weights: Path | None, memory: int
) -> dict[str, Any]:
    """One server's life: figures in MB of 1,000,000 bytes."""
    from benchmarks.app_client import Visitor

    server = Server(profile, weights, memory)
    try:
        figures: dict[str, Any] = {"profile": profile, "models": list(pair), "long": long}
        figures["start"] = server.resident_mb()
        visitor = Visitor(server.address, *pair)
        opened = visitor.open_page()
        rate, channels, container, codec = LONG[long]
        short = visitor.upload(
            opened.uploader, "short.wav", recording(_SHORT_SECONDS, 32_000, 1, "WAV", "PCM_16")
        )
        visitor.play(short.player)
        time.sleep(1.0)
        figures["loading_peak"], figures["short"] = server.peak_mb(), server.resident_mb()
        server.forget_peak()
        again = visitor.upload(
            short.uploader, "again.wav", recording(_SHORT_SECONDS, 32_000, 1, "WAV", "PCM_16", seed=1)
        )
        visitor.play(again.player)
        figures["short_peak"] = server.peak_mb()
        server.forget_peak()
        _crowd(server.address, pair)
        figures["crowd_peak"], figures["crowd_after"] = server.peak_mb(), server.resident_mb()
        data = recording(LONG_SECONDS, rate, channels, container, codec)
        figures["long_file"] = len(data) / 1e6
        server.forget_peak()
        started = time.perf_counter()
        page = visitor.upload(again.uploader, f"long.{container.lower()}", data)
        figures["long_s"] = time.perf_counter() - started
        figures["player"] = visitor.play(page.player) / 1e6
        figures["long_peak"], figures["long_after"] = server.peak_mb(), server.resident_mb()
        figures["adds"] = figures["long_peak"] - figures["short_peak"]
        figures["page"] = page.headings[-1:] + page.alerts
        visitor.close()
        if "Traceback" in server.log():
            raise SystemExit(f"The app failed:\n{server.log()}")
        return {key: round(value, 1) if isinstance(value, float) else value for key, value in figures.items()}
    finally:
        server.end()


def _crowd(address: str, pair: tuple[str, str]) -> None:
    """Twelve more visitors at once, each with a recording of its own."""
    from benchmarks.app_client import Visitor

    def visit(index: int) -> None:
        visitor = Visitor(address, *pair)
        data = recording(_SHORT_SECONDS, 32_000, 1, "WAV", "PCM_16", seed=100 + index)
        shown = visitor.upload(visitor.open_page().uploader, "own.wav", data)
        assert shown.charts, "a visitor saw no result"
        visitor.close()

    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(visit, range(CROWD)))


def recording(seconds: int, rate: int, channels: int, container: str, codec: str, *, seed: int = 0) -> bytes:
    """Synthesised sound with pauses, as recordings have them, so that codecs can compress it."""
    noise = np.random.default_rng(seed)
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, channels, format=container, subtype=codec) as file:
        for second in range(seconds):
            time_s = second + np.arange(rate) / rate
            tone = 0.2 * np.sin(2 * np.pi * (300 + 200 * np.sin(0.7 * time_s)) * time_s)
            hiss = 10 ** noise.uniform(-4.5, -2.5) * noise.standard_normal((rate, channels))
            file.write(tone[:, None] * (second % 7 > 2) + hiss)
    return out.getvalue()


def stand_ins(pair: tuple[str, str], folder: Path) -> Path | None:
    """Random checkpoints for the official models of ``pair`` that are not installed; None where none is needed."""
    missing = [entry for entry in map(checkpoints.entry, pair) if checkpoints.status(entry) == "available"]
    if not missing:
        return None
    from core.benchmark.weights import network_named

    for entry in missing:
        model, classes, _ = network_named(entry.name)
        draft = folder / "draft.safetensors"
        checkpoints.save_checkpoint(draft, model, classes=classes, name=entry.name)
        draft.rename(folder / checkpoints.path_of(entry).name)
    return folder


def take_for(memory: int) -> None:
    """Make this process take the machine for one with so many bytes of memory, of which it alone uses some."""
    read = Path.read_text

    def limited(path: Path, *arguments: Any, **named: Any) -> str:
        if str(path) != "/proc/meminfo":
            return read(path, *arguments, **named)
        resident = 4096 * int(read(Path("/proc/self/statm")).split()[1])
        return f"MemTotal: {memory // 1024} kB\nMemAvailable: {max(0, memory - resident) // 1024} kB\n"

    Path.read_text = limited  # type: ignore[method-assign, assignment]


def serve(port: int) -> None:
    """The app's own entry point; with stand-ins, whose sizes are not the published ones, every file counts as complete."""
    from streamlit.web.cli import main as streamlit

    if "PANNSCOPE_WEIGHTS" in os.environ:
        from core.checkpoints import entries

        entries._complete = lambda checkpoint: checkpoints.path_of(checkpoint).is_file()
    sys.argv = ["streamlit", "run", str(ROOT / "dashboard" / "app.py"), f"--server.port={port}"]
    sys.argv += ["--server.headless=true", "--server.address=127.0.0.1", "--server.fileWatcherType=none"]
    streamlit()


def main() -> None:
    """Measure every profile with every long recording that was requested."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs=2, default=list(default_pair()), metavar=("BASELINE", "CANDIDATE"))
    parser.add_argument("--profiles", nargs="+", default=["fast", "small"], choices=["fast", "small"])
    parser.add_argument("--long", nargs="+", default=list(LONG), choices=list(LONG))
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    parser.add_argument(
        "--memory", type=int, default=0, metavar="MB", help="memory that the app takes the machine to have"
    )
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        if arguments.memory:
            take_for(1_000_000 * arguments.memory)
        serve(arguments.serve)
        return
    process.set_passive_wait_policy()
    pair = (arguments.models[0], arguments.models[1])
    with tempfile.TemporaryDirectory() as folder:
        weights = stand_ins(pair, Path(folder))
        rows = [
            measure(profile, pair, long, weights, arguments.memory)
            for profile in arguments.profiles
            for long in arguments.long
        ]
    if arguments.json:
        print(json.dumps({"unit": "MB", "weights": "random" if weights else "own", "rows": rows}, indent=1))
        return
    print(f"{pair[0]} and {pair[1]}{' (random weights)' if weights else ''}, MB of resident memory\n")
    columns = (
        "profile",
        "long",
        "start",
        "loading_peak",
        "short",
        "short_peak",
        "crowd_peak",
        "crowd_after",
        "long_peak",
        "long_after",
        "adds",
    )
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")


if __name__ == "__main__":
    main()
