"""What the pruned network hears on the current clip: its tags, and how long it takes for them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.compare import Comparison
from core.errors import PannscopeError
from dashboard import formats
from dashboard.prune import sections
from dashboard.prune.cut import Cut
from dashboard.server.server import get_server
from dashboard.widgets import engine_text
from dashboard.widgets.metric_card import card, metric_card

_PROGRESS_STEPS = 40  # of the bar; repair tells of its progress hundreds of times


@dataclass(frozen=True)
class Places:
    """Where what takes time is drawn later."""

    verdict: DeltaGenerator
    chart: DeltaGenerator


def hearing(cut: Cut) -> Places:
    """The clip and the frame of the tags, in their final shape."""
    sections.heard(cut.source)
    verdict = st.empty()
    verdict.markdown(":gray[Listening …]")
    sections.names(cut.title)
    chart = st.empty()
    chart.skeleton(height=sections.TAGS_PX)
    return Places(verdict, chart)


def tags(cut: Cut, places: Places) -> Comparison | None:
    """Prune, repair where asked for, listen, and draw; None where that failed, which is then said in place."""

    def on_wait(ahead: int) -> None:
        places.verdict.caption(
            f"Somebody else's network is at work: {formats.plural(ahead, 'turn')} before yours."
        )

    bar: list[DeltaGenerator] = []

    def repairing(done: int, total: int) -> None:
        if not bar:  # the button is drawn once: it could not be pressed while it is drawn anew
            with places.verdict.container(horizontal=True, vertical_alignment="center"):
                bar.append(st.empty())
                st.button("Cancel", key="cancel_repair", on_click=_without_repair)
        if done * _PROGRESS_STEPS // max(1, total) != (done - 1) * _PROGRESS_STEPS // max(1, total):
            bar[0].progress(done / max(1, total), text="Repairing by what the clips sound like …")

    try:
        compared = get_server().pruned_comparison(cut, on_wait=on_wait, on_progress=repairing)
    except PannscopeError as error:
        places.verdict.empty()
        places.chart.error(formats.escaped(str(error)), icon=":material/error:")
        return None
    places.verdict.markdown(sections.verdict(compared))
    with places.chart.container():
        sections.mirrored(compared, cut.title)
        st.caption(_repair_note(cut))
    return compared


def timing(cut: Cut, place: DeltaGenerator) -> None:
    """The last card: the measured time, on demand, or at once where it is known."""
    measured = get_server().known_pruned_latencies(cut)
    if measured is None and st.session_state.pop("measure_time", False):
        with place.container():
            card("Time here", "measuring …", None, "Both networks are being timed, turn about.")
        try:
            measured = get_server().pruned_latencies(cut)
        except PannscopeError as error:
            place.error(formats.escaped(str(error)))
            return
    with place.container():
        if measured is not None:
            before, after = (each.latency for each in measured)
            spreads = [
                f"{formats.milliseconds(each.lower_quartile_ms)} to {formats.milliseconds(each.upper_quartile_ms)}"
                for each in (before, after)
            ]
            metric_card(
                engine_text.label(measured),
                (before.median_ms, after.median_ms),
                formats.milliseconds,
                f"{engine_text.conditions(measured)} Half of the runs took {spreads[0]} unpruned and {spreads[1]} pruned.",
            )
            return
        with st.container(border=True, gap="xsmall", height="stretch"):
            st.markdown(
                ":small[Time here]",
                help="Both networks listen to 10 s of audio on this machine, turn about.",
            )
            with st.container(height=51, border=False):  # as high as the figures of the other cards
                st.button(
                    "Measure",
                    key="ask_time",
                    type="tertiary",
                    icon=":material/timer:",
                    on_click=_measure_time,
                )


def _repair_note(cut: Cut) -> str:
    told = "Run here on the pruned network; dotted lines are the threshold."
    if cut.settings.repair == "off":
        return told + " Nothing was trained or repaired afterwards."
    examples = (
        "the eleven other synthesised examples" if cut.source.example else "the twelve synthesised examples"
    )
    heard = {
        "clip": "this very clip, so that it fits this clip better than others",
        "examples": f"{examples}, not on this clip",
        "both": f"this very clip and {examples}",
    }[cut.settings.repair]
    return f"{told} Repaired on {heard}, without labels."


def _measure_time() -> None:
    st.session_state["measure_time"] = True


def _without_repair() -> None:
    st.session_state["repair"] = "off"
