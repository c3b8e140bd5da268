"""Taking a network home: written beside its place, checked against the network, and only then moved there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import ExportError, PannscopeError
from core.export.archive import write_zip
from core.export.check import Job
from core.export.formats import Exported, known_format
from core.export.writers import WRITERS
from core.files import already_there, check_output, move_into_place, unwritable
from core.tagging import Tagger
from core.training.data import LabelledClips


def export(
    tagger: Tagger,
    format: str,
    path: str | os.PathLike[str],
    *,
    plan: dict[str, Any] | None = None,
    waveforms: Sequence[npt.NDArray[np.floating]] = (),
    labelled: LabelledClips | None = None,
    half: bool = False,
    force: bool = False,
) -> Exported:
    """Write a network in another format, after its copy has been held against it on real input.

    Nothing is left behind unless every file is whole and the check has passed; a reader sees the old files or the new ones.

    Parameters
    ----------
    tagger : the network; a pruned one that was never saved will do.
    format : a name of ``FORMATS``.
    path : the file; its name ends as the format's do. ncnn's ``.bin`` and ``.json`` are written beside its ``.param``.
    plan : document of the plan that the network was pruned by, beside what its notes hold under ``"pruning"``.
    waveforms : recordings to check on besides the synthesised ones, (samples,) at 32 kHz; int8 sets its ranges by half of
        them and is measured on the other half.
    labelled : clips to state int8's mAP on, with targets of the network's classes.
    half : store float16 (safetensors only).
    force : replace existing files.

    Raises
    ------
    ExportError
        An unknown format, a name or place that cannot be written, a copy that answers differently.
    """
    form = known_format(format)
    target = Path(path)
    check_target(target, format, force)
    if half and format != "safetensors":
        raise ExportError(f"Only safetensors can be stored in half precision; leave it out for {format}.")
    started = time.perf_counter()
    pruning = {**tagger.info.training.get("pruning", {}), **(plan or {})} or None
    job = Job(tagger, pruning, waveforms, labelled, half)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.stem}.") as folder:
            written = WRITERS[format](job, Path(folder) / target.name)
            files = _publish(Path(folder), target, force)
    except PannscopeError:
        raise
    except OSError as error:
        raise ExportError(unwritable(target, error)) from error
    return Exported(
        path=target,
        files=files,
        format=form.name,
        max_abs_difference=written.difference.largest,
        clips=written.difference.clips,
        audio_seconds=written.difference.audio_seconds,
        size_bytes=sum(file.stat().st_size for file in files),
        seconds=time.perf_counter() - started,
        notes=tuple(written.notes),
        measured=written.measured,
    )


def export_bytes(
    tagger: Tagger,
    format: str,
    *,
    waveforms: Sequence[npt.NDArray[np.floating]] = (),
    half: bool = False,
) -> tuple[bytes, Exported]:
    """The same for a download: the bytes, and what was found. Nothing stays on the disk.

    Where a format has several files, the bytes are a zip of them. ``path`` is the name to offer, and ``files`` what is in it.
    """
    with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
        kind = "-int8" if format == "int8" else ""  # or two formats would offer the same name
        target = Path(folder) / (_file_name(tagger.name) + kind + known_format(format).suffix)
        done = export(tagger, format, target, waveforms=waveforms, half=half)
        offered = target
        if len(done.files) > 1:
            offered = target.with_name(f"{target.stem}-{format}.zip")
            write_zip(offered, [(file.name, file) for file in done.files])
        names = tuple(Path(file.name) for file in done.files)
        data = offered.read_bytes()
        return data, replace(done, path=Path(offered.name), files=names, size_bytes=len(data))


def _file_name(name: str) -> str:
    """A network's name as a file's: nothing that a user wrote becomes a path."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    return plain.strip("-")[:60] or "network"


def check_target(target: Path, format: str, force: bool = False) -> None:
    """Refuse a place that cannot be written before any work is done for it. Raises ``ExportError``."""
    check_output(target, known_format(format).suffix, force=force, error=ExportError)


def _publish(folder: Path, target: Path, force: bool) -> tuple[Path, ...]:
    """Move the finished files to their place, all or none; the one that was asked for last."""
    drafts = sorted(folder.iterdir(), key=lambda draft: draft.name == target.name)
    places = [target.with_name(draft.name) for draft in drafts]
    taken = [place for place in places if place.exists()]
    if taken and not force:
        raise ExportError(already_there(taken[0]))
    before = folder / "before"
    before.mkdir()
    moved: list[Path] = []
    try:
        if len(places) > 1:  # one file is replaced in one step, or not at all
            for place in taken:
                shutil.copy2(place, before / place.name)
        for draft, place in zip(drafts, places, strict=True):
            move_into_place(draft, place)
            moved.append(place)
    except OSError:
        for place in moved:
            with contextlib.suppress(OSError):
                kept = before / place.name
                os.replace(kept, place) if kept.exists() else place.unlink()
        raise
    return tuple(reversed(places))
