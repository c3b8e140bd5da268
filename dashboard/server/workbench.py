"""Pruned networks as the Prune page needs them: made, repaired, heard and timed, each once.

Everything lies under the checkpoint's sha256 and what was done to it, never under a name or an array. A pruned network shares
the memory of what it did not lose with its parent, and only the last few are kept: the next one is made in a second.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core import checkpoints
from core.compare import Agreement, Comparison, agreement
from core.examples import EXAMPLES, example_clip
from core.models.cnn import Cnn14, Cnn14Config
from core.models.widths import kept_widths
from core.profiling import count
from core.pruning.plan import PruningPlan, plan
from core.pruning.record import pruned_info
from core.pruning.repair.repair import repair
from core.pruning.surgery import prune
from core.runtime.builder import EngineBuilder
from core.tagging import Tagger, Tags
from dashboard.prune.settings import Knobs
from dashboard.server import lab, state
from dashboard.server.cache import Shelf
from dashboard.server.jobs import Jobs
from dashboard.server.source import Source
from dashboard.server.state import Timed

TOP_K = 10
THRESHOLD = 0.5
LISTEN_SECONDS = 30.0
"""Repair and measurements hear at most this much of every clip, as much as one window of tagging."""

EAGER_PARAMETERS = 20_000_000
"""Up to this size a network's curves are measured unasked: a few seconds. The published CNN14 takes a minute."""

_PRUNED_BYTES = 96 * 2**20
_FOUND_BYTES = 160 * 2**20
"""Of what jobs found: exported files, nearly all of it."""

Tell = Callable[[int], None]
Step = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Pruned:
    """A network that lost filters, ready to tag.

    Attributes
    ----------
    plan : what was removed.
    tagger : the network, with its classes.
    repair : what repair did, plain JSON, or None where there was none.
    own_bytes : bytes of weights that it does not share with its parent.
    """

    plan: PruningPlan
    tagger: Tagger
    repair: dict[str, Any] | None
    own_bytes: int

    @property
    def weight(self) -> int:
        """Bytes that it holds besides its parent's: its own weights, and what its engine keeps once there is one."""
        return self.own_bytes + self.tagger.engine_bytes


@dataclass(frozen=True, eq=False)
class Cut:
    """Everything that the page is about at one moment.

    Attributes
    ----------
    source, name : the clip, and the network that is pruned.
    before, after : its configuration, and what is left of it.
    knobs : how.
    """

    source: Source
    name: str
    before: Cnn14Config
    after: Cnn14Config
    knobs: Knobs

    @property
    def title(self) -> str:
        """The network's name for people."""
        return checkpoints.entry(self.name).title

    @property
    def small(self) -> bool:
        """Whether curves are measured without being asked for."""
        return count(self.before).params_trainable <= EAGER_PARAMETERS


class Workbench:
    """What outlives the Prune page; one for the process."""

    def __init__(self) -> None:
        self.pruned: Shelf[Pruned] = Shelf(_PRUNED_BYTES, lambda pruned: pruned.weight, growing=True)
        self.latencies: Shelf[tuple[Timed, ...]] = Shelf(2**18, lambda _: 1024)
        self.jobs = Jobs(state.server().gate, _FOUND_BYTES)
        state.server().pressure.add(self.pruned)


@st.cache_resource(show_spinner=False)
def bench() -> Workbench:
    """The process's one ``Workbench``."""
    return Workbench()


def config(name: str) -> Cnn14Config:
    """The configuration of a network that can be loaded."""
    return state.tagger(name).model.config


def config_after(before: Cnn14Config, knobs: Knobs) -> Cnn14Config:
    """The configuration that is left, from the widths alone: no filter has to be ranked for it."""
    widths = (
        knobs.given.after if knobs.given else kept_widths(before.widths, dict(knobs.ratios), knobs.round_to)
    )
    return Cnn14Config(widths, before.classes, before.embedding)


def make_plan(name: str, knobs: Knobs) -> PruningPlan:
    """The filters that stay, by the knobs."""
    if knobs.given is not None:
        return knobs.given
    return plan_at(state.server(), state.tagger(name), knobs)


def listeners(repair_on: str, source: Source) -> list[Source]:
    """The clips that repair listens to, by the page's choice.

    "examples" leaves out the one that is being heard: a network answers what it was repaired on better than anything else.
    """
    sources = [source] if repair_on in ("clip", "both") else []
    if repair_on in ("examples", "both"):
        sources += [each for each in examples() if each.key != source.key]
    return sources


def examples() -> list[Source]:
    """All synthesised clips."""
    return [Source.of_example(example.key, example.title) for example in EXAMPLES]


def waveforms(sources: Sequence[Source]) -> list[np.ndarray]:
    """The beginnings of clips, (samples,) each; raises ``AudioError`` for one that cannot be read."""
    return heard_later(sources)()


def heard_later(sources: Sequence[Source]) -> Callable[[], list[np.ndarray]]:
    """The same as a function that a thread may call: recordings are opened now, examples are only synthesised then (seconds)."""
    given = {each.key: state.opened(each).clip for each in sources if each.example is None}
    return lambda: [
        (example_clip(each.example) if each.example else given[each.key]).beginning(LISTEN_SECONDS)
        for each in sources
    ]


def known_tags(source: Source, name: str, made: PruningPlan, repair_on: str) -> Tags | None:
    """What a pruned network says about a clip, if it has been asked before."""
    return state.server().tags.get(_tag_key(source, state.tagger(name), made, repair_on))


def tags(
    source: Source,
    name: str,
    made: PruningPlan,
    repair_on: str = "off",
    *,
    tell: Tell | None = None,
    on_progress: Step | None = None,
) -> Tags:
    """What the pruned network says about ``source``, computed once, in one's turn."""
    found = known_tags(source, name, made, repair_on)
    if found is not None:
        return found
    ready = pruned(source, name, made, repair_on, tell=tell, on_progress=on_progress)
    clip = state.opened(source).clip
    with state.server().gate.turn(tell):
        return state.server().tags.put(
            _tag_key(source, state.tagger(name), made, repair_on), state.heard(ready.tagger, clip)
        )


def pruned(
    source: Source,
    name: str,
    made: PruningPlan,
    repair_on: str = "off",
    *,
    tell: Tell | None = None,
    on_progress: Step | None = None,
) -> Pruned:
    """The pruned network, repaired where that is asked for, made in one's turn."""
    tagger = state.tagger(name)
    key = (tagger.info.sha256, digest(made), heard_key(repair_on, source))
    found = bench().pruned.get(key)
    if found is not None:
        return found
    heard = waveforms(listeners(repair_on, source))
    with state.server().gate.turns(tell) as let_others_go_first:

        def step(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(done, total)
            let_others_go_first()

        return bench().pruned.put(
            key, carry_out(tagger, made, heard, step, background=state.server().engine_builder)
        )


def comparison(source: Source, name: str, right: Tags, tell: Tell | None = None) -> Comparison:
    """The unpruned network beside the pruned one on one clip."""
    left = state.tags(source, name, tell)
    return Comparison(state.opened(source).clip, left, right, agree(left, right))


def agree(left: Tags, right: Tags) -> Agreement:
    """How far two networks agree, over the first ``TOP_K`` tags."""
    return agreement(left, right, top_k=TOP_K, threshold=THRESHOLD)


def known_latencies(name: str, after: Cnn14Config) -> tuple[Timed, ...] | None:
    """The times of the network and of one of these widths, if they have been measured together."""
    return bench().latencies.get((state.tagger(name).info.sha256, after.widths))


def latencies(source: Source, name: str, made: PruningPlan, tell: Tell | None = None) -> tuple[Timed, ...]:
    """Time the network and the pruned one on 10 s of audio, turn about. Widths decide, so repair is left out."""
    tagger = state.tagger(name)
    ready = pruned(source, name, made, tell=tell)
    with state.server().gate.turn(tell):
        return bench().latencies.put(
            (tagger.info.sha256, ready.tagger.model.config.widths), state.timed([tagger, ready.tagger])
        )


def digest(made: PruningPlan) -> str:
    """A short name of what a plan does to a network: equal for plans that keep the same filters."""
    text = json.dumps([made.widths, sorted(made.kept.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def plan_at(server: state.Server, tagger: Tagger, knobs: Knobs, ratio: float | None = None) -> PruningPlan:
    """The plan of the knobs, or with one ``ratio`` for all the layers that they touch. Knows of no page: threads call it."""
    common = knobs.ratio if ratio is None else ratio
    return plan(
        tagger.model,
        dict(knobs.ratios) if common is None else dict.fromkeys(knobs.touched, common),
        criterion_name=knobs.criterion,
        round_to=knobs.round_to,
        scores=lambda layer: lab.scores_of(server, tagger, knobs.criterion, layer),
        origin={"method": "per-layer" if common is None else "uniform"},
    )


def carry_out(
    tagger: Tagger,
    made: PruningPlan,
    heard: Sequence[np.ndarray],
    on_progress: Step | None = None,
    *,
    background: EngineBuilder | None = None,
) -> Pruned:
    """Prune, repair on what was ``heard`` if anything was, and make it ready to tag. Knows of no page: threads call it.

    It listens on torch at once; ``background`` makes its engine meanwhile, and without it torch it stays: right for a network that is
    heard only once.
    """
    model = prune(tagger.model, made, share=True)
    report: dict[str, Any] | None = None
    if heard:
        repaired = repair(tagger.model, made, model, heard, on_progress=on_progress)
        model, report = repaired.model, repaired.document
    info = pruned_info(tagger.info, made, model, f"{tagger.name}-pruned", report)
    ready = Tagger(model, info, "torch") if background is None else Tagger(model, info, background=background)
    return Pruned(made, ready, report, _own_bytes(tagger.model, model))


def _own_bytes(parent: Cnn14, model: Cnn14) -> int:
    shared = {tensor.data_ptr() for tensor in parent.state_dict().values()}
    return sum(
        tensor.numel() * tensor.element_size()
        for tensor in model.state_dict().values()
        if tensor.data_ptr() not in shared
    )


def heard_key(repair_on: str, source: Source) -> tuple[str, ...]:
    """What repair listened to, in a key."""
    if repair_on == "off":
        return ()
    every_clip = repair_on == "examples" and source.example is None  # whichever clip is being heard
    return (repair_on,) if every_clip else (repair_on, source.key)


def _tag_key(source: Source, tagger: Tagger, made: PruningPlan, repair_on: str) -> Hashable:
    return (source.key, tagger.info.sha256, digest(made), heard_key(repair_on, source))
