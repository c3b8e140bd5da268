"""A figure of two to four networks and its changes, as a card."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import formats
from dashboard.widgets.theme import NETWORK_COLORS


def metric_card(
    label: str, values: tuple[float | None, float | None], form: formats.Form, help_text: str
) -> None:
    """Baseline and pruned network's figure, and the change from one to the other; a dash for None."""
    before, after = values
    first, second = (formats.DASH if value is None else form(value) for value in values)
    change = None if before is None or after is None else formats.change(before, after)
    card(label, f":blue[**{first}**] → :orange[**{second}**]", change, help_text)


def metric_cards(
    label: str,
    values: Sequence[float | None],
    titles: Sequence[str],
    form: formats.Form,
    help_text: str,
) -> None:
    """The same of two networks; of more, each network's figure under its title, with the change from the first one."""
    if len(values) == 2:
        metric_card(label, (values[0], values[1]), form, help_text)
        return
    first = values[0]
    with _frame(label, help_text):
        for number, (value, title) in enumerate(zip(values, titles, strict=True)):
            color, figure = NETWORK_COLORS[number], formats.DASH if value is None else form(value)
            change = ""
            if number and first is not None and value is not None:
                change = f" :gray-badge[{formats.change(first, value)}]"
            st.markdown(f":small[:{color}[{formats.escaped(title)}]]  \n**{figure}**{change}")


def card(label: str, figure: str, change: str | None, help_text: str) -> None:
    """A card with one figure; the change stands on a line of its own at every width, so that all cards are of one height."""
    with _frame(label, help_text):
        st.markdown(f"{figure}  \n" + (f":gray-badge[{change}]" if change else formats.NBSP))


def _frame(label: str, help_text: str) -> DeltaGenerator:
    place = st.container(border=True, gap="xsmall", height="stretch")
    place.markdown(f":small[{label}]", help=help_text)
    return place
