"""``sensitivity``: what each layer loses when it alone is pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from core.cli.calibration import CalibrationOptions
from core.cli.options import CriterionOption, JsonOption, LayersOption, NetworkOptions, grouped
from core.cli.output import print_json, print_table
from core.cli.request import measured_sensitivity

if TYPE_CHECKING:
    import numpy as np

    from core.pruning.search.sensitivity import Sensitivity


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("sensitivity")(grouped(sensitivity_command))


def sensitivity_command(
    calibration: CalibrationOptions,
    network: NetworkOptions,
    layers: LayersOption = None,
    criterion: CriterionOption = "operator-norm",
    json_output: JsonOption = False,
) -> None:
    """Measure what each layer loses when it alone is pruned.

    The loss is the divergence from the unpruned network, in nats a clip; with labelled clips also mAP.
    """
    from core.models.groups import prunable_layers
    from core.pruning.criteria import criterion as known_criterion
    from core.pruning.ratios import parse_layers

    calibration.check("sensitivity")
    known_criterion(criterion)
    tagger = network.load()
    chosen = parse_layers(layers or "all", prunable_layers(tagger.model.architecture))
    waveforms, targets = calibration.read(tagger)
    result = measured_sensitivity(tagger, waveforms, targets, chosen, criterion)
    if json_output:
        print_json({"model": tagger.name, **result.document()})
        return
    clips = f"{result.clips} clip{'s' if result.clips > 1 else ''}"
    title = f"{tagger.name}, divergence in nats over {clips}, by {criterion}"
    _print_losses(title, result, result.divergence)
    if result.mean_average_precision is not None:
        title = f"\nmAP; of the unpruned network {result.base:.3f}"
        _print_losses(title, result, result.mean_average_precision)


def _print_losses(title: str, result: Sensitivity, values: np.ndarray) -> None:
    print_table(
        title,
        ["layer", *(f"{100 * ratio:g}%" for ratio in result.ratios)],
        [
            [layer, *(f"{value:.3f}" for value in row)]
            for layer, row in zip(result.layers, values, strict=True)
        ],
    )
