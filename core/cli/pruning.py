"""``importance`` and ``prune``: which filters matter, and removing the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.cli.calibration import CalibrationOptions
from core.cli.options import (
    CriterionOption,
    ForceOption,
    HalfOption,
    JsonOption,
    NetworkOptions,
    grouped,
)
from core.cli.output import print_json, print_table, progress, say
from core.cli.request import PruneRequest
from core.errors import CheckpointError
from core.files import check_output
from core.units import plural, prefixed

if TYPE_CHECKING:
    import numpy as np

    from core.models.network import Network
    from core.profiling import Profile
    from core.pruning.plan import PruningPlan


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("importance")(grouped(importance_command))
    app.command("prune")(grouped(prune_command))


def importance_command(
    layer: Annotated[
        str,
        typer.Option(
            "--layer", metavar="LAYER", help="A convolution, as C12 or resnet.layer4.0.conv1, or all of them."
        ),
    ],
    network: NetworkOptions,
    criterion: CriterionOption = "operator-norm",
    ratio: Annotated[
        float,
        typer.Option("--ratio", metavar="RATIO", help="The share of a layer's filters to mark as removed."),
    ] = 0.5,
    json_output: JsonOption = False,
) -> None:
    """Score and rank the filters of a layer, or of all."""
    from core.models.groups import couplings, group_of, prunable_layers
    from core.models.widths import check_ratio
    from core.pruning.criteria import group_importance
    from core.pruning.ranking import RankedLayer
    from core.pruning.ratios import parse_layers

    check_ratio(ratio)
    tagger = network.load()
    name = tagger.model.architecture
    whole = layer.lower() == "all"
    known = prunable_layers(name)
    chosen = (
        couplings(name)
        if whole
        else dict.fromkeys(group_of(name, each) for each in parse_layers(layer, known))
    )
    ranked = [RankedLayer(each, group_importance(tagger.model, each, criterion), ratio) for each in chosen]
    if json_output:
        documents = [each.document() for each in ranked]
        of_layers = {"layers": documents} if whole or len(documents) > 1 else documents[0]
        print_json({"model": tagger.name, "criterion": criterion} | of_layers)
        return
    for each in ranked:
        order = each.ranks.argsort()
        print_table(
            f"{tagger.name}, {each.layer}: {plural(len(order), 'filter')} by {criterion}, {100 * ratio:g}% removed",
            ["filter", "score", "rank", "fate"],
            [
                [
                    str(index),
                    f"{each.scores[index]:.4f}",
                    str(each.ranks[index]),
                    "kept" if each.kept[index] else "removed",
                ]
                for index in order
            ],
        )


def prune_command(
    *,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The pruned checkpoint, a .safetensors file.")
    ],
    request: PruneRequest,
    calibration: CalibrationOptions,
    network: NetworkOptions,
    save_plan: Annotated[
        Path | None, typer.Option("--save-plan", metavar="FILE", help="Save the plan as well, a .json file.")
    ] = None,
    half: HalfOption = False,
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove the least important filters and save what is left.

    --ratio, --ratios or --plan say how much is removed; --budget and --tolerance search for it on clips.
    """
    from core.profiling import profile_model
    from core.pruning.criteria import criterion as known_criterion
    from core.pruning.plan_file import SUFFIX
    from core.pruning.plan_file import save_plan as write_plan
    from core.pruning.provenance import save_pruned
    from core.pruning.surgery import prune

    check_output(out, ".safetensors", force=force, error=CheckpointError)
    if save_plan is not None:
        check_output(save_plan, SUFFIX, force=force, error=CheckpointError)
    request.check()
    known_criterion(request.criterion or "operator-norm")
    needs_clips = request.search or ("--repair" if request.repair else None)
    calibration.check(needs_clips)
    tagger = network.load()
    waveforms, targets = calibration.read(tagger) if needs_clips else ([], None)
    plan = request.build_plan(tagger, waveforms, targets)
    pruned = prune(tagger.model, plan)
    repaired = None
    if request.repair:
        pruned, repaired = _repaired(tagger.model, plan, pruned, waveforms)
    save_pruned(out, tagger, plan, pruned, repair=repaired, half=half)
    if save_plan is not None:
        write_plan(save_plan, plan)
    counted = profile_model(pruned)
    if json_output:
        document = plan.document()
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
        _print_pruned(out, plan, profile_model(tagger.model), counted)
        if repaired:
            from core.pruning.repair.repair import methods

            say(f"repaired: {methods(repaired)}")


def _repaired(
    model: Network, plan: PruningPlan, pruned: Network, waveforms: list[np.ndarray]
) -> tuple[Network, dict[str, Any]]:
    from core.pruning.repair.repair import repair

    with progress("repairing") as show:
        result = repair(model, plan, pruned, waveforms, on_progress=show)
    return result.model, result.document


def _print_pruned(out: Path, plan: PruningPlan, before: Profile, after: Profile) -> None:
    from core.models.groups import couplings
    from core.pruning.ratios import layers_text, ratios_text

    layers = layers_text(tuple(plan.ratios), tuple(couplings(plan.architecture)))
    if plan.ratio:
        what = f"{100 * plan.ratio:g}% of the filters of {layers} removed"
    else:
        what = f"{ratios_text(plan.ratios)} of the filters removed" if plan.ratios else "no filter removed"
    say(f"{out}: {what} by {plan.criterion}.")
    for label, old, new in (
        ("parameters", before.params_trainable, after.params_trainable),
        ("MACs, 10 s", before.macs, after.macs),
    ):
        say(f"{label}: {prefixed(old)} -> {prefixed(new)} ({100 * (new / old - 1):+.1f} %)")
    if "loss_measured" in plan.origin:
        unit = "nats of divergence" if plan.origin["loss"] == "divergence" else "of mAP"
        when = "after repair on the other half of them" if plan.origin["repaired"] else "before any repair"
        say(f"lost on the clips, {when}: {plan.origin['loss_measured']:.3g} {unit}")
