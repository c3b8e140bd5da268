"""``profile``: what a network costs, counted from its shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.output import (
    ArchitectureOption,
    CheckpointOption,
    JsonOption,
    LayersOption,
    ModelOption,
    print_json,
    print_table,
    say,
    short,
    tagger_from,
)
from core.errors import ModelError

if TYPE_CHECKING:
    from core.profiling import Profile


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("profile")(profile_command)


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
