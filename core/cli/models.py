"""``models``, ``fetch`` and ``remove``: what there is, getting it, and making room again."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.options import JsonOption
from core.cli.output import print_json, print_table, progress_bar, say
from core.units import prefixed

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from core.checkpoints import Entry


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("models")(models_command)
    app.command("fetch")(fetch_command)
    app.command("remove")(remove_command)


def models_command(json_output: JsonOption = False) -> None:
    """List every known model and whether it can be used now."""
    from core.checkpoints import manifest

    known = [_describe(model) for model in manifest().values()]
    if json_output:
        print_json(known)
        return
    rows: list[list[str]] = []
    for family, models in groupby(known, key=itemgetter("family")):
        rows.append([family, *[""] * 5])
        rows += [_row(model) for model in models]
    columns = ["name", "status", "size", "params", "MACs (10 s)", "mAP"]
    print_table("", columns, rows, text=("status",))
    say("mAP on AudioSet, as published. Licences, sources: pannscope models --json")


def fetch_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Models to download.")],
    json_output: JsonOption = False,
) -> None:
    """Download, verify and install official models.

    A download that was interrupted goes on where it stopped.
    """
    from core.checkpoints import entry, fetch

    for name in names:
        entry(name)  # a mistyped name ends here, before anything is downloaded
    for name in names:
        with progress_bar(download=True) as bar:
            task = bar.add_task(name, total=None)
            done = fetch(name, progress=partial(_show, bar, task))
        if json_output:
            print_json(
                {"name": done.name, "path": str(done.path), "sha256": done.sha256}, lines=len(names) > 1
            )
        else:
            say(f"{done.name} is installed: {done.path} (sha256 {done.sha256})")


def remove_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Fetched models to remove.")],
    json_output: JsonOption = False,
) -> None:
    """Remove fetched models; they can be fetched again."""
    from core.checkpoints import entry, remove

    for name in names:
        entry(name)
    for name in names:
        freed = remove(name)
        if json_output:
            print_json({"name": name, "freed_bytes": freed}, lines=len(names) > 1)
        else:
            say(f"{name} is removed: {prefixed(freed, 'B')} are free again.")


def _row(model: dict[str, Any]) -> list[str]:
    return [
        " " + model["name"],
        model["status"],
        _count(model["download_bytes"], "B"),
        _count(model["params"]),
        _count(model["macs_10s"]),
        "-" if model["published_mAP"] is None else f"{model['published_mAP']:.3f}",
    ]


def _count(value: int | None, unit: str = "") -> str:
    return "-" if value is None else prefixed(value, unit)


def _show(bar: Progress, task: TaskID, received: int, total: int | None) -> None:
    bar.update(task, completed=received, total=total)


def _describe(model: Entry) -> dict[str, Any]:
    from core.checkpoints import status
    from core.checkpoints.entries import COUNTED

    return {
        "name": model.name,
        "title": model.title,
        "family": model.family,
        "about": model.about,
        "architecture": model.architecture,
        "status": status(model),
        "params": model.params,
        "macs_10s": model.macs_10s,
        "figures_source": model.figures_source or COUNTED,
        "published_mAP": model.published_mAP,
        "mAP_source": model.mAP_source,
        "download_bytes": model.download_bytes if model.kind == "official" else None,
        "paper": model.paper,
        "licence": model.licence,
        "source": model.source,
    }
