"""A watch on the theme: charts are drawn by the server, so that a change from light to dark has to reach it.

Streamlit recolors its own elements in the browser and does not run the page again; a chart would keep dark text on a
dark background until the next click.
"""

from __future__ import annotations

import streamlit as st

from dashboard.charts.palette import LIGHT, PALETTES, Palette

NETWORK_COLORS = ("blue", "orange", "green", "violet")
"""Of the first to the fourth network, as Markdown names them; ``.streamlit/config.toml`` gives them the palette's values."""

_SCRIPT = """
export default function ({ setTriggerValue }) {
  const app = document.querySelector('[data-testid="stApp"]');
  const background = () => getComputedStyle(app).backgroundColor;
  let seen = background();
  const look = () => {
    if (background() !== seen) {
      seen = background();
      setTriggerValue("changed", seen);
    }
  };
  const timer = setInterval(look, 500);
  return () => clearInterval(timer);
}
"""


_component = st.components.v2.component("pannscope_theme", js=_SCRIPT)


# Streamlit writes a primary button's text in white, and chosen options in the primary colour: no colour of a dark theme is readable as both.
_DARK_BUTTONS = """<style>[data-testid^="stBaseButton-primary"]:enabled { color: #0F1318; }</style>"""


def watch() -> None:
    """Run the page again when its background changes colour. Takes no room on the page."""
    _component(key="theme", on_changed_change=lambda: None, height=0)
    if palette() is not LIGHT:
        st.html(_DARK_BUTTONS)


def palette() -> Palette:
    """The colours of the theme that the browser shows."""
    return PALETTES.get(st.context.theme.type or "light", LIGHT)
