"""The Prune page's curve of agreement over the ratio, drawn while it is measured in the background."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from statistics import fmean

import streamlit as st

from core.compare import Agreement
from core.units import THRESHOLD
from dashboard import formats
from dashboard.charts.layout import CONFIG
from dashboard.prune import charts, measurements
from dashboard.prune.charts import Line, Mark
from dashboard.prune.cut import Cut
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.widgets.choice import choose_one
from dashboard.widgets.job_panel import job_panel, job_progress
from dashboard.widgets.slots import Slot
from dashboard.widgets.theme import palette

_TITLE = "**Agreement at every ratio**"
_HEIGHT_PX = 420  # the choice of measure, the chart and its caption


@dataclass(frozen=True)
class Measure:
    """One measure of agreement: its name, axis title, explanation, and value, None where it is not defined.

    ``bounded``: its axis is from 0 to 1; otherwise from 0 to the largest value.
    """

    name: str
    axis: str
    about: str
    value: Callable[[Agreement], float | None]
    form: formats.Form = formats.probability
    bounded: bool = True


_MEASURES = {
    "tags": Measure(
        "Kept tags",
        "kept tags",
        f"Of the tags with {formats.probability(THRESHOLD)} or more in either network, the share that both have. No point where neither "
        "has any.",
        lambda agreement: agreement.kept_share,
        formats.percent,
    ),
    "divergence": Measure(
        "Divergence",
        "divergence, nats",
        "Kullback-Leibler divergence of the pruned network's probabilities from the unpruned one's, summed over the classes: 0 means "
        "identical outputs.",
        lambda agreement: agreement.divergence,
        formats.nats,
        bounded=False,
    ),
    "ranks": Measure(
        "Ranks",
        "rank correlation",
        "Spearman's rank correlation of all tags: 1 is the same order, 0 is unrelated. Most tags are far below the threshold.",
        lambda agreement: max(0.0, agreement.spearman or 0.0),
    ),
}

_FIRST_MEASURE = next(iter(_MEASURES))


def frame() -> Slot:
    """The place of the curve, in its final size."""
    st.markdown(_TITLE)
    return Slot("agreement", _HEIGHT_PX)


def agreement_curve(cut: Cut) -> None:
    """The curve as far as it is measured; small networks are measured at once, others on request."""
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
    """The status of the curve that is being measured, otherwise of one that was cancelled."""
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
    titles = {name: measure.name for name, measure in _MEASURES.items()}
    measure = _MEASURES[
        choose_one("Measure", "measure", titles, _FIRST_MEASURE, label_visibility="collapsed")
    ]
    lines = [_line(measure, cut, kind, dotted=kind == "off" and len(kinds) > 1) for kind in kinds]
    lines.append(_chance(measure, cut, kinds[-1]))
    marks = _current(cut, measure)
    drawn = [*(value for line in lines for value in line.values), *(mark.value for mark in marks), 0.0]
    top = 1.0 if measure.bounded else max(drawn) or 1.0
    st.plotly_chart(
        charts.curves(
            lines,
            marks,
            palette=palette(),
            y_title=measure.axis,
            y_range=(0.0, top),
            y_ticks=[(step / 5, measure.form(step / 5)) for step in range(6)]
            if measure.bounded
            else charts.ticks(top),
            form=measure.form,
            at=cut.ratio,
        ),
        config=CONFIG,
        key="agreement_curve",
        alt=charts.curves_alt(lines, f"Agreement on {cut.source.name}: {measure.axis}", measure.form),
    )
    st.caption(
        f"{measure.about} The dot is the current cut. Dashed: chance, the pruned network's outputs for other clips in place of this one's."
    )


def _line(measure: Measure, cut: Cut, kind: str, *, dotted: bool) -> Line:
    """The points of a curve at which the measure is defined."""
    values = [(ratio, measure.value(agreement)) for ratio, agreement in measurements.curve(cut, kind)]
    defined = [(ratio, value) for ratio, value in values if value is not None]
    return Line(
        "not repaired" if kind == "off" else "repaired",
        [ratio for ratio, _ in defined],
        [value for _, value in defined],
        "dot" if dotted else "solid",
    )


def _chance(measure: Measure, cut: Cut, kind: str) -> Line:
    """The mean of the measure over unrelated clips, where it is defined for one of them."""
    ratios, means = [], []
    for ratio, agreements in measurements.chance(cut, kind):
        defined = [value for value in map(measure.value, agreements) if value is not None]
        if defined:
            ratios.append(ratio)
            means.append(fmean(defined))
    return Line("chance", ratios, means, "dash", quiet=True)


def _current(cut: Cut, measure: Measure) -> list[Mark]:
    server = get_server()
    if server.known_pruned_tags(cut) is None:
        return []
    value = measure.value(server.pruned_comparison(cut).agreement)
    return [] if value is None else [Mark("Now", cut.ratio, value)]


def _cancel(keys: Iterable[Hashable]) -> None:
    for key in keys:
        get_server().jobs.cancel(key)
