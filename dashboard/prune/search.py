"""Which layers bear pruning, measured, and plans that follow from it: both on demand, with progress and a way to stop."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable

import streamlit as st

from core.errors import PannscopeError
from core.pruning.plan import PruningPlan
from core.pruning.search.search import Budget
from core.pruning.search.sensitivity import Sensitivity
from core.pruning.surgery import check_fits
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts, measurements, settings
from dashboard.prune.cut import Cut
from dashboard.server.jobs import JobStatus
from dashboard.server.pruned import plan_digest
from dashboard.server.server import get_server
from dashboard.server.source import Source, example_sources
from dashboard.widgets import clip_input
from dashboard.widgets.download_buttons import download_button
from dashboard.widgets.job_panel import job_panel, job_progress
from dashboard.widgets.theme import palette

_CLIPS = {"examples": "The 12 examples", "own": "My recordings", "both": "Both"}
_BUDGETS = {"params": "Parameters", "macs": "MACs", "time": "Time", "loss": "Tolerated loss"}
_TOLERANCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def sensitivity(cut: Cut) -> None:
    """The heat map of every layer pruned alone."""
    st.markdown(
        "Each layer is pruned alone at several ratios, and the network's answers are compared with the unpruned one's. "
        "Layers that stay pale bear pruning; the darker a cell, the more the tags change."
    )
    question = measurements.asked(cut.name, _clips("sensitivity_clips"))
    key = measurements.sensitivity_key(question, cut.settings.criterion)
    heard = formats.plural(len(question.clips), "clip")

    def draw() -> None:
        found = measurements.sensitivity(question, cut.settings.criterion)
        if found is not None:
            _map(found, heard)

    _job(
        key,
        "Measure every layer",
        "measure_sensitivity",
        lambda: measurements.start_sensitivity(question, cut.settings.criterion),
        draw,
        about=f"On {heard}, ranked by {cut.settings.criterion}.",
    )


def search(cut: Cut) -> None:
    """A plan for a budget or a tolerated loss; when it is found, it sets every knob."""
    st.markdown(
        "Every layer gets a ratio of its own, so that as little as possible is lost within a budget. What a layer bears is measured "
        "on the clips first."
    )
    left, right = st.columns([5, 7], gap="medium", vertical_alignment="bottom")
    kind = (
        left.segmented_control(
            "What is limited",
            list(_BUDGETS),
            default="macs",
            required=True,
            format_func=_BUDGETS.__getitem__,
            key="limit",
            bind="query-params",
            persist_state="session",
        )
        or "macs"
    )
    budget: Budget | None = None
    tolerance: float | None = None
    if kind == "loss":
        tolerance = right.select_slider(
            "Divergence from the unpruned network, at most",
            _TOLERANCES,
            0.1,
            format_func=lambda value: f"{value:g} nats",
            key="tolerance",
            bind="query-params",
            persist_state="session",
            help="The sum over all classes of the Kullback-Leibler divergence of the pruned network's probability from the unpruned "
            "one's, mean over the clips. 0 is the same answer.",
        )
    else:
        remain = right.slider(
            f"{_BUDGETS[kind]} that may remain",
            10,
            95,
            80 if kind == "macs" else 50,
            5,
            format="%d %%",
            key=f"remain_{kind}",
            bind="query-params",
            persist_state="session",
        )
        budget = Budget(kind, remain / 100)
    question = measurements.asked(cut.name, _clips("search_clips"))
    repaired = cut.settings.repair != "off"
    asked = (question, cut.settings.criterion, cut.settings.round_to)
    limits = {"budget": budget, "tolerance": tolerance, "repaired": repaired}
    key = measurements.search_key(*asked, **limits)

    def start() -> None:
        st.session_state["plan_wanted"] = key
        measurements.start_search(*asked, **limits)

    def draw() -> None:
        found = measurements.found_plan(key)
        if found is None:
            return
        if st.session_state.get("plan_wanted") == key:
            st.session_state.pop("plan_wanted")
            settings.use_plan(found)
            st.rerun()
        _found(cut, found)

    heard = formats.plural(len(question.clips), "clip")
    how = f"On {heard}, ranked by {cut.settings.criterion}" + (
        ", repaired on half of them." if repaired else "."
    )
    _job(key, "Find a plan", "find_plan", start, draw, about=how)


def load(cut: Cut) -> None:
    """The way in for a plan that somebody saved."""
    st.file_uploader(
        "Load a plan",
        type=["json"],
        key="plan_file",
        on_change=_read_plan,
        args=(cut.name,),
        help="A JSON file that this page or `pannscope prune` wrote.",
    )
    problem = st.session_state.get("plan_problem")
    if problem:
        st.error(formats.escaped(problem), icon=":material/error:")


def read_plan(data: bytes, name: str) -> PruningPlan:
    """The plan in a file, if the network ``name`` can carry it out; raises ``PannscopeError`` where not."""
    plan = PruningPlan.from_text(data.decode("utf-8", errors="replace"))
    check_fits(plan, get_server().tagger(name).model)
    return plan


def _read_plan(name: str) -> None:
    given = st.session_state.get("plan_file")
    st.session_state.pop("plan_problem", None)
    if given is None:
        return
    try:
        settings.use_plan(read_plan(given.getvalue(), name))
    except PannscopeError as error:
        st.session_state["plan_problem"] = f"{given.name}: {error}"


def _clips(key: str) -> list[Source]:
    """Which clips to measure on: a choice only where the person has given some."""
    examples = example_sources()
    own = [source for source in clip_input.own() if _readable(source)]
    if not own:
        return examples
    chosen = st.segmented_control(
        "Measured on",
        list(_CLIPS),
        default="own",
        required=True,
        format_func=lambda each: f"{_CLIPS[each]} ({len(own)})" if each == "own" else _CLIPS[each],
        key=key,
        persist_state="session",
    )
    return {"examples": examples, "own": own, "both": [*own, *examples]}[chosen or "own"]


def _readable(source: Source) -> bool:
    try:
        get_server().clip(source)
    except PannscopeError:
        return False  # the page has said so where the recording was given
    return True


def _job(
    key: Hashable,
    label: str,
    name: str,
    start: Callable[[], None],
    draw: Callable[[], None],
    *,
    about: str,
) -> None:
    """A button that begins a job, its progress with a way to stop it, and what it found."""
    jobs = get_server().jobs
    known = jobs.result(key) is not None

    def idle(status: JobStatus | None) -> None:
        if not known:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(label, key=name, on_click=start)
                st.caption(about, width="content")
            if status is not None and status.message:
                st.caption(formats.escaped(status.message))
        draw()

    job_panel(
        name,
        lambda: jobs.status(key),
        job_progress,
        lambda: jobs.cancel(key),
        idle,
        outdated=lambda: (jobs.result(key) is not None) != known,
    )


def _map(found: Sensitivity, heard: str) -> None:
    st.plotly_chart(
        charts.sensitivity_map(
            found.layers, found.ratios, found.divergence, found.first_tag, palette=palette()
        ),
        config=CONFIG,
        key="sensitivity_map",
        alt=charts.sensitivity_alt(found.layers, found.ratios, found.divergence),
    )
    st.caption(
        f"Divergence from the unpruned network in nats, mean over {heard}, by {found.criterion}: one layer pruned, all others whole."
    )
    download_button(
        "JSON",
        lambda: json.dumps(found.document(), indent=2),
        "pannscope-sensitivity.json",
        key="sensitivity_json",
        mime="application/json",
    )


def _found(cut: Cut, found: PruningPlan) -> None:
    in_use = cut.settings.plan is not None and plan_digest(cut.settings.plan) == plan_digest(found)
    ratios = ", ".join(f"{layer} {formats.percent(share)}" for layer, share in found.ratios.items())
    st.markdown(f"**Found:** {ratios or 'nothing has to be removed'}.")
    measured, remains = found.origin.get("loss_measured"), found.origin.get("remaining", {})
    uniform = found.origin.get("uniform")
    after = ", after repair" if found.origin.get("repaired") else ""
    if measured is not None and remains:
        st.caption(
            f"It leaves {formats.percent(remains['params'])} of the parameters and {formats.percent(remains['macs'])} of the MACs. "
            f"Divergence on the clips it was found with{after}: {measured:.3f} nats"
            + (f"; one ratio for C7 to C12, {uniform['loss']:.3f} nats at as much left." if uniform else ".")
        )
    if in_use:
        st.caption("The page shows this plan; move any layer's slider to go on from it.")
    else:
        st.button("Use this plan", key="use_plan", on_click=settings.use_plan, args=(found,))
