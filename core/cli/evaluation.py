"""``evaluate``: the scores of a model on labelled clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.options import (
    AudioOption,
    ChannelOption,
    FoldsOption,
    JsonOption,
    ManifestOption,
    RuntimeOption,
    TaggerOptions,
    channel_of,
    grouped,
)
from core.cli.output import print_json, print_table, progress, say
from core.errors import DataError
from core.units import plural

if TYPE_CHECKING:
    from core.training.data import LabelledClips
    from core.training.metrics import Quality


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("evaluate")(grouped(evaluate_command))


def evaluate_command(
    *,
    manifest: ManifestOption,
    audio: AudioOption,
    network: TaggerOptions,
    runtime: RuntimeOption = "auto",
    folds: FoldsOption = None,
    channel: ChannelOption = "mean",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the result, and the time of 10 s, for the trade-off.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Score a model on labelled clips: mAP, AUC, d', accuracy.

    Classes without a positive clip are left out.
    """
    from core.training.data import read_manifest
    from core.training.evaluate import evaluate

    used = channel_of(channel)
    tagger = network.load(runtime=runtime)
    if keep and tagger.entry.output == "scenes":
        raise DataError(
            f"{tagger.name} classifies scenes and has no place among taggers; evaluate it without --keep."
        )
    clips = select_folds(read_manifest(manifest, audio, tagger.classes, channel=used), folds)
    with progress("evaluating") as show:
        quality = evaluate(tagger, clips, show)
    if keep:
        from core import tradeoff

        tradeoff.keep(
            tagger,
            quality.mean_average_precision,
            clips_name=manifest.name if folds is None else f"{manifest.name}, folds {folds}",
            clips=quality.clips,
            classes=len(quality.per_class),
        )
    if json_output:
        print_json(quality.document())
    else:
        print_quality(quality)


def select_folds(clips: LabelledClips, folds: str | None) -> LabelledClips:
    """The clips of these folds, all of them without any.

    Raises
    ------
    DataError
        There is no such fold, or none of its clips is labelled with one of the classes.
    """
    if folds is None:
        return clips
    selected = clips.select([fold.strip() for fold in folds.split(",")])
    if not selected.targets.any():
        raise DataError(
            f"No clip of fold {folds} is labelled with a class of this model; there is nothing to learn or score. Give other folds."
        )
    return selected


def print_quality(quality: Quality) -> None:
    """A table of the classes, and the means."""
    print_table(
        plural(quality.clips, "clip"),
        ["class", "average precision", "AUC", "d'", "positives"],
        [
            [
                row.name,
                f"{row.average_precision:.3f}",
                "-" if row.auc is None else f"{row.auc:.3f}",
                "-" if row.d_prime is None else f"{row.d_prime:.2f}",
                f"{row.positives}",
            ]
            for row in quality.per_class
        ],
    )
    d_prime = "-" if quality.d_prime is None else f"{quality.d_prime:.2f}"
    auc = "-" if quality.auc is None else f"{quality.auc:.4f}"
    accuracy = "" if quality.accuracy is None else f"accuracy {quality.accuracy:.4f}, "
    say(
        f"{accuracy}mAP {quality.mean_average_precision:.4f}, AUC {auc}, d' {d_prime}, over {plural(len(quality.per_class), 'class', 'classes')}."
    )
