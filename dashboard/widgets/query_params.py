"""Settings in the page's address.

Streamlit writes a bound widget's value as it is shown ("Demo CNN14"); a typed link has the name
("demo-cnn14"). Both are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st


def linked(key: str, titles: Mapping[str, str]) -> str | None:
    """The option that the address names for ``key``, by name or title (name -> title); None where it names none."""
    value = st.query_params.get(key)
    if value in titles:
        return value
    return next((name for name, title in titles.items() if title == value), None)


def follow(key: str, titles: Mapping[str, str]) -> None:
    """Set the widget ``key`` to the option that the address names, before it is first drawn."""
    if key not in st.session_state and (option := linked(key, titles)) is not None:
        st.session_state[key] = option
