"""``timeline``: when sounds occur in recordings, as events in the files of other programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
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
from core.cli.output import Report, print_notes, print_table, say
from core.cli.results import (
    FolderOptions,
    combine,
    documents,
    exclusive,
    no_combination,
    targets,
    write_all,
)
from core.errors import DataError
from core.units import probability

if TYPE_CHECKING:
    from core.audio import Channel
    from core.events import Document, EventSettings, Format, TimelineSettings
    from core.tagging import Tagger


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("timeline")(grouped(timeline_command))


@dataclass(frozen=True)
class EventOptions:
    """How a recording is cut into windows, and what an event is."""

    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", metavar="P", help="Probability from which an event begins."),
    ] = 0.5
    off: Annotated[
        float | None,
        typer.Option(
            "--off",
            metavar="P",
            help="Probability under which it ends; by default 0.6 of --min-confidence.",
            show_default=False,
        ),
    ] = None
    min_length: Annotated[
        float, typer.Option("--min-length", metavar="S", help="Leave out shorter events.")
    ] = 0.0
    max_gap: Annotated[
        float,
        typer.Option("--max-gap", metavar="S", help="Join events of a class that are no further apart."),
    ] = 0.0
    window: Annotated[float, typer.Option("--window", metavar="S", help="Seconds of every window.")] = 2.0
    overlap: OverlapOption = 0.5

    def settings(self) -> tuple[TimelineSettings, EventSettings]:
        """Both, checked."""
        from core.events import EventSettings, TimelineSettings

        windows = TimelineSettings(self.window, self.overlap)
        return windows, EventSettings(self.min_confidence, self.off, self.min_length, self.max_gap)


@dataclass(frozen=True)
class OutputOptions(FolderOptions):
    """Where results go, and in which formats."""

    form: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="json, csv, audacity, raven, dcase or parquet; can be repeated. By default csv, or a table without --output.",
            show_default=False,
        ),
    ] = None

    def formats(self) -> list[Format]:
        """The formats, checked."""
        from core.events import FORMATS

        return self.chosen(self.form or ["csv"], FORMATS, FORMATS["json"])


@dataclass(frozen=True)
class _Work:
    """What is done with every recording."""

    tagger: Tagger
    windows: TimelineSettings
    events: EventSettings
    channel: Channel
    max_seconds: float

    def described(self) -> Document:
        """What all of its documents have in common."""
        from core.events import describe

        return describe(self.tagger, self.windows, self.events)

    def document(self, recording: Input, on_progress: Callable[[float], object]) -> Document:
        """One recording's events. Raises ``AudioError``."""
        from core.audio import Opening
        from core.events import detect, document, rows

        with recording.opened() as source:
            opening = Opening(
                source,
                name=recording.name,
                max_seconds=self.max_seconds,
                channel=self.channel,
                on_progress=on_progress,
            )
            with closing(opening.blocks()) as blocks:
                events = detect(rows(self.tagger, blocks, self.windows), self.tagger.classes, self.events)
        print_notes(opening.clip)
        return document(opening.clip, events, self.described(), path=recording.path, file=recording.file)


def timeline_command(
    files: RecordingsArgument,
    *,
    network: TaggerOptions,
    event_options: EventOptions,
    output: OutputOptions,
    runtime: RuntimeOption = "auto",
    max_seconds: MaxSecondsOption = 86_400.0,
    channel: ChannelOption = "mean",
    json_output: JsonOption = False,
) -> None:
    """Find when sounds occur in recordings.

    With --json there is a document for each recording, on one line where there are several.
    """
    from core.events import FORMATS

    used = channel_of(channel)
    formats = output.formats()
    windows, events = event_options.settings()
    recordings = find_recordings(files)
    if output.output is None:
        _check_printed(output, json_output, several(files))
    files_of = {} if output.output is None else targets(output.output, recordings, formats)
    tagger = network.load(runtime=runtime)
    windows.describe(tagger)  # raises where the network takes no such windows
    report = Report(json_output, several(files))
    work = _Work(tagger, windows, events, used, max_seconds)
    if output.output is None:
        _print_all(work, recordings, report, formats[0] if output.form else None)
    else:
        with exclusive(output.output):
            write_all(files_of, work.document, report, output, ("events", "event"))
            if output.combined:
                combine(output.output, formats, FORMATS["json"], work.described())
    if report.failed:
        raise typer.Exit(2)


def _check_printed(output: OutputOptions, json_output: bool, several_recordings: bool) -> None:
    from core.events import FORMATS

    if output.combined or output.force:
        raise DataError("--combined and --force are for files; give --output FOLDER as well.")
    if output.form and (len(output.form) > 1 or output.form == ["parquet"] or json_output):
        raise DataError(
            "Standard output takes one format, and Parquet cannot be printed; give --output FOLDER, or one --format without --json."
        )
    if output.form and several_recordings and not FORMATS[output.form[0]].combined:
        raise DataError(no_combination(FORMATS[output.form[0]]))


def _print_all(work: _Work, recordings: Sequence[Input], report: Report, form: Format | None) -> None:
    """The events on standard output: as JSON, in a format, or as tables."""
    gathered = []
    for _, document in documents(recordings, work.document, report):
        if report.json:
            report.line(document)
        elif form is not None:
            gathered.append(document)
        else:
            _print_table(document)
    if form is not None:
        say(form.content(gathered).decode().removesuffix("\n"))


def _print_table(document: Document) -> None:
    events = document["events"]
    title = f"{document['path']} ({document['clip']['duration_s']:.1f} s), {document['model']}"
    if not events:
        say(f"{title}: no event of {document['settings']['min_confidence']:g} or more")
        return
    print_table(
        title,
        ["event", "onset (s)", "offset (s)", "probability"],
        [
            [
                event["name"],
                f"{event['onset_s']:.2f}",
                f"{event['offset_s']:.2f}",
                probability(event["probability"]),
            ]
            for event in events
        ],
    )
