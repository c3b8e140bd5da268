"""Result files of ``timeline`` and ``embed``: one for each recording and format in a folder, and one for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.inputs import Input
from core.cli.options import ForceOption
from core.cli.output import Report, progress_bar, say
from core.errors import AudioError, DataError
from core.files import atomic_write, unwritable
from core.units import plural

if TYPE_CHECKING:
    from core.events import Document, Format

LOCK = ".pannscope.lock"
COMBINED = "all"


@dataclass(frozen=True)
class FolderOptions:
    """Where results go."""

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
        typer.Option("--combined", help="Also write one file for all recordings, from the single ones."),
    ] = False
    force: ForceOption = False

    def chosen(self, names: Sequence[str], known: Mapping[str, Format], source: Format) -> list[Format]:
        """The formats of these names, checked; where there is a combined file also the one that it is made from."""
        for name in names:
            if name not in known:
                raise DataError(f"There is no format {name!r}; give one of {', '.join(known)}.")
            if self.combined and not known[name].combined:
                raise DataError(no_combination(known[name]))
        return [known[name] for name in dict.fromkeys([*names, source.name] if self.combined else names)]


def no_combination(form: Format) -> str:
    """The message for several recordings in a format that has no column for them."""
    return f"{form.title} do not say which recording they are of, so that several cannot be in one file; choose another format."


def targets(
    folder: Path, recordings: Sequence[Input], formats: Sequence[Format]
) -> dict[Input, dict[Path, Format]]:
    """Every recording's files; of a recording that is named twice once.

    Refuses, before any work, a path that is not a folder, and two recordings with one result.
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


def documents(
    recordings: Sequence[Input],
    compute: Callable[[Input, Callable[[float], object]], Document],
    report: Report,
) -> Iterator[tuple[Input, Document]]:
    """The recordings that can be read with their documents, each as soon as it is there, with a progress bar.

    ``compute`` gets a recording and what to call with the share of it that is done; where it raises ``AudioError``, that is reported.
    """
    sizes = [recording.size for recording in recordings]
    starts = list(accumulate(sizes, initial=0))
    with progress_bar(download=True) as bar:  # of bytes: a long recording is most of the work
        task = bar.add_task("", total=starts[-1])
        for number, recording in enumerate(recordings):
            before, size = starts[number], sizes[number]
            bar.update(task, completed=before, description=f"{number + 1} of {len(recordings)}")

            def advance(share: float, before: int = before, size: int = size) -> None:
                bar.update(task, completed=before + share * size)

            try:
                yield recording, compute(recording, advance)
            except AudioError as error:
                report.failure(recording.path, error)


def write_all(
    files_of: dict[Input, dict[Path, Format]],
    compute: Callable[[Input, Callable[[float], object]], Document],
    report: Report,
    options: FolderOptions,
    counted: tuple[str, str],
) -> None:
    """Write what is missing, a recording's files as soon as its document is there.

    ``counted`` is the key of a document whose values are counted for the report, and what one of them is called.
    """
    missing = {
        recording: {path: form for path, form in files.items() if options.force or not path.exists()}
        for recording, files in files_of.items()
    }
    to_do = [recording for recording, files in missing.items() if files]
    for recording, files in files_of.items():
        if report.json and not missing[recording]:
            report.line({"path": recording.path, "results": list(map(str, files)), "skipped": True})
    key, noun = counted
    for done, (recording, document) in enumerate(documents(to_do, compute, report)):
        for path, form in missing[recording].items():
            state = (
                f"{done} of {plural(len(to_do), 'recording')} are done; the same command goes on from there."
            )
            write_result(path, form.content(document), state)
        if report.json:
            results = {"results": list(map(str, files_of[recording])), "skipped": False}
            report.line({"path": recording.path, **results, f"{noun}s": len(document[key])})
        else:
            say(f"{recording.path}: {plural(len(document[key]), noun)}")
    skipped = len(files_of) - len(to_do)
    if skipped:
        typer.echo(
            f"{plural(skipped, 'recording')} skipped, whose results are in {options.output} already; --force makes them again.",
            err=True,
        )


def combine(folder: Path, formats: Sequence[Format], source: Format, expected: Document) -> None:
    """One file of each format for all recordings that have a file of the format ``source`` in the folder."""
    documents = []
    for path in sorted(folder.rglob(f"*{source.suffix}")):
        document = None if path == folder / f"{COMBINED}{source.suffix}" else source.read(path.read_bytes())
        if document is None:
            continue  # a combined file, or another program's
        if {key: document.get(key) for key in expected} != expected:
            raise DataError(
                f"{path} is of another network or other settings, so that the results in {folder} cannot be one file; make it again with --force, "
                "or use another folder."
            )
        documents.append(document)
    for form in formats if documents else ():
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
def exclusive(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold the folder's lock: two runs into one folder go one after the other, and the second skips what the first has written."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
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
            (folder / name).unlink()
        lock.release()
