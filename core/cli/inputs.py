"""What commands take as recordings: files, folders with what is below them, and ``-`` for standard input."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from core.errors import DataError
from core.files import files_below

RecordingsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="Recordings: WAV, W64, AIFF, AU, CAF, FLAC, OGG, Opus, MP3, AAC, M4A, MP4, MOV, 3GP, Matroska, WebM; folders with "
        "those below them; or - for standard input.",
    ),
]

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Input:
    """One recording.

    Attributes
    ----------
    path : str
        As the user gave it; below a folder, that folder's name as given and the way from there.
    file : str
        Inside the folder that was given, with slashes; of a file its name.
    """

    path: str
    file: str

    @property
    def name(self) -> str | None:
        """What messages call it where that is not the last part of its path."""
        return "standard input" if self.path == STANDARD_INPUT else None

    @property
    def size(self) -> int:
        """Bytes, as far as they are known: 0 of a file that is not there, and of standard input."""
        try:
            return os.stat(self.path).st_size
        except (OSError, ValueError):
            return 0

    @property
    def resolved(self) -> str:
        """The same for two paths of one file."""
        try:
            return os.path.realpath(self.path)
        except ValueError:  # of a name that no file can have
            return self.path

    @contextmanager
    def opened(self) -> Iterator[str]:
        """The path of a file to read: standard input is copied into one on disk first, since decoding a recording takes more than one pass."""
        if self.path != STANDARD_INPUT:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
            copy = os.path.join(folder, "recording")
            with open(copy, "wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            yield copy


def find_recordings(given: Sequence[str]) -> list[Input]:
    """The recordings that a command's words name, in their order; in folders those with the suffix of a recording, in the order of the names.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises
    ------
    DataError
        A folder contains no recordings, or cannot be read.
    """
    found: list[Input] = []
    for path in given:
        if not os.path.isdir(path):
            file = "stdin" if path == STANDARD_INPUT else os.path.basename(path)
            found.append(Input(path, file))
            continue
        inside = list(_inside(path))
        if not inside:
            from core.audio import SUFFIXES

            raise DataError(f"The folder {path} contains no recordings ({', '.join(SUFFIXES)}).")
        found += inside
    return found


def _inside(folder: str) -> Iterator[Input]:
    from core.audio import SUFFIXES

    try:
        for path in files_below(folder, SUFFIXES):
            yield Input(path, os.path.relpath(path, folder).replace(os.sep, "/"))
    except OSError as error:
        raise DataError(
            f"The folder {error.filename} cannot be read ({error.strerror}); change its permissions."
        ) from error


def several(given: Sequence[str]) -> bool:
    """Whether these words may name more than one recording: JSON is then one line for each."""
    return len(given) > 1 or any(map(os.path.isdir, given))
