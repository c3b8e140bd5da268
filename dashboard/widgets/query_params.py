"""Settings in the page's address.

Streamlit writes a bound widget's value as it is shown ("Demo CNN14"); a link that somebody types has the name
("demo-cnn14"). Both are understood.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st


def linked(key: str, titles: Mapping[str, str]) -> str | None:
    """The option that the address names for ``key``, by name or title (name -> title); None where it names none."""
    asked = st.query_params.get(key)
    if asked in titles:
        return asked
    return next((name for name, title in titles.items() if title == asked), None)


def follow(key: str, titles: Mapping[str, str]) -> None:
    """Give the widget ``key`` the option that the address names, before it is first drawn."""
    if key not in st.session_state and (asked := linked(key, titles)) is not None:
        st.session_state[key] = asked
