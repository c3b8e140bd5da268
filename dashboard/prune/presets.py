"""The Prune page's presets: one click sets every widget, or finds the plan."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.profiling import sweep
from core.units import THRESHOLD
from dashboard import formats
from dashboard.prune import settings
from dashboard.prune.cut import Cut
from dashboard.prune.keep_tags import KeepTagsRequest
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.server.structure import Structure
from dashboard.widgets.job_panel import job_panel, job_progress

_WANTED = "smallest_wanted"
_RATIOS = tuple(percent / 100 for percent in range(settings.HIGHEST + 1))


def half_the_macs(before: Structure) -> int | None:
    """The lowest ratio for all layers, in per cent, that leaves at most half of the MACs; None where none does.

    Examples
    --------
    >>> from core.models.registry import architecture
    >>> half_the_macs(Structure("cnn14", architecture("cnn14").configure()))
    32
    """
    points = sweep(before.architecture, before.config, before.layers, ratios=_RATIOS)
    limit = points[0].macs / 2
    return next((percent for percent, point in enumerate(points) if point.macs <= limit), None)


def presets(cut: Cut) -> None:
    """The buttons, and below them the search of the third while it runs, and what it found."""
    request, half = KeepTagsRequest(cut), half_the_macs(cut.before)
    clips = "this clip" if len(request.sources) == 1 else f"all {len(request.sources)} of your recordings"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Start from", width="content")
        chosen = cut.before.default_layers
        papers = len(chosen) < len(cut.before.layers)
        st.button(
            f"E-PANNs 50{formats.NBSP}%" if papers else f"50{formats.NBSP}% of every layer",
            key="preset_epanns",
            on_click=settings.use_common,
            args=(settings.DEFAULT_CRITERION, (chosen[0], chosen[-1]), settings.RATIO),
            help=(
                "The published network's filters: half of C7 to C12"
                if papers
                else "Half of the filters of every layer"
            )
            + f" by {settings.DEFAULT_CRITERION}. Repair stays as it is.",
        )
        st.button(
            "Half the MACs",
            key="preset_macs",
            on_click=settings.use_common,
            args=(
                cut.settings.criterion,
                (cut.before.layers[0], cut.before.layers[-1]),
                half or settings.HIGHEST,
            ),
            disabled=half is None,
            help="The lowest ratio for all layers that leaves at most half of the multiply-accumulate operations"
            + (
                f": {half}{formats.NBSP}%. “Find a plan” below loses less for as many."
                if half is not None
                else ". No ratio does here: the spectrogram, which pruning does not change, takes too many of them."
            ),
        )
        st.button(
            "Smallest that keeps my tags",
            key="preset_smallest",
            on_click=_search,
            args=(request,),
            help=f"Searches for the fewest parameters with the same tags at {formats.probability(THRESHOLD)} or more on {clips}: "
            "none lost, none gained. Ranked by the chosen criterion, and repaired as chosen.",
        )
    jobs, key = get_server().jobs, request.key
    known = request.result() is not None

    def idle(status: JobStatus | None) -> None:
        if st.session_state.get(_WANTED) != key:
            return
        plan = request.result()
        if plan is None:
            if status is not None and status.message:
                st.caption(formats.escaped(status.message))
            return
        _found(request, clips)

    job_panel(
        "smallest",
        lambda: jobs.status(key),
        job_progress,
        lambda: jobs.cancel(key),
        idle,
        outdated=lambda: (request.result() is not None) != known,
    )


def _search(request: KeepTagsRequest) -> None:
    """Start the search, or use its plan where it has been found."""
    st.session_state[_WANTED] = request.key
    st.session_state.pop("smallest_used", None)
    get_server().jobs.forget(request.key)
    try:
        request.start()
    except PannscopeError:
        st.session_state.pop(_WANTED)  # the page says why the network or a recording cannot be used


def _found(request: KeepTagsRequest, clips: str) -> None:
    """Use the plan once, and say what it keeps."""
    plan = request.result()
    if plan is None:
        return
    if st.session_state.get("smallest_used") != request.key:
        st.session_state["smallest_used"] = request.key
        settings.use_plan(plan)
        st.rerun()
    if not plan.kept:
        st.caption(f"Every smaller network that was tried loses or gains a tag on {clips}.")
        return
    remaining = plan.origin["remaining"]
    st.caption(
        f"The smallest found that keeps all tags on {clips}: {formats.percent(remaining['params'])} of the parameters and "
        f"{formats.percent(remaining['macs'])} of the MACs remain; networks tried: {plan.origin['tested']}."
    )
