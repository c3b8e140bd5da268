"""What takes time with one recording, opening it and tagging it: a bar and a way to cancel where it takes longer than a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.examples import EXAMPLES
from dashboard import formats
from dashboard.server.clips import OpenedClip
from dashboard.server.server import get_server
from dashboard.server.source import Source

_SHOWN_AFTER_S = 1.0  # most recordings are decoded sooner
_EVERY_S = 0.25
"""Between two drawings of the bar: a button takes effect when the script next draws."""


class Progress:
    """Waiting and work in one place of the page.

    The bar is drawn once, with its button, since a button can be drawn only once a run. Once it is, everything is written into its slot:
    an element in the place of the whole row would leave the browser's bar without a parent.

    Parameters
    ----------
    source : the recording.
    place : empty until then.
    on_cancel : called when the button is pressed; by default the recording stays in the list, and an example is shown.
    key : of the button, once a run.
    """

    def __init__(
        self,
        source: Source,
        place: DeltaGenerator,
        on_cancel: Callable[[], None] | None = None,
        key: str = "",
    ) -> None:
        self._place, self._on_cancel = place, on_cancel or show_example
        self._key = key or f"cancel_{source.address_key}"
        self._name = formats.escaped(source.name)
        self._began, self._drawn = time.monotonic(), -math.inf
        self._slot: DeltaGenerator | None = None

    def on_wait(self, ahead: int) -> None:
        """Say how many requests are ahead."""
        (self._row() or self._place).caption(formats.waiting(ahead))

    def on_share(self, share: float, doing: str) -> None:
        """Show how far the decoding or tagging is."""
        self.update(share, f"{doing} {self._name} …")

    def update(self, share: float, text: str) -> None:
        """Draw the bar, or move it; the script ends here where the visitor has pressed the button."""
        if time.monotonic() - self._drawn >= _EVERY_S and (slot := self._row()) is not None:
            slot.progress(share, text=text)
            self._drawn = time.monotonic()

    def _row(self) -> DeltaGenerator | None:
        """The slot beside the button; None as long as it is too early for both."""
        if self._slot is None and time.monotonic() - self._began >= _SHOWN_AFTER_S:
            with self._place.container(horizontal=True, vertical_alignment="center"):
                self._slot = st.empty()
                st.button("Cancel", key=self._key, on_click=self._on_cancel)
        return self._slot


def opened(source: Source, place: DeltaGenerator) -> OpenedClip:
    """The recording, decoded and drawn; ``place`` shows how far that is, and is empty afterwards. Raises ``AudioError``."""
    shown = Progress(source, place)
    try:
        return get_server().clip(source, shown.on_wait, shown.on_share)
    finally:
        place.empty()


def show_example() -> None:
    """Select an example; the recordings are kept for later."""
    st.session_state["example"] = EXAMPLES[0].key
