"""The formats a network can be taken home in, and what an export says of itself."""

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
    tolerance : the largest difference of a probability that passes; None where the format is not exact and its loss is
        stated instead.
    """

    name: str
    suffix: str
    title: str
    about: str
    tolerance: float | None


TOLERANCE = 1e-4
"""Largest difference of a probability that passes. Float32 arithmetic in another order makes 4e-6 at most on the shared clips
(docs/take-home.md); a wrong weight, axis or padding makes more than this on any of them."""

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
            "A quarter of the size; probabilities change a little, and by how much is measured and stated.",
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
    """Look a format up by name; raises ``ExportError`` that names the known ones."""
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
    path, files : the file that was asked for, and every file that was written (ncnn has three).
    format : a name of ``FORMATS``.
    max_abs_difference : the largest difference of a probability between the network and its copy, over all classes and
        ``clips`` waveforms of ``audio_seconds`` in all, both run on this machine.
    size_bytes : of all files.
    seconds : time that writing and checking took.
    notes : what to know, in plain sentences.
    measured : further figures (int8: its loss), plain JSON.
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
