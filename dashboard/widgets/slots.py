"""Places of a page that are filled late: a skeleton at first, and from then on the last content until the next is drawn.

A placeholder that is emptied in every run makes everything below it jump twice at every step of a slider.
"""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.widgets import visit

_FILLED = "filled slots"


class Slot:
    """A place on the page.

    Parameters
    ----------
    name : str
        Of the slot, once a page.
    height_px : int
        Of the skeleton: that of the content.
    """

    def __init__(self, name: str, height_px: int) -> None:
        self._name = name
        # In the browser a container keeps what it contained until it is drawn into again; a placeholder is empty at once.
        self._kept = name in visit.names(_FILLED)
        self._place = st.container() if self._kept else st.empty()
        if not self._kept:
            self._place.skeleton(height=height_px)

    def fill(self) -> DeltaGenerator:
        """The container for the content, in the place of the skeleton."""
        visit.names(_FILLED).add(self._name)
        return self._place if self._kept else self._place.container()

    def clear(self) -> None:
        """Leave the place empty."""
        visit.names(_FILLED).discard(self._name)
        if not self._kept:
            self._place.empty()
