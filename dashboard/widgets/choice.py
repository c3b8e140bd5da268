"""One of a few options as buttons, or of many as a list, kept in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.widgets import query_params

_MANY = 12
"""More options are a list to choose from, rather than buttons."""


def choose_one(
    label: str,
    key: str,
    titles: Mapping[str, str],
    default: str,
    *,
    place: DeltaGenerator | None = None,
    help_text: str | None = None,
    label_visibility: Literal["visible", "collapsed"] = "visible",
) -> str:
    """Draw the choice and return the chosen option's name.

    Parameters
    ----------
    label, key : str
        Of the widget; the key also of the address.
    titles : mapping of str to str
        The options: name in the address -> name on the page.
    default : str
        The option where nothing is chosen, or what was chosen is none of these any more.
    place : DeltaGenerator, optional
        Where to draw it; by default here.
    """
    query_params.follow(key, query_params.named(titles), default)
    if st.session_state[key] not in titles:
        st.session_state[key] = default
    where = st if place is None else place
    chosen: str | None
    if len(titles) > _MANY:
        chosen = where.selectbox(
            label,
            list(titles),
            format_func=titles.__getitem__,
            key=key,
            persist_state="session",
            help=help_text,
            label_visibility=label_visibility,
        )
    else:
        chosen = where.segmented_control(
            label,
            list(titles),
            format_func=titles.__getitem__,
            required=True,
            key=key,
            persist_state="session",
            help=help_text,
            label_visibility=label_visibility,
        )
    query_params.keep(key, chosen or default, default)
    return chosen or default
