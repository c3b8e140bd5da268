"""The pictures of docs/performance.md, drawn from a benchmark's JSON: SVG on a ground of its own, readable on white and on dark pages."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.macs import Comparison, comparisons, layered, macs_left, ratio_of
from benchmarks.tables import read_rates, rows_of, threads_of
from core.benchmark import SUBJECTS
from core.errors import ModelError

_COLORS = (
    "#5b5f66",
    "#b3541e",
    "#0b6e8a",
    "#7a4fa3",
    "#3d7a2b",
    "#a8324a",
    "#8a6d00",
    "#1f4fa8",
    "#00695c",
    "#c2185b",
)
"""Each at least 4.5 : 1 on white; the reference is grey. Engines differ by their markers as well."""

_MARKERS = "os^DvPX*<h"

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pannscope",  # the same data gives the same file
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d9dce1",
    "text.color": "#1f2328",
    "axes.labelcolor": "#1f2328",
    "xtick.color": "#1f2328",
    "ytick.color": "#1f2328",
    "figure.facecolor": "#ffffff",
    "savefig.facecolor": "#ffffff",
    "legend.frameon": False,
}

_SMALL_LAYER = 0.02
"""Layers with less than this share of the longest one's time get no mark of what MACs would give, which would hide them."""

Rows = list[dict[str, Any]]


def draw(results: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Draw every picture that ``results`` has data for, as ``performance-NAME.svg``; the files by name.

    Raises ``ModelError`` where matplotlib is not installed.
    """
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("svg")
        plt: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ModelError(
            f"The pictures need matplotlib ({error}); pip install 'pannscope[bench]'."
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    with plt.rc_context(_STYLE):
        for name, picture in _PICTURES.items():
            figure = picture(plt, results)
            if figure is not None:
                files[name] = folder / f"performance-{name}.svg"
                figure.savefig(files[name], metadata={"Date": None})
                plt.close(figure)
                _without_trailing_blanks(files[name])
    return files


def _without_trailing_blanks(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def _styles(rows: Rows) -> dict[str, dict[str, str]]:
    """Colour and marker of every engine, the same in all pictures."""
    known = {name: place for place, name in enumerate(SUBJECTS)}
    places = {name: known.get(name, len(known)) for name in dict.fromkeys(row["engine"] for row in rows)}
    return {
        name: {"color": _COLORS[place % len(_COLORS)], "marker": _MARKERS[place % len(_MARKERS)]}
        for name, place in places.items()
    }


def _engines(plt: Any, results: dict[str, Any]) -> Any:
    """Bars: time of a clip for every engine, with quartiles, and how many times faster than the reference."""
    rows = rows_of(results, "engines")
    if not rows:
        return None
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, panels = plt.subplots(
        1,
        len(models),
        figsize=(9, 1.1 + 0.34 * len({row["engine"] for row in rows})),
        squeeze=False,
        layout="constrained",
    )
    styles = _styles(rows)
    for panel, model in zip(panels[0], models, strict=True):
        shown = [row for row in rows if row["model"] == model][::-1]
        middle = [row["median_ms"] for row in shown]
        around = [
            [m - row["lower_quartile_ms"] for m, row in zip(middle, shown, strict=True)],
            [row["upper_quartile_ms"] - m for m, row in zip(middle, shown, strict=True)],
        ]
        names = [row["engine"] for row in shown]
        panel.barh(
            names, middle, xerr=around, color=[styles[name]["color"] for name in names], ecolor="#1f2328"
        )
        for place, row in enumerate(shown):
            text = f" {row['median_ms']:.0f} ms, × {row['ratio_to_reference']:.2f}"
            panel.annotate(
                text,
                (row["upper_quartile_ms"], place),
                (2, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        panel.set(
            title=f"{model}, {shown[0]['seconds']:g} s, {threads_of(shown[0]['threads'])}",
            xlabel="time of a clip, ms",
            xlim=(0, 1.4 * max(middle)),
        )
        panel.grid(axis="y", visible=False)
    return figure


def _length(plt: Any, results: dict[str, Any]) -> Any:
    """Time against the clip's length, and what a second of audio costs, which shows the fixed part."""
    rows = rows_of(results, "length")
    if not rows:
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    _lines(left, rows, "seconds", lambda row: row["median_ms"])
    _lines(right, rows, "seconds", lambda row: row["median_ms"] / row["seconds"])
    for panel, says in ((left, "time of a clip, ms"), (right, "time per second of audio, ms")):
        panel.set(xscale="log", xlabel="length of the clip, s", ylabel=says)
        _ticks(panel, sorted({row["seconds"] for row in rows}))
    ticker: Any = importlib.import_module("matplotlib.ticker")
    left.set(yscale="log")
    left.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_locator(ticker.NullLocator())
    right.set_ylim(bottom=0)
    left.legend()
    return figure


def _ratio(plt: Any, results: dict[str, Any]) -> Any:
    """Time and counted MACs left, in per cent of the whole network's."""
    rows = rows_of(results, "ratio")
    points = [
        (ratio_of(row["model"]), row["engine"], 100 * row["median_ms"] / whole)
        for row in rows
        for whole in [next((r["median_ms"] for r in rows if _whole(r, row)), None)]
        if whole
    ]
    if not points:
        return None
    figure, panel = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for engine, look in _styles(rows).items():
        panel.plot(
            *zip(*[(100 * x, y) for x, name, y in points if name == engine], strict=True),
            label=engine,
            **look,
        )
    counted = sorted({(100 * ratio_of(row["model"]), 100 * macs_left(row["model"])) for row in rows})
    panel.plot(*zip(*counted, strict=True), "k--", label="counted MACs")
    panel.set(xlabel="filters of C7 to C12 removed, %", ylabel="left, % of the whole network")
    panel.set_ylim(bottom=0)
    panel.legend()
    return figure


def _whole(candidate: dict[str, Any], row: dict[str, Any]) -> bool:
    return candidate["engine"] == row["engine"] and ratio_of(candidate["model"]) == 0


def _throughput(plt: Any, results: dict[str, Any]) -> Any:
    """Hours of audio an hour against cores, as threads of one process and as processes, beside the rate memory is read at; and against batch."""
    rows = rows_of(results, "batch")
    if not rows:
        return None
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(11, 3.8), layout="constrained", width_ratios=(4, 4, 3)
    )
    cores = max(row["threads"] for row in rows)
    _lines(
        left, [row for row in rows if row["threads"] == cores], "batch", lambda row: row["real_time_factor"]
    )
    left.set(title=threads_of(cores), xlabel="clips at once", ylabel="hours of audio an hour", xscale="log")
    _ticks(left, sorted({row["batch"] for row in rows}))
    styles = _styles(rows)
    several = rows_of(results, "processes")
    for engine, look in styles.items():
        # One thread is where both ways begin.
        threads = _best(rows, engine, "threads")
        processes = {1: threads[1]} | _best(several, engine, "processes") if 1 in threads else {}
        middle.plot(list(threads), list(threads.values()), label=engine, **look)
        if len(processes) > 1:
            middle.plot(list(processes), list(processes.values()), linestyle="--", **look)
    middle.set(
        title="solid: threads, dashed: processes",
        xlabel="cores at work",
        ylabel="hours of audio an hour",
    )
    read = read_rates(results)
    right.plot(list(read), list(read.values()), color="#1f2328", marker="o")
    right.set(title="memory", xlabel="threads", ylabel="read, GB/s")
    for panel in (left, middle, right):
        panel.set_ylim(bottom=0)
    counts = sorted({row["threads"] for row in rows} | {row["processes"] for row in several})
    for panel in (middle, right):
        if len(counts) > 4:
            panel.set_xscale("log")
        _ticks(panel, counts)
    left.legend(fontsize=8.5)
    return figure


def _best(rows: Rows, engine: str, by: str) -> dict[int, float]:
    """The most hours of audio an hour of any batch, for every number of threads or processes."""
    best: dict[int, float] = {}
    for row in rows:
        if row["engine"] == engine:
            best[row[by]] = max(best.get(row[by], 0.0), row["real_time_factor"])
    return dict(sorted(best.items()))


def _macs(plt: Any, results: dict[str, Any]) -> Any:
    """Time of every layer, whole and pruned, and where the pruned one would be if time followed MACs."""
    shown: list[Comparison] = layered(comparisons(rows_of(results, "engines")))
    if not shown:
        return None
    figure, panels = plt.subplots(
        len(shown), 1, figsize=(9, 0.4 + 2.1 * len(shown)), squeeze=False, layout="constrained", sharex=True
    )
    for panel, each in zip(panels[:, 0], shown, strict=True):
        places = range(len(each.layers))
        longest = max(layer.ms[0] for layer in each.layers)
        for which, color, label in ((0, "#5b5f66", "whole"), (1, "#0b6e8a", "pruned, measured")):
            xs = [place + 0.4 * which - 0.2 for place in places]
            panel.bar(xs, [layer.ms[which] for layer in each.layers], 0.4, color=color, label=label)
        for place, layer in enumerate(each.layers):
            if layer.pruned and layer.ms[0] > _SMALL_LAYER * longest:
                panel.hlines(
                    layer.ms[0] * (1 - layer.macs_cut),
                    place,
                    place + 0.4,
                    color="#b3541e",
                    linewidth=2.5,
                    label="pruned, if time followed MACs"
                    if "pruned, if time followed MACs" not in panel.get_legend_handles_labels()[1]
                    else None,
                )
        panel.set(title=each.engine, ylabel="ms", xticks=places)
        panel.set_xticklabels([layer.name for layer in each.layers])
        panel.grid(axis="x", visible=False)
    panels[0, 0].legend(ncols=3, fontsize=8.5)
    panels[-1, 0].set_xlabel("layer")
    return figure


def _lines(panel: Any, rows: Rows, x: str, y: Callable[[dict[str, Any]], float]) -> None:
    for engine, look in _styles(rows).items():
        points = sorted((row[x], y(row)) for row in rows if row["engine"] == engine)
        panel.plot(*zip(*points, strict=True), label=engine, **look)


def _ticks(panel: Any, places: Sequence[float]) -> None:
    panel.set_xticks(places, [f"{place:g}" for place in places])
    panel.minorticks_off()


_PICTURES: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "engines": _engines,
    "length": _length,
    "ratio": _ratio,
    "throughput": _throughput,
    "macs": _macs,
}
