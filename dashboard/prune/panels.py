"""What the sensitivity and search tabs share: the choice of clips to measure on, and the panel of a measurement."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard import formats
from dashboard.prune.cut import Cut
from dashboard.prune.measurements import SearchRequest, SensitivityRequest
from dashboard.server.jobs import JobStatus
from dashboard.server.server import get_server
from dashboard.server.source import example_sources
from dashboard.widgets.job_panel import job_panel, job_progress

_CLIPS = {"examples": "The 12 examples", "own": "My recordings", "both": "Both"}


def choose_clips(cut: Cut, key: str) -> SensitivityRequest:
    """Draw the choice of clips, where there are recordings, and return the network on the chosen ones."""
    examples = example_sources()
    own = cut.recordings
    sources = {"examples": examples, "own": own, "both": [*own, *examples]}
    chosen: str | None = "examples"
    if own:
        chosen = st.segmented_control(
            "Measured on",
            list(_CLIPS),
            default="own",
            required=True,
            format_func=lambda kind: f"{_CLIPS[kind]} ({len(own)})" if kind == "own" else _CLIPS[kind],
            key=key,
            persist_state="session",
        )
    sha256 = get_server().tagger(cut.name).info.sha256
    return SensitivityRequest(cut.name, sha256, cut.settings.criterion, tuple(sources[chosen or "own"]))


def measurement_panel(
    request: SensitivityRequest | SearchRequest,
    name: str,
    label: str,
    *,
    start: Callable[[], None],
    result: Callable[[], None],
    about: str,
) -> None:
    """A button that starts a measurement, its progress with a way to cancel it, and its result.

    Parameters
    ----------
    name, label : of the button.
    start : starts the job.
    result : draws the result, if there is one.
    about : what will be measured, beside the button.
    """
    jobs, key = get_server().jobs, request.key
    known = jobs.result(key) is not None

    def idle(status: JobStatus | None) -> None:
        if not known:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(label, key=name, on_click=start)
                st.caption(about, width="content")
            if status is not None and status.message:
                st.caption(formats.escaped(status.message))
        result()

    job_panel(
        name,
        lambda: jobs.status(key),
        job_progress,
        lambda: jobs.cancel(key),
        idle,
        outdated=lambda: (jobs.result(key) is not None) != known,
    )
