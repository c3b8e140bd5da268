"""Opening a recording on a page: its place in the queue, and for a long one a bar and a way to cancel."""

from __future__ import annotations

import time

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.examples import EXAMPLES
from dashboard import formats
from dashboard.server.clips import OpenedClip
from dashboard.server.server import get_server
from dashboard.server.source import Source

_SHOWN_AFTER_S = 1.0  # most recordings are decoded sooner
_STEPS = 50


class _Progress:
    """The bar; it is drawn once, with its button, since a button can be drawn only once a run."""

    def __init__(self, source: Source, place: DeltaGenerator) -> None:
        self._source, self._place = source, place
        self._began, self._drawn = time.monotonic(), -1
        self._bar: DeltaGenerator | None = None

    def on_progress(self, share: float) -> None:
        if self._bar is None:
            if time.monotonic() - self._began < _SHOWN_AFTER_S:
                return
            with self._place.container(horizontal=True, vertical_alignment="center"):
                self._bar = st.empty()
                st.button("Cancel", key=f"cancel_decoding_{self._source.address_key}", on_click=_show_example)
        if int(share * _STEPS) != self._drawn:
            self._drawn = int(share * _STEPS)
            self._bar.progress(share, text=f"Decoding {formats.escaped(self._source.name)} …")


def opened(source: Source, place: DeltaGenerator) -> OpenedClip:
    """The recording, decoded and drawn; ``place`` shows how far that is, and is empty afterwards. Raises ``AudioError``."""
    progress = _Progress(source, place)
    try:
        return get_server().clip(
            source,
            on_wait=lambda ahead: place.caption(formats.waiting(ahead)),
            on_progress=progress.on_progress,
        )
    finally:
        place.empty()


def _show_example() -> None:
    """After a cancel: the recording stays in the list, and an example is shown."""
    st.session_state["example"] = EXAMPLES[0].key
