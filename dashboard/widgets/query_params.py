"""Settings in the page's address.

Streamlit writes a bound widget's value as it is shown ("Demo CNN14"); a typed link has the name
("demo-cnn14"). Both are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

_LISTED = 40  # ten digits each: browsers and proxies take addresses of 2,000 characters and more


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


def listed(key: str) -> list[str]:
    """The values that the address names for ``key``, separated by dots; a list that ``keep_list`` wrote, or an empty one."""
    return [value for value in st.query_params.get(key, "").split(".") if value][:_LISTED]


def keep_list(key: str, values: Sequence[str]) -> None:
    """Write a list into the address, as much of it as an address should hold; nothing where it is empty."""
    text = ".".join(values[:_LISTED])
    if text:
        st.query_params[key] = text
    elif key in st.query_params:
        del st.query_params[key]
