"""Run ``pannscope bench`` as docs/performance.md has it, and print its table in Markdown: python benchmarks/bench.py --out FILE.json

Run it on a machine that does nothing else: it takes a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core import threads
from core.benchmark import SUBJECTS, Bench, bench
from core.runtime import usable_cpus

COLUMNS = (
    "engine",
    "model",
    "s",
    "batch",
    "threads",
    "ms",
    "quartiles",
    "ratio",
    "× real time",
    "peak MB",
    "largest difference",
)


def plans(repeats: int) -> dict[str, Bench]:
    """What is timed, and under which name it is kept: lengths, batches, ratios and threads, one at a time."""
    cores = usable_cpus()
    ours = ("torch", "ncnn-fast", "ncnn-small")
    counts = tuple(sorted({1, *(n for n in (2, 4, 8, 16) if n <= cores), cores}))
    ratios = ("cnn14", *(f"cnn14:{ratio}" for ratio in (0.25, 0.5, 0.75)))
    return {
        "engines": Bench(threads=(cores,), repeats=repeats, stages=True),
        "length": Bench(
            ("cnn14",), ("reference", *ours), (1.0, 2.0, 10.0, 60.0), threads=(cores,), repeats=repeats
        ),
        "batch": Bench(("cnn14",), ("reference", *ours), (10.0,), (1, 4, 16), (cores,), max(3, repeats // 3)),
        "ratio": Bench(ratios, ("torch", "ncnn-fast"), threads=(cores,), repeats=repeats),
        "threads": Bench(("cnn14", "epanns"), ("torch", "ncnn-fast"), threads=counts, repeats=repeats),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        words = [
            row["engine"],
            row["model"],
            f"{row['seconds']:g}",
            str(row["batch"]),
            str(row["threads"]),
            f"{row['median_ms']:.0f}",
            f"{row['lower_quartile_ms']:.0f}–{row['upper_quartile_ms']:.0f}",
            f"{row['ratio_to_reference']:.2f}",
            f"{row['real_time_factor']:.0f}",
            "" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:.0f}",
            f"{row['max_abs_difference']:.1e}",
        ]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the plans that were asked for, all by default, and keep what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(plans(1)))
    parser.add_argument("--repeats", type=int, default=15)
    asked = parser.parse_args()
    threads.let_waiting_threads_sleep()  # as pannscope itself does; the processes that are timed inherit it
    found = {}
    for name, what in plans(asked.repeats).items():
        if asked.only and name not in asked.only:
            continue
        found[name] = bench(what, lambda doing: print(doing, file=sys.stderr))
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"\n## {name}\n\n{table(found[name]['rows'])}", flush=True)
    left = sorted({engine for part in found.values() for engine in part["left_out"]})
    print(f"\nOf {', '.join(SUBJECTS)}, left out: {', '.join(left) or 'none'}.")


if __name__ == "__main__":
    main()
