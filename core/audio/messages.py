"""How the errors of this package are worded: what was given, what is wrong with it, what to do, in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from core.audio.formats import ACCEPTED
from core.errors import AudioError

MAX_NAME = 120  # characters of a file name that fit into a message or a table

GIVE_RECORDING = f"Give a recording as {ACCEPTED}."
GIVE_WHOLE = "Copy or upload the whole file again."
GIVE_SHORTER = "Cut a shorter part out of it."
CONVERT = "Convert it to 16-bit PCM WAV or FLAC."


def display_name(name: str) -> str:
    """The last part of a file name, in one printable line, for messages and tables; never used as a path."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(letter if letter.isprintable() else " " for letter in last)
    shown = " ".join(printable.split())
    if len(shown) > MAX_NAME:
        shown = f"{shown[: MAX_NAME - 10]}…{shown[-9:]}"
    return shown or "recording"


def audio_error(name: str, problem: str, remedy: str = GIVE_RECORDING) -> AudioError:
    """The error for a file that is not accepted, as in ``"a.wav" is empty (0 bytes). Give …``."""
    return AudioError(" ".join(f'"{name}" {problem}. {remedy}'.split()))


def truncated_error(name: str, held_s: float, declared_s: float) -> AudioError:
    """The error for a file that ends before its header says."""
    problem = f"is truncated: its header declares {declared_s:.2f} s and it holds {held_s:.2f} s"
    return audio_error(name, problem, GIVE_WHOLE)


def damaged_error(name: str, held_s: float, declared_s: float | None = None) -> AudioError:
    """The error for a file whose decoding failed after ``held_s`` seconds."""
    of = "" if declared_s is None else f" of {declared_s:.2f} s"
    problem = f"is damaged or truncated: decoding stopped after {held_s:.2f} s{of}"
    return audio_error(name, problem, GIVE_WHOLE)


@contextlib.contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Turn the system's errors while a recording is read into ``AudioError``."""
    try:
        yield
    except OSError as error:
        raise audio_error(
            name, f"cannot be read ({error.strerror or error})", "Copy it and try again."
        ) from error
    except MemoryError:
        raise audio_error(name, "does not fit into this machine's memory", GIVE_SHORTER) from None
