"""The measured part of docs/performance.md, written from a benchmark's JSON between the page's markers.

A section lies between ``<!-- measured: NAME -->`` and ``<!-- end: NAME -->``; the rest of the page stays.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.macs import macs_left, ratio_of
from benchmarks.macs_text import macs_section
from benchmarks.pictures import draw
from benchmarks.tables import Results, cell, markdown, picture, read_rates, rows_of, threads_of
from core.errors import ModelError

_MARKED = re.compile(r"(<!-- measured: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def write_page(results: Results, page: Path, images: Path) -> list[str]:
    """Draw the pictures and fill the page's sections; the names of those that were filled.

    A section without data in ``results`` stays as it was. Raises ``ModelError`` where the page has no markers or a picture cannot be drawn.
    """
    text = page.read_text(encoding="utf-8")
    if not _MARKED.search(text):
        raise ModelError(f"{page} has no '<!-- measured: NAME -->' … '<!-- end: NAME -->' to write between.")
    folder = os.path.relpath(images, page.parent)
    pictures = {
        name: f"{Path(folder).as_posix()}/{file.name}" for name, file in draw(results, images).items()
    }
    filled: list[str] = []

    def section(match: re.Match[str]) -> str:
        content = SECTIONS[match[2]](results, pictures) if match[2] in SECTIONS else ""
        if not content:
            return match[0]
        filled.append(match[2])
        return f"{match[1]}{content.strip()}\n{match[3]}"

    page.write_text(_MARKED.sub(section, text), encoding="utf-8")
    return filled


def _host(results: Results, _: dict[str, str]) -> str:
    documents = [part for part in results.values() if "host" in part]
    if not documents:
        return ""
    machine = documents[0]["host"]
    read = ", ".join(f"{rate:.0f} with {threads_of(n)}" for n, rate in read_rates(results).items())
    buffer = machine["memory_read"].get("buffer_mb")
    loads = [each["host"]["load_average"] for each in documents if each["host"]["load_average"] is not None]
    policy = machine["omp_wait_policy"]
    weights = sorted({f"{name}: {says}" for each in documents for name, says in each["weights"].items()})
    lines = [
        ("processor", f"{machine['processor']}; {', '.join(machine['instructions'])}"),
        ("cores this process may use", machine["cores"]),
        ("memory free", f"{machine['memory_free_mb']} MiB"),
        (
            "memory read, GB/s",
            f"{read} (a buffer of {buffer} MiB, shared out among the threads)" if read else "",
        ),
        ("system", f"{machine['system']}, Python {machine['python']}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine["packages"].items())),
        ("load before each part", f"{min(loads)} to {max(loads)}" if loads else ""),
        (
            "OpenMP's waiting threads",
            f"`OMP_WAIT_POLICY={policy['ours']}` for our engines, as our programs set it; peers: {policy['peers']}",
        ),
        ("between its turns", f"every engine's process is {machine['between_turns']}"),
        ("weights", "; ".join(weights)),
        ("left out", "; ".join(_left_out(documents)) or "nothing"),
    ]
    return markdown(("", "what was measured on"), [(name, str(says)) for name, says in lines if says])


def _left_out(documents: Iterable[dict[str, Any]]) -> list[str]:
    return sorted({f"{name}: {why}" for each in documents for name, why in each["left_out"].items()})


def _engines(results: Results, pictures: dict[str, str]) -> str:
    rows = rows_of(results, "engines")
    columns = (
        "engine",
        "network",
        "median ms",
        "quartiles",
        "× reference",
        "× real time",
        "peak MiB",
        "largest difference",
    )
    lines = [
        (
            row["engine"],
            row["model"],
            cell(row["median_ms"]),
            f"{cell(row['lower_quartile_ms'])}–{cell(row['upper_quartile_ms'])}",
            f"{row['ratio_to_reference']:.2f}",
            f"{row['real_time_factor']:.0f}",
            "" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:.0f}",
            "" if row["engine"] == row["compared_with"] else f"{row['max_abs_difference']:.1e}",
        )
        for row in rows
    ]
    if not rows:
        return ""
    says = f"One clip of {rows[0]['seconds']:g} s, {threads_of(rows[0]['threads'])}, {rows[0]['repeats']} passes each, alternating."
    return f"{says}\n\n{picture('engines', pictures, 'Time of a clip for every engine')}{markdown(columns, lines)}"


def _stages(results: Results, _: dict[str, str]) -> str:
    rows = [row for row in rows_of(results, "length") if row["stages_ms"]]
    if not rows:
        return ""
    lines = [
        (
            row["engine"],
            f"{row['seconds']:g}",
            *(cell(row["stages_ms"][stage]) for stage in ("decode", "front end", "network")),
            cell(row["median_ms"]),
        )
        for row in rows
    ]
    says = f"{rows[0]['model']}, {threads_of(rows[0]['threads'])}. Decoding is of a FLAC file (48 kHz, stereo, 16 bits), with mixing and resampling to 32 kHz."
    columns = (
        "engine",
        "clip, s",
        "decode, ms",
        "front end, ms",
        "network, ms",
        "waveform to probabilities, ms",
    )
    return f"{says}\n\n{markdown(columns, lines)}"


def _length(results: Results, pictures: dict[str, str]) -> str:
    rows = rows_of(results, "length")
    if not rows:
        return ""
    lengths = sorted({row["seconds"] for row in rows})
    lines = [
        (
            name,
            *(_at(rows, name, "seconds", s, _ms) for s in lengths),
            *(_at(rows, name, "seconds", s, _peak) for s in (lengths[0], lengths[-1])),
        )
        for name in dict.fromkeys(row["engine"] for row in rows)
    ]
    columns = (
        "engine",
        *(f"{s:g} s, ms" for s in lengths),
        *(f"peak after {s:g} s, MiB" for s in (lengths[0], lengths[-1])),
    )
    return f"{rows[0]['model']}, {threads_of(rows[0]['threads'])}.\n\n{picture('length', pictures, 'Time against the length of the clip')}{markdown(columns, lines)}"


def _ratio(results: Results, pictures: dict[str, str]) -> str:
    rows = rows_of(results, "ratio")
    if not rows:
        return ""
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines: list[Sequence[str]] = [
        ("counted MACs", *(f"{100 * macs_left(model):.0f} %" for model in models)),
    ]
    for name in dict.fromkeys(row["engine"] for row in rows):
        times = {row["model"]: row["median_ms"] for row in rows if row["engine"] == name}
        lines.append(
            (
                name,
                *(
                    f"{cell(times[m])} ms, {100 * times[m] / times[models[0]]:.0f} %"
                    if m in times and models[0] in times
                    else ""
                    for m in models
                ),
            )
        )
    columns = ("", *(f"{100 * ratio_of(model):g} % removed" for model in models))
    return f"{models[0]}, a clip of {rows[0]['seconds']:g} s, {threads_of(rows[0]['threads'])}; shares are of the whole network.\n\n{picture('ratio', pictures, 'Time and MACs left against the pruning ratio')}{markdown(columns, lines)}"


def _threads(results: Results, _: dict[str, str]) -> str:
    rows = rows_of(results, "threads")
    if not rows:
        return ""
    counts = sorted({row["threads"] for row in rows})
    lines = []
    for name, model in dict.fromkeys((row["engine"], row["model"]) for row in rows):
        times = {
            row["threads"]: row["median_ms"] for row in rows if (row["engine"], row["model"]) == (name, model)
        }
        lines.append(
            (
                name,
                model,
                *(
                    f"{cell(times[n])} ms"
                    + (f", × {times[counts[0]] / times[n]:.2f}" if n > counts[0] else "")
                    if n in times and counts[0] in times
                    else ""
                    for n in counts
                ),
            )
        )
    return markdown(("engine", "network", *(threads_of(n) for n in counts)), lines)


def _throughput(results: Results, pictures: dict[str, str]) -> str:
    rows = [*rows_of(results, "batch"), *rows_of(results, "processes")]
    if not rows:
        return ""
    batches = sorted({row["batch"] for row in rows})
    lines = []
    for name, threads, processes in dict.fromkeys(
        (row["engine"], row["threads"], row["processes"]) for row in rows
    ):
        mine = [
            row
            for row in rows
            if (row["engine"], row["threads"], row["processes"]) == (name, threads, processes)
        ]
        lines.append(
            (
                name,
                str(processes),
                str(threads),
                *(_at(mine, name, "batch", n, lambda row: f"{row['real_time_factor']:.0f}") for n in batches),
            )
        )
    says = _scaling(results)
    columns = ("engine", "processes", "threads of each", *(f"batch of {n}" for n in batches))
    head = f"Hours of audio an hour, {rows[0]['model']}, clips of {rows[0]['seconds']:g} s."
    return f"{head}\n\n{picture('throughput', pictures, 'Throughput against batch and cores, and how fast memory is read')}{markdown(columns, lines)}\n{says}"


def _scaling(results: Results) -> str:
    """The speedup of all cores over one, as threads and as processes, and that of reading memory."""
    rows, several = rows_of(results, "batch"), rows_of(results, "processes")
    most = max((row["threads"] for row in rows), default=1)
    if most == 1:
        return ""
    says = []
    for name in dict.fromkeys(row["engine"] for row in rows):
        one = max(
            (r["real_time_factor"] for r in rows if (r["engine"], r["threads"]) == (name, 1)), default=0
        )
        many = max(
            (r["real_time_factor"] for r in rows if (r["engine"], r["threads"]) == (name, most)), default=0
        )
        apart = max(
            (r["real_time_factor"] for r in several if (r["engine"], r["processes"]) == (name, most)),
            default=0,
        )
        if one and many:
            says.append(
                f"{name} × {many / one:.2f} with {most} threads"
                + (f" and × {apart / one:.2f} as {most} processes" if apart else "")
            )
    text = f"Best batch of each, over one thread: {'; '.join(says)}."
    read = read_rates(results)
    if 1 in read and most in read:
        text += f" Memory is read × {read[most] / read[1]:.2f} as fast with {most} threads as with one."
    return text


def _precision(results: Results, _: dict[str, str]) -> str:
    rows = rows_of(results, "precision")
    if not rows:
        return ""
    columns = (
        "network",
        "runtime",
        "clips",
        "mAP",
        "d'",
        "mAP against torch",
        "largest difference",
        "mean difference",
        "first tag kept",
    )
    first = {row["model"]: row["mAP"] for row in rows[::-1] if row["runtime"] == "torch"}
    lines = [
        (
            row["model"],
            row["runtime"],
            str(row["clips"]),
            f"{row['mAP']:.4f}",
            "" if row["d_prime"] is None else f"{row['d_prime']:.3f}",
            "" if row["runtime"] == "torch" else _signed(row["mAP"] - first[row["model"]]),
            *("" if row["runtime"] == "torch" else f"{row[key]:.1e}" for key in _DIFFERENCES),
            f"{row['first_tag_kept']} of {row['clips']}",
        )
        for row in rows
    ]
    folds = ", ".join(results["precision"]["folds"])
    head = f"Labelled clips, {f'folds: {folds}' if folds else 'all folds'}."
    left = "; ".join(f"{name}: {why}" for name, why in results["precision"]["left_out"].items())
    return f"{head}\n\n{markdown(columns, lines)}" + (f"\nLeft out: {left}\n" if left else "")


def _signed(change: float) -> str:
    """With four digits and a sign; a change that rounds to zero has none."""
    shown = round(change, 4)
    return f"{shown:+.4f}".replace("-", "−") if shown else "0"


def _at(
    rows: list[dict[str, Any]], engine: str, key: str, value: float, show: Callable[[dict[str, Any]], str]
) -> str:
    return next((show(row) for row in rows if row["engine"] == engine and row[key] == value), "")


def _ms(row: dict[str, Any]) -> str:
    return cell(row["median_ms"])


def _peak(row: dict[str, Any]) -> str:
    return "" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:.0f}"


_DIFFERENCES = ("max_abs_difference", "mean_abs_difference")

SECTIONS: dict[str, Callable[[Results, dict[str, str]], str]] = {
    "host": _host,
    "engines": _engines,
    "stages": _stages,
    "length": _length,
    "ratio": _ratio,
    "threads": _threads,
    "throughput": _throughput,
    "macs": macs_section,
    "precision": _precision,
}
