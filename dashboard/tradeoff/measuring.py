"""Timing the networks on this machine: started on the Trade-off page, with progress, kept for later visits."""

from __future__ import annotations

from collections.abc import Hashable

import streamlit as st

from core import tradeoff
from core.errors import PannscopeError
from dashboard import formats
from dashboard.server.jobs import JobStatus, Step
from dashboard.server.server import get_server
from dashboard.widgets.job_panel import job_panel, job_progress

_ROUND = "timing_round"

_HELP = (
    "Every network that can be built here is run on 10 s of noise with random weights: time depends on its shapes, not on the weights, so "
    "that nothing is downloaded. The times are kept for later visits."
)


def panel(missing: tuple[str, ...], *, primary: bool) -> None:
    """The button that times what is not timed yet, the progress, and what was left out."""
    jobs = get_server().jobs
    job_panel(
        "timing",
        lambda: jobs.status(_key()),  # a press of the button changes it
        job_progress,
        lambda: jobs.cancel(_key()),
        lambda status: _offer(missing, status, primary=primary),
    )


def _key() -> Hashable:
    return ("tradeoff times", tradeoff.machine(), st.session_state.get(_ROUND, 0))


def _offer(missing: tuple[str, ...], status: JobStatus | None, *, primary: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if missing:
            st.button(
                f"Time {formats.plural(len(missing), 'network')} here",
                key="time_networks",
                type="primary" if primary else "secondary",
                icon=":material/timer:",
                on_click=_start,
                args=(missing,),
                help=_HELP,
            )
        else:
            st.button(
                "Time again",
                key="time_networks",
                type="tertiary",
                icon=":material/timer:",
                on_click=_start,
                args=(tradeoff.measurable(),),
                help=_HELP,
            )
        st.caption(f"This machine: {tradeoff.machine()}", width="stretch")
    left_out = [
        *(get_server().jobs.result(_key()) or ()),
        *([status.message] if status and status.message else []),
    ]
    for message in left_out:
        st.caption(formats.escaped(message))


def _start(names: tuple[str, ...]) -> None:
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    get_server().jobs.start(_key(), lambda step: _measure(names, step), "Timing the networks")


def _measure(names: tuple[str, ...], step: Step) -> tuple[str, ...]:
    """Time one network after another; what could not be timed, in sentences."""
    left_out: list[str] = []
    step(0, len(names))
    for done, name in enumerate(names, start=1):
        try:
            with get_server().engine_builder.paused():
                tradeoff.measure(name)
        except PannscopeError as error:
            left_out.append(str(error))
        step(done, len(names))
    return tuple(left_out)
