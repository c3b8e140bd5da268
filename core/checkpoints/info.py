"""The description of a checkpoint, and its form in the metadata of Pannscope's own files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.classes import ClassSet
from core.errors import CheckpointError, ModelError
from core.models.network import Network
from core.models.registry import architecture

KEY = "pannscope"
"""The entry of a safetensors file's metadata that holds ours, as JSON."""

FORMAT = 1
"""Version of the metadata; a file of another version is refused rather than guessed at."""

MAX_NAME = 120

NUMBERED = "Its outputs have no class names in the file, so that they are numbered."
"""The note of a checkpoint whose classes nothing names."""


@dataclass(frozen=True)
class CheckpointInfo:
    """A checkpoint without its weights.

    Attributes
    ----------
    name : the manifest's name, or the one that the file was saved under.
    architecture, widths, embedding : what to build.
    classes : the outputs, in order.
    kept : layer -> the filters that pruning kept, as indices into the unpruned layer, ascending; empty if unpruned.
    training : the training's notes (commands, seeds, figures); of any form, and unverified.
    sha256, size_bytes, path : the file.
    notes : what was skipped in the file, and what was assumed where it does not say, in sentences.
    """

    name: str
    architecture: str
    widths: tuple[int, ...]
    embedding: int
    classes: ClassSet
    kept: dict[str, list[int]] = field(hash=False)
    training: dict[str, Any] = field(hash=False)
    sha256: str
    size_bytes: int
    path: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the network, in eval mode, and its description."""

    model: Network
    info: CheckpointInfo


@dataclass(frozen=True)
class Metadata:
    """The part of ``CheckpointInfo`` that our files carry in their head, as JSON."""

    name: str
    architecture: str
    widths: tuple[int, ...]
    embedding: int
    classes: ClassSet
    kept: dict[str, list[int]]
    training: dict[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _title(self.name))
        layers = architecture(self.architecture).layers
        if len(self.widths) != len(layers):
            raise CheckpointError(
                f"has {len(self.widths)} widths for the {len(layers)} layers of {self.architecture}"
            )
        for layer, kept in self.kept.items():
            if layer not in layers:
                raise CheckpointError(
                    f"lists kept filters of {layer!r}; {self.architecture} has {', '.join(layers)}"
                )
            width = self.widths[layers.index(layer)]
            if len(kept) != width or sorted(set(kept)) != kept or min(kept, default=0) < 0:
                raise CheckpointError(
                    f"lists kept filters of {layer} that do not fit its {width} filters; they are ascending indices, one a "
                    "filter"
                )

    def encode(self) -> dict[str, str]:
        """As a safetensors file's metadata: one entry, because the library writes several in random order."""
        values = {
            "format": FORMAT,
            "name": self.name,
            "architecture": self.architecture,
            "widths": list(self.widths),
            "embedding": self.embedding,
            "classes": list(self.classes.names if self.classes.own else self.classes.indices),
            "kept": self.kept,
            "training": self.training,
        }
        try:
            return {KEY: json.dumps(values, allow_nan=False)}
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"A checkpoint's training notes are plain JSON (text, finite numbers, lists, objects): {error}."
            ) from error

    @classmethod
    def decode(cls, text: str) -> Metadata:
        """Read it back; the error's message lacks its subject, the file's name."""
        try:
            values = json.loads(text)
            version = values["format"]
            if version != FORMAT:
                raise CheckpointError(
                    f"has format {str(version)[:20]!r} and this Pannscope reads {FORMAT}; update Pannscope, or save it again"
                )
            return cls(
                name=_text(values["name"]),
                architecture=_text(values["architecture"]),
                widths=_indices(values["widths"]),
                embedding=_indices([values["embedding"]])[0],
                classes=_classes(values["classes"]),
                kept={layer: list(_indices(kept)) for layer, kept in dict(values["kept"]).items()},
                training=_training(values["training"]),
            )
        except ModelError as error:
            raise CheckpointError(
                f"describes a network that cannot be built: {str(error).rstrip('.')}"
            ) from error
        except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
            raise CheckpointError(
                f"has damaged metadata ({type(error).__name__}: {str(error)[:80]})"
            ) from error


def _title(name: str) -> str:
    """A file's own name for itself, in one printable line: it is written to terminals and pages."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    return " ".join(printable.split())[:MAX_NAME] or "checkpoint"


def _classes(values: Any) -> ClassSet:
    """AudioSet's indices, or display names."""
    names = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return ClassSet.named(values) if names else ClassSet(_indices(values))


def _training(values: Any) -> dict[str, Any]:
    notes = dict(values)
    for key in ("pruning", "repair"):  # those that Pannscope reads again
        if not isinstance(notes.get(key), dict | None):
            raise ValueError(f"{key} is not an object")
    return notes


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text expected")
    return value


def _indices(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(
        type(value) is int and 0 <= value < 1 << 31 for value in values
    ):
        raise ValueError("whole numbers expected")
    return tuple(values)
