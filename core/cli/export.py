"""``export``: a network as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    MaxSecondsOption,
    ModelOption,
    print_json,
    say,
    tagger_from,
)
from core.errors import DataError, ExportError

if TYPE_CHECKING:
    import numpy as np

    from core.export.formats import Exported


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("export")(export_command)


def export_command(
    *,
    form: Annotated[
        str,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="bundle, onnx, ncnn, int8, safetensors or panns."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file; it ends in .zip, .onnx, .param, .onnx, .safetensors or .pt.",
        ),
    ],
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    clips: Annotated[
        list[Path] | None,
        typer.Option(
            "--clips",
            metavar="FILE|DIR",
            help="Recordings to check the copy on as well; may be given again. int8 also sets its ranges by half of them.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="CSV", help="int8: labelled clips to state the mAP on."),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", metavar="FOLDER", help="The folder of the manifest's recordings."),
    ] = None,
    max_seconds: MaxSecondsOption = 600.0,
    half: Annotated[bool, typer.Option("--half", help="safetensors: store float16, half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a network for other programs, checked against it first.

    The copy is run beside the network on real input; a copy that answers differently is not written.
    """
    from core.export import export
    from core.export.formats import known_format
    from core.export.saving import check_target
    from core.training.data import read_manifest

    known_format(form)
    if (manifest is None) != (audio is None):
        raise DataError("--manifest and --audio belong together; give both, or neither.")
    if manifest is not None and form != "int8":
        raise ExportError(
            f"--manifest states the mAP of int8, the one format that loses some; leave it out for {form}."
        )
    check_target(out, form, force)
    tagger = tagger_from(model, checkpoint, architecture)
    labelled = None if manifest is None or audio is None else read_manifest(manifest, audio, tagger.classes)
    done = export(
        tagger,
        form,
        out,
        waveforms=_waveforms(clips or [], max_seconds),
        labelled=labelled,
        half=half,
        force=force,
    )
    if json_output:
        print_json(done.document())
    else:
        _print_export(done)


def _waveforms(clips: list[Path], max_seconds: float) -> list[np.ndarray]:
    """The recordings, and those in the folders in the order of their names (files that begin with a dot left out)."""
    from core.audio import load_clip

    files: list[Path] = []
    for clip in clips:
        inside = sorted(file for file in clip.iterdir() if file.is_file()) if clip.is_dir() else [clip]
        found = [file for file in inside if not file.name.startswith(".")] if clip.is_dir() else inside
        if not found:
            raise DataError(f"The folder {clip} holds no files; give recordings, or a folder of them.")
        files += found
    return [load_clip(file, max_seconds=max_seconds).waveform for file in files]


def _print_export(done: Exported) -> None:
    for file in done.files:
        say(f"{file} ({file.stat().st_size / 1e6:.1f} MB)")
    say(
        f"On {done.clips} recordings ({done.audio_seconds:.0f} s) its probabilities are within {done.max_abs_difference:.2g} "
        "of the network's."
    )
    for note in done.notes:
        say(note)
