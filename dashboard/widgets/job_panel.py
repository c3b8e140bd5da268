"""A fragment that follows a job or a download: its progress with a way to cancel it, and otherwise its result, or the way to start it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import streamlit as st

from dashboard import formats
from dashboard.server.jobs import JobStatus

_POLL_S = 0.6


class Status(Protocol):
    """How far work in the background is; ``JobStatus`` and ``DownloadStatus`` are of this kind."""

    @property
    def active(self) -> bool: ...
    @property
    def share(self) -> float: ...
    @property
    def left_s(self) -> float | None: ...


AnyStatus = TypeVar("AnyStatus", bound=Status)


def job_panel(
    name: str,
    status: Callable[[], AnyStatus | None],
    progress: Callable[[AnyStatus], str],
    cancel: Callable[[], None],
    idle: Callable[[AnyStatus | None], object],
    *,
    above: Callable[[], object] = lambda: None,
    outdated: Callable[[], bool] = lambda: False,
    cancel_label: str = "Cancel",
) -> None:
    """Draw the panel, and draw it again as the work goes on; the page runs again when the work begins or ends.

    Parameters
    ----------
    name : of the panel's widgets: "cancel_<name>".
    status : reads how far the work is; None where there is none.
    progress : the words beside the bar.
    cancel : stops the work.
    idle : draws the panel while nothing runs, from the last status: a result, a message, a button that starts the work.
    above : draws what grows while the work goes on, over the panel.
    outdated : whether the page has to run again for another reason.
    cancel_label : what stopping the work is called.
    """
    active = _active(status())

    @st.fragment(run_every=_POLL_S if active else None)
    def panel() -> None:
        now = status()
        if _active(now) != active or outdated():
            st.rerun()  # the whole page: the fragment alone cannot change its clock
        above()
        if now is None or not now.active:
            idle(now)
            return
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(now.share, text=formats.progress(progress(now), now.left_s))
            st.button(cancel_label, key=f"cancel_{name}", on_click=cancel)

    panel()


def job_progress(status: JobStatus) -> str:
    """What a job is doing, in words."""
    if status.ahead and not status.total:  # later it waits between any two steps, and still gets on
        return formats.waiting(status.ahead)
    if status.total:
        return f"{status.doing}: {status.done} of {status.total}"
    return status.doing or "Starting"


def _active(status: Status | None) -> bool:
    return status is not None and status.active
