"""Recordings for learning without labels: decoded once, kept in memory as 16-bit samples, cut into batches on any device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.audio import SAMPLE_RATE, SILENT_PEAK, SUFFIXES, load_clip
from core.classes import audioset
from core.errors import AudioError, DataError
from core.training.data import read_rows, row_labels

_FULL_SCALE = 32_767
LONGEST_SECONDS = 60.0
"""A longer recording is stored as several of one source, so that each part is drawn as often as a short recording."""


class Listed(NamedTuple):
    """A recording before it is decoded: its file, what it was recorded or published with, and its labels, AudioSet indices."""

    path: Path
    source: str
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings in memory, 115 MB an hour.

    Attributes
    ----------
    names, sources : tuple of str
        One a recording; recordings of one source share recordists, rooms and microphones, and are held out together.
    samples : (all samples,) int16
        All waveforms at 32 kHz, one after the other.
    starts, lengths : (recordings,) int64
        Where each lies in ``samples``.
    labels : (recordings, 527) float32
        1 where a recording is labelled with a class.
    labelled : (recordings,) bool
        Which recordings have labels; of the others nothing is known.
    unreadable, silent : tuple of str
        What was left out: "name: reason" of each file that could not be read, names of those without sound.
    """

    names: tuple[str, ...]
    sources: tuple[str, ...]
    samples: Tensor
    starts: Tensor
    lengths: Tensor
    labels: Tensor
    labelled: Tensor
    unreadable: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def hours(self) -> float:
        """Their length together."""
        return float(self.lengths.sum()) / SAMPLE_RATE / 3600

    @classmethod
    def of(cls, waveforms: Iterable[tuple[Listed, npt.NDArray[Any]]]) -> Recordings:
        """Pack waveforms (samples,) at 32 kHz, float32 at full scale ±1 or int16; those over a minute become several recordings.

        Examples
        --------
        >>> tone = np.sin(np.arange(32_000) / 10).astype(np.float32)
        >>> Recordings.of([(Listed(Path("tone.wav"), "lab"), tone)]).lengths
        tensor([32000])
        """
        longest = round(LONGEST_SECONDS * SAMPLE_RATE)
        listed: list[Listed] = []
        parts: list[npt.NDArray[np.int16]] = []
        for entry, waveform in waveforms:
            whole = _as_int16(waveform)
            count = max(1, -(-len(whole) // longest))
            parts.extend(np.array_split(whole, count))
            listed.extend([entry] * count)
        lengths = torch.tensor([len(part) for part in parts], dtype=torch.int64)
        labels = torch.zeros(len(listed), len(audioset()))
        for row, entry in enumerate(listed):
            labels[row, list(entry.labels)] = 1.0
        return cls(
            tuple(entry.path.name for entry in listed),
            tuple(entry.source for entry in listed),
            torch.from_numpy(np.concatenate([*parts, np.zeros(0, np.int16)])),
            torch.cumsum(lengths, 0) - lengths,
            lengths,
            labels,
            labels.any(dim=1),
        )

    def select(self, rows: Sequence[int]) -> Recordings:
        """Some of the recordings; the samples are shared."""
        chosen = torch.tensor(rows, dtype=torch.int64, device=self.starts.device)
        return replace(
            self,
            names=tuple(self.names[row] for row in rows),
            sources=tuple(self.sources[row] for row in rows),
            starts=self.starts[chosen],
            lengths=self.lengths[chosen],
            labels=self.labels[chosen],
            labelled=self.labelled[chosen],
        )

    def to(self, device: torch.device) -> Recordings:
        """The same on another device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("samples", "starts", "lengths", "labels", "labelled")
        }
        return replace(self, **moved)

    def hold_out(self, share: float, seed: int) -> tuple[Recordings, Recordings]:
        """Two parts, the second about ``share`` of the recordings: whole sources, in random order, none of them over half of it.

        Raises ``DataError`` where that leaves one of the parts empty.
        """
        members: dict[str, list[int]] = {}
        for row, source in enumerate(self.sources):
            members.setdefault(source, []).append(row)
        wanted = share * len(self)
        sources = sorted(members)
        held: list[int] = []
        for position in np.random.default_rng(seed).permutation(len(sources)):
            rows = members[sources[position]]
            few = len(rows) <= max(1.0, wanted / 2)  # one large source would be the whole held-out part
            if few and len(held) + len(rows) <= max(1.0, 1.2 * wanted) and len(held) < wanted:
                held.extend(rows)
        kept = sorted(set(range(len(self))) - set(held))
        if not kept or not held:
            raise DataError(
                f"{share:g} of the recordings cannot be held out: they come from {len(sources)} source(s), and a source is held "
                "out as a whole. Give recordings of more sources, a column 'source' in the manifest, or --held-out 0."
            )
        return self.select(kept), self.select(sorted(held))

    def waveform(self, row: int) -> Tensor:
        """One recording, (samples,) float32 at full scale ±1."""
        start, length = int(self.starts[row]), int(self.lengths[row])
        return self.samples[start : start + length].float() / _FULL_SCALE

    def digest(self) -> str:
        """sha256 of the names, lengths, samples and labels: the identity of a training set."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for tensor in (self.lengths, self.labels):
            digest.update(tensor.cpu().numpy().tobytes())
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            digest.update(self.samples[start : start + length : 97].cpu().numpy().tobytes())
        return digest.hexdigest()


def list_folder(folder: Path) -> list[Listed]:
    """The recordings of a folder and those below it, by name; a recording's source is the folder that it lies in, or itself at the top.

    Raises ``DataError`` where there is no such folder, or none in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder of the recordings as --audio.")
    files = sorted(
        Path(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in SUFFIXES
    )
    if not files:
        raise DataError(
            f"There is no recording in {folder}; its files have to end in one of {', '.join(sorted(SUFFIXES))}."
        )
    return [Listed(file, str(file if file.parent == folder else file.parent)) for file in files]


def list_manifest(manifest: Path, folder: Path, folds: Sequence[str] | None = None) -> list[Listed]:
    """The recordings of a CSV file: ``filename`` relative to the folder, and optionally ``source``, ``labels`` and ``fold``.

    Parameters
    ----------
    manifest : CSV file in UTF-8. Labels are AudioSet display names separated by ``;``.
    folder : what file names are relative to.
    folds : use only these, and the rows that have none.

    Raises
    ------
    DataError
        The file cannot be read, lacks the column, lists nothing, or has an unknown label or fold.
    """
    rows = read_rows(manifest)
    by_name = {entry.name: entry.index for entry in audioset()}
    known = {row["fold"].strip() for row in rows if (row.get("fold") or "").strip()}
    for fold in folds or ():
        if known and fold not in known:
            raise DataError(
                f"The manifest has no fold {fold!r}; its folds are {', '.join(sorted(known)) or 'none'}."
            )
    listed = []
    for number, row in enumerate(rows, start=2):
        fold = (row.get("fold") or "").strip()
        if folds is not None and fold and fold not in folds:
            continue
        labels = row_labels(row, f"{manifest.name}, line {number}", by_name)
        path = folder / (row["filename"] or "")
        source = (row.get("source") or "").strip() or str(path)
        listed.append(Listed(path, source, tuple(labels)))
    return listed


def load_recordings(
    listed: Sequence[Listed], on_progress: Callable[[int, int], None] | None = None
) -> Recordings:
    """Decode recordings. Files that cannot be read and those without sound are left out, and listed in the result.

    Parameters
    ----------
    listed : of ``list_folder`` and ``list_manifest``.
    on_progress : called with (done, total).

    Raises
    ------
    DataError
        None of them can be used; the message says why the first one cannot.
    """
    unreadable: list[str] = []
    silent: list[str] = []

    def decoded() -> Iterable[tuple[Listed, npt.NDArray[np.float32]]]:
        for done, entry in enumerate(listed, start=1):
            try:
                waveform = load_clip(entry.path).waveform
            except AudioError as error:
                unreadable.append(f"{entry.path.name}: {error}")
            else:
                if np.abs(waveform).max() > SILENT_PEAK:
                    yield entry, waveform
                else:
                    silent.append(entry.path.name)
            if on_progress:
                on_progress(done, len(listed))

    recordings = Recordings.of(decoded())
    if not len(recordings):
        why = f"the first reason: {unreadable[0]}" if unreadable else "all are silent"
        raise DataError(f"None of the {len(listed)} recordings can be learned from; {why}")
    return replace(recordings, unreadable=tuple(unreadable), silent=tuple(silent))


def _as_int16(waveform: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    if waveform.dtype == np.int16:
        return waveform
    return np.clip(np.round(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE).astype(np.int16)
