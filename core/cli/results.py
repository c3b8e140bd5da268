"""Result files of ``timeline``: one for each recording and format in a folder, and one for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.inputs import Input
from core.cli.options import ForceOption
from core.errors import DataError
from core.files import atomic_write, unwritable

if TYPE_CHECKING:
    from core.events import Document, Format

LOCK = ".pannscope.lock"
COMBINED = "all"


@dataclass(frozen=True)
class OutputOptions:
    """Where results go."""

    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="json, csv, audacity, raven, dcase or parquet; can be repeated. By default csv, or a table without --output.",
            show_default=False,
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write a file for each recording into this folder; recordings that have theirs are skipped.",
            show_default=False,
        ),
    ] = None
    combined: Annotated[
        bool,
        typer.Option("--combined", help="Also write one file for all recordings, from their JSON files."),
    ] = False
    force: ForceOption = False

    def formats(self) -> list[Format]:
        """The formats, checked; of a combined file JSON is one of them."""
        from core.events import FORMATS

        names = self.form or ["csv"]
        for name in names:
            if name not in FORMATS:
                raise DataError(f"There is no format {name!r}; give one of {', '.join(FORMATS)}.")
        if self.combined:
            for name in names:
                if not FORMATS[name].combined:
                    raise DataError(no_combination(FORMATS[name]))
            names = [*names, "json"]
        return [FORMATS[name] for name in dict.fromkeys(names)]


def no_combination(form: Format) -> str:
    """The message for several recordings in a format that has no column for them."""
    return f"{form.title} do not say which recording they are of, so that several cannot be in one file; choose another format."


def targets(
    folder: Path, recordings: Sequence[Input], formats: Sequence[Format]
) -> dict[Input, dict[Path, Format]]:
    """Every recording's files; of a recording that is named twice once.

    Refuses before any work a folder that is none, and two recordings with one result.
    """
    if folder.name.endswith(tuple(form.suffix for form in formats)) and not folder.is_dir():
        raise DataError(
            f"--output takes a folder, and {folder} looks like a file; to print the result leave it out: --format {formats[0].name}."
        )
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; --output takes a folder.")
    owners: dict[str, Input] = {}
    for recording in recordings:
        other = owners.setdefault(recording.file, recording)
        if other.resolved != recording.resolved:
            raise DataError(
                f"{other.path} and {recording.path} would have one result, {folder / recording.file}; give them in two runs, with two folders."
            )
    return {
        recording: {folder / f"{recording.file}{form.suffix}": form for form in formats}
        for recording in owners.values()
    }


def combine(folder: Path, formats: Sequence[Format], expected: Document) -> None:
    """One file of each format for all recordings that have a JSON file in the folder."""
    documents = []
    for path in sorted(folder.rglob("*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue  # another program's
        if not isinstance(document, dict) or not {"path", "events", "settings"} <= document.keys():
            continue  # a combined file, or another program's
        if {key: document.get(key) for key in expected} != expected:
            raise DataError(
                f"{path} is of another network or other settings, so that the results in {folder} cannot be one file; make it again with --force, "
                "or use another folder."
            )
        documents.append(document)
    for form in formats:
        write_result(
            folder / f"{COMBINED}{form.suffix}",
            form.content(documents),
            "The files of the recordings are done.",
        )


def write_result(target: Path, content: bytes, done: str) -> None:
    """Write a file as a whole or not at all; raises ``DataError``."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise DataError(f"{unwritable(target, error)} {done}") from error


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two runs into one folder go one after the other, and the second skips what the first has written."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        typer.echo(f"Another run writes into {folder}; waiting for it.", err=True)
        lock.acquire()
    except (OSError, ValueError) as error:  # ValueError: of a name that no file can have
        raise DataError(unwritable(folder, error)) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.release()
