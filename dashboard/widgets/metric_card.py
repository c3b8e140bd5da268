"""A figure of both networks and its change, as a card."""

from __future__ import annotations

import streamlit as st

from dashboard import formats


def metric_card(
    label: str, values: tuple[float | None, float | None], form: formats.Form, help_text: str
) -> None:
    """Baseline and pruned network's figure, and the change from one to the other; a dash for None."""
    before, after = values
    first, second = (formats.DASH if value is None else form(value) for value in values)
    change = None if before is None or after is None else formats.change(before, after)
    card(label, f":blue[**{first}**] → :orange[**{second}**]", change, help_text)


def card(label: str, figure: str, change: str | None, help_text: str) -> None:
    """The card's frame; the change stands on a line of its own at every width, so that all cards are of one height."""
    with st.container(border=True, gap="xsmall", height="stretch"):
        st.markdown(f":small[{label}]", help=help_text)
        st.markdown(f"{figure}  \n" + (f":gray-badge[{change}]" if change else formats.NBSP))
