"""Finding a plan: the ratios of all layers that lose least within a budget, or cost least within a tolerated loss.

The measured sensitivity of the layers proposes configurations (``core.pruning.search.allocation``); the pruned networks are evaluated on
the clips, and small exchanges between two layers improve the best of them for a few rounds.

A network that is to be repaired is repaired before it is evaluated: with half of its filters removed the output of an unrepaired
network is noise, and predicts little about the repaired one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from core.errors import PruningError
from core.models.groups import chosen_layers, group_of
from core.models.network import Network
from core.models.widths import check_round_to
from core.profiling import measure_latencies
from core.profiling.costs import Quantity
from core.pruning.criteria import group_importance
from core.pruning.plan import PruningPlan, plan
from core.pruning.repair.config import RepairConfig
from core.pruning.search.allocation import STEP, Allocation
from core.pruning.search.budget import Budget, check_tolerance
from core.pruning.search.evaluator import PlanEvaluator
from core.pruning.search.sensitivity import Sensitivity
from core.pruning.surgery import prune
from core.windows import mean_probabilities

EXPONENTS = (1.0, 1.5, 2.0)
"""Exponents by which the losses of several layers are combined; each proposes a configuration, and evaluation decides."""

ROUNDS = 3
"""Rounds of exchanges. The first gains most; on the embedded network three lower the loss by 2 to 22%."""

# More proposals instead of exchanges: evaluating a repaired network takes seconds.
_REPAIRED_EXPONENTS = (1.0, 1.25, 1.5, 2.0)
_EXCHANGE = 0.04  # share of the whole cost that a layer gives or takes; halved when a round gains nothing
_MIDDLE = 1.5
_TRIED = 4  # exchanges that are evaluated in a round, the most promising first
_HALVINGS = 7  # of a budget, until it is known to 1%
_TIMED_SAMPLES = 320_000  # 10 s
_REPEATS = 5


def find_plan(
    model: Network,
    sensitivity: Sensitivity,
    *,
    waveforms: Sequence[np.ndarray],
    budget: Budget | None = None,
    tolerance: float | None = None,
    targets: np.ndarray | None = None,
    criterion_name: str | None = None,
    round_to: int = 1,
    scores: Callable[[str], np.ndarray] | None = None,
    repair: RepairConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PruningPlan:
    """Search the pruning ratios of all layers, by evaluating pruned networks on clips.

    Parameters
    ----------
    model : Network
        The unpruned network.
    sensitivity : Sensitivity
        The loss of each layer pruned alone (``measure_sensitivity``); only its layers are pruned.
    waveforms : sequence of (samples,) array of float
        Clips at 32 kHz; best those that sensitivity was measured on.
    budget : Budget, optional
        What may remain; or
    tolerance : float, optional
        The largest loss on these clips, mean divergence in nats or with targets the fall of mAP, for the fewest MACs.
    targets : (clips, classes) array, optional
        True where a clip carries the class.
    criterion_name : str, optional
        How filters are ranked; must be the sensitivity's criterion.
    round_to : int
        Round the number of kept filters to a multiple of this.
    scores : callable, optional
        Group -> (filters,) scores by that criterion, where the caller has them already.
    repair : RepairConfig, optional
        How the pruned network will be repaired, if it will. Losses are then those after repair, on half the clips
        (``PlanEvaluator``).
    on_progress : callable, optional
        Called with (done, largest total) after every evaluated network; an exception that it raises ends the search.

    Returns
    -------
    PruningPlan
        Its ``origin`` has the request, the predicted and measured loss, what remains, the loss of the uniform plan of the
        architecture's ``default_layers`` that meets the same budget, and the sensitivity.

    Raises
    ------
    PruningError
        An impossible budget (the message has the smallest share that can be reached), tolerance, rounding or criterion; no clips;
        targets that do not fit.
    """
    _check_request(sensitivity, budget, tolerance, criterion_name)
    check_round_to(round_to)
    search = _Search(
        model,
        sensitivity,
        waveforms,
        targets,
        round_to=round_to,
        scores=scores,
        repair=repair,
        on_progress=on_progress,
    )
    if budget is None:
        assert tolerance is not None
        return search.within_loss(tolerance)
    return search.within_time(budget.share) if budget.kind == "time" else search.within(budget)


class _Search:
    """One search, which evaluates every configuration at most once."""

    def __init__(
        self,
        model: Network,
        sensitivity: Sensitivity,
        waveforms: Sequence[np.ndarray],
        targets: np.ndarray | None,
        *,
        round_to: int,
        scores: Callable[[str], np.ndarray] | None,
        repair: RepairConfig | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._evaluator = PlanEvaluator(model, waveforms, targets, repair)
        self._model, self._sensitivity, self._round_to, self._repair = model, sensitivity, round_to, repair
        self._longest = max(waveforms, key=len)
        self._exponents = _REPAIRED_EXPONENTS if repair else EXPONENTS
        self._rounds = 0 if repair else ROUNDS
        self._allocation = Allocation(model.architecture, model.config, sensitivity, round_to)
        self._scores = {
            layer: scores(layer) if scores else group_importance(model, layer, sensitivity.criterion)
            for layer in sensitivity.layers
        }
        self._on_progress, self._done, self._total = on_progress, 0, 1
        self._losses: dict[tuple[int, ...], float] = {}

    def within(self, budget: Budget) -> PruningPlan:
        """The least loss for a share of the parameters or MACs."""
        kind: Quantity = "macs" if budget.kind == "macs" else "params"
        self._check_reachable(budget, self._allocation.share(self._allocation.smallest(), kind))
        layers = len(self._sensitivity.layers)
        self._total = len(self._exponents) + 1 + self._rounds * (2 * layers + _TRIED)
        candidates = [self._allocation.path(kind, exponent)(budget.share) for exponent in self._exponents]
        uniform = self._uniform(budget.share, kind)
        best = min([*candidates, *([] if uniform is None else [uniform])], key=self._loss)
        width = _EXCHANGE
        for _ in range(self._rounds):
            better = self._exchanged(best, budget.share, kind, width)
            width = width / 2 if better is None else width
            best = best if better is None else better
        self._finish()
        return self._plan(
            best,
            {
                "method": "budget",
                "budget": {"kind": kind, "share": budget.share},
                "uniform": None
                if uniform is None
                else {"ratios": self._allocation.ratios(uniform), "loss": self._loss(uniform)},
            },
        )

    def within_loss(self, tolerance: float) -> PruningPlan:
        """The fewest MACs whose measured loss stays within ``tolerance``."""
        exponents = (_MIDDLE,) if self._repair else EXPONENTS
        paths = [self._allocation.path("macs", exponent) for exponent in exponents]
        self._total = (_HALVINGS + 1) * len(paths)
        best = self._allocation.unpruned()
        low, high = self._allocation.share(self._allocation.smallest(), "macs"), 1.0
        share = low
        for _ in range(_HALVINGS + 1):
            candidate = min((path(share) for path in paths), key=self._loss)
            if self._loss(candidate) <= tolerance:
                best, high = candidate, share
            else:
                low = share
            if high <= low:
                break
            share = (low + high) / 2
        self._finish()
        return self._plan(best, {"method": "tolerance", "tolerance": tolerance})

    def within_time(self, share: float) -> PruningPlan:
        """The least predicted loss among the networks that take at most this share of the unpruned one's time, as measured now."""
        waveform = np.resize(self._longest, _TIMED_SAMPLES)
        path = self._allocation.path("macs", _MIDDLE)
        self._total = _HALVINGS + 2
        low = self._allocation.share(self._allocation.smallest(), "macs")
        best = path(low)
        measured = self._time_share(best, waveform)
        self._check_reachable(Budget("time", share), measured)
        high = 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            steps = path(middle)
            remaining = self._time_share(steps, waveform)
            if remaining <= share:
                best, measured, low = steps, remaining, middle
            else:
                high = middle
        self._loss(best)
        self._finish()
        budget = {"kind": "time", "share": share}
        return self._plan(best, {"method": "budget", "budget": budget, "time": round(measured, 4)})

    def _exchanged(self, steps: np.ndarray, share: float, kind: Quantity, width: float) -> np.ndarray | None:
        """One layer wider and another narrower at the same cost, if one of the most promising such exchanges loses less."""
        loss = self._loss(steps)
        changes: dict[float, dict[int, np.ndarray]] = {}
        for sign in (1, -1):
            moved = (
                (layer, self._allocation.moved(steps, layer, sign * width, kind))
                for layer in range(len(steps))
            )
            changes[sign] = {layer: change for layer, change in moved if change is not None}
        pairs = [
            (self._loss(wider) + self._loss(narrower) - 2 * loss, first, second)
            for first, wider in changes[1].items()
            for second, narrower in changes[-1].items()
            if first != second
        ]
        for gain, first, second in sorted(pairs)[:_TRIED]:
            if gain >= 0:
                break
            exchanged = self._allocation.widest(changes[1][first], second, share, kind)
            if exchanged is not None and self._loss(exchanged) < loss:
                return exchanged
        return None

    def _uniform(self, share: float, kind: Quantity) -> np.ndarray | None:
        """The lowest ratio for all of the architecture's ``default_layers`` that meets the budget, where there is one."""
        name = self._model.architecture
        chosen = {group_of(name, layer) for layer in chosen_layers(name, None)}
        for percent in range(1, 100):
            steps = self._allocation.uniform(chosen, percent * STEP)
            if self._allocation.share(steps, kind) <= share:
                return steps
        return None

    def _loss(self, steps: np.ndarray) -> float:
        key = tuple(int(step) for step in steps)
        if key not in self._losses:
            self._losses[key] = self._evaluator.loss(self._plan(steps, {}), self._keep_alive)
            self._step()
        return self._losses[key]

    def _time_share(self, steps: np.ndarray, waveform: np.ndarray) -> float:
        networks = (self._model, prune(self._model, self._plan(steps, {}), share=True))
        runs = [partial(mean_probabilities, network.probabilities) for network in networks]
        unpruned, pruned = measure_latencies(runs, waveform, repeats=_REPEATS)
        self._step()
        return pruned.median_ms / unpruned.median_ms

    def _plan(self, steps: np.ndarray, origin: dict[str, Any]) -> PruningPlan:
        if origin:
            origin = origin | {
                "loss": "mAP" if self._evaluator.labelled else "divergence",
                "loss_predicted": self._allocation.predicted(steps, _MIDDLE),
                "loss_measured": self._loss(steps),
                "repaired": self._repair is not None,
                "remaining": {
                    kind: round(self._allocation.share(steps, kind), 6) for kind in ("params", "macs")
                },
                "clips": self._evaluator.clips,
                "evaluated": len(self._losses),
                "sensitivity": self._sensitivity.document(),
            }
        return plan(
            self._model,
            self._allocation.ratios(steps),
            criterion_name=self._sensitivity.criterion,
            round_to=self._round_to,
            scores=self._scores.__getitem__,
            origin=origin,
        )

    def _check_reachable(self, budget: Budget, smallest: float) -> None:
        if smallest > budget.share:
            furthest = max(self._sensitivity.ratios)
            raise PruningError(
                f"A budget of {100 * budget.share:g}% of the {budget.kind} cannot be met: with {100 * furthest:g}% of "
                f"{self._named_layers()} removed, {math.ceil(1000 * smallest) / 10:g}% remain; give at least that."
            )

    def _named_layers(self) -> str:
        measured = self._sensitivity.layers
        every = len(measured) == len(self._allocation.ladders)
        return "all layers" if every else ", ".join(measured)

    def _keep_alive(self, *_: int) -> None:
        """A repair's own progress does not advance the search's, but the search can be stopped in the middle of one."""
        if self._on_progress:
            self._on_progress(self._done, self._total)

    def _step(self) -> None:
        self._done = min(self._done + 1, self._total)
        if self._on_progress:
            self._on_progress(self._done, self._total)

    def _finish(self) -> None:
        if self._on_progress:
            self._on_progress(self._total, self._total)


def _check_request(
    sensitivity: Sensitivity, budget: Budget | None, tolerance: float | None, criterion_name: str | None
) -> None:
    if (budget is None) == (tolerance is None):
        raise PruningError("A plan is searched for a budget or for a tolerated loss; give one of them.")
    if tolerance is not None:
        check_tolerance(tolerance)
    if criterion_name not in (None, sensitivity.criterion):
        raise PruningError(
            f"Sensitivity was measured by {sensitivity.criterion}, not by {criterion_name}; measure it by that."
        )
