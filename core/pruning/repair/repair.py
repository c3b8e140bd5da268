"""Repair without labels: correct a pruned network's weights on a few clips, in seconds.

The unpruned network runs on the clips, and every layer after the first removed filter is corrected so that it gives the unpruned
response from the input that it has now: by least squares (``layers``), then by its batch norm's statistics. Nothing is trained and
no label is needed. ``docs/repair.md`` has the formulas and what each step is worth.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from core.audio import SAMPLE_RATE
from core.errors import PruningError
from core.models.cnn import Cnn14
from core.pruning.plan import PruningPlan
from core.pruning.repair.calibration import add_variants, calibration_windows
from core.pruning.repair.config import RepairConfig
from core.pruning.repair.layers import LayerRepair
from core.pruning.surgery import check_fits


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired network and how it was made.

    Attributes
    ----------
    model : Cnn14
        A new network in eval mode; it shares no memory with the ones that it was made from.
    document : dict
        Plain JSON: the settings, ``clips``, ``seconds`` of audio that were used, ``variants``, and in ``layers`` for every corrected
        layer the share of its response's variance that was missed ``before`` and ``after``, on those clips.
    """

    model: Cnn14
    document: dict[str, Any]


def repair(
    model: Cnn14,
    plan: PruningPlan,
    pruned: Cnn14,
    waveforms: Sequence[np.ndarray],
    config: RepairConfig | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Repaired:
    """Repair a pruned network on clips without labels.

    Parameters
    ----------
    model : Cnn14
        The unpruned network.
    plan : PruningPlan
        Which filters were removed.
    pruned : Cnn14
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
    >>> from core.models.cnn import Cnn14Config
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
    windows = calibration_windows(waveforms)
    repaired = copy.deepcopy(pruned).eval()
    with torch.inference_mode():
        logmels = add_variants([model.front_end(window) for window in windows], config.windows)
        layers = LayerRepair(model, plan, repaired, logmels, config, on_progress=on_progress).run()
    document = asdict(config) | {
        "clips": len(waveforms),
        "seconds": round(sum(window.shape[1] for window in windows) / SAMPLE_RATE, 3),
        "variants": len(logmels) - len(windows),
        "layers": layers,
    }
    return Repaired(repaired, document)


def _check_fits(model: Cnn14, plan: PruningPlan, pruned: Cnn14) -> None:
    check_fits(plan, model)
    if plan.after != pruned.config.widths or model.fc1.out_features != pruned.fc1.out_features:
        raise PruningError(
            f"The plan leaves the widths {list(plan.after)}, the pruned network has {list(pruned.config.widths)}; "
            "give the plan that it was made with."
        )
