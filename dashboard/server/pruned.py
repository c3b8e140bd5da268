"""Pruned networks, made and repaired once each.

They are cached under the checkpoint's sha256 and what was done to it. A pruned network shares the memory of what it did not lose
with its parent, and only the last few are kept: the next one is made in a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.models.network import Network
from core.pruning.plan import PruningPlan
from core.pruning.provenance import pruned_info
from core.pruning.repair.repair import repair
from core.pruning.surgery import prune
from core.runtime.builder import EngineBuilder
from core.tagging import Tagger
from dashboard.server.cache import ByteLruCache
from dashboard.server.clips import Clips
from dashboard.server.inference_queue import InferenceQueue, OnWait
from dashboard.server.memory_pressure import MemoryPressure
from dashboard.server.models import Models
from dashboard.server.source import Source, example_sources

MAX_RECORDINGS = 16
"""Repair runs on at most so many recordings: beyond eight clips it gains little (docs/repair.md), and each takes time."""

_BUDGET_BYTES = 96 * 2**20

OnProgress = Callable[[int, int], None]
"""Called with the number of steps that are done, and of all."""


class PruneRequest(Protocol):
    """What a pruned network is made from."""

    @property
    def source(self) -> Source:
        """The clip that it is to tag."""

    @property
    def name(self) -> str:
        """The network that is pruned."""

    @property
    def plan(self) -> PruningPlan:
        """The filters that stay."""

    @property
    def repair(self) -> str:
        """The clips that repair runs on: "off", "clip", "examples" or "both"."""

    @property
    def recordings(self) -> Sequence[Source]:
        """All recordings of the visitor's own. Where ``source`` is one of them, repair runs on all, not on one."""

    @property
    def healed(self) -> Pruned | None:
        """The network once it has been healed, in place of a repaired one."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """A network that lost filters, ready to tag.

    Attributes
    ----------
    plan : what was removed.
    tagger : the network, with its classes.
    repair : repair's report, plain JSON, or None where there was none.
    own_bytes : bytes of weights that it does not share with its parent.
    """

    plan: PruningPlan
    tagger: Tagger
    repair: dict[str, Any] | None
    own_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes that it holds besides its parent's: its own weights, and what its engine keeps once there is one."""
        return self.own_bytes + self.tagger.engine_bytes


class PrunedNetworks:
    """Makes pruned networks and keeps the last ones."""

    def __init__(
        self,
        models: Models,
        clips: Clips,
        queue: InferenceQueue,
        builder: EngineBuilder,
        pressure: MemoryPressure,
    ) -> None:
        self._models, self._clips, self._queue, self._builder = models, clips, queue, builder
        self._pruned: ByteLruCache[Pruned] = ByteLruCache(
            _BUDGET_BYTES, lambda pruned: pruned.nbytes, growing=True
        )
        pressure.add(self._pruned)

    def pruned(
        self,
        cut: PruneRequest,
        *,
        repaired: bool = True,
        on_wait: OnWait | None = None,
        on_progress: OnProgress | None = None,
    ) -> Pruned:
        """The pruned network, repaired where the cut says so and ``repaired`` is not False."""
        if repaired and cut.healed is not None:
            return cut.healed
        setting = cut.repair if repaired else "off"
        key = self.key(cut, setting)
        known = self._pruned.get(key)
        if known is not None:
            return known
        tagger = self._models.tagger(cut.name)
        clips = self._clips.waveforms(calibration_sources(cut, setting))
        with self._queue.slots(on_wait) as yield_slot:

            def step(done: int, total: int) -> None:
                if on_progress is not None:
                    on_progress(done, total)
                yield_slot()

            return self._pruned.put(key, build_pruned(tagger, cut.plan, clips, step, builder=self._builder))

    def key(self, cut: PruneRequest, setting: str | None = None) -> Hashable:
        """What a pruned network is cached under; ``setting`` is of repair, by default the cut's."""
        if setting is None and cut.healed is not None:
            return ("healed", cut.healed.tagger.info.sha256)
        setting = cut.repair if setting is None else setting
        return (
            *self._models.key(cut.name),
            plan_digest(cut.plan),
            calibration_key(cut, setting),
        )


def build_pruned(
    tagger: Tagger,
    plan: PruningPlan,
    calibration_clips: Sequence[np.ndarray],
    on_progress: OnProgress | None = None,
    *,
    builder: EngineBuilder | None = None,
) -> Pruned:
    """Prune, repair on ``calibration_clips`` if there are any, and make the network ready to tag.

    It runs on torch at once; ``builder`` makes its engine meanwhile, and without it torch it stays: right for a network that tags only
    one clip.
    """
    model = prune(tagger.model, plan, share=True)
    report: dict[str, Any] | None = None
    if calibration_clips:
        result = repair(tagger.model, plan, model, calibration_clips, on_progress=on_progress)
        model, report = result.model, result.document
    info = pruned_info(tagger.info, plan, model, f"{tagger.name}-pruned", report)
    ready = Tagger(model, info, "torch") if builder is None else Tagger(model, info, background=builder)
    return Pruned(plan, ready, report, own_bytes(tagger.model, model))


def plan_digest(plan: PruningPlan) -> str:
    """Equal for plans that keep the same filters of the same network."""
    text = json.dumps([plan.widths, sorted(plan.kept.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def calibration_sources(cut: PruneRequest, setting: str) -> list[Source]:
    """The clips that repair runs on: with "clip" the cut's example, or all recordings of the visitor's own.

    "examples" leaves out the example that is tagged: a network does better on what it was repaired on than on anything else.
    """
    sources = _clips(cut) if setting in ("clip", "both") else []
    if setting in ("examples", "both"):
        sources += [example for example in example_sources() if example.key != cut.source.key]
    return sources


def calibration_key(cut: PruneRequest, setting: str) -> tuple[str, ...]:
    """``calibration_sources`` as part of a cache key."""
    if setting == "off":
        return ()
    every_example = setting == "examples" and cut.source.example is None  # whichever recording is tagged
    return (setting,) if every_example else (setting, *(source.key for source in _clips(cut)))


def _clips(cut: PruneRequest) -> list[Source]:
    """The cut's example, or the visitor's recordings, in an order that does not depend on which of them is tagged."""
    if cut.source.example is not None:
        return [cut.source]
    together = {source.key: source for source in (cut.source, *cut.recordings)}
    return [together[key] for key in sorted(together)][:MAX_RECORDINGS]


def own_bytes(parent: Network, model: Network) -> int:
    """Bytes of a network's tensors that it does not share with its parent."""
    shared = {tensor.data_ptr() for tensor in parent.state_dict().values()}
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in model.state_dict().values()
        if tensor.data_ptr() not in shared
    )
