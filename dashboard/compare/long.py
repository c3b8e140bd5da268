"""A recording of more than ten minutes while it is computed: its tags over time, and its player as soon as there is one."""

from __future__ import annotations

import streamlit as st

from core.audio import StreamedClip, UncheckedClip
from core.compare import Comparison
from dashboard import formats
from dashboard.compare import sections
from dashboard.compare.over_time import OverTime
from dashboard.compare.settings import Settings
from dashboard.server.clips import OpenedClip
from dashboard.server.jobs import JobStatus
from dashboard.server.long_recordings import CHECKING
from dashboard.server.server import get_server
from dashboard.server.source import Source
from dashboard.server.timelines import Pair
from dashboard.widgets.job_panel import job_panel

_STOPPED = "stopped_drawing"


def in_progress(source: Source, clip: StreamedClip, titles: tuple[str, str], settings: Settings) -> None:
    """What there is so far, in the places that a whole result has: the player goes on when that takes over."""
    st.header("Tags over time, and then those of the whole recording", anchor=False)
    left, right = st.columns([7, 5], gap="medium")
    left.markdown(
        "The tags of the whole recording stand here once all of it is computed. Until then settings can be changed and other pages "
        "opened: the work goes on."
    )
    with right:
        opened = _recording(source, clip)

    def compare(pair: Pair) -> Comparison:
        return get_server().long_recordings.comparison(
            clip, pair, top_k=settings.top_k, threshold=settings.threshold
        )

    picture = None if opened is None else opened.picture
    OverTime(source, clip, picture, compare, titles, settings, at_once=True).draw()


def _recording(source: Source, clip: StreamedClip) -> OpenedClip | None:
    """The recording's player and picture, or how far they are: it is checked, and then drawn."""
    long = get_server().long_recordings
    unchecked = isinstance(clip, UncheckedClip)
    opened = None if unchecked else long.opened(source, clip)
    if opened is not None:
        sections.recording(source, opened)
        return opened

    def start() -> None:
        if unchecked:
            long.check(source)
        else:
            long.start(source, clip)

    if st.session_state.get(_STOPPED) != source.key:
        start()

    def resume() -> None:
        st.session_state.pop(_STOPPED, None)
        start()

    def stop() -> None:
        st.session_state[_STOPPED] = source.key
        long.cancel(source)

    def idle(status: JobStatus | None) -> None:
        if status is not None and status.message:
            st.caption(formats.escaped(status.message))
        # After a click the fragment alone runs, and not the page, which would start it.
        st.button("Make the player", key="draw_long", on_click=resume)

    sections.title(source, clip)
    job_panel(
        "drawing",
        status=lambda: long.check_status(source) if unchecked else long.status(source),
        progress=_progress,
        cancel=stop,
        idle=idle,
    )
    return None


def _progress(status: JobStatus) -> str:
    if status.ahead and not status.total:
        return formats.waiting(status.ahead)
    return "Checking all of it" if status.doing == CHECKING else "Drawing it, and encoding it for the player"
