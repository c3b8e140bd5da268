"""``embed``: embeddings of recordings, as arrays in files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.inputs import Input, RecordingsArgument, find_recordings, several
from core.cli.options import (
    ChannelOption,
    JsonOption,
    MaxSecondsOption,
    OverlapOption,
    RuntimeOption,
    TaggerOptions,
    channel_of,
    grouped,
)
from core.cli.output import Report, print_notes
from core.cli.results import FolderOptions, combine, documents, exclusive, targets, write_all
from core.errors import DataError

if TYPE_CHECKING:
    from core.events import Document, Format, TimelineSettings

_OVERLAP = 0.5


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("embed")(grouped(embed_command))


@dataclass(frozen=True)
class WindowOptions:
    """What has an embedding: the whole recording, or every window of it."""

    window: Annotated[
        float | None,
        typer.Option(
            "--window",
            metavar="S",
            help="An embedding for every window of so many seconds; by default one for the whole recording.",
            show_default=False,
        ),
    ] = None
    overlap: OverlapOption = _OVERLAP

    def settings(self) -> TimelineSettings | None:
        """The windows, checked; None for the whole recording."""
        from core.events import TimelineSettings

        if self.window is None:
            if self.overlap != _OVERLAP:
                raise DataError("--overlap is between windows; give --window S as well.")
            return None
        return TimelineSettings(self.window, self.overlap)


@dataclass(frozen=True)
class OutputOptions(FolderOptions):
    """Where results go, and in which formats."""

    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="npz or parquet; can be repeated. By default npz.",
            show_default=False,
        ),
    ] = None

    def formats(self) -> list[Format]:
        """The formats, checked."""
        from core.embeddings import FORMATS

        return self.chosen(self.form or ["npz"], FORMATS, FORMATS["npz"])


def embed_command(
    files: RecordingsArgument,
    *,
    network: TaggerOptions,
    window_options: WindowOptions,
    output: OutputOptions,
    runtime: RuntimeOption = "auto",
    max_seconds: MaxSecondsOption = 86_400.0,
    channel: ChannelOption = "mean",
    json_output: JsonOption = False,
) -> None:
    """Write the embeddings that tags are computed from.

    With --json and without --output they are printed, a document for each recording, on one line where there are several.
    """
    from core.audio import open_clip
    from core.embeddings import FORMATS, describe, document, embed, plain

    used = channel_of(channel)
    formats, windows = output.formats(), window_options.settings()
    if output.output is None and (output.form or output.combined or output.force or not json_output):
        raise DataError(
            "Embeddings are written as files; give --output FOLDER, or --json alone to print them."
        )
    recordings = find_recordings(files)
    files_of = {} if output.output is None else targets(output.output, recordings, formats)
    tagger = network.load(runtime=runtime)
    described = describe(tagger, windows)
    report = Report(json_output, several(files))

    def compute(recording: Input, on_progress: Callable[[float], object]) -> Document:
        with recording.opened() as source:
            clip = open_clip(source, name=recording.name, max_seconds=max_seconds, channel=used)
            edges_s, embeddings = embed(tagger, clip, windows, on_progress)
        print_notes(clip)
        return document(clip, edges_s, embeddings, described, path=recording.path, file=recording.file)

    if output.output is None:
        for _, computed in documents(recordings, compute, report):
            report.line(plain(computed))
    else:
        with exclusive(output.output):
            write_all(files_of, compute, report, output, ("embedding", "embedding"))
            if output.combined:
                combine(output.output, formats, FORMATS["npz"], described)
    if report.failed:
        raise typer.Exit(2)
