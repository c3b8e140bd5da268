"""``profile``, ``importance`` and ``prune``: what a network costs, which filters matter, and removing the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    ModelOption,
    output_file,
    print_json,
    print_table,
    say,
    short,
    tagger_from,
)
from core.errors import ModelError

if TYPE_CHECKING:
    from core.profiling import Profile

LayersOption = Annotated[
    str,
    typer.Option("--layers", metavar="LAYERS", help="Layers to prune: C7-C12, C9, C7,C9-C11, or all."),
]
CriterionOption = Annotated[
    str,
    typer.Option("--criterion", metavar="NAME", help="How filters are ranked; operator-norm is the paper's."),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("profile")(profile_command)
    app.command("importance")(importance_command)
    app.command("prune")(prune_command)


def profile_command(
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", metavar="SHARE", help="Count as if this share of the filters were gone."),
    ] = None,
    layers: LayersOption = "C7-C12",
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", help="Length of the clip that MACs are counted for."),
    ] = 10.0,
    json_output: JsonOption = False,
) -> None:
    """Count parameters, MACs and size, per layer and in total.

    A known model need not be installed.
    """
    from core.checkpoints import manifest
    from core.profiling import profile
    from core.pruning.plan import parse_layers

    chosen = parse_layers(layers)
    if architecture is not None and model is None and checkpoint is None:
        counted = profile(architecture, ratio=ratio, layers=chosen, seconds=seconds)
    elif checkpoint is None and (model is None or model in manifest()):
        counted = _profile_known("cnn14" if model is None else model, architecture, ratio, chosen, seconds)
    else:
        config = tagger_from(model, checkpoint, architecture).model.config
        counted = profile(
            widths=config.widths,
            classes=config.classes,
            embedding=config.embedding,
            ratio=ratio,
            layers=chosen,
            seconds=seconds,
        )
    if json_output:
        print_json(counted.document())
    else:
        _print_profile(counted)


def _profile_known(
    name: str, architecture: str | None, ratio: float | None, layers: tuple[str, ...], seconds: float
) -> Profile:
    from core.checkpoints import entry
    from core.profiling import profile

    known = entry(name)
    if known.widths is None or known.embedding is None:
        raise ModelError(f"{name} is known by its published figures only; `pannscope models` prints them.")
    if architecture not in (None, known.architecture):
        raise ModelError(
            f"{name} is a {known.architecture}, not a {architecture}; leave the architecture out."
        )
    classes = 527 if known.classes == "audioset" else len(known.classes)
    return profile(
        known.architecture,
        widths=known.widths,
        classes=classes,
        embedding=known.embedding,
        ratio=ratio,
        layers=layers,
        seconds=seconds,
    )


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
    from core.checkpoints import save_checkpoint
    from core.profiling import profile_model
    from core.pruning.plan import parse_layers, plan
    from core.pruning.surgery import compose, prune

    output_file(out, force)
    chosen = parse_layers(layers)
    tagger = tagger_from(model, checkpoint, architecture)
    made = plan(tagger.model, ratio, chosen, criterion)
    pruned = prune(tagger.model, made)
    record = {
        "pruned_from": tagger.name,
        "pruned_from_sha256": tagger.info.sha256,
        "ratio": ratio,
        "criterion": criterion,
    }
    save_checkpoint(
        out,
        pruned,
        classes=tagger.classes,
        name=out.stem,
        kept=compose(tagger.info.kept, made),
        training={**tagger.info.training, "pruning": record},
        half=half,
    )
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


def _print_profile(counted: Profile) -> None:
    print_table(
        f"{counted.architecture}, one clip of {counted.seconds:g} s",
        ["layer", "in", "out", "parameters", "MACs"],
        [
            [row.name, f"{row.in_channels}", f"{row.out_channels}", f"{row.params:,}", short(row.macs)]
            for row in counted.layers
        ],
    )
    say(
        f"Parameters: {counted.params_trainable:,} learned, {counted.params_total:,} with the frozen front end."
    )
    say(
        f"MACs: {short(counted.macs)} in the paper's convention (thop, the STFT as two convolutions), "
        f"{short(counted.macs_network)} in convolutions and linear layers alone."
    )
    say(f"Size: {counted.size_bytes / 1e6:.1f} MB in float32.")
    if counted.paper and counted.paper["params_reduction_pct"]:
        say(
            f"The paper states {counted.paper['params_reduction_pct']:g}% fewer parameters, "
            f"{counted.paper['macs_reduction_pct']:g}% fewer MACs and an mAP of {counted.paper['mAP']:.3f}."
        )
