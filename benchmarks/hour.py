"""An hour's recording, tagged over time: python benchmarks/hour.py [--models demo-epanns epanns] [--page] [--seconds 3600]

Makes the recording, mono at 32 kHz, and prints rows of a table in Markdown (Linux only). For each model what `pannscope timeline` does, in
a process of its own: time to the first row and to the last, both from opening the file, and the most memory over what the process had with the network
loaded and used once, its decoder included. With --page the same for a visitor of the real server with the embedded pair, and how long a
rerun of the page takes meanwhile. The commands get FLAC, the page Ogg Vorbis, of which a server of 1 GB takes an hour. Models that are not installed have random weights of their shape, which take as long.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.app_memory import Server, recording, status_mb  # noqa: E402 (after the path is set)

_WINDOW_S = 2


def main() -> None:
    """Measure every model, and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=["demo-epanns", "epanns"], metavar="MODEL")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--page", action="store_true", help="the Compare page as well")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measured(*arguments.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hour.flac"
        path.write_bytes(recording(arguments.seconds, 32_000, 1, "FLAC", "PCM_16"))
        uploaded = recording(arguments.seconds, 32_000, 1, "OGG", "VORBIS") if arguments.page else b""
        print(f"{arguments.seconds} s: {path.stat().st_size / 1e6:.0f} MB of FLAC", end="")
        print(f", {len(uploaded) / 1e6:.0f} MB of Ogg Vorbis\n" if uploaded else "\n")
        print("| what | weights | first rows, s | all, s | times real time | memory over idle, MB |")
        print("|---|---|---:|---:|---:|---:|", flush=True)
        for name in arguments.models:
            checkpoint, source = _checkpoint(name, Path(folder))
            words = [sys.executable, __file__, "--child", str(checkpoint), str(path)]
            said = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            _print_row(name, source, arguments.seconds, json.loads(said.stdout.splitlines()[-1]))
        if arguments.page:
            figures = page(uploaded)
            _print_row("Compare page, demo-cnn14 and demo-epanns", "their own", arguments.seconds, figures)
            print(
                f"\nOn the page: player after {figures['player']:.1f} s; a rerun meanwhile takes {figures['rerun']:.2f} s (median), "
                f"{figures['slowest']:.2f} s at most; idle {figures['idle']:.0f} MB"
            )


def _print_row(what: str, weights: str, seconds: int, figures: dict[str, float]) -> None:
    speed = seconds / figures["all"]
    print(
        f"| {what} | {weights} | {figures['first']:.1f} | {figures['all']:.0f} | {speed:.0f} | {figures['memory']:.0f} |",
        flush=True,
    )


def _checkpoint(name: str, folder: Path) -> tuple[Path, str]:
    """A file of the model's weights, and whose they are."""
    from core.benchmark.weights import network_named
    from core.checkpoints import save_checkpoint

    model, classes, source = network_named(name)
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, model, classes=classes, name=name)
    return path, source


def measured(checkpoint: Path, path: Path) -> dict[str, float]:
    """What `pannscope timeline` does with one recording, in this process."""
    import os

    from core.audio import POOL, SAMPLE_RATE, Opening, load_clip
    from core.events import EventSettings, TimelineSettings, detect, rows
    from core.runtime import process
    from core.runtime.memory import trim_heap
    from core.tagging import load_tagger

    process.set_passive_wait_policy()
    process.configure_heap()
    tagger = load_tagger(checkpoint=checkpoint)
    clip = load_clip(recording(_WINDOW_S, SAMPLE_RATE, 1, "FLAC", "PCM_16"))
    list(rows(tagger, clip.blocks(), TimelineSettings()))
    trim_heap()
    decoder = POOL.idle_pid()
    assert decoder is not None
    pids = (os.getpid(), decoder)
    idle = sum(status_mb(pid, "VmRSS") for pid in pids)
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    began = time.perf_counter()
    first = 0.0

    def noted():  # type: ignore[no-untyped-def]
        nonlocal first
        for row in rows(tagger, Opening(path, max_seconds=None).blocks(), TimelineSettings()):
            first = first or time.perf_counter() - began
            yield row

    detect(noted(), tagger.classes, EventSettings())
    whole = time.perf_counter() - began
    peak = sum(status_mb(pid, "VmHWM") for pid in pids)
    return {"first": first, "all": whole, "memory": peak - idle}


def page(data: bytes) -> dict[str, float]:
    """A visitor of the real server, who adds the recording and looks at the page until all of it is there."""
    from benchmarks.app_client import Visitor

    server = Server("fast", None, 0)
    try:
        visitor = Visitor(server.address, "demo-cnn14", "demo-epanns")
        opened = visitor.open_page()
        time.sleep(10)  # engines are compiled
        visitor.look()
        idle, children = server.resident_mb(), server.children_mb()
        server.forget_peak()
        began = time.perf_counter()
        visitor.upload(opened.uploader, "hour.ogg", data)
        figures: dict[str, float] = {"idle": idle}
        reruns, most = [], 0.0
        while "all" not in figures:
            shown = visitor.look()
            now = time.perf_counter() - began
            if "pannscope_timeline" in shown.components:
                figures.setdefault("first", now)
            if shown.player:
                figures.setdefault("player", now)
            if any("Audacity" in label for label in shown.downloads) and shown.player:
                figures["all"] = now
            reruns.append(shown.seconds)
            most = max(most, server.children_mb())
            time.sleep(0.5 if "first" not in figures else 5.0)  # a rerun takes time from what it looks at
        figures["memory"] = server.peak_mb() - idle + most - children
        return figures | {"rerun": statistics.median(reruns), "slowest": max(reruns)}
    finally:
        server.end()


if __name__ == "__main__":
    main()
