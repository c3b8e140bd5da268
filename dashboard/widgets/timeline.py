"""The timeline: heat rows over time in step with the page's player, in an inline component."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

_ASSETS = Path(__file__).resolve().parents[1] / "assets"

_component = st.components.v2.component(
    "pannscope_timeline",
    js=(_ASSETS / "timeline.js").read_text(encoding="utf-8"),
    css=(_ASSETS / "timeline.css").read_text(encoding="utf-8"),
)


def timeline_component(data: dict[str, Any]) -> None:
    """Draw what ``dashboard.charts.timeline`` has packed; nothing is sent back."""
    _component(key="timeline", data=data)
