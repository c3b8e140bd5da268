"""``importance`` and ``prune``: which filters matter, and removing the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    ModelOption,
    print_json,
    print_table,
    say,
    short,
    tagger_from,
)
from core.cli.plans import (
    AudioFolderOption,
    ClipsOption,
    CriterionOption,
    LabelsOption,
    Listening,
    ManifestFoldsOption,
    Wish,
    showing,
)
from core.errors import CheckpointError
from core.files import check_output

if TYPE_CHECKING:
    import numpy as np

    from core.models.cnn import Cnn14
    from core.profiling import Profile
    from core.pruning.plan import PruningPlan


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("importance")(importance_command)
    app.command("prune")(prune_command)


def importance_command(
    *,
    layer: Annotated[str, typer.Option("--layer", metavar="LAYER", help="A convolution, C1 to C12.")],
    criterion: CriterionOption = "operator-norm",
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    json_output: JsonOption = False,
) -> None:
    """Score the filters of one layer, 1 for the most important."""
    from core.pruning.criteria import layer_importance

    tagger = tagger_from(model, checkpoint, architecture)
    name = layer.upper()
    scores = layer_importance(tagger.model, name, criterion)
    if json_output:
        print_json({"model": tagger.name, "layer": name, "criterion": criterion, "scores": scores.tolist()})
        return
    order = (-scores).argsort(kind="stable")
    print_table(
        f"{tagger.name}, {name}: {len(scores)} filters by {criterion}",
        ["filter", "score"],
        [[str(index), f"{scores[index]:.4f}"] for index in order],
    )


def prune_command(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The pruned checkpoint, a .safetensors file.")
    ],
    ratio: Annotated[
        float | None,
        typer.Option(
            "--ratio", metavar="SHARE", help="Share of filters to remove from each layer, 0 to below 1."
        ),
    ] = None,
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="LIST", help="A share for each layer, as C7=0.5,C8-C12=0.25."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Carry out a saved plan, or a pruned checkpoint's."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="KIND=SHARE",
            help="Find the ratios that lose least on --clips while this share remains: params=0.5, macs=0.6 or time=0.7.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            metavar="LOSS",
            help="Find the fewest MACs that lose at most this on --clips: divergence in nats a clip, with a manifest mAP.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="LAYERS",
            help="Layers to prune: C7-C12 (the default for a ratio), C9, C7,C9-C11, or all (for what is found).",
        ),
    ] = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            "--criterion",
            metavar="NAME",
            help="How filters are ranked; operator-norm is the paper's. similarity without a ratio lets the weights decide.",
        ),
    ] = None,
    round_to: Annotated[
        int | None,
        typer.Option("--round-to", metavar="N", help="Round the kept filters to a multiple of N."),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair the pruned network on --clips; no labels are used.")
    ] = False,
    clips: ClipsOption = None,
    manifest: LabelsOption = None,
    audio: AudioFolderOption = None,
    folds: ManifestFoldsOption = None,
    save_plan: Annotated[
        Path | None, typer.Option("--save-plan", metavar="FILE", help="Save the plan as well, a .json file.")
    ] = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Remove the least important filters and save what is left.

    How much goes is said by --ratio, --ratios or --plan, or found out by listening: --budget or --tolerance.
    """
    from core.profiling import profile_model
    from core.pruning.criteria import criterion as known_criterion
    from core.pruning.planfile import SUFFIX
    from core.pruning.planfile import save_plan as write_plan
    from core.pruning.record import save_pruned
    from core.pruning.surgery import prune

    check_output(out, ".safetensors", force=force, error=CheckpointError)
    if save_plan is not None:
        check_output(save_plan, SUFFIX, force=force, error=CheckpointError)
    wish = Wish(ratio, ratios, plan, budget, tolerance, layers, criterion, round_to, repair)
    wish.check()
    known_criterion(criterion or "operator-norm")
    listening = Listening(tuple(clips or ()), manifest, audio, folds)
    listening.check(wish.listens or ("--repair" if repair else None))
    tagger = tagger_from(model, checkpoint, architecture)
    heard = listening.read(tagger) if wish.listens or repair else ([], None)
    made = wish.made(tagger, heard)
    pruned = prune(tagger.model, made)
    repaired = None
    if repair:
        pruned, repaired = _repaired(tagger.model, made, pruned, heard[0])
    save_pruned(out, tagger, made, pruned, repair=repaired, half=half)
    if save_plan is not None:
        write_plan(save_plan, made)
    counted = profile_model(pruned)
    if json_output:
        document = made.document()
        kept = document.pop("kept")
        print_json(
            {
                "path": str(out),
                "kept": kept,
                "profile": counted.document(),
                "plan": document,
                "repair": repaired,
            }
        )
    else:
        _print_pruned(out, made, profile_model(tagger.model), counted)


def _repaired(
    model: Cnn14, made: PruningPlan, pruned: Cnn14, waveforms: list[np.ndarray]
) -> tuple[Cnn14, dict[str, Any]]:
    from core.pruning.repair.repair import repair

    with showing("repairing") as show:
        done = repair(model, made, pruned, waveforms, on_progress=show)
    return done.model, done.document


def _print_pruned(out: Path, made: PruningPlan, before: Profile, after: Profile) -> None:
    if made.ratio:
        what = f"{100 * made.ratio:g}% of the filters of {', '.join(made.ratios)} removed"
    else:
        each = ", ".join(f"{layer} {100 * share:.3g}%" for layer, share in made.ratios.items())
        what = f"{each} of the filters removed" if each else "no filter removed"
    say(f"{out}: {what} by {made.criterion}.")
    for label, old, new in (
        ("parameters", before.params_trainable, after.params_trainable),
        ("MACs, 10 s", before.macs, after.macs),
    ):
        say(f"{label}: {short(old)} -> {short(new)} ({100 * (new / old - 1):+.1f} %)")
    if "loss_measured" in made.origin:
        said = "nats of divergence" if made.origin["loss"] == "divergence" else "of mAP"
        when = "after repair on the other half of them" if made.origin["repaired"] else "before any repair"
        say(f"lost on the clips, {when}: {made.origin['loss_measured']:.3g} {said}")
