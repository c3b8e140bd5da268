"""The errors that Pannscope raises on purpose.

Each message is one line that says what was given, what is accepted and what to do about it. The command line prints it
and exits 2, a page shows it in place; neither ever shows a traceback for one of these.
"""

from __future__ import annotations


class PannscopeError(Exception):
    """Base of every error that a user can cause and fix."""


class SettingsError(PannscopeError):
    """An environment variable of Pannscope's has a value that is not accepted."""


class AudioError(PannscopeError):
    """A recording cannot be read, or is not audio that a tagger accepts."""


class ModelError(PannscopeError):
    """An architecture, a width or a class set is not one that Pannscope knows."""


class CheckpointError(PannscopeError):
    """A checkpoint file is missing, damaged, unsafe or of another architecture than stated."""


class DownloadError(CheckpointError):
    """A checkpoint could not be downloaded, or what arrived is not what the record lists."""


class PruningError(PannscopeError):
    """A pruning ratio, layer range, criterion or plan is impossible for this network."""


class DataError(PannscopeError):
    """A manifest of labelled clips, or the folder it points to, cannot be used for training or evaluation."""


class ExportError(PannscopeError):
    """A network cannot be exported: an unknown format, a file that cannot be written, or a copy whose output differs."""


def one_line(text: object) -> str:
    """What another library or a file says, as one printable line of at most 300 characters: part of a message of ours.

    Parameters
    ----------
    text : str, or an error, of which the message is taken, or the class where it has none.

    Examples
    --------
    >>> one_line("Invalid\\n  header:\\x1b[31m 7")
    'Invalid header: [31m 7'
    >>> one_line(KeyError())
    'KeyError'
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in str(text)[:1000])
    return " ".join(printable.split())[:300] or type(text).__name__
