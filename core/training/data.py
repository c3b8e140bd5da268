"""Labelled clips for training and evaluation: a manifest CSV and a folder of recordings.

The manifest has a header and one row per clip. ``filename`` (relative to the folder) and ``labels`` (AudioSet display names
separated by ``;``; ``audioset_labels`` is accepted too) are required, ``fold`` is optional. A network of scenes has one label a clip, of any
name.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from core.audio import Channel, load_clip
from core.classes import ClassSet, audioset
from core.errors import DataError
from core.models.registry import Architecture
from core.windows import fitted

_LABEL_COLUMNS = ("labels", "audioset_labels")


@dataclass(frozen=True, eq=False)
class LabelledClips:
    """Recordings and their labels.

    Attributes
    ----------
    paths : tuple of Path
        One file per clip.
    targets : (clips, classes) float32
        1 where the clip is labelled with the class.
    classes : ClassSet
        The classes of the columns.
    folds : tuple of str
        The manifest's fold of each clip, "" where it has none.
    channel : int, "mean" or "loudest"
        What is used of recordings with several channels, as ``load_clip`` has it.
    """

    paths: tuple[Path, ...]
    targets: np.ndarray
    classes: ClassSet
    folds: tuple[str, ...]
    channel: Channel = "mean"

    def __len__(self) -> int:
        return len(self.paths)

    def waveform(self, index: int) -> np.ndarray:
        """The recording at ``index``, (samples,) float32 at 32 kHz. Raises ``AudioError``."""
        return load_clip(self.paths[index], channel=self.channel).waveform

    def window(self, index: int, samples: int, entry: Architecture) -> Tensor:
        """The first ``samples`` at 32 kHz of a recording, padded with silence, as an architecture takes them: (1, samples at its rate)."""
        waveform = self.waveform(index)[:samples]
        return fitted(np.pad(waveform, (0, samples - len(waveform))), entry)

    def single_labels(self) -> np.ndarray:
        """The one class of every clip, (clips,) int; raises ``DataError`` that names the first clip with none or several."""
        counts = (self.targets > 0).sum(axis=1)
        for path, count in zip(self.paths, counts, strict=True):
            if count != 1:
                raise DataError(
                    f"{path.name} is labelled with {count or 'none'} of this model's classes; a network of scenes needs exactly one a clip."
                )
        return np.asarray(self.targets.argmax(axis=1))

    def digest(self) -> str:
        """sha256 of the file names, their labels and a channel other than the mean: the identity of a training set."""
        digest = hashlib.sha256("\n".join(path.name for path in self.paths).encode())
        digest.update(np.packbits(self.targets > 0).tobytes() + str(self.classes.indices).encode())
        if self.channel != "mean":
            digest.update(f"channel {self.channel}".encode())
        return digest.hexdigest()

    def select(self, folds: Sequence[str]) -> LabelledClips:
        """The clips of some folds; raises ``DataError`` with the known folds for an unknown one."""
        known = sorted(set(self.folds))
        unknown = [fold for fold in folds if fold not in known]
        if unknown:
            raise DataError(
                f"The manifest has no fold {unknown[0]!r}; its folds are {', '.join(known) or 'none'}."
            )
        rows = [row for row, fold in enumerate(self.folds) if fold in folds]
        return replace(
            self,
            paths=tuple(self.paths[row] for row in rows),
            targets=self.targets[rows],
            folds=tuple(self.folds[row] for row in rows),
        )


def read_manifest(
    manifest: Path,
    audio: Path,
    classes: ClassSet | None = None,
    *,
    channel: Channel = "mean",
    own: bool = False,
) -> LabelledClips:
    """Read a manifest and check it against the folder before anything is decoded.

    Parameters
    ----------
    manifest : CSV file.
    audio : folder that the file names are relative to.
    classes : the columns of the targets, in this order; labels outside of them are ignored. By default every class that
        the manifest uses, in AudioSet's order.
    channel : what to use of recordings with several channels.
    own : without ``classes``, take every label that the manifest uses as a class, in alphabetical order, whether AudioSet has it or not.

    Raises
    ------
    DataError
        If the file cannot be read, a column, a label or a recording is missing, or no clip carries a wanted label.
    """
    rows = read_rows(manifest, labelled=True)
    by_name = {entry.name: entry.index for entry in audioset()}
    if classes is not None:
        by_name |= dict(zip(classes.names, classes.indices, strict=True))
    elif own and (used := sorted({name for row in rows for name in _names(row)})):
        classes = ClassSet.named(used)
        by_name |= dict(zip(used, classes.indices, strict=True))
    paths, labels, folds = [], [], []
    for number, row in enumerate(rows, start=2):
        path = audio / (row["filename"] or "")
        line = f"{manifest.name}, line {number}"
        if not row["filename"] or not path.is_file():
            raise DataError(
                f"{line}: {row['filename']!r} is not a file in {audio}. "
                "File names are relative to the folder given as --audio."
            )
        paths.append(path)
        labels.append(row_labels(row, line, by_name))
        folds.append((row.get("fold") or "").strip())
    if classes is None:
        if not any(labels):
            raise DataError(f"{manifest.name} labels no clip; there is nothing to train on.")
        classes = ClassSet(tuple(sorted({index for indices in labels for index in indices})))
    column = {index: position for position, index in enumerate(classes.indices)}
    targets = np.zeros((len(paths), len(classes)), np.float32)
    for target, indices in zip(targets, labels, strict=True):
        target[[column[index] for index in indices if index in column]] = 1.0
    if not targets.any():
        raise DataError(
            f"{manifest.name} labels no clip with a class of this model; there is nothing to train on or score."
        )
    return LabelledClips(tuple(paths), targets, classes, tuple(folds), channel)


def read_rows(manifest: Path, *, labelled: bool = False) -> list[dict[str, str]]:
    """The rows of a manifest, of which every one has ``filename``, and a column of labels where ``labelled``.

    Raises ``DataError`` for a file that cannot be read, a missing column, or no rows.
    """
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The manifest {manifest} cannot be read ({error}); give a CSV file in UTF-8."
        ) from error
    if "filename" not in columns or (labelled and not any(column in columns for column in _LABEL_COLUMNS)):
        needed = (
            "are 'filename' and 'labels' (AudioSet display names separated by ';'), and 'fold' where folds are used"
            if labelled
            else "is 'filename', and optional are 'source', 'labels' and 'fold'"
        )
        raise DataError(f"{manifest.name} has the columns {', '.join(columns) or 'none'}; needed {needed}.")
    if not rows:
        raise DataError(f"{manifest.name} lists no clips; give one row per clip.")
    return rows


def _names(row: Mapping[str, str]) -> list[str]:
    text = next((row[column] for column in _LABEL_COLUMNS if row.get(column)), "")
    return [name.strip() for name in text.split(";") if name.strip()]


def row_labels(row: Mapping[str, str], line: str, by_name: Mapping[str, int]) -> list[int]:
    """The class indices that a row is labelled with; ``line`` says where it stands, for the ``DataError`` of an unknown name."""
    names = _names(row)
    for name in names:
        if name not in by_name:
            raise DataError(
                f"{line}: {name!r} is not an AudioSet class. Labels are AudioSet display names, or the model's classes, separated by ';'."
            )
    return [by_name[name] for name in names]


class BalancedSampler:
    """Samples clips so that every class occurs equally often, as the published recipe does.

    A shuffled queue of class indices decides the class, and each class has a shuffled queue of its clips; a queue that has
    run out is shuffled again (audioset_tagging_cnn, ``utils/data_generator.py``, line 175). Classes without clips are
    left out.
    """

    def __init__(self, targets: np.ndarray, generator: np.random.Generator) -> None:
        self._generator = generator
        self._members = {
            c: np.flatnonzero(targets[:, c]).tolist() for c in range(targets.shape[1]) if targets[:, c].any()
        }
        self._class_queue: list[int] = []
        self._clip_queues: dict[int, list[int]] = {c: [] for c in self._members}

    def draw(self, count: int) -> list[int]:
        """Indices of the next ``count`` clips."""
        return [self._next() for _ in range(count)]

    def _next(self) -> int:
        if not self._class_queue:
            self._class_queue = self._shuffled(list(self._members))
        chosen = self._class_queue.pop()
        if not self._clip_queues[chosen]:
            self._clip_queues[chosen] = self._shuffled(self._members[chosen])
        return self._clip_queues[chosen].pop()

    def _shuffled(self, items: list[int]) -> list[int]:
        return [items[position] for position in self._generator.permutation(len(items))]

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs to resume exactly here (the generator's state is the caller's)."""
        return {
            "classes": self._class_queue,
            "clips": {str(c): queue for c, queue in self._clip_queues.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume where ``state`` was taken."""
        self._class_queue = list(state["classes"])
        self._clip_queues = {int(c): list(queue) for c, queue in state["clips"].items()}
