"""The smallest network that still does what is asked of it: narrower and narrower configurations, until none passes a test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.models.network import Network
from core.pruning.plan import PruningPlan, plan
from core.pruning.search.allocation import Allocation
from core.pruning.search.sensitivity import Sensitivity

EXPONENTS = (1.0, 2.0)
"""By which the losses of several layers are combined (``Allocation.path``): the two ends, which propose the most different networks."""

_HALVINGS = 6  # of the range of sizes: it is then known to 1.6 % of the unpruned network's
_NARROWED = (0.06, 0.02)  # shares of the parameters that one layer then gives up, where the test still passes


def smallest_plan(
    model: Network,
    sensitivity: Sensitivity,
    passes: Callable[[PruningPlan], bool],
    *,
    scores: Callable[[str], np.ndarray],
    round_to: int = 1,
    narrow: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> PruningPlan:
    """Search the plan that leaves the fewest parameters and passes a test.

    The configurations of least predicted loss are halved between the smallest and the unpruned network; then each layer alone is
    made narrower where that still passes. A network between two that pass may fail, so that the smallest *found* is meant.

    Parameters
    ----------
    model : Network
        The unpruned network.
    sensitivity : Sensitivity
        The loss of each layer pruned alone (``measure_sensitivity``); only its layers are pruned.
    passes : callable
        Plan -> whether its network will do. The unpruned network is taken to pass.
    scores : callable
        Group -> (filters,) scores by the sensitivity's criterion.
    round_to : int
        Round the number of kept filters to a multiple of this.
    narrow : bool
        Whether to try single layers at the end: some 24 tests more for CNN14.
    on_progress : callable, optional
        Called with (done, largest total) after every test; an exception that it raises ends the search.

    Returns
    -------
    PruningPlan
        A plan that passed, or one that removes nothing. Its ``origin`` has what remains, and the number of tests.

    Examples
    --------
    >>> from core.models.cnn import LAYERS, Cnn14, Cnn14Config
    >>> model = Cnn14(Cnn14Config((8,) * 12, classes=2, embedding=4))
    >>> loss = np.full((12, 2), 0.1)
    >>> sensitivity = Sensitivity(LAYERS, (0.25, 0.5), loss, loss, criterion="l1", clips=1)
    >>> wide = smallest_plan(model, sensitivity, lambda plan: sum(plan.after) >= 60, scores=lambda layer: np.ones(8))
    >>> sum(wide.after)
    60
    """
    allocation = Allocation(model.architecture, model.config, sensitivity, round_to)
    paths = [allocation.path("params", exponent) for exponent in EXPONENTS]
    total = (_HALVINGS + 1) * len(paths) + (len(_NARROWED) * len(allocation.ladders) if narrow else 0)
    done, tested = 0, {}

    def planned(steps: np.ndarray, origin: dict[str, object]) -> PruningPlan:
        return plan(
            model,
            allocation.ratios(steps),
            criterion_name=sensitivity.criterion,
            round_to=round_to,
            scores=scores,
            origin=origin,
        )

    def will_do(steps: np.ndarray) -> bool:
        nonlocal done
        key = tuple(steps.tolist())
        if key not in tested:
            tested[key] = passes(planned(steps, {}))
        done += 1
        if on_progress:
            on_progress(done, total)
        return tested[key]

    best = allocation.unpruned()
    low, high = allocation.share(allocation.smallest(), "params"), 1.0
    share = low
    for _ in range(_HALVINGS + 1):
        passed = [steps for steps in (path(share) for path in paths) if will_do(steps)]
        if passed:
            best, high = min(passed, key=lambda steps: allocation.share(steps, "params")), share
        else:
            low = share
        if high <= low:
            break
        share = (low + high) / 2
    for width in _NARROWED if narrow else ():
        for layer in range(len(best)):
            narrower = allocation.moved(best, layer, -width, "params")
            if narrower is not None and will_do(narrower):
                best = narrower
    remaining = {kind: round(allocation.share(best, kind), 6) for kind in ("params", "macs")}
    return planned(best, {"method": "smallest", "remaining": remaining, "tested": len(tested)})
