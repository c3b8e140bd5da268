"""Agreement as it falls with the ratio: a curve that is drawn while it is measured in the background."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.compare import Agreement
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts, measurements, sections
from dashboard.prune.charts import Line, Mark
from dashboard.prune.cut import TOP_K, Cut
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.widgets.job_panel import job_panel, job_progress
from dashboard.widgets.theme import palette

_TITLE = "**How far it still agrees, at every ratio**"
_HEIGHT_PX = 420  # the choice of measure, the chart and its caption
_TENTHS = tuple((step / 5, formats.probability(step / 5)) for step in range(6))


def frame() -> DeltaGenerator:
    """The place of the curve of agreement, in its final shape."""
    place = st.empty()
    with place.container():
        st.markdown(_TITLE)
        st.skeleton(height=_HEIGHT_PX)
    return place


def draw(cut: Cut) -> None:
    """The curve as far as it is measured; small networks are measured unasked, others on demand."""
    st.markdown(_TITLE)
    if not cut.settings.touched:
        st.caption("No layer loses filters, so that there is nothing to measure.")
        return
    jobs = get_server().jobs
    wanted: set[tuple[str, str]] = st.session_state.setdefault("curves_wanted", set())
    repaired = "examples" if cut.settings.repair == "off" else cut.settings.repair
    kinds = ["off"]
    if (
        cut.settings.repair != "off"
        or (cut.name, repaired) in wanted
        or measurements.curve(cut.source, cut.name, cut.settings, repaired)
    ):
        kinds.append(repaired)
    keys = {kind: measurements.curve_key(cut.source, cut.name, cut.settings, kind) for kind in kinds}
    for kind, key in keys.items():
        unasked = cut.small and (kind == "off" or cut.settings.repair != "off")
        if (unasked or (cut.name, kind) in wanted) and jobs.status(key) is None:
            measurements.start_curve(cut.source, cut.name, cut.settings, kind)
    job_panel(
        "curve",
        lambda: _running([jobs.status(key) for key in keys.values()]),
        job_progress,
        lambda: _cancel(keys.values()),
        lambda status: _offer(cut, kinds, repaired, status),
        above=lambda: _chart(cut, kinds),
    )


def _running(statuses: list[JobStatus | None]) -> JobStatus | None:
    """The status of the curve that is being measured, or else of one that was stopped."""
    known = [status for status in statuses if status is not None]
    return next((status for status in known if status.active), known[0] if known else None)


def _offer(cut: Cut, kinds: list[str], repaired: str, status: JobStatus | None) -> None:
    """What can be measured further."""
    message = status.message if status else None
    missing = [
        kind
        for kind in kinds
        if len(measurements.curve(cut.source, cut.name, cut.settings, kind)) < len(measurements.CURVE)
    ]
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
    elif repaired not in kinds:
        st.button(
            "Add the repaired network",
            key="want_repaired",
            on_click=_want,
            args=(cut, [repaired]),
            icon=":material/timeline:",
            type="tertiary",
            help="Each of the ten networks is repaired on the examples: half a minute or more, in the background.",
        )


def _want(cut: Cut, kinds: list[str]) -> None:
    for kind in kinds:
        st.session_state["curves_wanted"].add((cut.name, kind))
        get_server().jobs.forget(measurements.curve_key(cut.source, cut.name, cut.settings, kind))


def _chart(cut: Cut, kinds: list[str]) -> None:
    measure = st.segmented_control(
        "Measure",
        list(_MEASURES),
        default="tags",
        required=True,
        format_func=lambda key: _MEASURES[key][0],
        key="measure",
        bind="query-params",
        persist_state="session",
        label_visibility="collapsed",
    )
    _, y_title, about = _MEASURES[measure or "tags"]
    lines = []
    for kind in kinds:
        points = measurements.curve(cut.source, cut.name, cut.settings, kind)
        lines.append(
            Line(
                "not repaired" if kind == "off" else "repaired",
                [ratio for ratio, _ in points],
                [_value(each, measure or "tags") for _, each in points],
                "dot" if kind == "off" and len(kinds) > 1 else "solid",
            )
        )
    at = sections.removed(cut.before, cut.after, cut.settings)
    st.plotly_chart(
        charts.curves(
            lines,
            _here(cut, at, measure or "tags"),
            palette=palette(),
            y_title=y_title,
            y_range=(0.0, 1.0),
            y_ticks=_TENTHS,
            form=formats.probability,
            at=at,
        ),
        config=CONFIG,
        key="agreement_curve",
        alt=charts.curves_alt(lines, f"Agreement on {cut.source.name}: {y_title}", formats.probability),
    )
    st.caption(f"{about} The dot is the present cut.")


def _here(cut: Cut, at: float, measure: str) -> list[Mark]:
    server = get_server()
    if server.known_pruned_tags(cut) is None:
        return []
    return [Mark("Now", at, _value(server.pruned_comparison(cut).agreement, measure))]


_MEASURES = {
    "tags": ("First tags", "share of the first tags that stay", "How many of the unpruned network's first "
             f"{TOP_K} tags are among the pruned one's."),
    "ranks": ("Ranks", "rank correlation", "Spearman's rank correlation of all tags: 1 is the same order, 0 none."),
    "difference": ("Difference", "largest difference", "The largest change of one tag's probability: 0 is the same answer."),
}  # fmt: skip


def _value(measured: Agreement, measure: str) -> float:
    if measure == "ranks":
        return max(0.0, measured.spearman or 0.0)
    if measure == "difference":
        return measured.max_abs_difference
    return measured.top_k_overlap / measured.top_k


def _cancel(keys: Iterable[Hashable]) -> None:
    for key in keys:
        get_server().jobs.cancel(key)
