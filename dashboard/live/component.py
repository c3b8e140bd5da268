"""The component of the Live page: it has the microphone, sends its sound to ``dashboard.server.live_route``, and draws what comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

_ASSETS = Path(__file__).resolve().parents[1] / "assets"

_component = st.components.v2.component(
    "pannscope_live",
    js=(_ASSETS / "live.js").read_text(encoding="utf-8"),
    css=(_ASSETS / "live.css").read_text(encoding="utf-8"),
)


def live_component(data: dict[str, Any]) -> None:
    """Draw it. It runs the page again where the server does not know its stream any more."""
    _component(key="live", data=data, on_expired_change=lambda: None)
