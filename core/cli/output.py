"""What commands write: JSON and tables on stdout, notes, mistakes and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from core.errors import PannscopeError

if TYPE_CHECKING:
    from rich.progress import Progress

    from core.audio import Clip
    from core.tags import Tags


def say(text: str) -> None:
    """A line on stdout. A reader that stops early (``| head``) ends the command quietly."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains about it at exit
        raise typer.Exit(0) from None


def print_json(document: Any, *, lines: bool = False) -> None:
    """One JSON document on stdout, in ASCII; with ``lines`` on a single line, for one document a clip."""
    say(json.dumps(document, allow_nan=False, indent=None if lines else 2))


@dataclass
class Report:
    """JSON for each of a command's recordings, on one line where there are ``several``, and whether one has failed."""

    json: bool
    several: bool
    failed: bool = False

    def line(self, document: dict[str, Any]) -> None:
        """One recording's document on stdout."""
        print_json(document, lines=self.several)

    def failure(self, path: str, error: PannscopeError) -> None:
        """A recording that cannot be read: its line on stderr and, among several, on stdout."""
        self.failed = True
        complain(str(error))
        if self.json and self.several:
            self.line({"path": path, "error": str(error)})


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
    # In a pipe or a file nothing has to be folded into a terminal's 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    say("\n".join([title, *lines] if title else lines))


def print_notes(clip: Clip, *tags: Tags) -> None:
    """On stderr, each once: what is remarkable about a clip, and what was done to it."""
    for note in dict.fromkeys((*clip.notes, *(note for result in tags for note in result.notes))):
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


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for work that reports (done, total)."""
    with progress_bar() as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
