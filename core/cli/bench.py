"""``bench``: speed and memory of our engines and of others."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from core.cli.options import JsonOption
from core.cli.output import print_json, print_table, progress_bar, say
from core.errors import ModelError


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("bench")(bench_command)


def bench_command(
    *,
    models: Annotated[
        str,
        typer.Option(
            "--models",
            metavar="NAMES",
            help="Networks: cnn14,epanns, with a ratio: cnn14:0.25, or checkpoint files. Random weights where not installed.",
        ),
    ] = "cnn14,epanns",
    engines: Annotated[
        str | None,
        typer.Option("--engines", metavar="NAMES", help="Engines to time; by default all installed ones."),
    ] = None,
    seconds: Annotated[
        str, typer.Option("--seconds", metavar="S", help="Lengths of the clip: 1,2,10,60.")
    ] = "10",
    batches: Annotated[str, typer.Option("--batch", metavar="N", help="Clips at once: 1,8.")] = "1",
    threads: Annotated[
        str | None,
        typer.Option("--threads", metavar="N", help="Numbers of threads: 1,2. By default the usable cores."),
    ] = None,
    processes: Annotated[
        str, typer.Option("--processes", metavar="N", help="Processes that run at the same time: 1,2.")
    ] = "1",
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", help="Timed passes.")] = 9,
    stages: Annotated[
        bool, typer.Option("--stages", help="Also time the stages: decoding, front end, network, layers.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Time our engines and others on the same clips.

    All run the same weights, alternating, each in a process of its own that is stopped while others run, and whose memory peak is measured.
    """
    from core.benchmark import SUBJECTS, Bench, bench
    from core.runtime.machine import usable_cpus

    what = Bench(
        models=tuple(_words(models)),
        engines=tuple(SUBJECTS) if engines is None else tuple(_words(engines)),
        seconds=tuple(_numbers("--seconds", seconds)),
        batches=tuple(map(int, _numbers("--batch", batches))),
        threads=(usable_cpus(),) if threads is None else tuple(map(int, _numbers("--threads", threads))),
        processes=tuple(map(int, _numbers("--processes", processes))),
        repeats=repeats,
        stages=stages,
    )
    with progress_bar() as bar:
        task = bar.add_task("starting", total=None)
        result = bench(what, lambda step: bar.update(task, description=step))
    if json_output:
        print_json(result)
        return
    _print_result(result)


def _print_result(result: dict[str, Any]) -> None:
    machine, rows = result["host"], result["rows"]
    read = [f"{rate} GB/s with {n}" for n, rate in machine["memory_read"].get("gb_per_s", {}).items()]
    say(f"{machine['processor']}, {machine['cores']} cores, load {machine['load_average']}")
    say(
        f"Memory is read at {', '.join(read) or 'an unknown rate'}; engines are {machine['between_turns']} while others run."
    )
    columns = ["engine", "model", "s", "batch", "threads", "processes", "ms", "quartiles"]
    columns += ["times faster", "x real time", "peak MB", "difference"]
    print_table("", columns, [_cells(row) for row in rows], text=["model"])
    parts = {part: None for row in rows for part in (*row["stages_ms"], *row["layers_ms"])}
    staged = [row for row in rows if row["stages_ms"]]
    if staged:
        lines = [
            [row["engine"], row["model"], f"{row['seconds']:g}", str(row["threads"])]
            + [_milliseconds({**row["stages_ms"], **row["layers_ms"]}.get(part)) for part in parts]
            for row in staged
        ]
        print_table("\nms of", ["engine", "model", "s", "threads", *parts], lines, text=["model"])
    for name, why in result["left_out"].items():
        say(f"Skipped: {name}: {why}")


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["engine"],
        row["model"],
        f"{row['seconds']:g}",
        str(row["batch"]),
        str(row["threads"]),
        str(row["processes"]),
        f"{row['median_ms']:.0f}",
        f"{row['lower_quartile_ms']:.0f}-{row['upper_quartile_ms']:.0f}",
        f"{row['ratio_to_reference']:.2f}",
        f"{row['real_time_factor']:.0f}",
        "-" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:.0f}",
        f"{row['max_abs_difference']:.1g}",
    ]


def _milliseconds(taken: float | None) -> str:
    return "-" if taken is None else f"{taken:.1f}"


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ModelError(f"Give one or more values, separated by commas; got {text!r}.")
    return words


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in _words(text)]
    except ValueError:
        raise ModelError(f"{option} takes numbers separated by commas; got {text!r}.") from None
