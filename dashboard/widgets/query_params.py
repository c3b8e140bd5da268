"""Settings in the page's address, by their names, so that a copied link, a reload and the back button restore them.

Streamlit's own binding of widgets is not used: it writes what a widget shows ("Demo CNN14" for "demo-cnn14"), drops a name that a link
has instead, and forgets a page's settings when the back button returns to it. ``follow`` reads a setting before its widget is drawn, and
``keep`` writes it afterwards. Links of the other kind still work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import streamlit as st

from dashboard.widgets import visit

_LISTED = 40  # ten digits each: browsers and proxies take addresses of 2,000 characters and more

# What Streamlit's server writes into the address is a new entry of the browser's history, even where only settings change: the back
# button then leads to the same page with fewer settings. Such an entry replaces the last one.
_SCRIPT = """
export default function () {
  if (history.replacesSettings) return;
  const push = history.pushState.bind(history);
  history.pushState = (state, title, url) => {
    const same = url && new URL(url, location.href).pathname === location.pathname;
    (same ? history.replaceState.bind(history) : push)(state, title, url);
  };
  history.replacesSettings = true;
}
"""

_component = st.components.v2.component("pannscope_history", js=_SCRIPT)

Value = TypeVar("Value")


def mend_history() -> None:
    """Let one press of the back button leave a page, whatever was set on it. Takes no room on the page."""
    _component(key="history", height=0)


def named(titles: Mapping[str, str]) -> Callable[[str], str | None]:
    """A reader of options, by name or title (name -> title)."""
    by_title = {title: name for name, title in titles.items()}
    return lambda text: text if text in titles else by_title.get(text)


def whole(low: int, high: int) -> Callable[[str], int | None]:
    """A reader of whole numbers from ``low`` to ``high``."""
    return lambda text: (
        int(text)
        if text.isascii() and text.isdecimal() and len(text) < 6 and low <= int(text) <= high
        else None
    )


def follow(key: str, read: Callable[[str], Value | None], default: Value) -> None:
    """Set the widget ``key`` before it is first drawn: to what the address says when the page is opened, or else to the default.

    Parameters
    ----------
    key : of the widget and of the address.
    read : from text to the widget's value; None for what it cannot be.
    default : of a widget that nobody has set.
    """
    followed = visit.names("followed")
    if key not in followed:
        followed.add(key)
        value = read(",".join(st.query_params.get_all(key)))
        if value is not None:
            st.session_state[key] = value
    if key not in st.session_state:
        st.session_state[key] = default


def keep(key: str, value: object, default: object) -> None:
    """Write a setting into the address; the default is left out."""
    _write(key, "" if value == default else str(value))


def listed(key: str) -> list[str]:
    """The values that the address names for ``key``, separated by dots; a list that ``keep_list`` wrote, or an empty one."""
    return [value for value in st.query_params.get(key, "").split(".") if value][:_LISTED]


def keep_list(key: str, values: Sequence[str]) -> None:
    """Write a list into the address, as much of it as an address should hold; nothing where it is empty."""
    _write(key, ".".join(values[:_LISTED]))


def _write(key: str, text: str) -> None:
    if st.query_params.get(key, "") == text:
        return
    if text:
        st.query_params[key] = text
    else:
        del st.query_params[key]
