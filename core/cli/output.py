"""What commands share: options that mean the same everywhere, JSON on stdout, tables, and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

# What a command computes with is imported when it runs: torch and scikit-learn take two seconds, and --help needs neither.
if TYPE_CHECKING:
    from rich.progress import Progress

    from core.audio import Clip
    from core.tagging import Tagger, Tags

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A model's name (see `pannscope models`) or a checkpoint file.",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="A checkpoint file, in the official layout or ours."),
]
ArchitectureOption = Annotated[
    str | None, typer.Option("--architecture", metavar="NAME", help="The checkpoint's architecture: cnn14.")
]
RatioOption = Annotated[
    float | None,
    typer.Option(
        "--ratio",
        metavar="SHARE",
        help="Share of filters already removed from C7-C12; normally read from the file.",
    ),
]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime", metavar="NAME", help="What runs the network: auto, torch, winograd, ncnn or bf16."
    ),
]
LayersOption = Annotated[
    str,
    typer.Option("--layers", metavar="LAYERS", help="Layers to prune: C7-C12, C9, C7,C9-C11, or all."),
]
MaxSecondsOption = Annotated[
    float, typer.Option("--max-seconds", metavar="S", help="Refuse longer recordings.")
]


def tagger_from(
    model: str | None,
    checkpoint: Path | None = None,
    architecture: str | None = None,
    ratio: float | None = None,
    runtime: str = "auto",
) -> Tagger:
    """Load what ``--model`` or ``--checkpoint`` names; a ``--model`` that is no known name may be a file."""
    from core.checkpoints import manifest
    from core.tagging import load_tagger

    if model is not None and checkpoint is None and model not in manifest() and _looks_like_file(model):
        checkpoint, model = Path(model), None
    return load_tagger(model, checkpoint=checkpoint, architecture=architecture, ratio=ratio, runtime=runtime)


def _looks_like_file(text: str) -> bool:
    return os.sep in text or Path(text).suffix in (".safetensors", ".pth", ".pt") or Path(text).is_file()


def say(text: str) -> None:
    """A line on stdout. A reader that has had enough (``| head``) ends the command quietly."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains about it at exit
        raise typer.Exit(0) from None


def print_json(document: Any, *, lines: bool = False) -> None:
    """One JSON document on stdout, in ASCII; with ``lines`` on a single line, for one document a clip."""
    say(json.dumps(document, allow_nan=False, indent=None if lines else 2))


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[str] = ()
) -> None:
    """A table on stdout; the first column and those in ``text`` are words, the others figures."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        words = column == columns[0] or column in text
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    # Cut off from a terminal (a pipe, a file) nothing needs to be folded into 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    say("\n".join([title, *lines] if title else lines))


def print_notes(clip: Clip, *tags: Tags) -> None:
    """On stderr, each once: what a listener should know of a clip, and what was done to it."""
    for note in dict.fromkeys((*clip.notes, *(note for made in tags for note in made.notes))):
        typer.echo(f'"{clip.name}": {note}', err=True)


def complain(message: str) -> None:
    """One line on stderr that says what is wrong."""
    typer.echo("pannscope: " + " ".join(message.split()), err=True)


@contextmanager
def progress_bar(*, download: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr that leaves nothing behind."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = [TextColumn("{task.description}"), BarColumn()]
    extra = (
        [DownloadColumn(), TransferSpeedColumn()]
        if download
        else [TextColumn("{task.completed:.0f}/{task.total:.0f}")]
    )
    console = Console(stderr=True)
    bar = Progress(
        *columns,
        *extra,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        yield bar


def short(value: float | None, unit: str = "") -> str:
    """A large count the way every page prints it: 80.8 M, 21.2 G; a dash for what is not known."""
    if value is None:
        return "-"
    for step, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= step:
            return f"{value / step:.1f} {prefix}{unit}"
    return f"{value:g} {unit}".strip()
