"""``tradeoff``: quality against cost, of the published systems and of own networks."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

import typer

from core.cli.options import JsonOption
from core.cli.output import print_json, print_table, progress, say
from core.units import prefixed


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("tradeoff")(tradeoff_command)


def tradeoff_command(
    *,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the networks here first; minutes, and kept.")
    ] = False,
    stft: Annotated[
        bool, typer.Option("--stft", help="Count every STFT, as two Conv1d layers; else none.")
    ] = False,
    csv_output: Annotated[
        bool, typer.Option("--csv", help="Print CSV, each figure with its source.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Set every system's published mAP against what it costs.

    Times are measured with random weights: they do not depend on the weights.
    """
    if csv_output and json_output:
        raise typer.BadParameter("give --json or --csv, not both", param_hint="--csv")
    from core import tradeoff

    if measure:
        _measure()
    published = tradeoff.rows(tradeoff.systems(tradeoff.measured(), count_stft=stft))
    own = tradeoff.rows(tradeoff.own_systems(tradeoff.kept_results(), count_stft=stft))
    if json_output:
        print_json({"machine": tradeoff.machine(), "systems": published, "own": own})
    elif csv_output:
        say(_csv([*published, *own]))
    else:
        print_table("", _COLUMNS, [_row(row) for row in published], text=("family",))
        if own:
            print_table("\nmAP on own clips", _COLUMNS, [_row(row) for row in own], text=("family",))
        say("* nothing is both cheaper and better. Sources: pannscope tradeoff --json")


_COLUMNS = ["system", "family", "mAP", "time", "MACs", "params"]


def _measure() -> None:
    from core import tradeoff

    names = tuple(name for name in tradeoff.measurable() if name not in tradeoff.measured())
    with progress("timing") as show:
        for done, name in enumerate(names, start=1):
            try:
                tradeoff.measure(name)
            except tradeoff.NotEnoughMemoryError as error:
                typer.echo(str(error), err=True)
            show(done, len(names))


def _row(row: dict[str, Any]) -> list[str]:
    cells = [row["title"], row["family"], f"{row['mAP']:.3f}"]
    for key, cost in (("time_ms", "time"), ("macs_10s", "macs"), ("params", "params")):
        value = row[key]
        text = "-" if value is None else f"{value:.1f} ms" if cost == "time" else prefixed(value)
        cells.append(text + (" *" if row[f"front_{cost}"] else "  "))
    return cells


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().rstrip("\n")
