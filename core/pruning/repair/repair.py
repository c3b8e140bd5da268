"""Repair without labels: correct a pruned network's weights on a few clips, in seconds.

The unpruned network runs on the clips, and every layer after the first removed filter is corrected so that it gives the unpruned
response from the input that it has now: by least squares (``layers``), then by its batch norm's statistics; what least squares does not
fit, as a depthwise convolution, by batch norm alone. Nothing is trained and no label is needed. ``docs/repair.md`` has the formulas and what each step is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import PruningError
from core.models.fitting import sizes_of
from core.models.groups import groups, removed
from core.models.network import Network
from core.models.registry import architecture
from core.pruning.plan import PruningPlan
from core.pruning.repair.calibration import calibration_windows, prepared
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.layers import LayerRepair
from core.pruning.surgery import check_fits


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired network and how it was made.

    Attributes
    ----------
    model : Network
        A new network in eval mode; it shares no memory with the ones that it was made from.
    document : dict
        Plain JSON: the settings, ``clips``, ``seconds`` of audio that were used, ``variants``, in ``layers`` for every layer that
        was corrected by least squares the share of its response's variance that was missed ``before`` and ``after``, on those clips, and in
        ``recalibrated`` what a batch norm alone corrected.
    """

    model: Network
    document: dict[str, Any]


def repair(
    model: Network,
    plan: PruningPlan,
    pruned: Network,
    waveforms: Sequence[np.ndarray],
    config: RepairConfig | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Repaired:
    """Repair a pruned network on clips without labels.

    Parameters
    ----------
    model : Network
        The unpruned network.
    plan : PruningPlan
        Which filters were removed.
    pruned : Network
        The result of ``surgery.prune(model, plan)``; neither network is changed.
    waveforms : sequence of (samples,) array of float
        Calibration clips, mono at 32 kHz; clips under 0.31 s are padded with silence as in tagging.
    config : RepairConfig, optional
        Settings; the defaults are those that ``docs/repair.md`` found best.
    on_progress : callable, optional
        Called with (done, total) many times; an exception that it raises ends the repair.

    Raises
    ------
    PruningError
        There are no clips, all of them are silent, or the plan does not lead from ``model`` to ``pruned``.
    AudioError
        A waveform is not one that a tagger accepts.

    Examples
    --------
    >>> from core.pruning.plan import plan
    >>> from core.pruning.surgery import prune
    >>> from core.models.cnn import Cnn14, Cnn14Config
    >>> _ = torch.manual_seed(0)
    >>> model = Cnn14(Cnn14Config((4,) * 12, classes=2, embedding=8)).eval()
    >>> halved = plan(model, {"C12": 0.5})
    >>> noise = np.random.default_rng(0).normal(0, 0.1, 32_000)
    >>> repaired = repair(model, halved, prune(model, halved), [noise], RepairConfig(windows=1))
    >>> repaired.model.config.widths[-1], list(repaired.document["layers"])
    (2, ['fc1'])
    """
    config = config or RepairConfig()
    _check_fits(model, plan, pruned)
    cut = calibration_windows(model, waveforms)
    repaired = copy.deepcopy(pruned).eval()
    with torch.inference_mode():
        windows = prepared(model, cut, config.windows)
        layers = LayerRepair(
            model, repaired, _kept_positions(model, plan), windows, config, on_progress=on_progress
        )
        layers.run()
    rate = architecture(model.architecture).sample_rate
    document = asdict(config) | {
        "clips": len(waveforms),
        "seconds": round(sum(window.shape[1] for window in cut) / rate, 3),
        "variants": len(windows) - len(cut),
        "layers": layers.errors,
        "recalibrated": layers.recalibrated,
    }
    return Repaired(repaired, document)


def methods(document: dict[str, Any]) -> str:
    """How a network was repaired, in a few words, from ``Repaired.document``.

    Examples
    --------
    >>> methods({"layers": {"C8": {}, "fc1": {}}, "recalibrated": ["features.1.0"]})
    '2 layers by least squares, 1 by batch norm alone'
    """
    fitted, recalibrated = len(document["layers"]), len(document["recalibrated"])
    if fitted + recalibrated == 0:
        return "nothing to repair"
    layers = "layer" if (fitted or recalibrated) == 1 else "layers"
    if not recalibrated:
        return f"{fitted} {layers} by least squares"
    if not fitted:
        return f"{recalibrated} {layers} by batch norm alone"
    return f"{fitted} {layers} by least squares, {recalibrated} by batch norm alone"


def _kept_positions(model: Network, plan: PruningPlan) -> dict[tuple[str, int], Tensor]:
    """Ascending positions that stay, for every module and axis (``groups.OUTPUTS``, ``INPUTS``) that loses some."""
    kept = {}
    for (path, axis), gone in removed(groups(plan.architecture, model.config), plan.kept).items():
        stays = torch.ones(sizes_of(model.get_submodule(path))[1 - axis], dtype=torch.bool)
        stays[gone] = False
        kept[path, axis] = stays.nonzero()[:, 0]
    return kept


def _check_fits(model: Network, plan: PruningPlan, pruned: Network) -> None:
    check_fits(plan, model)
    if plan.after != pruned.config.widths or plan.architecture != pruned.architecture:
        raise PruningError(
            f"The plan leaves the widths {list(plan.after)}, the pruned network has {list(pruned.config.widths)}; "
            "give the plan that it was made with."
        )
