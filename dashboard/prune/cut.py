"""What the Prune page shows in one run: a network, a clip, the settings, and the plan that follows from them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from core.profiling import Counted, counted
from core.pruning.plan import PruningPlan, plan
from core.tagging import Tagger
from dashboard.prune.settings import HIGHEST, PruneSettings
from dashboard.server.healing import Healing, HealSettings, healed_what, job_key
from dashboard.server.models import TIMED_SECONDS
from dashboard.server.own_networks import title
from dashboard.server.pruned import Pruned
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.server.structure import Structure

EAGER_PARAMETERS = 20_000_000
"""Up to this size a network's curves are measured without being asked for: a few seconds. The published CNN14 takes a minute."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A ``dashboard.server.pruned.PruneRequest``, with what follows from it.

    Attributes
    ----------
    source, name : the clip, and the network that is pruned.
    before : the network's structure.
    settings : what to remove, and how.
    repair : the clips that repair runs on, one of ``settings.REPAIRS``.
    recordings : all recordings of the visitor's own.
    heal : how the network is healed, if it is to be.
    heal_jobs : the visitor's healings, by what was healed and how.
    """

    source: Source
    name: str
    before: Structure
    settings: PruneSettings
    repair: str = "off"
    recordings: tuple[Source, ...] = ()
    heal: HealSettings | None = None
    heal_jobs: Mapping[Hashable, Hashable] = field(default_factory=dict)

    def on(self, source: Source) -> Cut:
        """The same cut on another clip; its filters are not ranked again."""
        other = replace(self, source=source)
        vars(other)["plan"] = self.plan
        return other

    @cached_property
    def after(self) -> Structure:
        """The pruned network's structure, from the ratios alone: no filter has to be ranked for it."""
        if self.settings.plan is not None:
            return self.before.after(self.settings.plan)
        return self.before.pruned(dict(self.settings.ratios), self.settings.round_to)

    @cached_property
    def plan(self) -> PruningPlan:
        """The filters that stay; ranked when first asked for."""
        return self.settings.plan or plan_at(get_server().tagger(self.name), self.settings)

    @cached_property
    def counts(self) -> tuple[Counted, Counted]:
        """Parameters, MACs, sizes and memory before and after, for a clip of ``TIMED_SECONDS``."""
        before, after = (
            counted(each.architecture, each.config, TIMED_SECONDS) for each in (self.before, self.after)
        )
        return before, after

    @property
    def heal_key(self) -> Hashable | None:
        """The job that heals this cut: the visitor's last one, or else one on the clips as they are now."""
        if self.heal is None or self.empty:
            return None
        return self.heal_jobs.get(healed_what(self, self.heal)) or job_key(self, self.heal)

    @cached_property
    def healing(self) -> Healing | None:
        """The healed network and how it came to be, once there is one."""
        return None if self.heal_key is None else get_server().healing.result(self.heal_key)

    @property
    def healed(self) -> Pruned | None:
        """The healed network, once there is one."""
        return None if self.healing is None else self.healing.pruned

    @property
    def ratio(self) -> float:
        """The pruning ratio, or the share of the touched layers' filters that is removed: the cut's position on the curves."""
        if self.settings.ratio is not None:
            return self.settings.ratio
        before, after = (
            sum(each.filters[layer] for layer in self.settings.touched) for each in (self.before, self.after)
        )
        return min(HIGHEST / 100, 1 - after / before) if before else 0.0

    @property
    def where(self) -> str:
        """The touched layers in short."""
        return self.before.text(self.settings.touched)

    @property
    def empty(self) -> bool:
        """Whether nothing is removed."""
        return self.before.filters == self.after.filters

    @property
    def title(self) -> str:
        """The network's name for people."""
        return title(self.name)

    @property
    def small(self) -> bool:
        """Whether curves are measured without being asked for."""
        return self.counts[0].params_trainable <= EAGER_PARAMETERS


def plan_at(tagger: Tagger, settings: PruneSettings, ratio: float | None = None) -> PruningPlan:
    """The plan of the settings, or with one ``ratio`` for all the layers that they touch. Jobs call it too."""
    server, common = get_server(), settings.ratio if ratio is None else ratio
    return plan(
        tagger.model,
        dict(settings.ratios) if common is None else dict.fromkeys(settings.touched, common),
        criterion_name=settings.criterion,
        round_to=settings.round_to,
        scores=lambda layer: server.layer_scores(tagger, layer, settings.criterion),
        origin={"method": "per-layer" if common is None else "uniform"},
    )
