"""Exporting a network: written to a draft, checked against the network, and only then moved to its target."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.errors import ExportError, PannscopeError
from core.export.archive import write_zip
from core.export.check import ExportJob, OnProgress, Web
from core.export.formats import Exported, known_format
from core.export.writers import WRITERS, refusal
from core.files import already_there, check_output, move_into_place, unwritable
from core.tagging import Tagger
from core.training.data import LabelledClips


def export(
    tagger: Tagger,
    format: str,
    path: str | os.PathLike[str],
    *,
    waveforms: Sequence[npt.NDArray[np.floating]] = (),
    labelled: LabelledClips | None = None,
    half: bool = False,
    web: Web | None = None,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> Exported:
    """Write a network in another format, after its copy has been compared with it on recordings.

    Nothing is written unless every file is complete and the check has passed; a reader sees the old files or the new ones.

    Parameters
    ----------
    tagger : the network; it need not have been saved.
    format : a name of ``FORMATS``.
    path : the file, with the format's suffix. ncnn's ``.bin`` and ``.json`` are written beside its ``.param``.
    waveforms : recordings to check on besides the synthesised ones, (samples,) at 32 kHz; int8 is calibrated on half of them and
        measured on the other half.
    labelled : clips to measure int8's mAP on, with targets of the network's classes.
    half : store float16 (safetensors only).
    web : what ``core.export.web`` returns, for a page beside another network (bundle only).
    force : replace existing files.
    on_progress : called while the copy is compared with the network, with the seconds of audio that are done and those of all
        recordings; an exception that it raises ends the export.

    Raises
    ------
    ExportError
        An unknown format, one that this architecture cannot have, a file that cannot be written, or a copy whose probabilities differ by more than the format allows.

    Examples
    --------
    >>> import tempfile
    >>> from core.tagging import load_tagger
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = export(load_tagger("demo-epanns"), "onnx", f"{folder}/demo.onnx")
    >>> result.max_abs_difference < 1e-4
    True
    """
    form = known_format(format)
    target = Path(path)
    check_export(target, format, force=force)
    if half and format != "safetensors":
        raise ExportError(f"Only safetensors can be stored in half precision; leave it out for {format}.")
    if web is not None and format != "bundle":
        raise ExportError(f"compare.html is part of a bundle; leave it out for {format}.")
    if reason := refusal(format, tagger.model):
        raise ExportError(reason)
    started = time.perf_counter()
    job = ExportJob(
        tagger, tagger.info.training.get("pruning") or None, waveforms, labelled, half, web, on_progress
    )
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
    on_progress: OnProgress | None = None,
) -> tuple[bytes, Exported]:
    """``export`` for a download: the bytes, and the report. Nothing stays on the disk.

    Where a format has several files, the bytes are a zip of them. The report's ``path`` is the name for the download, and ``files``
    are the names in it.
    """
    with tempfile.TemporaryDirectory(prefix="pannscope-") as folder:
        kind = "-int8" if format == "int8" else ""  # the suffix is that of onnx
        target = Path(folder) / (_file_name(tagger.name) + kind + known_format(format).suffix)
        result = export(tagger, format, target, waveforms=waveforms, half=half, on_progress=on_progress)
        offered = target
        if len(result.files) > 1:
            offered = target.with_name(f"{target.stem}-{format}.zip")
            write_zip(offered, [(file.name, file) for file in result.files])
        names = tuple(Path(file.name) for file in result.files)
        data = offered.read_bytes()
        return data, replace(result, path=Path(offered.name), files=names, size_bytes=len(data))


def _file_name(name: str) -> str:
    """A network's name as a file name: letters, digits, - and _ only, so that a name cannot be a path."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
    return plain.strip("-")[:60] or "network"


def check_export(target: Path, format: str, *, force: bool) -> None:
    """Raise ``ExportError`` for an unknown format or a target that cannot be written, before any work is done for it."""
    check_output(target, known_format(format).suffix, force=force, error=ExportError)


def _publish(folder: Path, target: Path, force: bool) -> tuple[Path, ...]:
    """Move the finished files to their targets, all or none; the requested one last."""
    drafts = sorted(folder.iterdir(), key=lambda draft: draft.name == target.name)
    targets = [target.with_name(draft.name) for draft in drafts]
    existing = [file for file in targets if file.exists()]
    if existing and not force:
        raise ExportError(already_there(existing[0]))
    backup = folder / "backup"
    backup.mkdir()
    moved: list[Path] = []
    try:
        if len(targets) > 1:  # a single file is replaced in one step
            for file in existing:
                shutil.copy2(file, backup / file.name)
        for draft, file in zip(drafts, targets, strict=True):
            move_into_place(draft, file)
            moved.append(file)
    except OSError:
        for file in moved:
            with contextlib.suppress(OSError):
                old = backup / file.name
                os.replace(old, file) if old.exists() else file.unlink()
        raise
    return tuple(reversed(targets))
