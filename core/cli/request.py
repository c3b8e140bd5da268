"""How much ``prune`` is to remove, as its options say it, and the plan that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli.output import progress
from core.errors import PruningError

if TYPE_CHECKING:
    import numpy as np

    from core.pruning.plan import PruningPlan
    from core.pruning.search.budget import Budget
    from core.pruning.search.sensitivity import Sensitivity
    from core.tagging import Tagger


@dataclass(frozen=True)
class PruneRequest:
    """How much is to be removed: exactly one of a ratio, ratios, a plan, a budget or a tolerance (``similarity`` needs none)."""

    ratio: Annotated[
        float | None,
        typer.Option(
            "--ratio", metavar="SHARE", help="Share of filters to remove from each layer, 0 to below 1."
        ),
    ] = None
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="LIST", help="A share for each layer, as C7=0.5,C8-C12=0.25."),
    ] = None
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Apply a saved plan, or a pruned checkpoint's."),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="KIND=SHARE",
            help="Find the ratios that lose least on --clips while this share remains: params=0.5, macs=0.6 or time=0.7.",
        ),
    ] = None
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            metavar="LOSS",
            help="Find the fewest MACs that lose at most this on --clips: divergence in nats a clip, with a manifest mAP.",
        ),
    ] = None
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="LAYERS",
            help="Layers to prune: C7-C12, C9, C7,C9-C11, a module as resnet.layer4, a pattern as *.conv2, or all. For a ratio the "
            "default is C7-C12 of CNN14, and all of other architectures; for a search, all.",
        ),
    ] = None
    criterion: Annotated[
        str | None,
        typer.Option(
            "--criterion",
            metavar="NAME",
            help="How filters are ranked; operator-norm is the paper's. similarity without a ratio lets the weights decide.",
        ),
    ] = None
    round_to: Annotated[
        int | None,
        typer.Option("--round-to", metavar="N", help="Round the kept filters to a multiple of N."),
    ] = None
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair the pruned network on --clips; no labels are used.")
    ] = False

    def check(self) -> None:
        """Raise ``PruningError`` for contradictions, before anything is loaded."""
        ways = {
            "--ratio": self.ratio,
            "--ratios": self.ratios,
            "--plan": self.plan,
            "--budget": self.budget,
            "--tolerance": self.tolerance,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise PruningError(f"{' and '.join(given)} each say how much is to be removed; give one of them.")
        if not given and self.criterion != "similarity":
            raise PruningError(
                "Say how much is to be removed: --ratio SHARE (0.5 is E-PANNs'), --ratios, --plan, --budget or --tolerance. Only "
                "--criterion similarity needs none of them."
            )
        where = "the plan's" if self.plan else "set with --ratios" if self.ratios else "left to similarity"
        decided = {
            "--layers": (self.layers, self.plan or self.ratios),
            "--criterion": (self.criterion, self.plan),
            "--round-to": (self.round_to, self.plan or not given),
        }
        for name, (value, elsewhere) in decided.items():
            if value is not None and elsewhere:
                raise PruningError(f"{name} cannot be given here: it is {where}; leave it out.")
        if self.budget is not None:
            parse_budget(self.budget)

    @property
    def search(self) -> str | None:
        """The option that makes this a search, which needs clips; None without one."""
        return (
            "--budget" if self.budget is not None else "--tolerance" if self.tolerance is not None else None
        )

    def build_plan(
        self, tagger: Tagger, waveforms: list[np.ndarray], targets: np.ndarray | None
    ) -> PruningPlan:
        """The plan for a network; a search uses the clips (``CalibrationOptions.read``)."""
        from core.models.groups import prunable_layers
        from core.pruning.plan import plan, similarity_plan
        from core.pruning.plan_file import load_plan
        from core.pruning.ratios import parse_layers, parse_ratios
        from core.pruning.surgery import check_fits

        if self.plan is not None:
            loaded = load_plan(self.plan)
            check_fits(loaded, tagger.model)
            return loaded
        if self.search:
            return self._search(tagger, waveforms, targets)
        known = prunable_layers(tagger.model.architecture)
        layers = None if self.layers is None else parse_layers(self.layers, known)
        ratios = self.ratio if self.ratios is None else parse_ratios(self.ratios, known)
        if ratios is None:
            return similarity_plan(tagger.model, layers)
        name = self.criterion or "operator-norm"
        return plan(
            tagger.model, ratios, layers, name, round_to=1 if self.round_to is None else self.round_to
        )

    def _search(self, tagger: Tagger, waveforms: list[np.ndarray], targets: np.ndarray | None) -> PruningPlan:
        from core.models.groups import prunable_layers
        from core.models.widths import check_round_to
        from core.pruning.ratios import parse_layers
        from core.pruning.repair.config import RepairConfig
        from core.pruning.search.budget import check_tolerance
        from core.pruning.search.search import find_plan

        layers = parse_layers(self.layers or "all", prunable_layers(tagger.model.architecture))
        round_to = check_round_to(1 if self.round_to is None else self.round_to)
        if self.tolerance is not None:
            check_tolerance(self.tolerance)
        measured = measured_sensitivity(tagger, waveforms, targets, layers, self.criterion or "operator-norm")
        with progress("choosing the ratios") as show:
            return find_plan(
                tagger.model,
                measured,
                waveforms=waveforms,
                targets=targets,
                budget=None if self.budget is None else parse_budget(self.budget),
                tolerance=self.tolerance,
                round_to=round_to,
                repair=RepairConfig() if self.repair else None,
                on_progress=show,
            )


def measured_sensitivity(
    tagger: Tagger,
    waveforms: list[np.ndarray],
    targets: np.ndarray | None,
    layers: tuple[str, ...],
    criterion: str,
) -> Sensitivity:
    """Sensitivity with a progress bar."""
    from core.pruning.search.sensitivity import measure_sensitivity

    with progress("measuring each layer") as show:
        return measure_sensitivity(
            tagger.model,
            waveforms,
            layers=layers,
            criterion_name=criterion,
            targets=targets,
            on_progress=show,
        )


def parse_budget(text: str) -> Budget:
    """Read ``params=0.5``, ``macs=0.6`` or ``time=0.7``."""
    from core.pruning.search.budget import KINDS, Budget

    kind, _, share = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        raise PruningError(
            f"Cannot read the budget {text!r}; give what may remain of the {', the '.join(KINDS)}, such as macs=0.6."
        ) from None
    return Budget(kind.strip(), value)
