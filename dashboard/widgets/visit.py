"""What is known of a visitor while one page is open, and forgotten when another is opened."""

from __future__ import annotations

import streamlit as st

_PAGE, _NAMES = "visited_page", "names_of_visit"


def open_page(page: str) -> None:
    """Begin a visit; called in every run before the page is drawn."""
    if st.session_state.get(_PAGE) != page:
        st.session_state[_PAGE] = page
        st.session_state[_NAMES] = {}


def names(kind: str) -> set[str]:
    """A set of names that lasts as long as the visit, for its caller to change."""
    kinds: dict[str, set[str]] = st.session_state.setdefault(_NAMES, {})
    return kinds.setdefault(kind, set())
