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
