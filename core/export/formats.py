"""The export formats, and the report of a finished export."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from core.errors import ExportError


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes
    ----------
    name : as typed on the command line.
    suffix : how its file's name ends.
    title : as a page shows it.
    about : what it is for, in one sentence.
    tolerance : the largest accepted difference of a probability; None where the format is not exact and its loss is reported
        instead.
    """

    name: str
    suffix: str
    title: str
    about: str
    tolerance: float | None


TOLERANCE = 1e-4
"""Largest accepted difference of a probability. Float32 arithmetic in another order differs by at most 4e-6 (docs/export.md); a
wrong weight, axis or padding differs by more than this on any recording."""

FORMATS = {
    known.name: known
    for known in (
        Format(
            "bundle",
            ".zip",
            "Bundle",
            "Everything to tag with elsewhere: the ONNX model, its classes, plan, model card and a short script.",
            TOLERANCE,
        ),
        Format(
            "onnx",
            ".onnx",
            "ONNX",
            "Waveform to tags, any length and batch, for onnxruntime and whatever else reads ONNX.",
            TOLERANCE,
        ),
        Format(
            "ncnn",
            ".param",
            "ncnn",
            "Log-mel to tags, for phones and small boards: a list of layers and a file of weights.",
            TOLERANCE,
        ),
        Format(
            "int8",
            ".onnx",
            "ONNX, 8 bit",
            "A quarter of the size; probabilities change a little, and the change is measured and reported.",
            None,
        ),
        Format(
            "safetensors",
            ".safetensors",
            "Pannscope",
            "Pannscope's own file: to compare, prune and fine-tune it further.",
            TOLERANCE,
        ),
        Format(
            "panns",
            ".pt",
            "PANNs",
            "A state dict for the authors' PyTorch code (panns_inference, E-PANNs), frozen front end included.",
            TOLERANCE,
        ),
    )
}


def known_format(name: str) -> Format:
    """Look up a format by name; raises ``ExportError`` that lists the known ones."""
    try:
        return FORMATS[name]
    except KeyError:
        close = get_close_matches(name, FORMATS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ExportError(f"Unknown format {name!r}; give one of {', '.join(FORMATS)}.{hint}") from None


@dataclass(frozen=True)
class Exported:
    """One finished export.

    Attributes
    ----------
    path, files : the requested file, and every file that was written (ncnn has three).
    format : a name of ``FORMATS``.
    max_abs_difference : the largest difference of a probability between the network and its copy, over all classes and
        ``clips`` waveforms of ``audio_seconds`` in all, both run on this machine.
    size_bytes : of all files.
    seconds : time taken by writing and checking.
    notes : remarks in plain sentences.
    measured : further measurements (int8: its loss), plain JSON.
    """

    path: Path
    files: tuple[Path, ...]
    format: str
    max_abs_difference: float
    clips: int
    audio_seconds: float
    size_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()
    measured: dict[str, Any] = field(default_factory=dict, hash=False)

    def document(self) -> dict[str, Any]:
        """What ``pannscope export --json`` prints."""
        return vars(self) | {
            "path": str(self.path),
            "files": [str(file) for file in self.files],
            "notes": list(self.notes),
        }
