"""``tag`` and ``compare``: recordings and their tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.class_search import closest_classes, find_classes
from core.cli.inputs import RecordingsArgument, find_recordings, several
from core.cli.options import (
    ChannelOption,
    JsonOption,
    LabelsOption,
    LogitsOption,
    MaxSecondsOption,
    RuntimeOption,
    SampleRateOption,
    TaggerOptions,
    channel_of,
    grouped,
)
from core.cli.output import Report, print_json, print_notes, print_table, say
from core.errors import AudioError, ModelError
from core.units import THRESHOLD, plural

if TYPE_CHECKING:
    from core.compare import Agreement, Comparison
    from core.comparisons import Comparisons
    from core.tags import Tag

TopOption = Annotated[
    int | None, typer.Option("--top", "-k", metavar="K", help="Print only the likeliest tags.")
]

_LISTED = 12  # shared classes that a line names


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("tag")(grouped(tag_command))
    app.command("compare")(compare_command)


def tag_command(
    files: RecordingsArgument,
    *,
    network: TaggerOptions,
    ratio: Annotated[
        float | None,
        typer.Option(
            "--ratio",
            metavar="SHARE",
            help="Share of filters already removed from C7-C12; normally read from the file.",
        ),
    ] = None,
    runtime: RuntimeOption = "auto",
    top: TopOption = None,
    find: Annotated[
        str | None,
        typer.Option(
            "--find", metavar="TEXT", help="Only classes that have every word of this in their name."
        ),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Children below their parents in AudioSet's ontology.")
    ] = False,
    max_seconds: MaxSecondsOption = 600.0,
    channel: ChannelOption = "mean",
    json_output: JsonOption = False,
) -> None:
    """Tag recordings.

    With --json all classes are printed (or --top K), one line a recording where there are several.
    """
    from core.audio import load_clip
    from core.verdict import SILENT

    _check_top(top)
    used = channel_of(channel)
    recordings = find_recordings(files)
    tagger = network.load(ratio, runtime)
    wanted = None if find is None else _found(find, tagger.name, tagger.classes.names)
    report, printed = Report(json_output, several(files)), False
    for recording in recordings:
        try:
            with recording.opened() as source:
                clip = load_clip(source, name=recording.name, max_seconds=max_seconds, channel=used)
        except AudioError as error:
            report.failure(recording.path, error)
            continue
        tags = tagger.tag(clip)
        print_notes(clip, tags)
        chosen = [tag for tag in tags.top(len(tags.classes)) if wanted is None or tag.name in wanted]
        if json_output:
            document = tags.document(clip, 0)
            document["tags"] = [_entry(tag, paths=group) for tag in chosen[:top]]
            report.line({"path": recording.path, "clip": clip.describe(), **document})
        else:
            if printed:
                say("")
            printed = True
            if clip.silent:
                say(f"{SILENT}. This is what the network outputs for silence.")
            print_table(
                f"{clip.name} ({clip.duration_s:.1f} s), {tags.model}, {tags.latency_ms:.0f} ms",
                [tags.output.removesuffix("s"), "probability"],
                _lines(chosen[: top or 10], in_groups=group),
            )
    if report.failed:
        raise typer.Exit(2)


def compare_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")],
    *,
    baseline: Annotated[
        str | None, typer.Option("--baseline", "-a", metavar="MODEL", help="Name or file of the first model.")
    ] = None,
    candidate: Annotated[
        str | None,
        typer.Option("--candidate", "-b", metavar="MODEL", help="Name or file of the second model."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="MODEL",
            help="Name or file of a third model, and given again of a fourth.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", "-k", metavar="K", help="Tags to print, and to compare for top_k_overlap.")
    ] = 10,
    threshold: Annotated[
        float,
        typer.Option("--threshold", metavar="P", help="Probability from which a tag counts as assigned."),
    ] = THRESHOLD,
    labels: LabelsOption = None,
    sample_rate: SampleRateOption = None,
    logits: LogitsOption = None,
    runtime: RuntimeOption = "auto",
    max_seconds: MaxSecondsOption = 600.0,
    channel: ChannelOption = "mean",
    json_output: JsonOption = False,
) -> None:
    """Measure how far two to four models agree on a recording.

    With --json all classes are printed.
    """
    from core.audio import load_clip
    from core.comparisons import check_count, compare_every_two
    from core.tagging import default_pair

    _check_top(top)
    check_count(2 + len(also or ()))
    used = channel_of(channel)
    clip = load_clip(file, max_seconds=max_seconds, channel=used)
    chosen = [
        TaggerOptions(given or known)
        for given, known in zip((baseline, candidate), default_pair(), strict=True)
    ]
    chosen += [TaggerOptions(name) for name in also or ()]
    # Options are of the ONNX files where there is one: what a checkpoint is, it says itself.
    stated = [each for each in chosen if each.is_onnx] or chosen
    taggers = [
        (
            replace(each, labels=labels, sample_rate=sample_rate, logits=logits) if each in stated else each
        ).load(runtime="auto" if each.is_onnx else runtime)
        for each in chosen
    ]
    result = compare_every_two(clip, [each.tag(clip) for each in taggers], top_k=top, threshold=threshold)
    print_notes(clip, *result.tags)
    if json_output:
        print_json(result.document())
    elif len(result.tags) == 2:
        _print_pair(result.first, top)
    else:
        _print_every_two(result, top)


def _print_pair(result: Comparison, top: int) -> None:
    """Both networks' first tags beside each other, and the agreement in a sentence."""
    from core.compare import rows
    from core.verdict import headline

    clip, left, right, agreed = result.clip, result.baseline, result.candidate, result.agreement
    print_table(
        f"{clip.name} ({clip.duration_s:.1f} s): {headline(result, left.model, right.model)}",
        [left.output.removesuffix("s"), left.model, right.model, "change"],
        [
            [row.name, _number(row.baseline), _number(row.candidate), _number(row.difference, "+.2f")]
            for row in rows(left, right)[:top]
        ],
    )
    if result.shared is not None:
        more = f" and {len(result.shared) - _LISTED} more" if len(result.shared) > _LISTED else ""
        say(
            f"Compared over {plural(len(result.shared), 'class', 'classes')} that both have: {', '.join(result.shared[:_LISTED])}{more}."
        )
    rank = "not defined" if agreed.spearman is None else f"{agreed.spearman:.2f}"
    say(
        f"Kept tags at {agreed.threshold:.2f}: {_share(agreed)}; divergence {agreed.divergence:.3g} nats; rank correlation {rank}; "
        f"largest difference {agreed.max_abs_difference:.2f} ({agreed.max_difference_tag}); "
        f"{left.latency_ms:.0f} and {right.latency_ms:.0f} ms."
    )


def _print_every_two(result: Comparisons, top: int) -> None:
    """Three or four networks' first tags beside each other, and a line for every two of them."""
    from core.verdict import headline

    clip, models = result.clip, [tags.model for tags in result.tags]
    print_table(
        f"{clip.name} ({clip.duration_s:.1f} s): {headline(result.first, models[0], models[1])}",
        [result.tags[0].output.removesuffix("s"), *models],
        [[row.name, *map(_number, row.probabilities)] for row in result.rows()[:top]],
    )
    say("")
    print_table(
        f"Every two, tags at {result.first.agreement.threshold:.2f}",
        ["models", "kept", "divergence, nats", "largest difference", "at", "classes"],
        [
            [
                f"{pair.baseline.model} and {pair.candidate.model}",
                _share(pair.agreement),
                f"{pair.agreement.divergence:.3g}",
                f"{pair.agreement.max_abs_difference:.2f}",
                pair.agreement.max_difference_tag,
                str(pair.agreement.shared_classes),
            ]
            for pair in result.pairs
        ],
        text=("at",),
    )
    say(f"Times: {', '.join(f'{tags.model} {tags.latency_ms:.0f} ms' for tags in result.tags)}.")


def _share(agreed: Agreement) -> str:
    return "-" if agreed.kept_share is None else f"{100 * agreed.kept_share:.0f}%"


def _found(text: str, model: str, names: Sequence[str]) -> set[str]:
    """The classes that --find names; raises ``ModelError`` where there is none."""
    found = find_classes(text, names)
    if not found:
        close = " or ".join(f'"{name}"' for name in closest_classes(text, names))
        hint = f"Did you mean {close}?" if close else "Give a few letters of a name."
        raise ModelError(f'{model} has no class with "{text}" in its name. {hint}')
    return set(found)


def _entry(tag: Tag, *, paths: bool) -> dict[str, Any]:
    """A tag in JSON, with its places in the ontology where they are asked for."""
    from core.classes import paths_of

    return vars(tag) | ({"paths": [list(path) for path in paths_of(tag.index)]} if paths else {})


def _lines(tags: Sequence[Tag], *, in_groups: bool) -> list[list[str]]:
    """The lines of a table of tags; in groups, headings above them and children indented."""
    from core.ontology import grouped

    if not in_groups:
        return [[tag.name, f"{tag.probability:.2f}"] for tag in tags]
    by_index = {tag.index: tag for tag in tags}
    lines, under = [], 0
    for place in grouped(list(by_index)):
        if place.heading is not None:
            under = len(place.heading) > 0
            lines += [[" > ".join(place.heading), ""]] * under
        tag = by_index[place.index]
        lines.append(["  " * (under + place.depth) + tag.name, f"{tag.probability:.2f}"])
    return lines


def _number(value: float | None, style: str = ".2f") -> str:
    return "-" if value is None else format(value, style)


def _check_top(top: int | None) -> None:
    if top is not None and top < 1:
        raise ModelError(f"--top is a number of tags, 1 or more; got {top}.")
