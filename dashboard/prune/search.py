"""The Prune page's tab of plans: a search for the ratios of all layers, and loading of a saved plan."""

from __future__ import annotations

import streamlit as st

from core.errors import PannscopeError
from core.pruning.plan import MAX_BYTES, PruningPlan
from core.pruning.ratios import ratios_text
from core.pruning.search.budget import Budget
from core.pruning.surgery import check_fits
from dashboard import formats
from dashboard.prune import settings
from dashboard.prune.cut import Cut
from dashboard.prune.measurements import SearchRequest
from dashboard.prune.panels import choose_clips, measurement_panel
from dashboard.server.pruned import plan_digest
from dashboard.server.server import get_server
from dashboard.widgets import query_params
from dashboard.widgets.choice import choose_one

_LIMITS = {"params": "Parameters", "macs": "MACs", "time": "Time", "loss": "Tolerated loss"}
_TOLERANCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_TOLERANCE = 0.1


def search(cut: Cut) -> None:
    """A plan for a budget or a tolerated loss; once found, it sets every widget."""
    st.markdown(
        "Every layer gets its own ratio, so that as little as possible is lost within a budget. Each layer's sensitivity is "
        "measured on the clips first."
    )
    budget, tolerance = _choose_limit()
    measured_on = choose_clips(cut, "search_clips")
    repaired = cut.repair != "off"
    request = SearchRequest(measured_on, cut.settings.round_to, budget, tolerance, repaired)

    def start() -> None:
        st.session_state["plan_wanted"] = request.key
        request.start()

    def draw() -> None:
        plan = request.result()
        if plan is None:
            return
        if st.session_state.get("plan_wanted") == request.key:
            st.session_state.pop("plan_wanted")
            settings.use_plan(plan)
            st.rerun()
        _result(cut, plan)

    clips = formats.plural(len(measured_on.sources), "clip")
    about = f"On {clips}, ranked by {cut.settings.criterion}"
    measurement_panel(
        request,
        "find_plan",
        "Find a plan",
        start=start,
        result=draw,
        about=f"{about}, repaired on half of them." if repaired else f"{about}.",
    )


def load(cut: Cut) -> None:
    """Upload of a saved plan."""
    st.file_uploader(
        "Load a plan",
        type=["json"],
        max_upload_size=MAX_BYTES // 2**20,
        key="plan_file",
        on_change=_read_plan,
        args=(cut.name,),
        help="A JSON file that this page or `pannscope prune` wrote.",
    )
    problem = st.session_state.get("plan_problem")
    if problem:
        st.error(formats.escaped(problem), icon=":material/error:")


def _choose_limit() -> tuple[Budget | None, float | None]:
    """The budget, or the tolerated loss in nats."""
    left, right = st.columns([5, 7], gap="medium", vertical_alignment="bottom")
    limit = choose_one("What is limited", "limit", _LIMITS, "macs", place=left)
    if limit == "loss":
        query_params.follow("tolerance", {f"{value:g}": value for value in _TOLERANCES}.get, _TOLERANCE)
        tolerance = right.select_slider(
            "Divergence from the unpruned network in nats, at most",
            _TOLERANCES,
            key="tolerance",
            persist_state="session",
            help="The sum over all classes of the Kullback-Leibler divergence of the pruned network's probability from the unpruned "
            "one's, mean over the clips. 0 means identical outputs.",
        )
        query_params.keep("tolerance", f"{tolerance:g}", f"{_TOLERANCE:g}")
        return None, tolerance
    key, default = f"remain_{limit}", 80 if limit == "macs" else 50
    query_params.follow(key, query_params.whole(10, 95), default)
    remain = right.slider(
        f"{_LIMITS[limit]} that may remain",
        10,
        95,
        step=5,
        format="%d %%",
        key=key,
        persist_state="session",
    )
    query_params.keep(key, remain, default)
    return Budget(limit, remain / 100), None


def _read_plan(name: str) -> None:
    """Use the uploaded plan if it fits the network ``name``; otherwise keep the reason for the next run."""
    upload = st.session_state.get("plan_file")
    st.session_state.pop("plan_problem", None)
    if upload is None:
        return
    try:
        plan = PruningPlan.from_text(upload.getvalue().decode("utf-8", errors="replace"))
        check_fits(plan, get_server().tagger(name).model)
    except PannscopeError as error:
        st.session_state["plan_problem"] = f"{upload.name}: {error}"
    else:
        settings.use_plan(plan)


def _result(cut: Cut, plan: PruningPlan) -> None:
    ratios = formats.escaped(ratios_text(plan.ratios)).replace("%", f"{formats.NBSP}%")
    help_text = "The ratio of each layer: under *Layer by layer*, and in the plan's file under *Export*."
    st.markdown(f"**Found:** {ratios or 'nothing has to be removed'}.", help=help_text)
    origin = plan.origin
    loss, remaining, uniform = (origin.get(key) for key in ("loss_measured", "remaining", "uniform"))
    if loss is not None and remaining:
        st.caption(
            f"{formats.percent(remaining['params'])} of the parameters and {formats.percent(remaining['macs'])} of the MACs "
            f"remain. Divergence on the clips of the search{', after repair' if origin.get('repaired') else ''}: "
            f"{loss:.3f} nats"
            + (
                f"; with one ratio for {cut.before.text(cut.before.default_layers)} and as much left: {uniform['loss']:.3f} nats."
                if uniform
                else "."
            )
        )
    if cut.settings.plan is not None and plan_digest(cut.settings.plan) == plan_digest(plan):
        st.caption("The page shows this plan; move any layer's slider to change it.")
    else:
        st.button("Use this plan", key="use_plan", on_click=settings.use_plan, args=(plan,))
