"""The Prune page's curve of agreement over the ratio, drawn while it is measured in the background."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.compare import Agreement
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts, measurements
from dashboard.prune.charts import Line, Mark
from dashboard.prune.cut import TOP_K, Cut
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.widgets.job_panel import job_panel, job_progress
from dashboard.widgets.theme import palette

_TITLE = "**Agreement at every ratio**"
_HEIGHT_PX = 420  # the choice of measure, the chart and its caption
_FIFTHS = tuple((step / 5, formats.probability(step / 5)) for step in range(6))


@dataclass(frozen=True)
class Measure:
    """One measure of agreement: its name, axis title, explanation, and value from 0 to 1."""

    name: str
    axis: str
    about: str
    value: Callable[[Agreement], float]


_MEASURES = {
    "tags": Measure(
        "First tags",
        "share of the first tags that stay",
        f"How many of the unpruned network's first {TOP_K} tags are among the pruned one's.",
        lambda agreement: agreement.top_k_overlap / agreement.top_k,
    ),
    "ranks": Measure(
        "Ranks",
        "rank correlation",
        "Spearman's rank correlation of all tags: 1 is the same order, 0 is unrelated.",
        lambda agreement: max(0.0, agreement.spearman or 0.0),
    ),
    "difference": Measure(
        "Difference",
        "largest difference",
        "The largest change of one tag's probability: 0 means identical outputs.",
        lambda agreement: agreement.max_abs_difference,
    ),
}


def frame() -> DeltaGenerator:
    """The placeholder of the curve, in its final size."""
    placeholder = st.empty()
    with placeholder.container():
        st.markdown(_TITLE)
        st.skeleton(height=_HEIGHT_PX)
    return placeholder


def agreement_curve(cut: Cut) -> None:
    """The curve as far as it is measured; small networks are measured at once, others on request."""
    st.markdown(_TITLE)
    if not cut.settings.touched:
        st.caption("No layer is pruned, so there is nothing to measure.")
        return
    jobs = get_server().jobs
    wanted: set[tuple[str, str]] = st.session_state.setdefault("curves_wanted", set())
    repair = "examples" if cut.repair == "off" else cut.repair
    with_repair = cut.repair != "off" or (cut.name, repair) in wanted or bool(measurements.curve(cut, repair))
    kinds = ["off", repair] if with_repair else ["off"]
    keys = {kind: measurements.curve_key(cut, kind) for kind in kinds}
    for kind, key in keys.items():
        at_once = cut.small and (kind == "off" or cut.repair != "off")
        if (at_once or (cut.name, kind) in wanted) and jobs.status(key) is None:
            measurements.start_curve(cut, kind)
    job_panel(
        "curve",
        lambda: _most_relevant([jobs.status(key) for key in keys.values()]),
        job_progress,
        lambda: _cancel(keys.values()),
        lambda status: _offer(cut, kinds, repair, status),
        above=lambda: _chart(cut, kinds),
    )


def _most_relevant(statuses: list[JobStatus | None]) -> JobStatus | None:
    """The status of the curve that is being measured, otherwise of one that was canceled."""
    known = [status for status in statuses if status is not None]
    return next((status for status in known if status.active), known[0] if known else None)


def _offer(cut: Cut, kinds: list[str], repair: str, status: JobStatus | None) -> None:
    """What can be measured in addition."""
    message = status.message if status else None
    missing = [kind for kind in kinds if len(measurements.curve(cut, kind)) < len(measurements.CURVE)]
    if missing:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Resume" if message else "Measure every ratio",
                key="want_curves",
                on_click=_want,
                args=(cut, missing),
                icon=":material/timeline:",
            )
            st.caption(
                formats.escaped(message) if message else "Runs ten pruned networks on this clip.",
                width="content",
            )
    elif repair not in kinds:
        st.button(
            "Add the repaired network",
            key="want_repaired",
            on_click=_want,
            args=(cut, [repair]),
            icon=":material/timeline:",
            type="tertiary",
            help="Each of the ten networks is repaired on the examples: half a minute or more, in the background.",
        )


def _want(cut: Cut, kinds: list[str]) -> None:
    for kind in kinds:
        st.session_state["curves_wanted"].add((cut.name, kind))
        get_server().jobs.forget(measurements.curve_key(cut, kind))


def _chart(cut: Cut, kinds: list[str]) -> None:
    chosen = st.segmented_control(
        "Measure",
        list(_MEASURES),
        default="tags",
        required=True,
        format_func=lambda key: _MEASURES[key].name,
        key="measure",
        bind="query-params",
        persist_state="session",
        label_visibility="collapsed",
    )
    measure = _MEASURES[chosen or "tags"]
    lines = []
    for kind in kinds:
        points = measurements.curve(cut, kind)
        lines.append(
            Line(
                "not repaired" if kind == "off" else "repaired",
                [ratio for ratio, _ in points],
                [measure.value(agreement) for _, agreement in points],
                "dot" if kind == "off" and len(kinds) > 1 else "solid",
            )
        )
    st.plotly_chart(
        charts.curves(
            lines,
            _current(cut, measure),
            palette=palette(),
            y_title=measure.axis,
            y_range=(0.0, 1.0),
            y_ticks=_FIFTHS,
            form=formats.probability,
            at=cut.ratio,
        ),
        config=CONFIG,
        key="agreement_curve",
        alt=charts.curves_alt(lines, f"Agreement on {cut.source.name}: {measure.axis}", formats.probability),
    )
    st.caption(f"{measure.about} The dot is the current cut.")


def _current(cut: Cut, measure: Measure) -> list[Mark]:
    server = get_server()
    if server.known_pruned_tags(cut) is None:
        return []
    return [Mark("Now", cut.ratio, measure.value(server.pruned_comparison(cut).agreement))]


def _cancel(keys: Iterable[Hashable]) -> None:
    for key in keys:
        get_server().jobs.cancel(key)
