"""``export``: a network as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.calibration import recordings
from core.cli.options import (
    ChannelOption,
    ForceOption,
    JsonOption,
    MaxSecondsOption,
    NetworkOptions,
    channel_of,
    grouped,
)
from core.cli.output import print_json, say
from core.errors import DataError, ExportError
from core.units import prefixed

if TYPE_CHECKING:
    from core.export import Exported
    from core.tagging import Tagger


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("export")(grouped(export_command))


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
    network: NetworkOptions,
    clips: Annotated[
        list[Path] | None,
        typer.Option(
            "--clips",
            metavar="PATH",
            help="A recording or a folder of them to check the copy on as well; can be repeated. int8 sets its ranges by half of them.",
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
    channel: ChannelOption = "mean",
    web: Annotated[
        bool,
        typer.Option(
            "--web",
            help="bundle: add compare.html, which runs it beside another network in a browser; downloads onnxruntime-web (11 MB) once.",
        ),
    ] = False,
    beside: Annotated[
        str | None,
        typer.Option(
            "--beside",
            metavar="MODEL",
            help="--web: the other network; by default the one that it was pruned from.",
            show_default=False,
        ),
    ] = None,
    web_runtime: Annotated[
        Path | None,
        typer.Option(
            "--web-runtime",
            metavar="FOLDER",
            help="--web: the npm package onnxruntime-web, in place of the download.",
            show_default=False,
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="safetensors: store float16, half the size.")] = False,
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write a network for other programs, checked against it first.

    The copy is run beside the network on real input; a copy whose probabilities differ is not written.
    """
    from core.audio import load_clip
    from core.export import check_export, export
    from core.export import web as page_of
    from core.training.data import read_manifest

    if (manifest is None) != (audio is None):
        raise DataError("--manifest and --audio belong together; give both, or neither.")
    if manifest is not None and form != "int8":
        raise ExportError(
            f"--manifest states the mAP of int8, the one format that loses some; leave it out for {form}."
        )
    if (beside is not None or web_runtime is not None) and not web:
        raise ExportError("--beside and --web-runtime are for the page of --web; give that, too.")
    if web and form != "bundle":
        raise ExportError(f"--web adds a page to a bundle; leave it out for {form}.")
    used = channel_of(channel)
    check_export(out, form, force=force)
    tagger = network.load()
    page = page_of(tagger, _baseline(tagger, beside), web_runtime) if web else None
    labelled = (
        None
        if manifest is None or audio is None
        else read_manifest(manifest, audio, tagger.classes, channel=used)
    )
    result = export(
        tagger,
        form,
        out,
        waveforms=[
            load_clip(file, max_seconds=max_seconds, channel=used).waveform
            for file in recordings(clips or ())
        ],
        labelled=labelled,
        half=half,
        web=page,
        force=force,
    )
    if json_output:
        print_json(result.document())
    else:
        _print_export(result)


def _baseline(tagger: Tagger, beside: str | None) -> Tagger:
    """The network of ``--beside``, or else the one that this was pruned from."""
    from core.checkpoints import named_file
    from core.export.lineage import known_by
    from core.tagging import load_tagger

    if beside is not None:
        file = named_file(beside)
        return load_tagger(None if file else beside, checkpoint=file)
    pruning = tagger.info.training.get("pruning") or {}
    parent = known_by(pruning.get("pruned_from_sha256"))
    if parent is None:
        raise ExportError(
            f"Its file names no installed network that {tagger.name} was pruned from, to show beside it; give one: --beside MODEL."
        )
    return load_tagger(parent.name)


def _print_export(result: Exported) -> None:
    for file in result.files:
        say(f"{file} ({prefixed(file.stat().st_size, 'B')})")
    say(
        f"On {result.clips} recordings ({result.audio_seconds:.0f} s) its probabilities are within {result.max_abs_difference:.2g} "
        "of the network's."
    )
    for note in result.notes:
        say(note)
