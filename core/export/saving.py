"""Taking a network home: written beside its place, checked against the network, and only then moved there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.checkpoints import load_checkpoint, save_checkpoint
from core.errors import ExportError
from core.export.check import Difference, Job, check_waveforms
from core.export.describe import description
from core.export.formats import FORMATS, Exported, known_format
from core.export.panns import write_panns
from core.tagging import Tagger

Written = tuple[Difference, list[str]]


def export(
    tagger: Tagger,
    format: str,
    path: str | os.PathLike[str],
    *,
    plan: dict[str, Any] | None = None,
    waveforms: Sequence[npt.NDArray[np.floating]] | None = None,
    half: bool = False,
    force: bool = False,
) -> Exported:
    """Write a network in another format, after its copy has been held against it on real input.

    Nothing is left behind unless every file is whole and the check has passed; a reader sees the old files or the new ones.

    Parameters
    ----------
    tagger : the network; a pruned one that was never saved will do.
    format : a name of ``FORMATS``.
    path : the file; its name ends as the format's do.
    plan : document of the plan that the network was pruned by; by default what its notes hold under ``"pruning"``.
    waveforms : recordings to check on besides the synthesised ones, (samples,) at 32 kHz.
    half : store float16 where the format can (safetensors).
    force : replace existing files.

    Raises
    ------
    ExportError
        An unknown format, a name or place that cannot be written, a copy that answers differently.
    """
    form = known_format(format)
    target = Path(path)
    _check_target(target, form.suffix)
    started = time.perf_counter()
    chosen = plan if plan is not None else tagger.info.training.get("pruning")
    job = Job(tagger, chosen, (*check_waveforms(), *(waveforms or ())), half)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}.") as folder:
            draft = Path(folder) / target.name
            difference, notes = _WRITERS[format](job, draft)
            files = _publish(Path(folder), target, force)
    except OSError as error:
        raise ExportError(
            f"{target} cannot be written: {error.strerror or error}; check its folder and the free space."
        ) from error
    return Exported(
        path=target,
        files=files,
        format=format,
        max_abs_difference=difference.largest,
        clips=difference.clips,
        audio_seconds=difference.audio_seconds,
        size_bytes=sum(file.stat().st_size for file in files),
        seconds=time.perf_counter() - started,
        notes=tuple(notes),
    )


def export_bytes(
    tagger: Tagger,
    format: str,
    *,
    plan: dict[str, Any] | None = None,
    waveforms: Sequence[npt.NDArray[np.floating]] | None = None,
    half: bool = False,
) -> tuple[bytes, Exported]:
    """The same for a download: the file's bytes (a zip of the files where a format has several), nothing kept on disk."""
    with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
        name = _file_name(tagger.name) + known_format(format).suffix
        done = export(tagger, format, Path(folder) / name, plan=plan, waveforms=waveforms, half=half)
        return done.path.read_bytes(), done


def _file_name(name: str) -> str:
    """A network's name as a file's: nothing that a user wrote becomes a path."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    return plain.strip("-")[:60] or "network"


def _write_safetensors(job: Job, draft: Path) -> Written:
    info = job.tagger.info

    def save(notes: dict[str, Any]) -> None:
        save_checkpoint(
            draft,
            job.tagger.model,
            classes=job.tagger.classes,
            name=info.name,
            kept=info.kept,
            training={**info.training, **({"pruning": job.plan} if job.plan else {}), **notes},
            half=job.half,
        )

    save({})
    copy = load_checkpoint(draft).model.probabilities
    if job.half:
        difference = job.difference(copy)
        notes = [f"Stored in float16: it differs by up to {difference.largest:.2g} in a probability."]
    else:
        difference, notes = job.verified(copy, FORMATS["safetensors"]), []
    save({"export": {"from_sha256": info.sha256, "half": job.half, **vars(difference)}})
    return difference, notes


def _write_panns(job: Job, draft: Path) -> Written:
    return write_panns(job, draft, lambda difference: description(job, difference))


_WRITERS: dict[str, Callable[[Job, Path], Written]] = {
    "safetensors": _write_safetensors,
    "panns": _write_panns,
}


def _check_target(target: Path, suffix: str) -> None:
    if target.suffix != suffix:
        raise ExportError(
            f"A file of this format ends in {suffix}; got {target.name!r}: name it {target.stem}{suffix}."
        )
    if not target.parent.is_dir():
        raise ExportError(f"The folder {target.parent} does not exist; make it first.")
    if target.is_dir() or not os.access(target.parent, os.W_OK):
        raise ExportError(f"{target} cannot be written; give a file in a folder you may write to.")


def _publish(folder: Path, target: Path, force: bool) -> tuple[Path, ...]:
    """Move the finished files to their place, all or none; the one that was asked for last."""
    drafts = sorted(folder.iterdir(), key=lambda draft: draft.name == target.name)
    places = [target.with_name(draft.name) for draft in drafts]
    taken = [place for place in places if place.exists()]
    if taken and not force:
        raise ExportError(f"{taken[0]} exists already; choose another name, or replace it (--force).")
    before = folder / "before"
    before.mkdir()
    moved: list[Path] = []
    try:
        for place in taken:
            shutil.copy2(place, before / place.name) if len(places) > 1 else None
        for draft, place in zip(drafts, places, strict=True):
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(draft, place)
            moved.append(place)
    except OSError:
        for place in moved:
            with contextlib.suppress(OSError):
                kept = before / place.name
                os.replace(kept, place) if kept.exists() else place.unlink()
        raise
    return tuple(reversed(places))
