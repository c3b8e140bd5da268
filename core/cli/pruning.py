"""``importance`` and ``prune``: which filters matter, and removing the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    LayersOption,
    ModelOption,
    output_file,
    print_json,
    print_table,
    say,
    short,
    tagger_from,
)

CriterionOption = Annotated[
    str,
    typer.Option("--criterion", metavar="NAME", help="How filters are ranked; operator-norm is the paper's."),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("importance")(importance_command)
    app.command("prune")(prune_command)


def importance_command(
    layer: Annotated[str, typer.Option("--layer", metavar="LAYER", help="A convolution, C1 to C12.")],
    criterion: CriterionOption = "operator-norm",
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    json_output: JsonOption = False,
) -> None:
    """Score the filters of one layer, 1 for the most important."""
    from core.pruning.importance import layer_importance

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
    ratio: Annotated[
        float,
        typer.Option(
            "--ratio", metavar="SHARE", help="Share of filters to remove from each layer, 0 to below 1."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The pruned checkpoint, a .safetensors file.")
    ],
    layers: LayersOption = "C7-C12",
    criterion: CriterionOption = "operator-norm",
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    half: Annotated[bool, typer.Option("--half", help="Store float16: half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Remove the least important filters and save what is left."""
    from core.profiling import profile_model
    from core.pruning.plan import parse_layers, plan
    from core.pruning.record import save_pruned
    from core.pruning.surgery import prune

    output_file(out, force)
    chosen = parse_layers(layers)
    tagger = tagger_from(model, checkpoint, architecture)
    made = plan(tagger.model, ratio, chosen, criterion)
    pruned = prune(tagger.model, made)
    save_pruned(out, tagger, made, pruned, half=half)
    counted, before = profile_model(pruned), profile_model(tagger.model)
    if json_output:
        kept = {layer: list(indices) for layer, indices in made.kept.items()}
        print_json({"path": str(out), "kept": kept, "profile": counted.document()})
        return
    say(f"{out}: {100 * ratio:g}% of the filters of {', '.join(chosen)} removed by {criterion}.")
    for label, old, new in (
        ("parameters", before.params_trainable, counted.params_trainable),
        ("MACs, 10 s", before.macs, counted.macs),
    ):
        say(f"{label}: {short(old)} -> {short(new)} ({100 * (new / old - 1):+.1f} %)")
